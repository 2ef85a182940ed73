"""Language models as sources of next-symbol log-probabilities, nothing else. Lazy: torch comes only with a model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
