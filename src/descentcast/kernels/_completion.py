"""Rows that nobody visited: barycenters of their neighbours; beyond the last neighbour, its drift continued."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import Edges
from descentcast.errors import ArgumentError

# The fit outside the hull: the outer quarter of the known rows, at least three of them.
OUTER_SHARE, LEAST_ROWS = 0.25, 3
# Before any data: the slope of the displacement is 0 +- 0.5, and a row's mean is off by 0.4 of its spread, which
# counts as much as two rows' residuals.
SLOPE_SPREAD, ROW_ERROR, ROW_ERROR_WORTH = 0.5, 0.4, 2
# SGD on a quadratic has slope -step * curvature, in (-2, 0) where it is stable; 1 doubles the distance from a maximum.
STEEPEST = (-2.0, 1.0)
# The drift bends: its error a unit of distance, however well a straight line fits where runs have been.
BEND = 0.1
# Below POT's default of 1e-4, at which a density of 5 cells width comes back 18 wide.
SINKHORN_TOLERANCE, SINKHORN_ITERATIONS = 1e-8, 1000


@dataclass(frozen=True, eq=False)
class Completed:
    """Rows of which none is missing.

    Attributes:
        rows: Probabilities below the grid, of each cell, and above the grid, shape (n, n + 2); each row sums to 1.
        source: "visited" for the rows that were known, "completed" between them, "extrapolated" outside, shape (n,).
        weight: 1 for known rows; at distance d from the nearest known row 1 / (1 + d / s), with s the median standard
            deviation of the known rows, shape (n,).
    """

    rows: np.ndarray
    source: np.ndarray
    weight: np.ndarray


def complete(
    edges: ArrayLike, rows: ArrayLike, known: ArrayLike, method: str = "quantile", weights: ArrayLike | None = None
) -> Completed:
    """Complete the rows of a kernel that are not known; known rows stay as they are, to the last bit.

    Between two known rows P_l and P_r the row at share w of the way (by cell centres) is

        argmin over Q of (1 - w) D(Q, P_l) + w D(Q, P_r)

    - "quantile": D = W_2^2. In one dimension the barycenter averages quantile functions,
      `F^-1 = (1 - w) F_l^-1 + w F_r^-1`; with uniform mass within cells this is computed exactly, by merging the
      breakpoints of both. Only reading the result back on the cells blurs: a law moved by a part u of a cell of width
      h gains the variance `u (1 - u) h^2`, at most a quarter of a cell squared.
    - "sinkhorn": D the debiased Sinkhorn divergence on cell centres, with regularisation s^2, s the median standard
      deviation of the known rows. Between Gaussians of equal spread it has no blur; details finer than s, such as two
      modes of a row, are blurred. Slow: a row of 100 cells takes seconds, where "quantile" takes a millisecond.
    - "nearest": a plain copy of the nearer known row, the left one at equal distance.

    Overflow is taken to lie in one virtual cell on either side, s wide but at least a cell; mass that a barycenter puts
    into these is overflow again.

    Outside the hull of the known rows "nearest" copies the outermost row. The other methods shift it: the mean
    displacement `m(x) - x` is continued by a straight line through the outer quarter of the known rows (at least 3;
    with fewer than 3 known rows the displacement of the outermost is kept), with a normal prior of 0 +- 0.5 on its
    slope, so that few or noisy rows leave it flat. The outermost row's shape around its mean is kept, and stretched to
    the variance `s^2 + se(x)^2`, with `se` the standard error of the line, which grows with the distance.

    Args:
        edges: Cell edges, shape (n + 1,).
        rows: Probabilities below the grid, of each cell, and above the grid, shape (n, n + 2). Rows that are not known
            are not read.
        known: Which rows are known, shape (n,), at least one.
        method: "quantile", "sinkhorn" or "nearest".
        weights: How well each known row is known, for example its visits, shape (n,): used in the fit outside the hull.
            Equal by default.

    Returns:
        All rows, with source and weight.

    Raises:
        ArgumentError: No known row, shapes that do not fit, known rows that are not laws or have no positive weight, an
            unknown method.

    References:
        Agueh, Carlier (2011), Barycenters in the Wasserstein space, SIAM J. Math. Anal. 43, section 6.1.
        Janati, Cuturi, Gramfort (2020), Debiased Sinkhorn barycenters, ICML, algorithm 1.
        Zekri, Benechehab, Redko (2024), arXiv 2408.01736, section on completion.

    Examples:
        >>> rows = np.zeros((3, 5))
        >>> rows[0, 1] = rows[2, 3] = 1.0
        >>> complete([0, 1, 2, 3], rows, [True, False, True]).rows[1]
        array([0., 0., 1., 0., 0.])
    """
    edges, rows, at, weights = _checked(edges, rows, known, weights)
    between = BARYCENTERS[_checks.one_of("method", method, METHODS)]
    if len(at) == len(rows):
        return Completed(rows.copy(), np.full(len(rows), "visited", dtype="<U12"), np.ones(len(rows)))
    centres, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    spread = _median_spread(rows[at], centres, widths)
    tail = max(spread, float(widths.max()))
    knots = np.concatenate([[edges[0] - tail], edges, [edges[-1] + tail]])

    done = np.zeros_like(rows)
    done[at] = rows[at]
    source = np.full(len(rows), "completed", dtype="<U12")
    source[at] = "visited"
    for before in np.flatnonzero(np.diff(at) > 1):
        left, right = at[before], at[before + 1]
        gap = np.arange(left + 1, right)
        shares = (centres[gap] - centres[left]) / (centres[right] - centres[left])
        done[gap] = between(knots, rows[left], rows[right], shares)
    for outward, outside in ((at[::-1], np.arange(at[-1] + 1, len(rows))), (at, np.arange(at[0]))):
        if len(outside):
            copied = method == "nearest"
            done[outside] = rows[outward[0]] if copied else _continued(knots, rows, weights, outward, outside)
            source[outside] = "extrapolated"
    distance = np.abs(centres[:, None] - centres[at]).min(axis=1)
    return Completed(done, source, 1 / (1 + distance / spread))


def _checked(
    edges: ArrayLike, rows: ArrayLike, known: ArrayLike, weights: ArrayLike | None
) -> tuple[Edges, np.ndarray, np.ndarray, np.ndarray]:
    """Return edges, rows, the indices of the known ones and the weights of all."""
    edges, rows, known = _checks.edges("edges", edges), _checks.numeric("rows", rows), np.asarray(known)
    n = len(edges) - 1
    if rows.shape != (n, n + 2):
        raise ArgumentError(f"rows has shape {rows.shape}, must be {(n, n + 2)} for {n + 1} edges")
    if known.shape != (n,) or known.dtype != bool:
        raise ArgumentError(f"known has shape {known.shape} and type {known.dtype}, must be {n} booleans")
    if not known.any():
        raise ArgumentError("known holds no True: at least one row must be known")
    _checks.distributions("rows[known]", rows[known])
    held = np.ones(n) if weights is None else _checks.vector("weights", weights)
    if held.shape != (n,) or (held[known] <= 0).any():
        raise ArgumentError(f"weights of shape {held.shape}, must be {n} numbers, greater than 0 where rows are known")
    return edges, rows, np.flatnonzero(known), held


def _quantile(knots: np.ndarray, left: np.ndarray, right: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Exact W2 barycenters of two laws with uniform mass between knots, a row for each share of the right one."""
    below = _distribution(np.array([left, right]))
    levels = np.sort(below, axis=None)
    levels = levels[np.append(True, levels[1:] != levels[:-1])]  # each once
    left_places, right_places = (_places(knots, b, levels) for b in below)
    # Between two levels of the merged list both quantile functions are straight, and so is their average.
    places = (1 - shares[:, None]) * left_places + shares[:, None] * right_places
    reached = np.repeat(levels, 2)[1:-1]
    return _masses(np.array([np.interp(knots[1:-1], x, reached) for x in places]))


