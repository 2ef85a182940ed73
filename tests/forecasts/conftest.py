"""Kernels known in closed form."""

import numpy as np
import pytest
from scipy.special import ndtr

from descentcast.kernels import Evidence, TransitionKernel


def build(edges, drift, noise, visits=None, source="exact"):
    points = edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(40) + 0.5) / 40
    below = ndtr((edges - (points + drift(points))[..., None]) / noise).mean(axis=1)
    overflow = np.column_stack([below[:, 0], 1 - below[:, -1]])
    evidence = Evidence.uniform(source, len(edges) - 1, visits)
    return TransitionKernel(edges, np.diff(below, axis=1), overflow, evidence)


@pytest.fixture(scope="session")
def gaussian_kernel():
    """Return a function of edges, drift and noise: rows of `x + drift(x) + noise * N(0, 1)`, 40 points a cell."""
    return build


@pytest.fixture(scope="session")
def double_well():
    """Return a function that builds the kernel of `f(x) = (x^2 - 1)^2 / 4`."""

    def make(step=0.15, noise=0.15, edges=None, **evidence):
        grid = np.linspace(-1.8, 1.8, 121) if edges is None else edges
        return build(grid, lambda x: -step * (x**3 - x), noise, **evidence)

    return make
