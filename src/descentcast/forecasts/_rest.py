"""The rest of a run by curves: of its own past, and beside other whole runs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from descentcast.encoding import Identity, Log
from descentcast.encoding._coordinates import Transform
from descentcast.forecasts._curves import NOISES, TEMPER, CurveFit, blocks, even, fit_curve, log_mean
from descentcast.forecasts._shapes import Shapes, library

ALONE, TOGETHER = "its own past", "other runs"
# Origins, as shares of the known rows, from which forecasts of what is known are scored; and how many other runs are
# forecast from their beginnings.
ORIGINS, HELD_OUT = (0.4, 0.55, 0.7, 0.85), 5
LEAST_ROWS = 6  # known at an origin
LAGS = 6
# Prior deviation of a run's stretch of the mean curve; the smallest deviation of a level, in units of the noise.
STRETCH, LEAST_LEVEL = 0.3, 0.5
TRUSTED_RUNS = 3  # from so many on, what other runs never did is no longer reckoned with


@dataclass(frozen=True, eq=False)
class Past:
    """What is known of a run and of others, in the coordinate in which curves are fitted.

    Attributes:
        z: The run, shape (T,).
        others: Other runs at the same rows and those to come, shape (R, T + H), NaN after their end.
        times: When rows were recorded and will be, in recorded steps from the first, shape (T + H,).
        transform: From values to z.
    """

    z: np.ndarray
    others: np.ndarray
    times: np.ndarray
    transform: Transform

    @property
    def ahead(self) -> int:
        """H, how many rows are to come."""
        return len(self.times) - len(self.z)

    def until(self, rows: int) -> "Past":
        """Return what was known when only `rows` rows of this run were; those that came are to come."""
        T = len(self.z)
        return Past(self.z[:rows], self.others[:, :T], self.times[:T], self.transform)


@dataclass(frozen=True, eq=False)
class Curves:
    """Fits that tell the rest, and their weights.

    Attributes:
        names: What each is, M of them.
        fits: The fits.
        weights: Their weights, shape (M,).
        rehearsed: From how many known rows each origin foretold, and the log density that the mixture gave to what
            came, at the lags of `lags_up_to`.
    """

    names: tuple[str, ...]
    fits: tuple[CurveFit, ...]
    weights: np.ndarray
    rehearsed: tuple[tuple[int, np.ndarray], ...] = ()

    def log_density(self, lags: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the log density of the mixture at z, so many rows ahead, shape (H,)."""
        parts = np.stack([fit.law(lags).log_density(z) for fit in self.fits])
        return log_mean(parts, self.weights)

    def below(self, lags: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the distribution function of the mixture at z, shape (H, n)."""
        return sum(w * fit.law(lags).below(z) for w, fit in zip(self.weights, self.fits, strict=True))  # pyright: ignore[reportReturnType]


def better_transform(values: np.ndarray, times: np.ndarray) -> Transform:
    """Return the logarithm where all values are positive and curves foretell them better in it, else the identity.

    The prequential scores of all candidates are compared as densities of the values themselves.
    """
    if (values <= 0).any():
        return Identity()
    scores = []
    for transform in (Identity(), Log()):
        z = transform.forward(values)
        ends = blocks(len(z))
        centres = np.add.reduceat(z, ends[:-1]) / np.diff(ends)
        fit = alone(z, times, logarithmic=isinstance(transform, Log))
        jacobian = float(np.sum(transform.log_jacobian(transform.inverse(centres))))
        scores.append(
            float(np.logaddexp.reduce(TEMPER * fit.evidence + even(fit.shapes.names), axis=None)) / TEMPER + jacobian
        )
    return Log() if scores[1] > scores[0] else Identity()


def alone(z: np.ndarray, times: np.ndarray, logarithmic: bool) -> CurveFit:
    """Fit the curves of `library` to a run."""
    noise, unit = _scales(z)
    return fit_curve(z, library(times[: len(z)], times[len(z) :], logarithmic), noise, unit, surprise=unit)


def together(past: Past) -> CurveFit:
    """Fit a run as the mean of others, plus a level, a stretch and correlated noise of its own.

    `z(t) = m(t) + a + b m(t) + c(t) + w(t)`, m the mean of R other runs. What they say of a, c and w is in how each
    deviates from the mean of the rest: the evidence of their deviations weighs the candidates, and their levels at the
    last known row give the prior deviation of a.
    """
    T = len(past.z)
    mean = mean_curve(past.others)
    compared = past.others[:HELD_OUT] if len(past.others) > 1 else []
    deviations = [o - mean_curve(np.delete(past.others, r, axis=0)) for r, o in enumerate(compared)]
    ended = [d[np.isfinite(d)] for d in deviations]
    ended = [d for d in ended if len(d) >= 3]
    own = past.z - mean[:T]
    noise, unit = _scales(own)
    prior, level = np.zeros((len(NOISES), 2)), unit + abs(float(own[-1]))
    if ended:
        noise = float(np.median([noise, *(_scales(d)[0] for d in ended)]))
        levels = [float(np.mean(d[max(T - max(T // 10, 1), 0) : T] if len(d) > T else d[-1:])) for d in ended]
        level = max(float(np.sqrt(np.mean(np.square(levels)))), LEAST_LEVEL * noise)
        flat = [Shapes(("level",), np.zeros((len(d), 1)), np.zeros((1, 1))) for d in ended]
        scored = [fit_curve(d, f, noise, level, (1.0, 1.0)).evidence for d, f in zip(ended, flat, strict=True)]
        prior = prior + TEMPER * np.sum(scored, axis=0)
    span = float(np.ptp(mean[:T])) or 1.0
    column = (mean - mean[T - 1]) / span
    shapes = Shapes(
        (TOGETHER, TOGETHER),
        np.column_stack([np.zeros(T), column[:T]]),
        np.column_stack([np.zeros(past.ahead), column[T:]]),
    )
    return fit_curve(
        own,
        shapes,
        noise,
        1.0,
        (level, STRETCH * span),
        prior - prior.max(),
        surprise=0.0 if len(past.others) >= TRUSTED_RUNS else unit,
        offset=mean[T:],
    )


def mean_curve(others: np.ndarray) -> np.ndarray:
    """Return the mean of runs, shape (T + H,); where one ends, the mean increment of the others goes on."""
    known = np.isfinite(others)
    if known.all():
        return others.mean(axis=0)
    rises = np.diff(others, axis=1)
    count = np.isfinite(rises).sum(axis=0)
    steps = np.where(count > 0, np.nansum(rises, axis=0) / np.maximum(count, 1), 0.0)
    first = np.nanmean(others[:, 0])
    return first + np.concatenate([[0.0], np.cumsum(steps)])


def curves(past: Past) -> Curves:
    """Fit what there is, and weigh it by forecasts of what is known.

    From each origin within the run every fit to what came before is scored on what followed, at lags 1, 2, 4, ..., by
    the mean log density over the lags: one vote an origin, as lags depend on each other. Other runs vote alike, each
    forecast from as many rows as are known of this one, by itself and by the others.
    """
    names = (ALONE, TOGETHER) if len(past.others) else (ALONE,)
    within = [(rows, _foretold(past.until(rows), past.z[rows:])) for rows in origins(len(past.z))]
    votes = [scores.mean(axis=1) for _, scores in within]
    if len(past.others) > 1:
        votes += [_foretold(then, came).mean(axis=1) for then, came in _other_beginnings(past)]
    totals = np.sum([np.zeros(len(names)), *votes], axis=0)
    weights = np.exp(totals - np.logaddexp.reduce(totals))
    rehearsed = tuple((rows, log_mean(scores, weights)) for rows, scores in within)
    return Curves(names, _fits(past), weights, rehearsed)


def origins(rows: int) -> list[int]:
    """Return how many rows are known at each origin within so many."""
    return sorted({int(share * rows) for share in ORIGINS if LEAST_ROWS <= int(share * rows) < rows})


def lags_up_to(rows: int) -> np.ndarray:
    """Return lags 1, 2, ..., a few of them, evenly in their logarithms, up to `rows`."""
    return np.unique(np.geomspace(1, rows, LAGS).round().astype(int))


def _fits(past: Past) -> tuple[CurveFit, ...]:
    own = alone(past.z, past.times, isinstance(past.transform, Log))
    return (own, together(past)) if len(past.others) else (own,)


def _foretold(then: Past, came: np.ndarray) -> np.ndarray:
    """Return the log density of what came by each fit to what was known then, shape (M, lags)."""
    lags = lags_up_to(len(came))
    return np.stack([fit.law(lags).log_density(came[lags - 1]) for fit in _fits(then)])


def _other_beginnings(past: Past) -> Iterator[tuple[Past, np.ndarray]]:
    """Yield other runs as if no more was known of them than of this one, beside the rest, and what came."""
    T = len(past.z)
    for r, other in enumerate(past.others[:HELD_OUT]):
        z = other[np.isfinite(other)]
        if len(z) > T:
            others = np.delete(past.others, r, axis=0)[:, : len(z)]
            yield Past(z[:T], others, past.times[: len(z)], past.transform), z[T:]


def _scales(z: np.ndarray) -> tuple[float, float]:
    """Return a robust guess of the noise's deviation from increments, and the deviation of all that is known."""
    least = 1e-9 * (float(np.abs(z).max()) or 1.0)
    steps = np.diff(z)
    noise = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / np.sqrt(2) if len(steps) else 0.0
    unit = max(float(z.std()), least)
    return max(noise, 1e-3 * unit, least), unit
