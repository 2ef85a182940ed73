"""What kernels and forecasts are measured by, against the truth of a problem."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from descentcast import scoring
from descentcast.benchmark._truth import Truth, places
from descentcast.forecasts import Forecast, forecast
from descentcast.kernels import TransitionKernel
from descentcast.trajectories import Trajectories

# Mass that every law spreads evenly over cells and overflow, so that no distance is infinite.
LEAST = 1e-6
PLACES = ("visited", "inside", "outside")
# A landing is settled where both truth and forecast give it less than this, or more than 1 less this.
SETTLED = 0.01


def row_distances(kernels: tuple[TransitionKernel, ...], truth: Truth, recorded: Trajectories) -> dict[str, float]:
    """Return the distances of rows from the true ones, coordinates averaged.

    Returns:
        `bhattacharyya`, `hellinger2` and `w1` (Wasserstein-1 over the standard deviation of the true row), rows
        weighted by what runs from unseen starts see of them; and each once more over the cells that the context
        visited, those unvisited in their hull, and those outside, cells counting alike: `visited_w1`, ... NaN where
        there are none.
    """
    found = [
        _distances(kernel, true, weights, recorded.coordinate(d))
        for d, (kernel, true, weights) in enumerate(zip(kernels, truth.kernels, truth.weights, strict=True))
    ]
    return {name: _mean([f[name] for f in found]) for name in found[0]}


def law_measures(laws: Sequence[np.ndarray], truth: Truth, certain: float) -> dict[str, float]:
    """Return how laws over the places of a problem agree with where simulated runs landed, coordinates averaged.

    Args:
        laws: Laws of each unseen start, shape (m, places) a coordinate.
        truth: The truth.
        certain: A start counts for `right_basin` where runs from it land in one basin with more than this probability.

    Returns:
        `landing`: total variation, averaged over starts; `right_basin`: the share of the starts that count for which
        that basin is the most probable one of the law; NaN for problems without basins.
    """
    variations, right = [], []
    for law, true in zip(laws, truth.landing, strict=True):
        variations.append(scoring.total_variation(_proper(law), true).mean())
        sure = true.max(axis=1) > certain
        if truth.problem.basins and sure.any():
            right.append((law.argmax(axis=1) == true.argmax(axis=1))[sure].mean())
    return {"landing": _mean(variations), "right_basin": _mean(right)}


def judged_landing(fitted: Any, truth: Truth, horizon: int, certain: float) -> dict[str, float]:
    """Return the landing measures of a fitted estimator or kernels from the unseen starts of a problem.

    Returns:
        Those of `law_measures`, and `landing_covered`: the share of the intervals [low, high] of the landing table that
        hold the true probability, two standard errors of its simulation granted, over rows that are not settled; NaN
        where there are no intervals. `landing_width` is their average width.
    """
    ends = [places(truth.problem, d) for d in range(len(truth.kernels))]
    intervals = [list(pairwise(e)) for e in ends]
    starts = truth.starts[:, 0] if len(ends) == 1 else truth.starts
    result = forecast(fitted, starts, horizon, intervals[0] if len(ends) == 1 else intervals)
    laws, covered, widths = [], [], []
    for marginal, at, true in zip(result.marginals, ends, truth.landing, strict=True):
        below, above = marginal.overflow[:, -1].T
        shares = np.diff(_below(marginal.kernel.edges, marginal.density[:, -1], at), axis=1)
        laws.append(np.column_stack([below, shares, above]))
        if len(marginal.replicates):
            hits, wide = _covered(list(marginal.landing()), true, truth)
            covered.append(hits)
            widths.append(wide)
    return law_measures(laws, truth, certain) | {"landing_covered": _mean(covered), "landing_width": _mean(widths)}


def predictive_coverage(result: Forecast, truth: Truth, lag: int, level: float) -> float:
    """Return the share of values `lag` steps after states of fresh runs within the central interval of the forecast.

    Args:
        result: A forecast from `truth.states`, at least `lag` steps ahead.
        truth: The truth.
        lag: Steps ahead.
        level: Nominal coverage of the intervals.
    """
    shares = []
    for d, marginal in enumerate(result.marginals):
        low, high = marginal.quantiles(np.array([(1 - level) / 2, (1 + level) / 2]))[:, lag].T
        shares.append(((low <= truth.after[lag][:, d]) & (truth.after[lag][:, d] <= high)).mean())
    return _mean(shares)


def _distances(
    kernel: TransitionKernel, true: TransitionKernel, weights: np.ndarray, columns: list[np.ndarray]
) -> dict[str, float]:
    edges = true.edges
    rows, truth = (_rows(k) for k in (kernel, true))
    measures = {
        "bhattacharyya": scoring.bhattacharyya(_floored(rows), truth),
        "hellinger2": scoring.hellinger(_floored(rows), truth, squared=True),
        "w1": scoring.wasserstein1(rows, truth, edges) / _spread(truth, edges),
    }
    visits = np.histogram(np.concatenate([c[:-1] for c in columns]), edges)[0]
    seen = np.flatnonzero(visits)
    hull = np.zeros(len(visits), dtype=bool)
    hull[seen[0] : seen[-1] + 1] = True
    regions = dict(zip(PLACES, (visits > 0, hull & (visits == 0), ~hull), strict=True))
    found = {name: float(values @ weights) for name, values in measures.items()}
    for place, region in regions.items():
        for name, values in measures.items():
            found[f"{place}_{name}"] = float(values[region].mean()) if region.any() else float("nan")
    return found


def _rows(kernel: TransitionKernel) -> np.ndarray:
    """Return rows with the overflow on either side, shape (n, n + 2)."""
    return _proper(np.hstack([kernel.overflow[:, :1], kernel.matrix, kernel.overflow[:, 1:]]))


def _proper(rows: np.ndarray) -> np.ndarray:
    rows = np.maximum(rows, 0.0)
    return rows / rows.sum(axis=-1, keepdims=True)


def _floored(rows: np.ndarray) -> np.ndarray:
    return (1 - LEAST) * rows + LEAST / rows.shape[-1]


def _spread(rows: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the standard deviation of piecewise constant laws; mass beyond the grid lies in one cell more."""
    widths = np.pad(np.diff(edges), 1, mode="edge")
    middles = np.concatenate([[edges[0]], (edges[:-1] + edges[1:]) / 2, [edges[-1]]])
    middles[0] -= widths[0] / 2
    middles[-1] += widths[-1] / 2
    means = rows @ middles
    return np.sqrt((rows * (middles - means[:, None]) ** 2).sum(axis=1) + rows @ widths**2 / 12)


