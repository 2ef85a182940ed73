"""Bayes regression of a curve on shapes, with correlated noise: every law in closed form.

`z(t) = a + b h(t) + c(t) + w(t)`: w is white noise and c an autoregression or a random walk. Which shape h, which
correlation and which share of white noise are candidates on a grid; given a candidate, a, b and the scale of the noise
have a conjugate prior, so that the prequential score of all that is known (the evidence), the weights of candidates,
and the laws of what comes (Student-t) are exact. Values long past enter as means of blocks, exactly: 50 numbers stand
for a thousand.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaln, stdtr

from descentcast.forecasts._shapes import LEVEL, Shapes

LAST = "last value"
# Correlations of the noise: autoregressive coefficients (alone and beside as much white noise), and random walks of so
# many times the white noise's variance a step (inf: no white noise).
COEFFICIENTS, WALKS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.97), (1e-4, 1e-3, 1e-2, 0.1, 1.0, np.inf)
# A block is as long as a tenth of how long ago it was.
BLOCK_SHARE = 10
PRIOR_DEGREES = 2.0
# Prior deviations of level and of the change that a shape explains, in standard deviations of what is known.
LEVEL_SCALE, SHAPE_SCALE = 3.0, 2.0
# Candidates are one-step laws: their evidence overstates what they know of later steps. The power of the likelihood in
# the weights of candidates, chosen on development curves (docs/settings.md).
TEMPER = 0.5
MOST_CANDIDATES = 48
# What no shape foretells (a drop of the step size, the end of a plateau): with this probability the curve also wanders
# by so many deviations of what is known in as many rows again. Chosen like the power.
SURPRISE_SHARE, SURPRISE_SCALE, SURPRISE_ROWS = 0.2, 2.0, 4


@dataclass(frozen=True, eq=False)
class Noise:
    """One correlation: `cov = white [d = 0] + k(d)`, k that of an autoregression or of a random walk.

    Attributes:
        white: Variance of the white part.
        phi: Coefficient of the correlated part; 1 for a random walk.
        innovation: Variance of its innovations.
    """

    white: float
    phi: float
    innovation: float

    def covariance(self, lags: int) -> np.ndarray:
        """Return the covariance of the correlated part at lags 0, 1, ..., `lags`."""
        d = np.arange(lags + 1)
        if self.phi == 1:
            # A random walk from an unknown level: the level is in the regression, and any constant will do.
            return self.innovation * (lags - d / 2)
        return self.innovation / (1 - self.phi**2) * self.phi**d


NOISES = (
    *(Noise(0.0, phi, 1 - phi**2) for phi in COEFFICIENTS),
    *(Noise(1.0, phi, 1 - phi**2) for phi in COEFFICIENTS[3:]),
    *(Noise(0.0, 1.0, 1.0) if np.isinf(q) else Noise(1.0, 1.0, q) for q in WALKS),
)
# Noise that leaves a level for good: with no shape, "last value". A slower walk is as good as a level.
WALKING = np.array([noise.phi == 1 and noise.innovation >= 0.01 * noise.white for noise in NOISES])


@dataclass(frozen=True, eq=False)
class Law:
    """A mixture of Student-t laws at each of H times.

    Attributes:
        weights: Weights of the C parts, shape (C,).
        mean: Locations, shape (C, H).
        scale: Scales, shape (C, H).
        dof: Degrees of freedom, the same for all.
    """

    weights: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    dof: float

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Return the log density of z, shape (H,)."""
        half = self.dof / 2
        constant = gammaln(half + 0.5) - gammaln(half) - 0.5 * np.log(self.dof * np.pi)
        parts = constant - np.log(self.scale) - (half + 0.5) * np.log1p(((z - self.mean) / self.scale) ** 2 / self.dof)
        return log_mean(parts, self.weights)

    def below(self, z: np.ndarray) -> np.ndarray:
        """Return the distribution function at z, shape (..., n) for z of shape (n,): (H, n)."""
        found = np.zeros((self.mean.shape[1], len(z)))
        for weight, mean, scale in zip(self.weights, self.mean, self.scale, strict=True):
            found += weight * stdtr(self.dof, (z - mean[:, None]) / scale[:, None])
        return found


