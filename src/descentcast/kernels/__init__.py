"""Transition kernels and their estimators."""

from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._grid import default_edges
from descentcast.kernels._kernel import Evidence, TransitionKernel

__all__ = ["Evidence", "KernelEstimator", "TransitionKernel", "default_edges"]
