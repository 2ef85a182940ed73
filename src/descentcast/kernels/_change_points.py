"""Where the law of a step changes: exact segmentation by the prequential score of a conjugate cubic autoregression."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.special import gammaln

# Changes are looked for at so many places, and the best then moved between its neighbours.
PLACES = 200
# No phase is shorter than so many transitions, of all runs together.
SHORTEST = 12
# Prior variance of a coefficient of the standardised regression, in units of the noise's: weak, so that a phase that
# needs none of them pays little.
PRIOR_VARIANCE = 4.0
PRIOR_DEGREES = 2.0


def change_points(columns: Sequence[np.ndarray], penalty: float | None = None) -> np.ndarray:
    """Return the transitions at which a new law of the step begins, all runs changing at the same ones.

    Within a phase the increment is `x_{t+1} - x_t = b_0 + b_1 x + b_2 x^2 + b_3 x^3 + noise` with a conjugate prior, so
    that the prequential log score of a stretch has a closed form in its sufficient statistics. The segmentation that
    maximises the summed score less a penalty for each change is found by dynamic programming, exactly over a grid of
    places (all of them up to 200 transitions).

    Args:
        columns: Values of each run, shape (T,) each; runs may end at different times.
        penalty: What a change has to gain, in nats; by default `log(number of places) + 3`.

    Returns:
        The transitions that begin a phase, increasing, without 0; empty where one law explains the runs.

    References:
        Jackson et al. (2005), An algorithm for optimal partitioning of data on an interval, IEEE Signal Processing
        Letters 12; Dawid (1984) for the prequential score.

    Examples:
        >>> rng, x = np.random.default_rng(0), [4.0]
        >>> for t in range(300):
        ...     step = 0.5 if t < 150 else 0.05
        ...     x.append(x[-1] - step * (x[-1] + rng.normal()))
        >>> change_points([np.array(x)])
        array([150])
    """
    sums = _Sums(columns)
    count = len(sums.weights) - 1
    if sums.weights[-1] < 2 * SHORTEST:
        return np.empty(0, dtype=int)
    places = np.unique(np.linspace(0, count, min(count, PLACES) + 1).round().astype(int))
    cost = np.log(len(places)) + 3 if penalty is None else penalty
    best, before = np.full(len(places), -np.inf), np.zeros(len(places), dtype=int)
    best[0] = cost
    for j in range(1, len(places)):
        gains = best[:j] + sums.score(places[:j], places[j]) - cost
        before[j] = int(np.argmax(gains))
        best[j] = gains[before[j]]
    cuts, at = [], len(places) - 1
    while before[at]:
        at = before[at]
        cuts.append(int(places[at]))
    return _refined(sums, [0, *cuts[::-1], count], max(1, int(np.diff(places).max())))


class _Sums:
    """Sufficient statistics of every stretch of transitions, as differences of running sums."""

    def __init__(self, columns: Sequence[np.ndarray]) -> None:
        T = max(len(c) for c in columns) - 1
        values = np.concatenate(columns)
        centre, unit = values.mean(), values.std() or 1.0
        moments = np.zeros((T + 1, 5, 5))
        weights = np.zeros(T + 1)
        for column in columns:
            x = np.clip((column - centre) / unit, -4, 4)  # Cubes of what diverges would drown the rest.
            rows = np.column_stack([np.ones(len(x) - 1), x[:-1], x[:-1] ** 2, x[:-1] ** 3, np.diff(column) / unit])
            moments[1 : len(rows) + 1] += rows[:, :, None] * rows[:, None, :]
            weights[1 : len(rows) + 1] += 1
        self.moments, self.weights = moments.cumsum(axis=0), weights.cumsum()
        steps = np.concatenate([np.abs(np.diff(c)) for c in columns]) / unit
        self.noise = max(float(np.median(steps)) ** 2, 1e-18)

    def score(self, begins: np.ndarray, end: int) -> np.ndarray:
        """Return the log marginal likelihood of the transitions from each begin up to `end`; -inf where too few."""
        number = self.weights[end] - self.weights[begins]
        moments = self.moments[end] - self.moments[begins]
        precision = moments[:, :4, :4] + np.eye(4) / PRIOR_VARIANCE
        right = moments[:, :4, 4]
        explained = (right * np.linalg.solve(precision, right[..., None])[..., 0]).sum(axis=1)
        left = np.maximum(moments[:, 4, 4] - explained, 0) + PRIOR_DEGREES * self.noise
        degrees = PRIOR_DEGREES + number
        found = (
            gammaln(degrees / 2)
            - gammaln(PRIOR_DEGREES / 2)
            - number / 2 * np.log(np.pi)
            + PRIOR_DEGREES / 2 * np.log(PRIOR_DEGREES * self.noise)
            - degrees / 2 * np.log(left)
            - 0.5 * np.linalg.slogdet(precision * PRIOR_VARIANCE)[1]
        )
        return np.where(number >= SHORTEST, found, -np.inf)


def _refined(sums: _Sums, cuts: list[int], reach: int) -> np.ndarray:
    """Move each change to the best place near it, its neighbours fixed."""
    for i in range(1, len(cuts) - 1):
        left, right = cuts[i - 1], cuts[i + 1]
        near = np.arange(max(cuts[i] - reach, left + 1), min(cuts[i] + reach, right - 1) + 1)
        scores = [sums.score(np.array([left]), int(c))[0] + sums.score(np.array([c]), right)[0] for c in near]
        cuts[i] = int(near[int(np.argmax(scores))])
    return np.array([b for a, b in pairwise(cuts)][:-1], dtype=int)
