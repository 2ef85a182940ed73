"""Local-linear predictive laws of a run's own transitions, each without what it must not know."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from descentcast.kernels._neighbours import NEAREST, reference_bandwidth

# No law is given before so many transitions are known.
FIRST = 10
# Past and present transitions held at once: 16 MB an array.
BLOCK = 2_000_000
# The smallest scale, in units of the values' own: moments in float64 tell nothing smaller.
SMALLEST = 1e-7


@dataclass(frozen=True, eq=False)
class LocalLines:
    """Student-t predictive laws, one a transition.

    Attributes:
        mean: Location of each law, shape (N,); NaN before `FIRST` transitions are known.
        scale: Scale of each law, shape (N,).
        dof: Degrees of freedom, shape (N,).
        y: What came, shape (N,).
    """

    mean: np.ndarray
    scale: np.ndarray
    dof: np.ndarray
    y: np.ndarray

    @property
    def residuals(self) -> np.ndarray:
        """`(y - mean) / scale`, shape (N,)."""
        return (self.y - self.mean) / self.scale

    @property
    def losses(self) -> np.ndarray:
        """Negative log density of each y under its law, in nats, shape (N,)."""
        half = self.dof / 2
        constant = gammaln(half + 0.5) - gammaln(half) - 0.5 * np.log(self.dof * np.pi)
        return (half + 0.5) * np.log1p(self.residuals**2 / self.dof) - constant + np.log(self.scale)


@dataclass(frozen=True, eq=False)
class Design:
    """What is predicted from x, and from what else.

    Attributes:
        y: What is predicted, shape (N,).
        extra: One more regressor, shape (N,), such as the value before the present one; None for x alone.
    """

    y: np.ndarray
    extra: np.ndarray | None = None


def local_lines(x: np.ndarray, designs: Sequence[Design], known: str | np.ndarray = "past") -> list[LocalLines]:
    """Predict each y_t by a line around x_t, fitted to other transitions; with `extra`, by a plane.

    `y = a + b (x - x_t) + c (extra - extra_t) + noise`, the coefficients and the noise's scale those of the transitions
    weighted by a Gaussian of x around x_t (bandwidth `1.06 s N^(-1/5)`, as in `LocalLinearKernel`; `extra` carries no
    weight). Coefficients are drawn to those of one line through everything by the weight of one transition.

    Args:
        x: Present values, shape (N,), in the order in which they become known; N above `FIRST`.
        designs: What is predicted; the weights are the same for all.
        known: What each law knows. "past": the transitions before its own (prequential). "others": all but its own.
            Labels, shape (N,): the transitions with another label than its own.

    Returns:
        The laws of each design.
    """
    N = len(x)
    groups = np.arange(N) if isinstance(known, str) else known
    past = isinstance(known, str) and known == "past"
    state = _standardised(x)[0]
    bandwidths = _bandwidths(state, past)
    columns = [[c for c in (d.y, d.extra) if c is not None] for d in designs]
    tables = [np.column_stack([state, *(_standardised(c)[0] for c in group)]) for group in columns]
    lines = [_running_lines(table, past) for table in tables]
    found = np.full((len(designs), 3, N), np.nan)
    for rows in np.array_split(np.arange(FIRST if past else 0, N), 1 + N * N // BLOCK):
        others = np.arange(rows[-1] if past else N)
        unknown = others >= rows[:, None] if past else groups == groups[rows, None]
        weights, h = _weights(state[others], state[rows], unknown, bandwidths[rows])
        for laws, table, line in zip(found, tables, lines, strict=True):
            laws[:, rows] = _laws(weights, table[others], table[rows], h, line[rows])
    units = [_standardised(d.y)[1:] for d in designs]
    return [
        LocalLines(mean=centre + unit * laws[0], scale=unit * laws[1], dof=laws[2], y=d.y)
        for d, laws, (centre, unit) in zip(designs, found, units, strict=True)
    ]


def _weights(
    x: np.ndarray, states: np.ndarray, unknown: np.ndarray, bandwidths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights of the transitions at x, 0 where unknown, for each state, and bandwidths, wider where sparse."""
    distance = np.abs(x - states[:, None])
    distance[unknown] = np.inf
    h = np.maximum(bandwidths, SMALLEST)
    sparse = np.flatnonzero((distance <= h[:, None]).sum(axis=1) < NEAREST)
    h[sparse] = np.maximum(h[sparse], np.partition(distance[sparse], NEAREST - 1, axis=1)[:, NEAREST - 1])
    weights = np.exp(-0.5 * (distance / h[:, None]) ** 2)
    return weights / weights.sum(axis=1, keepdims=True), h


