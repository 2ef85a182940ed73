"""What resampling does not show: a drift that is off by more than chance in the runs says, learnt on other problems.

A kernel estimated from few values is wrong in ways that no resample of them knows: the bias of its members, states that
nobody visited. On development problems the median of a row is off by a share of the row's standard deviation that
depends on whether the state was visited, lies between visited ones or outside them, and errors of neighbouring states
are alike. A resampled kernel is therefore moved by a random smooth field of that size.
"""

import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float

from descentcast._types import Edges
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._moving import moved_rows, quantiles_of

# Of a Gaussian the quartiles are so many standard deviations apart.
QUARTILES = 1.349
# Steps outside the hull over which the size of errors grows to that outside.
FADE = 2.0
# Added to the diagonal of a covariance, whose small eigenvalues rounding makes negative.
JITTER = 1e-6


@dataclass(frozen=True)
class Discrepancy:
    """The size of what is unknown of a drift, in standard deviations of a row.

    Attributes:
        visited: In cells that runs visited.
        hull: In other cells of their hull.
        outside: Outside it, two steps from its end on.
        length: Correlation length, as a share of the grid.
        share: The weight of the resampled kernels in the law that quantiles of a forecast are of.
        margin: How much further than the quantiles over resampled kernels the interval of a landing probability goes.
    """

    visited: float
    hull: float
    outside: float
    length: float
    share: float
    margin: float


@cache
def learnt() -> Discrepancy:
    """Return what was learnt on development problems.

    Examples:
        >>> learnt().outside >= learnt().hull >= learnt().visited
        True
    """
    text = files("descentcast.kernels").joinpath("uncertainty.toml").read_text(encoding="utf-8")
    return Discrepancy(**tomllib.loads(text))


def sizes(kernel: TransitionKernel, distance: Float[np.ndarray, "n"], size: Discrepancy) -> Float[np.ndarray, "n"]:
    """Return the standard deviation of the error of each row's drift, in units of the coordinate, shape (n,).

    Args:
        kernel: The kernel, with the visits it rests on.
        distance: Distance of each cell from the hull of the visited ones, in typical steps; 0 within.
        size: The sizes.
    """
    beyond = size.hull + (size.outside - size.hull) * np.minimum(distance / FADE, 1.0)
    share = np.where(kernel.evidence.visits > 0, size.visited, np.where(distance > 0, beyond, size.hull))
    return share * _spreads(kernel)


def moved(
    kernel: TransitionKernel, scale: Float[np.ndarray, "n"], length: float, rng: np.random.Generator
) -> TransitionKernel:
    """Return a kernel whose rows are moved by a random smooth field; mass on the grid stays on it.

    Args:
        kernel: The kernel.
        scale: Standard deviation of the field in each cell, shape (n,).
        length: Its correlation length (a Gaussian of the distance), as a share of the grid.
        rng: For the field.
    """
    shift = scale * (_root(tuple(kernel.edges.tolist()), length) @ rng.standard_normal(len(scale)))
    return TransitionKernel(kernel.edges, moved_rows(kernel, shift), kernel.overflow)


def _spreads(kernel: TransitionKernel) -> Float[np.ndarray, "n"]:
    """Return the interquartile range of each row over that of a Gaussian; at least half a cell."""
    low, high = (quantiles_of(kernel, q) for q in (0.25, 0.75))
    return np.maximum((high - low) / QUARTILES, kernel.widths / 2)


@lru_cache(maxsize=8)
def _root(edges: tuple[float, ...], length: float) -> Edges:
    """Return a root of the correlation matrix of the field at the cell centres."""
    ends = np.array(edges)
    centres = (ends[:-1] + ends[1:]) / 2
    z = (centres[:, None] - centres) / (length * (ends[-1] - ends[0]))
    return np.linalg.cholesky(np.exp(-0.5 * z**2) + JITTER * np.eye(len(centres)))