@dataclass(frozen=True, eq=False)
class CurveFit:
    """The candidates after what is known, J noises times S shapes.

    Attributes:
        shapes: The shapes.
        weights: Posterior weights, shape (J, S).
        coefficients: Posterior means of level and shape, shape (J, S, 2).
        covariance: Their posterior covariances over the noise's variance, shape (J, S, 2, 2).
        state: For each noise: how the present value of the correlated part depends on z, on the level and on the
            shapes (so that it is `state[0] - a state[1] - b state[2 + s]`), shape (J, 2 + S).
        spread: Variance of the present value of the correlated part, given those, over the noise's, shape (J,).
        dof: Degrees of freedom of the noise's variance.
        scale: Its scale, shape (J, S).
        evidence: Log prequential score of z for every candidate, nats, shape (J, S).
        surprise: Deviation a step of what no shape foretells, where it happens.
        rows: How many rows are known.
        offset: What is added to the rows to come, shape (H,).
    """

    shapes: Shapes
    weights: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    state: np.ndarray
    spread: np.ndarray
    dof: float
    scale: np.ndarray
    evidence: np.ndarray
    surprise: float
    rows: int
    offset: np.ndarray

    @property
    def groups(self) -> dict[str, float]:
        """The weight of each kind of candidate."""
        found: dict[str, float] = {}
        for s, name in enumerate(self.shapes.names):
            for kind, rows in ((name, ~WALKING), (LAST if name == LEVEL else name, WALKING)):
                found[kind] = found.get(kind, 0.0) + float(self.weights[rows, s].sum())
        return found

    def likely(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return noise, shape and weight of the candidates that carry the posterior, the rest shared among them."""
        flat = self.weights.ravel()
        order = np.argsort(flat)[::-1][:MOST_CANDIDATES]
        order = order[flat[order] > 1e-4]
        j, s = np.unravel_index(order, self.weights.shape)
        return j, s, flat[order] / flat[order].sum()

    def law(self, lags: np.ndarray) -> Law:
        """Return the law of z so many rows after the last known, lags of shape (H,) from 1 on."""
        j, s, weights = self.likely()
        phi, innovation, white = (np.array([getattr(NOISES[i], n) for i in j]) for n in ("phi", "innovation", "white"))
        decay = phi[:, None] ** lags
        h = self.shapes.ahead[lags - 1][:, s].T
        a, b = self.coefficients[j, s].T
        known, level, shape = self.state[j, 0], self.state[j, 1], self.state[j, 2 + s]
        mean = a[:, None] + b[:, None] * h + decay * (known - a * level - b * shape)[:, None]
        x = np.stack([1 - decay * level[:, None], h - decay * shape[:, None]], axis=-1)
        coefficients = np.einsum("chi,cij,chj->ch", x, self.covariance[j, s], x)
        with np.errstate(divide="ignore", invalid="ignore"):
            grown = np.where(phi[:, None] == 1, lags, (1 - decay**2) / (1 - phi[:, None] ** 2))
        variance = coefficients + decay**2 * self.spread[j, None] + innovation[:, None] * grown + white[:, None]
        variance = variance * self.scale[j, s][:, None]
        mean = mean + self.offset[lags - 1]
        if self.surprise == 0:
            return Law(weights, mean, np.sqrt(variance), self.dof)
        wider = variance + self.surprise**2 * np.minimum(lags, SURPRISE_ROWS * self.rows)
        shares = np.concatenate([(1 - SURPRISE_SHARE) * weights, SURPRISE_SHARE * weights])
        return Law(shares, np.tile(mean, (2, 1)), np.sqrt(np.concatenate([variance, wider])), self.dof)

    def draw(self, draws: int, paths: int, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return paths of z, shape (draws, paths, steps): each draw has a candidate and parameters of its own."""
        j, s, weights = self.likely()
        # Systematic draws of candidates: as near to their weights as whole numbers allow.
        places = (rng.random() + np.arange(draws)) / draws
        chosen = np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)
        j, s = j[chosen], s[chosen]
        phi, innovation, white = (np.array([getattr(NOISES[i], n) for i in j]) for n in ("phi", "innovation", "white"))
        variance = self.scale[j, s] * self.dof / rng.chisquare(self.dof, draws)
        root = np.linalg.cholesky(self.covariance[j, s])
        moved = (root @ rng.standard_normal((draws, 2, 1)))[..., 0]
        a, b = (self.coefficients[j, s] + np.sqrt(variance)[:, None] * moved).T
        c = self.state[j, 0] - a * self.state[j, 1] - b * self.state[j, 2 + s]
        c = c + np.sqrt(self.spread[j] * variance) * rng.standard_normal(draws)
        h = self.shapes.ahead[:steps, s].T
        found = np.empty((draws, paths, steps))
        now = np.repeat(c[:, None], paths, axis=1)
        step, dust = (np.sqrt(v * variance)[:, None] for v in (innovation, white))
        wandering, size = np.zeros((draws, paths)), self.surprise * (rng.random((draws, paths)) < SURPRISE_SHARE)
        for t in range(steps):
            now = phi[:, None] * now + step * rng.standard_normal((draws, paths))
            found[..., t] = now + dust * rng.standard_normal((draws, paths))
            if self.surprise and t < SURPRISE_ROWS * self.rows:
                wandering = wandering + size * rng.standard_normal((draws, paths))
            found[..., t] += wandering
        return found + a[:, None, None] + b[:, None, None] * h[:, None, :] + self.offset[:steps]


