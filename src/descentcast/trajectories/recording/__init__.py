"""Recording of live training: what is observed, when, and where it is kept. Lazy: torch comes only with a recorder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
