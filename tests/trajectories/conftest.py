"""Lets these tests write files as `benchmarks` does: through the libraries that people use."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