def fit_curve(
    z: np.ndarray,
    shapes: Shapes,
    noise: float,
    unit: float,
    scales: tuple[float, float] = (LEVEL_SCALE, SHAPE_SCALE),
    prior: np.ndarray | None = None,
    surprise: float = 0.0,
    offset: np.ndarray | None = None,
) -> CurveFit:
    """Weigh every candidate by its prequential score of z.

    Args:
        z: What is known, shape (T,), evenly recorded.
        shapes: The shapes at the same rows and at those to come.
        noise: A first guess of the noise's standard deviation, on which the prior of its variance rests.
        unit: The unit of the prior deviations of the coefficients.
        scales: Prior deviations of level and shape, in that unit.
        prior: Log prior weights of the candidates, shape (J, S); by default each kind of curve is as likely as another.
        surprise: The unit of what no shape foretells; 0 where nothing of the kind is reckoned with.
        offset: What is added to the rows to come, shape (H,).
    """
    ends = blocks(len(z))
    starts, sizes = ends[:-1], np.diff(ends)
    means = np.add.reduceat(np.column_stack([z, np.ones(len(z)), shapes.known]), starts, axis=0) / sizes[:, None]
    centre = means[-1, 0]
    means[:, 0] -= centre
    n, S = len(means), shapes.known.shape[1]
    precision = noise**2 / (np.array(scales) * unit) ** 2  # of the coefficients, over that of the noise
    shape = (len(NOISES), S)
    coefficients, covariance = np.empty((*shape, 2)), np.empty((*shape, 2, 2))
    evidence, scale = np.empty(shape), np.empty(shape)
    state, spread = np.empty((len(NOISES), 2 + S)), np.empty(len(NOISES))
    dof = PRIOR_DEGREES + n
    for j, (root, present, variance) in enumerate(_factors(len(z))):
        white = solve_triangular(root, means, lower=True, check_finite=False)
        back = solve_triangular(root, present, lower=True, check_finite=False)
        state[j] = back @ white
        spread[j] = max(variance - back @ back, 0.0)
        y, one, h = white[:, 0], white[:, 1], white[:, 2:]
        p00, p11 = one @ one + precision[0], (h * h).sum(axis=0) + precision[1]
        p01, r0, r1 = one @ h, one @ y, h.T @ y
        det = p00 * p11 - p01**2
        adjugate = np.stack([np.stack([p11, -p01], -1), np.stack([-p01, np.full(S, p00)], -1)], -2)
        covariance[j] = adjugate / det[:, None, None]
        coefficients[j] = np.einsum("sij,sj->si", covariance[j], np.stack([np.full(S, r0), r1], -1))
        left = y @ y - coefficients[j, :, 0] * r0 - coefficients[j, :, 1] * r1
        left = np.maximum(left, 0) + PRIOR_DEGREES * noise**2
        scale[j] = left / dof
        evidence[j] = (
            -np.log(np.diag(root)).sum()
            - 0.5 * np.log(det / precision.prod())
            - dof / 2 * np.log(left)
            + PRIOR_DEGREES / 2 * np.log(PRIOR_DEGREES * noise**2)
            + gammaln(dof / 2)
            - gammaln(PRIOR_DEGREES / 2)
            - n / 2 * np.log(np.pi)
        )
    coefficients[..., 0] += centre
    state[:, 0] += centre * state[:, 1]
    weights = TEMPER * evidence + (even(shapes.names) if prior is None else prior)
    weights = np.exp(weights - weights.max())
    weights /= weights.sum()
    return CurveFit(
        shapes=shapes,
        weights=weights,
        coefficients=coefficients,
        covariance=covariance,
        state=state,
        spread=spread,
        dof=float(dof),
        scale=scale,
        evidence=evidence,
        surprise=SURPRISE_SCALE * surprise / np.sqrt(len(z)),
        rows=len(z),
        offset=np.zeros(len(shapes.ahead)) if offset is None else offset,
    )


