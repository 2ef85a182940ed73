"""The effective potential of a kernel: how hard its drift makes it to go anywhere, in units of its own noise."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from descentcast.errors import ArgumentError
from descentcast.kernels import TransitionKernel


@dataclass(frozen=True, eq=False)
class Crossing:
    """Where the drift changes sign: from right to left at an attractor, from left to right at a repeller."""

    position: float
    attracts: bool


class Potential:
    """The effective potential `V(x) = -2 * integral up to x of drift / spread^2`, without a unit.

    Drift and spread are those of one step: `drift_i = E[x' | c_i] - c_i` and `spread_i^2 = Var[x' | c_i]`. A spread
    below half a cell counts as half a cell: a row without noise may show as much by falling on two cells. The quotient
    is taken linear between cell centres and constant in the outer half of the end cells, so that V is continuous and
    has its extrema where the drift changes sign.
    Mass that leaves the grid is taken to lie beyond its end by the median spread of a row.

    For small steps the stationary density is proportional to `exp(-V) / spread^2`: a barrier of height 1 is e times
    less probable than the minimum beside it.

    Raises:
        ArgumentError: A spread whose square is no positive normal number, in units too large or too small.

    References:
        Gardiner (2009), Stochastic Methods, section 5.2: the potential of a stationary one-dimensional diffusion.
    """

    def __init__(self, kernel: TransitionKernel) -> None:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            drift, square = _drift_and_square(kernel)
        if not (np.isfinite(drift).all() and (square >= np.finfo(float).tiny).all() and (square < np.inf).all()):
            low, high = float(kernel.edges[0]), float(kernel.edges[-1])
            raise ArgumentError(
                f"kernel of {kernel.name} on [{low:g}, {high:g}] has spreads whose squares over- or underflow, must be "
                "in units in which they do not"
            )
        # A row that stays where it is has a drift of rounding size, whose sign says nothing.
        self.drift = np.where(np.abs(drift) <= 1e-9 * kernel.widths, 0.0, drift)
        self.edges, self.centres = kernel.edges, kernel.centres
        self.pull = self.drift / square
        rise = -(self.pull[:-1] + self.pull[1:]) * np.diff(self.centres)
        self.values = np.concatenate([[0.0], np.cumsum(rise)])

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """Return V at states within the grid."""
        x = np.asarray(x, dtype=np.float64)
        i = np.clip(np.searchsorted(self.centres, x, side="right") - 1, 0, len(self.centres) - 1)
        return self.values[i] - (self.pull[i] + np.interp(x, self.centres, self.pull)) * (x - self.centres[i])

    @cached_property
    def crossings(self) -> list[Crossing]:
        """Attractors and repellers from left to right; they alternate."""
        signs, c, e = np.sign(self.drift), self.centres, self.edges
        moving = np.flatnonzero(signs)
        if not len(moving):
            return [Crossing(float(e[0] + e[-1]) / 2, attracts=True)]
        found = []
        first, last = moving[0], moving[-1]
        if first > 0 and signs[first] < 0:
            found.append(Crossing(float(e[0] + e[first]) / 2, attracts=True))
        for a, b in pairwise(moving):
            if signs[a] != signs[b]:
                zero = c[a] + (c[b] - c[a]) * self.pull[a] / (self.pull[a] - self.pull[b])
                found.append(Crossing(float(zero if b == a + 1 else (c[a + 1] + c[b - 1]) / 2), bool(signs[a] > 0)))
        if last < len(c) - 1 and signs[last] > 0:
            found.append(Crossing(float(e[last + 1] + e[-1]) / 2, attracts=True))
        return found

    @property
    def leads_out(self) -> tuple[bool, bool]:
        """Whether the drift at the lower and at the upper end of the grid points out of it."""
        return bool(self.drift[0] < 0), bool(self.drift[-1] > 0)


def _drift_and_square(kernel: TransitionKernel) -> tuple[np.ndarray, np.ndarray]:
    """The drift of each row and its spread squared, at least that of half a cell."""
    centres, widths = kernel.centres, kernel.widths
    rows = np.column_stack([kernel.overflow[:, 0], kernel.matrix, kernel.overflow[:, 1]])
    rows /= rows.sum(axis=1, keepdims=True)  # within rounding it is 1, which far from zero is not near enough
    on_grid = rows[:, 1:-1] / np.maximum(rows[:, 1:-1].sum(axis=1, keepdims=True), np.finfo(float).tiny)
    beyond = max(float(np.median(np.sqrt(_variance(on_grid, centres - centres.mean())))), float(widths[[0, -1]].max()))
    middle = centres.mean()
    places = np.concatenate([[kernel.edges[0] - beyond], centres, [kernel.edges[-1] + beyond]]) - middle
    return rows @ places - (centres - middle), np.maximum(_variance(rows, places), widths**2 / 4)


def _variance(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    mean = rows @ places
    return (rows * (places - mean[:, None]) ** 2).sum(axis=1)
