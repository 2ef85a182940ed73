"""Is what is said to happen with 90 % probability happening 90 % of the time?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import RandomState
from descentcast.errors import ArgumentError
from descentcast.scoring._cells import at_edges, cells_of_law, law, paired, take


def pit(probs: ArrayLike, edges: ArrayLike, observed: ArrayLike, random_state: RandomState = None) -> np.ndarray:
    """Probability integral transform `F(y)`: uniform on [0, 1] where the forecasts are right.

    Without `random_state`, F is interpolated linearly within the cell of y: right for values recorded with full
    precision. With it, the transform is drawn uniformly between F at the two edges of the cell: right where laws are
    discrete or values known only by their cell, for which the interpolated transform would not be uniform.

    Args:
        probs: Probabilities of the cells, shape (..., n), or (..., n + 2) with the mass below and above the grid.
        edges: Cell edges, shape (n + 1,).
        observed: What was observed, a shape that broadcasts with the leading axes of `probs`.
        random_state: Seed or generator of the randomised transform; None for the interpolated one.

    Returns:
        Values in [0, 1], of the common leading shape; 0 below and 1 above all cells, but drawn within the mass beyond
        the grid where there is some and the transform is drawn.

    Raises:
        ArgumentError: Shapes that do not fit, entries that are not probabilities.

    References:
        Rosenblatt (1952), Remarks on a multivariate transformation, Ann. Math. Stat. 23; Czado, Gneiting, Held
        (2009), Predictive model assessment for count data, Biometrics 65.

    Examples:
        >>> float(pit([0.5, 0.5], [0, 1, 2], 1.5))
        0.75
    """
    p, e = law(probs, edges)
    y = paired("observed", observed, p)
    cdf, n = at_edges(p), len(e) - 1
    cell = cells_of_law(y, e, edges)
    inside = np.clip(cell, 0, n - 1)
    low, high = take(cdf, inside), take(cdf, inside + 1)
    if random_state is None:
        share = np.clip((y - e[inside]) / np.diff(e)[inside], 0, 1)
    else:
        # How far off the grid the mass beyond it lies no law says: a value there is in it, wherever it is.
        known = np.clip(cell, 0, n - 1) if n > np.size(edges) - 1 else cell
        share = np.where((known >= 0) & (known < n), _checks.generator(random_state).random(low.shape), known >= n)
    return low + share * (high - low)


def quantiles(probs: ArrayLike, edges: ArrayLike, q: ArrayLike) -> np.ndarray:
    """Quantiles `inf {x : F(x) >= q}` of piecewise-constant laws: F, linear within cells, inverted.

    Args:
        probs: Probabilities of the cells, shape (..., n), or (..., n + 2) with the mass below and above the grid.
        edges: Cell edges, shape (n + 1,).
        q: Levels in [0, 1], any shape.

    Returns:
        Quantiles, shape (..., *shape of q). Level 0 is the lower end of the support.

    Raises:
        ArgumentError: A level outside [0, 1], shapes that do not fit, entries that are not probabilities.

    Examples:
        >>> quantiles([0.5, 0.0, 0.5], [0, 1, 2, 3], [0.25, 0.5, 0.75])
        array([0.5, 1. , 2.5])
    """
    p, e = law(probs, edges)
    levels = _checks.finite("q", _checks.numeric("q", q))
    if ((levels < 0) | (levels > 1)).any():
        raise ArgumentError(f"q holds {levels[(levels < 0) | (levels > 1)].flat[0]:g}, must be in [0, 1]")
    cdf = at_edges(p).reshape(-1, len(e))
    wanted = levels.ravel()
    found = np.empty((len(cdf), len(wanted)))
    for row, values in zip(cdf, found, strict=True):
        first = np.searchsorted(row, 0.0, side="right") - 1
        cell = np.maximum(np.searchsorted(row, wanted, side="left") - 1, first)
        low, high = row[cell], row[cell + 1]
        values[:] = e[cell] + (e[cell + 1] - e[cell]) * (wanted - low) / (high - low)
    return found.reshape(*p.shape[:-1], *levels.shape)


def central_interval(probs: ArrayLike, edges: ArrayLike, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Central prediction interval: the quantiles at `(1 - level) / 2` and `(1 + level) / 2`.

    Args:
        probs: Probabilities of the cells, shape (..., n), or (..., n + 2) with the mass below and above the grid.
        edges: Cell edges, shape (n + 1,).
        level: Nominal coverage, in (0, 1].

    Returns:
        Lower and upper ends, each of the leading shape of `probs`.

    Raises:
        ArgumentError: A level outside (0, 1], shapes that do not fit, entries that are not probabilities.

    Examples:
        >>> low, high = central_interval([0.25, 0.25, 0.25, 0.25], [0, 1, 2, 3, 4], 0.5)
        >>> float(low), float(high)
        (1.0, 3.0)
    """
    share = _checks.real("level", level, low=0, high=1, open_low=True)
    ends = quantiles(probs, edges, [(1 - share) / 2, (1 + share) / 2])
    return ends[..., 0], ends[..., 1]


