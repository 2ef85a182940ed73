"""Transition kernels and their estimators."""

from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._coupled import CoupledKernel, couple
from descentcast.kernels._grid import default_edges
from descentcast.kernels._hitting import HittingTimes, committor, hitting
from descentcast.kernels._kernel import Evidence, TransitionKernel
from descentcast.kernels._metastable import MetastableSets
from descentcast.kernels._propagation import propagate
from descentcast.kernels._spectrum import StationaryLaw

__all__ = [
    "CoupledKernel",
    "Evidence",
    "HittingTimes",
    "KernelEstimator",
    "MetastableSets",
    "StationaryLaw",
    "TransitionKernel",
    "committor",
    "couple",
    "default_edges",
    "hitting",
    "propagate",
]
