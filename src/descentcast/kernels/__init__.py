"""Transition kernels and their estimators."""

from descentcast.kernels._autoregressive import AutoregressiveKernel
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._classical import ClassicalKernel
from descentcast.kernels._conditional_density import KernelDensityKernel
from descentcast.kernels._counts import CountKernel
from descentcast.kernels._coupled import CoupledKernel, couple
from descentcast.kernels._grid import default_edges
from descentcast.kernels._hitting import HittingTimes, committor, hitting
from descentcast.kernels._in_context import InContextKernel
from descentcast.kernels._interpolation import rows_at
from descentcast.kernels._joint import REDRAWS, JointKernel
from descentcast.kernels._kernel import Evidence, TransitionKernel
from descentcast.kernels._local_linear import LocalLinearKernel
from descentcast.kernels._markov import MarkovTest, markov_test
from descentcast.kernels._metastable import MetastableSets
from descentcast.kernels._observables import ObservableChoice, choose_observable
from descentcast.kernels._phased import PhasedFit, phased
from descentcast.kernels._phased_kernel import PhasedKernel
from descentcast.kernels._phases import Phases, coordinate_of, phases
from descentcast.kernels._principal import PrincipalKernel, fit_principal
from descentcast.kernels._propagation import propagate
from descentcast.kernels._recalibrated import RecalibratedKernel
from descentcast.kernels._recalibrated_densities import recalibrate_densities
from descentcast.kernels._rescale import RescaledFit, RescaledRuns, rescale, rescaled_edges
from descentcast.kernels._spectrum import StationaryLaw
from descentcast.kernels._stacked import StackedKernel
from descentcast.kernels._transformed import TransformedKernel
from descentcast.kernels._transforms import TransformChoice, choose_transform

__all__ = [
    "REDRAWS",
    "AutoregressiveKernel",
    "ClassicalKernel",
    "CountKernel",
    "CoupledKernel",
    "Evidence",
    "HittingTimes",
    "InContextKernel",
    "JointKernel",
    "KernelDensityKernel",
    "KernelEstimator",
    "LocalLinearKernel",
    "MarkovTest",
    "MetastableSets",
    "ObservableChoice",
    "PhasedFit",
    "PhasedKernel",
    "Phases",
    "PrincipalKernel",
    "RecalibratedKernel",
    "RescaledFit",
    "RescaledRuns",
    "StackedKernel",
    "StationaryLaw",
    "TransformChoice",
    "TransformedKernel",
    "TransitionKernel",
    "choose_observable",
    "choose_transform",
    "committor",
    "coordinate_of",
    "couple",
    "default_edges",
    "fit_principal",
    "hitting",
    "markov_test",
    "phased",
    "phases",
    "propagate",
    "recalibrate_densities",
    "rescale",
    "rescaled_edges",
    "rows_at",
]
