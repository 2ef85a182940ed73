"""The rest of a run by curves: of its own past, and beside other whole runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from descentcast.encoding import Identity, Log
from descentcast.encoding._coordinates import Transform
from descentcast.forecasts._curves import NOISES, TEMPER, CurveFit, fit_curve, log_mean
from descentcast.forecasts._shapes import Shapes, library
from descentcast.forecasts._steps import StepFit, step_by_step

ALONE, TOGETHER = "its own past", "other runs"
# Origins, as shares of the known rows, from which forecasts of what is known are scored; and how many other runs are
# forecast from their beginnings.
ORIGINS, HELD_OUT = (0.4, 0.55, 0.7, 0.85), 5
LEAST_ROWS = 6  # known at an origin
LAGS = 6
# Prior deviation of a run's stretch of the mean curve; the smallest deviation of a level, in units of the noise.
STRETCH, LEAST_LEVEL = 0.3, 0.5
LEAST_WEIGHT = 1e-4
LEAST_SPREAD = 1e-3  # of other runs at a step, over the deviation of what is known
# Values that were positive throughout are followed in logarithms unless these have less weight than so.
AS_THEY_ARE = 0.05
TRUSTED_RUNS = 3  # from so many on, what other runs never did is no longer reckoned with


@dataclass(frozen=True, eq=False)
class Past:
    """What is known of a run and of others.

    Attributes:
        values: The run, shape (T,).
        others: Other runs at the same rows and those to come, shape (R, T + H), NaN after their end.
        times: When rows were recorded and will be, in recorded steps from the first, shape (T + H,).
        low: A lower end that values never reach, if one is known; minus infinity where there is known to be none.
    """

    values: np.ndarray
    others: np.ndarray
    times: np.ndarray
    low: float | None = None

    @property
    def ahead(self) -> int:
        """H, how many rows are to come."""
        return len(self.times) - len(self.values)

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The coordinates in which curves are fitted: logarithms too where all values are positive, or alone."""
        if self.low is not None:
            return (Identity(),) if np.isneginf(self.low) else (Log(self.low),)
        positive = (self.values > 0).all() and (self.others[np.isfinite(self.others)] > 0).all()
        return (Identity(), Log()) if positive else (Identity(),)

    def until(self, rows: int) -> "Past":
        """Return what was known when only `rows` rows of this run were; those that came are to come."""
        T = len(self.values)
        return Past(self.values[:rows], self.others[:, :T], self.times[:T], self.low)


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to tell the rest.

    Attributes:
        name: What it rests on.
        transform: The coordinate of its fit.
        fit: The fit.
    """

    name: str
    transform: Transform
    fit: CurveFit | StepFit

    def log_density(self, lags: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the log density of values so many rows ahead, shape (H,)."""
        law = self.fit.law(lags)
        return law.log_density(self.transform.forward(values)) + self.transform.log_jacobian(values)

    def below(self, lags: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the distribution function at values so many rows ahead, (H, n) for n values."""
        held = self.transform.holds(values)
        found = np.zeros((len(lags), len(values)))
        found[:, held] = self.fit.law(lags).below(self.transform.forward(values[held]))
        return found

    def draw(self, draws: int, paths: int, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return paths of values, shape (draws, paths, steps)."""
        return self.transform.inverse(self.fit.draw(draws, paths, steps, rng))


@dataclass(frozen=True, eq=False)
class Curves:
    """Candidates that tell the rest, and their weights.

    Attributes:
        candidates: The candidates, M of them.
        weights: Their weights, shape (M,).
        scores: From how many known rows each origin foretold, and the log density that each candidate gave to what
            came, shape (M, lags), at the lags of `lags_up_to`.
    """

    candidates: tuple[Candidate, ...]
    weights: np.ndarray
    scores: tuple[tuple[int, np.ndarray], ...] = ()

    @property
    def rehearsed(self) -> list[tuple[int, np.ndarray]]:
        """From how many known rows each origin foretold, and the log density that the mixture gave to what came."""
        return [(rows, log_mean(scores, self.weights)) for rows, scores in self.scores]

    @property
    def transform(self) -> Transform:
        """The coordinate of most of the weight."""
        return self.candidates[int(np.argmax(self._logarithmic == (self.logarithms > 0.5)))].transform

    @property
    def logarithms(self) -> float:
        """The weight of what is fitted in logarithms."""
        return float(self.weights[self._logarithmic].sum())

    def in_one_scale(self) -> "Curves":
        """Return the candidates of one scale alone: logarithms, unless values as they are foretell much better.

        A mixture of both puts mass below zero as soon as values as they are have any weight. Scores are of densities
        of the values, so that scales compare.
        """
        kept = self._logarithmic == (self.logarithms >= AS_THEY_ARE)
        if kept.all() or not kept.any():
            return self
        weights = self.weights[kept] / self.weights[kept].sum()
        candidates = tuple(c for c, keep in zip(self.candidates, kept, strict=True) if keep)
        return Curves(candidates, weights, tuple((rows, scores[kept]) for rows, scores in self.scores))

    @property
    def _logarithmic(self) -> np.ndarray:
        return np.array([isinstance(c.transform, Log) for c in self.candidates])

    def below(self, lags: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the distribution function of the mixture at values, shape (H, n)."""
        found = np.zeros((len(lags), len(values)))
        for weight, candidate in zip(self.weights, self.candidates, strict=True):
            if weight > LEAST_WEIGHT:
                found += weight * candidate.below(lags, values)
        return found / self.weights[self.weights > LEAST_WEIGHT].sum()


def alone(z: np.ndarray, times: np.ndarray, logarithmic: bool) -> CurveFit:
    """Fit the curves of `library` to a run."""
    noise, unit = _scales(z)
    return fit_curve(z, library(times[: len(z)], times[len(z) :], logarithmic), noise, unit, surprise=unit)


def together(z: np.ndarray, others: np.ndarray) -> tuple[CurveFit, StepFit]:
    """Fit a run as the mean of others and a deviation of its own, in two ways.

    `z(t) = m(t) + a + b m(t) + c(t) + w(t)`, m the mean of R other runs, shape (R, T + H): a level, a stretch and
    correlated noise that stay what they are. What others say of a, c and w is in how each deviates from the mean of the
    rest: the evidence of their deviations weighs the candidates, and their levels at the last known row give the prior
    deviation of a. And `step_by_step`: the deviation is as large at each step as those of the others are there.
    """
    R = len(others)
    mean = mean_curve(others)
    compared = others[:HELD_OUT] if R > 1 else []
    deviations = [o - mean_curve(np.delete(others, r, axis=0)) for r, o in enumerate(compared)]
    floor = _scales(z)[1] * LEAST_SPREAD
    return _with_level(z, mean, deviations, R), step_by_step(z, mean, deviations, floor)


def _with_level(z: np.ndarray, mean: np.ndarray, deviations: list[np.ndarray], R: int) -> CurveFit:
    T = len(z)
    ended = [d[np.isfinite(d)] for d in deviations]
    ended = [d for d in ended if len(d) >= 3]
    own = z - mean[:T]
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
        np.column_stack([np.zeros(len(mean) - T), column[T:]]),
    )
    return fit_curve(
        own,
        shapes,
        noise,
        1.0,
        (level, STRETCH * span),
        prior - prior.max(),
        surprise=0.0 if R >= TRUSTED_RUNS else unit,
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


def curves(past: Past, within: bool = True, held_out: int = HELD_OUT) -> Curves:
    """Fit what there is, and weigh it by forecasts of what is known.

    From each origin within the run every candidate's fit to what came before is scored on what followed, at lags 1, 2,
    4, ..., by the mean log density over the lags: one vote an origin, as lags depend on each other. Other runs vote
    alike, each forecast from as many rows as are known of this one, by itself and by the others.

    Args:
        past: What is known.
        within: Whether origins within the run vote.
        held_out: How many other runs vote.
    """
    found = _fits(past, past.transforms)
    scored = []
    if within:
        scored = [
            (rows, _foretold(past.until(rows), past.values[rows:], past.transforms))
            for rows in origins(len(past.values))
        ]
    votes = [scores.mean(axis=1) for _, scores in scored]
    if len(past.others) > 1:
        votes += [_foretold(then, came, past.transforms).mean(axis=1) for then, came in _beginnings(past, held_out)]
    totals = np.sum([np.zeros(len(found)), *votes], axis=0)
    weights = np.exp(totals - np.logaddexp.reduce(totals))
    return Curves(tuple(found), weights, tuple(scored))


def origins(rows: int) -> list[int]:
    """Return how many rows are known at each origin within so many."""
    return sorted({int(share * rows) for share in ORIGINS if LEAST_ROWS <= int(share * rows) < rows})


def lags_up_to(rows: int) -> np.ndarray:
    """Return lags 1, 2, ..., a few of them, evenly in their logarithms, up to `rows`."""
    return np.unique(np.geomspace(1, rows, LAGS).round().astype(int))


def _fits(past: Past, transforms: Sequence[Transform]) -> list[Candidate]:
    found = []
    for transform in transforms:
        z = transform.forward(past.values)
        found.append(Candidate(ALONE, transform, alone(z, past.times, isinstance(transform, Log))))
        if len(past.others):
            others = np.full_like(past.others, np.nan)
            known = np.isfinite(past.others)
            others[known] = transform.forward(past.others[known])
            found += [Candidate(TOGETHER, transform, fit) for fit in together(z, others)]
    return found


def _foretold(then: Past, came: np.ndarray, transforms: Sequence[Transform]) -> np.ndarray:
    """Return the log density of what came by each candidate fitted to what was known then, shape (M, lags)."""
    lags = lags_up_to(len(came))
    return np.stack([candidate.log_density(lags, came[lags - 1]) for candidate in _fits(then, transforms)])


def _beginnings(past: Past, count: int) -> Iterator[tuple[Past, np.ndarray]]:
    """Yield other runs as if no more was known of them than of this one, beside the rest, and what came."""
    T = len(past.values)
    for r, other in enumerate(past.others[:count]):
        values = other[np.isfinite(other)]
        if len(values) > T:
            others = np.delete(past.others, r, axis=0)[:, : len(values)]
            yield Past(values[:T], others, past.times[: len(values)], past.low), values[T:]


def _scales(z: np.ndarray) -> tuple[float, float]:
    """Return a robust guess of the noise's deviation from increments, and the deviation of all that is known."""
    least = 1e-9 * (float(np.abs(z).max()) or 1.0)
    steps = np.diff(z)
    noise = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / np.sqrt(2) if len(steps) else 0.0
    unit = max(float(z.std()), least)
    return max(noise, 1e-3 * unit, least), unit
