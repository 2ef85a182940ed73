"""Next-value densities of a run, made of all that was read before: the row of the present state, and what was read."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import expit

from descentcast import _checks
from descentcast._types import Edges
from descentcast.densities import Densities
from descentcast.errors import ArgumentError
from descentcast.kernels._in_context import InContextKernel
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._recalibrated import mended

# The kernel is made anew when so many values are known, and again when there are so much more.
FIRST, GROWTH = 4, 1.04
# Least mass that a density is scored with: one surprise does not decide which of the two is right.
LEAST_MASS = 1e-6


def recalibrate_densities(
    densities: Densities, values: ArrayLike, smoothing: float = InContextKernel.unevenness
) -> Densities:
    """Return next-value densities that were corrected by the values that came before.

    Density t knows the history of the run, but is one reading, with its own error. Of the densities read up to t, those
    at visits of one cell are draws of one row; the rows so far are smoothed along the state, moved, widened and given
    the law of their noise by the transitions so far, as in `RecalibratedKernel`. With F_t what was read, and R_t the
    row of x_t's cell then, the result is

        (1 - w_t) F_t + w_t R_t,   w_t = P(S <= t | x_0, ..., x_t),

    under the switch distribution: steps before S follow F, those from S on R, and P(S = s) = 1 / ((s + 1) (s + 2)). R
    needs some values to be any good; then it is better where the present state is all that matters, F where momentum or
    a schedule does, and the score of what came decides. Row t rests on values up to t alone, and on the grid, whose
    ends later values may have set (`next_densities(range=)` fixes them).

    Args:
        densities: What `next_densities` read of the run, T rows.
        values: The run, shape (T,).
        smoothing: As in `RecalibratedKernel`.

    Returns:
        The densities on the same grid.

    Raises:
        ArgumentError: No densities, or values that are not those of the densities: another number, or outside their
            grid.
        DataError: Values beyond 1e150, or all below 1e-150.

    References:
        van Erven, Gruenwald, de Rooij (2012), Catching up faster by switching sooner, J. R. Stat. Soc. B 74; Dawid
        (1984), Present position and potential developments: the prequential approach, J. R. Stat. Soc. A 147.

    Examples:
        >>> rng, x = np.random.default_rng(0), [0.0]
        >>> for _ in range(100):
        ...     x.append(0.8 * x[-1] + rng.normal())
        >>> edges = np.linspace(-6, 6, 101)
        >>> flat = Densities(np.full((101, 100), 0.01), edges, np.full(101, "identity"), np.zeros(1), 0.0)
        >>> better = recalibrate_densities(flat, x)
        >>> bool(better.probs[-1].max() > 0.03)
        True
    """
    _checks.instance("densities", densities, Densities, "Densities, as next_densities returns them")
    values = _checks.vector("values", values, least=2)
    _checks.squarable("values", values)
    smoothing = _checks.real("smoothing", smoothing, low=0, high=1)
    probs, edges = densities.probs, densities.edges
    if len(values) != len(probs):
        raise ArgumentError(f"values has {len(values)} entries, must have one a density: {len(probs)}")
    if (values < edges[0]).any() or (values > edges[-1]).any():
        raise ArgumentError(f"values must lie on the grid of the densities, [{edges[0]:g}, {edges[-1]:g}]")
    cells = np.minimum(np.searchsorted(edges, values, side="right") - 1, len(edges) - 2)
    rows = rows_of_present(probs, values, cells, edges, smoothing)
    given = [np.log(np.maximum(p[np.arange(len(cells) - 1), cells[1:]], LEAST_MASS)) for p in (rows, probs)]
    weight = switched(given[0] - given[1])[:, None]
    return replace(densities, probs=(1 - weight) * probs + weight * rows)


def switched(gains: Float[np.ndarray, "T-1"]) -> Float[np.ndarray, "T"]:
    """Return the probability of having switched to the second of two forecasters, before each step is known.

    The switch happens at step s = 0, 1, 2, ... with probability `1 / ((s + 1) (s + 2))`, for good.

    Args:
        gains: By how much the second one's log score was the better at each step, shape (T - 1,).

    Examples:
        >>> switched(np.zeros(3))
        array([0.5       , 0.66666667, 0.75      , 0.8       ])
    """
    odds = np.zeros(len(gains) + 1)
    for t, gain in enumerate(gains):
        # Of what has not switched before step t + 1, one in t + 3 does.
        odds[t + 1] = np.logaddexp(odds[t] + gain + np.log(t + 3), 0.0) - np.log(t + 2)
    return expit(odds)


def rows_of_present(
    probs: Float[np.ndarray, "T n"], values: np.ndarray, cells: np.ndarray, edges: Edges, smoothing: float
) -> Float[np.ndarray, "T n"]:
    """Return for each t the row of the present cell, of the kernel that the densities and values up to t make.

    Args:
        probs: The densities read, shape (T, n).
        values: The run, shape (T,).
        cells: Cell of each value, shape (T,).
        edges: The grid, shape (n + 1,).
        smoothing: As in `RecalibratedKernel`.
    """
    n, found, known = len(edges) - 1, probs.copy(), FIRST
    total, sums = np.zeros(n), np.zeros((n, n))
    matrix = np.empty((0, 0))
    for t, cell in enumerate(cells):
        # A later density has seen more, and counts in proportion.
        total[cell] += t + 1
        sums[cell] += (t + 1) * probs[t]
        if t + 1 >= known:
            read = np.divide(sums, total[:, None], out=np.full((n, n), 1 / n), where=total[:, None] > 0)
            kernel = TransitionKernel(edges, read, np.zeros((n, 2)))
            matrix = mended([values[: t + 1]], kernel, smoothing, total / total.max()).kernel.matrix
            known = max(known + 1, int(np.ceil(GROWTH * (t + 1))))
        if len(matrix):
            found[t] = matrix[cell] / matrix[cell].sum()
    return found