def coverage(probs: ArrayLike, edges: ArrayLike, observed: ArrayLike, level: float) -> float:
    """Share of the observed values that lie in the central interval at `level`: near `level` for a right forecast.

    A value beyond the grid is held by an interval that ends in the overflow there.

    Args:
        probs: Probabilities of the cells, shape (..., n), or (..., n + 2) with the mass below and above the grid.
        edges: Cell edges, shape (n + 1,).
        observed: What was observed, a shape that broadcasts with the leading axes of `probs`.
        level: Nominal coverage, in (0, 1].

    Returns:
        The share, in [0, 1].

    Raises:
        ArgumentError: A level outside (0, 1], shapes that do not fit, entries that are not probabilities.

    Examples:
        >>> coverage([[0.5, 0.5], [0.5, 0.5]], [0, 1, 2], [1.0, 1.9], level=0.8)
        0.5
    """
    return float(_covered(probs, edges, observed, level)[0].mean())


def calibration(
    probs: ArrayLike,
    edges: ArrayLike,
    observed: ArrayLike,
    levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95),
    runs: ArrayLike | None = None,
) -> pd.DataFrame:
    """Nominal against measured coverage of central intervals, with a standard error over runs.

    Steps of one run depend on each other, so the run is the unit of replication: with G runs and c the indicator of
    being covered, the squared error is `G / (G - 1) * sum_g (sum_{i in g} (c_i - mean c))^2 / N^2`. Without `runs`,
    every step counts as a run of its own: then the error is too small where steps depend on each other.

    Args:
        probs: Probabilities of the cells, shape (N, n) or (N, n + 2).
        edges: Cell edges, shape (n + 1,).
        observed: What was observed, shape (N,).
        levels: Nominal coverages.
        runs: The run of each step, shape (N,), any labels.

    Returns:
        One row a level: `level`, `coverage`, `standard_error` (NaN from a single run), `width` (mean width of the
        intervals), `steps`, `runs`.

    Raises:
        ArgumentError: A level outside (0, 1], shapes that do not fit, entries that are not probabilities.

    Examples:
        >>> table = calibration([[0.5, 0.5]] * 4, [0, 1, 2], [0.1, 0.9, 1.1, 1.9], levels=[0.5])
        >>> table[["level", "coverage", "width"]].to_dict("records")
        [{'level': 0.5, 'coverage': 0.5, 'width': 1.0}]
    """
    rows = []
    for level in _checks.several("levels", levels):
        covered, width = _covered(probs, edges, observed, level)
        if covered.ndim != 1:
            raise ArgumentError(f"observed with probs make {covered.shape} forecasts, must be one-dimensional")
        labels = np.arange(len(covered)) if runs is None else np.asarray(runs)
        if labels.shape != covered.shape:
            raise ArgumentError(f"runs has shape {labels.shape}, must be {covered.shape}: one label a step")
        rate = covered.mean()
        _, member = np.unique(labels, return_inverse=True)
        sums = np.bincount(member, weights=covered - rate)
        G = len(sums)
        error = np.sqrt(G / (G - 1) * (sums**2).sum()) / len(covered) if G > 1 else np.nan
        rows.append(
            {
                "level": float(level),
                "coverage": float(rate),
                "standard_error": float(error),
                "width": float(width.mean()),
                "steps": len(covered),
                "runs": G,
            }
        )
    return pd.DataFrame(rows)


def _covered(probs: ArrayLike, edges: ArrayLike, observed: ArrayLike, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which values lie in their interval, and the intervals' widths."""
    low, high = central_interval(probs, edges, level)
    y = paired("observed", observed, law(probs, edges)[0])
    first, *_, last = np.asarray(edges, dtype=np.float64)
    # How far beyond the grid a value is, the overflow does not say.
    above, below = (low <= y) | ((low < first) & (y < first)), (y <= high) | ((high > last) & (y > last))
    return above & below, high - low