def _laws(weights: np.ndarray, known: np.ndarray, at: np.ndarray, h: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Return mean, scale and degrees of freedom at each query, stacked: ridge regression on weighted moments."""
    number = 1 / (weights**2).sum(axis=1)
    centre = weights @ known
    k = known.shape[1]
    products = (known[:, :, None] * known[:, None, :]).reshape(len(known), -1)
    moments = (weights @ products).reshape(-1, k, k) - centre[:, :, None] * centre[:, None, :]
    regressors = [0, *range(2, k)]
    within = moments[:, regressors][:, :, regressors]
    across = moments[:, regressors, 1]
    ridge = np.zeros_like(within)
    ridge[:, 0, 0] = h**2 / number
    for i in range(1, len(regressors)):
        ridge[:, i, i] = np.maximum(within[:, i, i], 0) / number
    spread = within + ridge + SMALLEST**2 * np.eye(len(regressors))
    slope = np.linalg.solve(spread, (across + np.einsum("qij,qj->qi", ridge, line))[..., None])[..., 0]
    explained = 2 * (slope * across).sum(axis=1) - np.einsum("qi,qij,qj->q", slope, within, slope)
    dof = np.maximum(number - 1 - len(regressors), 1)
    noise = np.maximum(moments[:, 1, 1] - explained, SMALLEST**2) * number / dof
    away = at[:, regressors] - centre[:, regressors]
    leverage = (1 + (away * np.linalg.solve(spread, away[..., None])[..., 0]).sum(axis=1)) / number
    return np.stack([centre[:, 1] + (slope * away).sum(axis=1), np.sqrt(noise * (1 + leverage)), dof])


def _running_lines(data: np.ndarray, past: bool) -> np.ndarray:
    """Return the slopes of one line (or plane) through all transitions known at each, shape (N, regressors)."""
    N, k = data.shape
    products = np.concatenate([data, (data[:, :, None] * data[:, None, :]).reshape(N, -1)], axis=1)
    sums = np.cumsum(products, axis=0) - products if past else np.broadcast_to(products.sum(axis=0), (N, k + k * k))
    count = np.maximum(np.arange(N), 1)[:, None] if past else np.full((N, 1), N)
    centre = sums[:, :k] / count
    moments = (sums[:, k:] / count).reshape(N, k, k) - centre[:, :, None] * centre[:, None, :]
    regressors = [0, *range(2, k)]
    within = moments[:, regressors][:, :, regressors] + 1e-9 * np.eye(k - 1)
    return np.linalg.solve(within, moments[:, regressors, 1][..., None])[..., 0]


def _bandwidths(x: np.ndarray, past: bool) -> np.ndarray:
    """Return the bandwidth at each transition, from those known: renewed whenever a tenth more of them are."""
    N = len(x)
    if not past:
        return np.full(N, reference_bandwidth(x, -1 / 5))
    found, t = np.zeros(N), FIRST
    while t < N:
        until = max(t + 1, t + t // 10)
        found[t:until] = reference_bandwidth(x[:t], -1 / 5)
        t = until
    return found


def _standardised(column: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return a column in units of its deviation around its mean, a change of units under which laws are the same."""
    centre, unit = float(column.mean()), float(column.std()) or 1.0
    return (column - centre) / unit, centre, unit