def log_mean(logarithms: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the logarithm of the weighted sum over the first axis of what `logarithms` are the logarithms of."""
    with np.errstate(divide="ignore"):
        return np.logaddexp.reduce(logarithms + np.log(weights)[:, None], axis=0)


def blocks(rows: int) -> np.ndarray:
    """Return where blocks of rows begin, and the end: single rows lately, longer blocks the longer ago.

    Examples:
        >>> np.diff(blocks(40))
        array([1, 3, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
               1, 1, 1, 1, 1, 1, 1])
    """
    cuts, at = [rows], rows
    while at > 0:
        at = max(at - max(1, (rows - at) // BLOCK_SHARE), 0)
        cuts.append(at)
    return np.array(cuts[::-1])


@lru_cache(maxsize=64)
def _factors(rows: int) -> tuple[tuple[np.ndarray, np.ndarray, float], ...]:
    """Return for each noise the Cholesky factor of the blocks' covariance, that with the last row's state, its own."""
    ends, found = blocks(rows), []
    for noise in NOISES:
        k = noise.covariance(rows)
        # F is the second antidifference of k: sums of k over two blocks are differences of four of its values.
        rise = np.cumsum(np.concatenate([[k[0] / 2], k[1:]]))
        F = np.concatenate([[0.0], np.cumsum(rise)])
        a, sizes = ends[:-1], np.diff(ends)
        b = ends[1:]

        def sums(a0: np.ndarray, a1: np.ndarray, b0: np.ndarray, b1: np.ndarray, F: np.ndarray = F) -> np.ndarray:
            far, near = F[np.abs(a1 - b0)] + F[np.abs(a0 - b1)], F[np.abs(a0 - b0)] + F[np.abs(a1 - b1)]
            return far - near

        among = sums(a[:, None], b[:, None], a, b) / (sizes[:, None] * sizes)
        present = sums(a, b, np.array(rows - 1), np.array(rows)) / sizes
        among[np.diag_indices_from(among)] += noise.white / sizes
        root = np.linalg.cholesky(among + 1e-10 * k[0] * np.eye(len(a)))
        found.append((root, present, float(k[0])))
    return tuple(found)


def even(names: tuple[str, ...]) -> np.ndarray:
    """Return log prior weights with which level, last value, and each kind of shape are equally likely."""
    prior = np.empty((len(NOISES), len(names)))
    counts = {name: names.count(name) for name in set(names)}
    for s, name in enumerate(names):
        if name == LEVEL:
            prior[:, s] = -np.log(np.where(WALKING, WALKING.sum(), (~WALKING).sum()))
        else:
            prior[:, s] = -np.log(counts[name] * len(NOISES))
    return prior