def _below(edges: np.ndarray, density: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the mass on the grid below each place, uniform within cells, shape (m, k)."""
    cumulative = np.pad(np.cumsum(density, axis=1), ((0, 0), (1, 0)))
    return np.stack([np.interp(at, edges, row) for row in cumulative])


def _covered(rows: list[dict[str, Any]], true: np.ndarray, truth: Truth) -> tuple[float, float]:
    """Return the share of intervals that hold the true probability, and their average width."""
    hits, widths = [], []
    per_start = len(rows) // len(true)
    for i, shares in enumerate(true):
        # The places of the grid, in order, are the basins of the table; those not in it are "nowhere seen" together.
        inside, left = shares[1:-1], list(range(len(shares) - 2))
        told = rows[i * per_start : (i + 1) * per_start]
        for row in told:
            if row["basin"].startswith("basin "):
                left.remove(int(row["basin"].split()[1]))
        for row in told:
            if row["basin"].startswith("basin "):
                p = inside[int(row["basin"].split()[1])]
            elif row["basin"] == "nowhere seen" and left:
                p = inside[left].sum()
            else:
                continue
            settled = [max(p, row["probability"]) < SETTLED, min(p, row["probability"]) > 1 - SETTLED]
            if not any(settled):
                granted = 2 * np.sqrt(max(p * (1 - p), 1 / truth.simulated) / truth.simulated)
                hits.append(row["low"] - granted <= p <= row["high"] + granted)
                widths.append(row["high"] - row["low"])
    return _mean(hits), _mean(widths)


def _mean(values: list[Any]) -> float:
    known = [float(v) for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")
