"""Transition kernels and their estimators."""

from descentcast.kernels._kernel import Evidence, TransitionKernel

__all__ = ["Evidence", "TransitionKernel"]
