"""SGD problems with a known kernel and known minima: convex, over- and under-parametrised, non-convex."""

from descentcast.problems._deep_linear import ScalarDeepLinear
from descentcast.problems._gaussian_noise import DoubleWell, Quadratic, TiltedTripleWell
from descentcast.problems._linear_regression import LinearRegression
from descentcast.problems._logistic_regression import LogisticRegression
from descentcast.problems._one_neuron import OneNeuron
from descentcast.problems._phase_retrieval import PhaseRetrieval
from descentcast.problems._problem import Problem

__all__ = [
    "DoubleWell",
    "LinearRegression",
    "LogisticRegression",
    "OneNeuron",
    "PhaseRetrieval",
    "Problem",
    "Quadratic",
    "ScalarDeepLinear",
    "TiltedTripleWell",
]