def _places(knots: np.ndarray, below: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles right of the first and left of the second of each pair of neighbouring levels, in one row."""
    # Every value of `below` is a level, so no pair spans two cells with mass, and exactly one cell holds it.
    cell = np.searchsorted(below, levels[:-1], side="right") - 1
    start, rise = below[cell], below[cell + 1] - below[cell]
    low = knots[cell]
    width = knots[cell + 1] - low
    places = np.empty((len(cell), 2))
    for side, level in enumerate((levels[:-1], levels[1:])):
        places[:, side] = low + (level - start) / rise * width
    return places.ravel()


def _sinkhorn(knots: np.ndarray, left: np.ndarray, right: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Debiased Sinkhorn barycenters on the middles between knots; the outermost middles stand for the overflow."""
    import ot  # brings torch, which takes seconds

    middles = (knots[:-1] + knots[1:]) / 2
    spread = knots[1] - knots[0]
    cost = ((middles[:, None] - middles) / spread) ** 2
    laws = np.stack([left, right], axis=1)
    barycenters = np.array(
        [
            ot.bregman.barycenter_debiased(
                laws,
                cost,
                reg=1.0,
                weights=np.array([1 - share, share]),
                method="sinkhorn_log",
                stopThr=SINKHORN_TOLERANCE,
                numItermax=SINKHORN_ITERATIONS,
            )
            for share in shares
        ]
    )
    return barycenters / barycenters.sum(axis=1, keepdims=True)


def _nearest(knots: np.ndarray, left: np.ndarray, right: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return np.where(shares[:, None] <= 0.5, left, right)


BARYCENTERS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "quantile": _quantile,
    "sinkhorn": _sinkhorn,
    "nearest": _nearest,
}
METHODS = tuple(BARYCENTERS)


def _continued(
    knots: np.ndarray, rows: np.ndarray, weights: np.ndarray, outward: np.ndarray, outside: np.ndarray
) -> np.ndarray:
    """Rows `outside` the hull, from the known rows listed from the outermost inwards: see `complete`."""
    count = max(LEAST_ROWS, int(np.ceil(OUTER_SHARE * len(outward))))
    near = outward[:count] if len(outward) >= LEAST_ROWS else outward[:1]
    means, variances = _moments(knots, rows[near])
    centres = (knots[1:-2] + knots[2:-1]) / 2
    x, y, v = centres[near], means - centres[near], weights[near] / weights[near].mean()

    pivot, level = np.average(x, weights=v), np.average(y, weights=v)
    sxx, sxy = v @ (x - pivot) ** 2, v @ ((x - pivot) * (y - level))
    residuals = y - level - (sxy / sxx if sxx else 0.0) * (x - pivot)
    prior = ROW_ERROR_WORTH * ROW_ERROR**2 * np.median(variances)
    noise = (v @ residuals**2 + prior) / (max(len(near) - 2, 0) + ROW_ERROR_WORTH)
    information = sxx + noise / SLOPE_SPREAD**2
    slope = np.clip(sxy / information, *STEEPEST)

    reach, distance = centres[outside] - pivot, centres[outside] - centres[outward[0]]
    target = centres[outside] + level + slope * reach
    error = noise / v.sum() + noise * reach**2 / information + (BEND * distance) ** 2
    stretch = np.sqrt(1 + error / variances[0])
    back = means[0] + (knots[1:-1] - target[:, None]) / stretch[:, None]
    return _masses(np.interp(back, knots, _distribution(rows[outward[0]])))


def _moments(knots: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of laws with uniform mass between knots."""
    middles, widths = (knots[:-1] + knots[1:]) / 2, np.diff(knots)
    means = rows @ middles
    return means, (rows * (middles - means[:, None]) ** 2).sum(axis=1) + rows @ widths**2 / 12


def _median_spread(rows: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> float:
    """Median standard deviation of the rows, given that they stay on the grid; a cell's own where none does."""
    inside = rows[:, 1:-1]
    mass = inside.sum(axis=1)
    if not (mass > 0).any():
        return float(widths.max())
    inside = inside[mass > 0] / mass[mass > 0, None]
    variances = (inside * (centres - (inside @ centres)[:, None]) ** 2).sum(axis=1) + inside @ widths**2 / 12
    return float(np.sqrt(np.median(variances)))


def _distribution(rows: np.ndarray) -> np.ndarray:
    """Distribution functions at the knots (last axis): exactly 0 at the first and 1 at the last."""
    below = np.zeros((*rows.shape[:-1], rows.shape[-1] + 1))
    np.cumsum(np.maximum(rows, 0.0), axis=-1, out=below[..., 1:])
    return below / below[..., -1:]


def _masses(below: np.ndarray) -> np.ndarray:
    """Masses below, in and above the cells from distribution functions at the edges, shape (k, n + 1)."""
    reached = np.ones((len(below), below.shape[1] + 2))
    reached[:, 0], reached[:, 1:-1] = 0.0, below
    return np.maximum(reached[:, 1:] - reached[:, :-1], 0.0)
