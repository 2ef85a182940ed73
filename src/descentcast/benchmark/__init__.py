"""A fixed benchmark of kernel estimators: problems whose kernels are known, contexts, judging by simulation. Lazy."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
