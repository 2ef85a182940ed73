"""Keras chooses its backend when it is imported: the tests and the examples in docstrings take torch."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
