"""Scaling laws: how fast a distance falls as more is seen."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.optimize import least_squares
from scipy.stats import t as student

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import RandomState
from descentcast.errors import ArgumentError

RESAMPLES = 400
LOST = 0.05  # Of the resamples without a logarithm: more, and the others say nothing of the interval.
LEVEL = 0.9
# Floors that a fit starts from, as shares of the smallest distance: the sum of squares can have two minima.
FIRST_FLOORS = (0.0, 0.5, 0.9, 0.99)
WORTH_A_NOTE = 0.25  # root mean square of the misfit in logarithms, above which it is no power law


@dataclass(frozen=True, eq=False, repr=False)
class ScalingLaw(Shown):
    """A power law `d(n) = coefficient * n^exponent + floor`.

    Attributes:
        exponent: The exponent; negative where distances fall.
        interval: 90 % interval of the exponent over seeds, (low, high); NaN where there is one seed.
        coefficient: The distance above the floor that the law gives at n = 1.
        floor: What more values do not remove; 0 where none was fitted.
        floor_interval: 90 % interval of the floor over seeds; NaN where there is one seed or no floor was fitted.
        misfit: Root mean square of `log distance - log law`.
        lengths: The lengths n, shape (L,).
        distances: Distances averaged over seeds, shape (L,).
        seeds: Number of seeds S.
        notes: What to be careful with, in words.
    """

    exponent: float
    interval: tuple[float, float]
    coefficient: float
    floor: float
    floor_interval: tuple[float, float]
    misfit: float
    lengths: Float[np.ndarray, "L"]
    distances: Float[np.ndarray, "L"]
    seeds: int
    notes: tuple[str, ...]

    def predict(self, lengths: ArrayLike) -> np.ndarray:
        """Return the distance that the law gives at each length, of the shape of `lengths`."""
        return self.coefficient * _checks.numeric("lengths", lengths) ** self.exponent + self.floor

    def to_dict(self) -> dict[str, Any]:
        """Return the law as plain values; what does not exist is None."""
        return {
            "exponent": self.exponent,
            "interval": _plain(self.interval),
            "coefficient": self.coefficient,
            "floor": self.floor,
            "floor_interval": _plain(self.floor_interval),
            "misfit": self.misfit,
            "lengths": self.lengths.tolist(),
            "distances": self.distances.tolist(),
            "seeds": self.seeds,
            "notes": list(self.notes),
        }


def scaling_law(
    lengths: ArrayLike, distances: ArrayLike, *, floor: bool = False, random_state: RandomState = 0
) -> ScalingLaw:
    """Fit a power law to distances at growing lengths.

    The estimand is the exponent a of `E d(n) = c n^a` (`+ f` with `floor`). With m_j the mean over seeds at length n_j,
    the fit minimises `sum over j of (log m_j - log(c n_j^a + f))^2` with f >= 0: relative errors count, and each length
    counts the same, so take lengths that are evenly spaced in their logarithm. Without a floor that is the regression
    of log m on log n.

    A seed is the unit of replication: distances of one run at different lengths depend on each other. With s the
    standard deviation of the exponent over 400 fits to resampled seeds, the interval is
    `a -+ t s sqrt(S / (S - 1))`, t the 95 % quantile of Student's law with S - 1 degrees of freedom: percentiles of
    resamples alone are much too narrow for a handful of seeds. It holds chance in the runs, not that the law is none.

    Args:
        lengths: Lengths n, shape (L,), positive and all different: at least 3, with a floor 4.
        distances: Distances, not negative, shape (L,) or (S, L): one row a seed.
        floor: Whether a floor is fitted. Without one, distances that level off make the exponent too small.
        random_state: Seed of the resamples.

    Returns:
        The law.

    Raises:
        ArgumentError: Shapes that do not fit, too few lengths, lengths that are not positive or not different,
            distances below zero or with a mean of zero.

    References:
        Liu et al. (2024), LLMs learn governing principles of dynamical systems, revealing an in-context neural scaling
        law (arXiv 2402.00795); Hesterberg (2015), What teachers should know about the bootstrap, Am. Stat. 69
        (the two corrections for few seeds).

    Examples:
        >>> n = np.array([10, 30, 100, 300, 1000])
        >>> law = scaling_law(n, 2 / n)
        >>> round(law.exponent, 6), round(law.coefficient, 6)
        (-1.0, 2.0)
        >>> law = scaling_law(n, 0.5 * n**-0.7 + 0.01, floor=True)
        >>> round(law.exponent, 3), round(law.floor, 4)
        (-0.7, 0.01)
    """
    n = _checks.vector("lengths", lengths, least=4 if floor else 3)
    if (n <= 0).any() or len(np.unique(n)) < len(n):
        raise ArgumentError(f"lengths == {n.tolist()!r:.80}, must be positive and all different")
    d = np.atleast_2d(_checks.finite("distances", _checks.numeric("distances", distances)))
    if d.ndim != 2 or d.shape[1] != len(n) or not len(d):
        raise ArgumentError(f"distances has shape {np.shape(distances)}, must be ({len(n)},) or (seeds, {len(n)})")
    mean = d.mean(axis=0)
    if (d < 0).any() or (mean == 0).any():
        raise ArgumentError(f"distances hold {d.min():g} with a smallest mean of {mean.min():g}, must not be negative")
    fit = _with_floor(n, mean) if floor else _without(n, mean[None])[0]
    interval = floor_interval = (np.nan, np.nan)
    lost = 0.0
    if len(d) > 1:
        again = _resampled(n, d, fit, floor, _checks.generator(random_state))
        lost = 1 - len(again) / RESAMPLES
        if lost <= LOST:
            interval, floor_interval = (_interval(fit[k], again[:, k], len(d)) for k in (1, 2))
        floor_interval = (max(floor_interval[0], 0.0), floor_interval[1]) if floor else (np.nan, np.nan)
    misfit = float(np.sqrt(np.mean((np.log(mean) - np.log(_law(fit, n))) ** 2)))
    return ScalingLaw(
        exponent=float(fit[1]),
        interval=interval,
        coefficient=float(np.exp(fit[0])),
        floor=float(fit[2]),
        floor_interval=floor_interval,
        misfit=misfit,
        lengths=n,
        distances=mean,
        seeds=len(d),
        notes=(*_notes(fit, misfit, n, mean, len(d), floor), *_lost(lost)),
    )


def _law(fit: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The law with the parameters log c, a, f."""
    return np.exp(fit[0] + fit[1] * np.log(n)) + fit[2]


def _without(n: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return log c, a and a floor of 0 for each of many curves (R, L), by regression: shape (R, 3)."""
    centred = np.log(n) - np.log(n).mean()
    logs = np.log(means)
    slope = logs @ centred / (centred @ centred)
    return np.stack([logs.mean(axis=1) - slope * np.log(n).mean(), slope, np.zeros(len(means))], axis=1)


def _with_floor(n: np.ndarray, mean: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
    """Return log c, a and f >= 0 by least squares of logarithms, from `first` or from several floors."""
    least, logs, log_n = mean.min(), np.log(mean), np.log(n)

    def misfits(fit: np.ndarray) -> np.ndarray:
        # The floor in units of the smallest distance, so that all parameters are of one size.
        return logs - np.log(np.exp(fit[0] + fit[1] * log_n) + fit[2] * least)

    def slopes(fit: np.ndarray) -> np.ndarray:
        falling = np.exp(fit[0] + fit[1] * log_n)
        return (
            -np.stack([falling, falling * log_n, np.full(len(n), least)], axis=1) / (falling + fit[2] * least)[:, None]
        )

    if first is None:
        shares = np.array(FIRST_FLOORS)
        starts = _without(n, mean - shares[:, None] * least)
        starts[:, 2] = shares
    else:
        starts = first[None] / [1, 1, least]
    # A law that is all floor has an exponent of any size: it is held to what could be told from a jump.
    bounds = ([-np.inf, -20, 0], [np.inf, 20, np.inf])
    # A start must not lie on its bound.
    fits = [
        least_squares(misfits, np.clip(start, [-np.inf, -19, 1e-6], [np.inf, 19, np.inf]), jac=slopes, bounds=bounds)  # pyright: ignore[reportArgumentType]
        for start in starts
    ]
    return min(fits, key=lambda fit: fit.cost).x * [1, 1, least]


def _resampled(
    n: np.ndarray, d: np.ndarray, fit: np.ndarray, floor: bool, rng: np.random.Generator
) -> Float[np.ndarray, "R 3"]:
    """Return the fits to means over resampled seeds."""
    means = d[rng.integers(len(d), size=(RESAMPLES, len(d)))].mean(axis=1)
    means = means[(means > 0).all(axis=1)]
    return np.array([_with_floor(n, mean, fit) for mean in means]) if floor else _without(n, means)


def _interval(estimate: float, again: np.ndarray, seeds: int) -> tuple[float, float]:
    reach = student.ppf((1 + LEVEL) / 2, seeds - 1) * again.std(ddof=1) * np.sqrt(seeds / (seeds - 1))
    return float(estimate - reach), float(estimate + reach)


def _notes(fit: np.ndarray, misfit: float, n: np.ndarray, mean: np.ndarray, seeds: int, floor: bool) -> tuple[str, ...]:
    notes = []
    if seeds == 1:
        notes.append("one seed: there is no interval")
    if misfit > WORTH_A_NOTE:
        notes.append(f"distances are off the law by a factor of {np.exp(misfit):.2g}: read the exponent with care")
    if floor and fit[2] > 0.9 * mean.min():
        notes.append("the last lengths lie on the floor: the exponent rests on the first ones")
    if floor and fit[2] < 1e-3 * mean.min():
        notes.append("no floor is seen at these lengths")
    return tuple(notes)


def _lost(share: float) -> tuple[str, ...]:
    if share <= LOST:
        return ()
    return (f"{share:.0%} of resampled seeds have a mean of zero, which has no logarithm: there is no interval",)


def _plain(interval: tuple[float, float]) -> list[float] | None:
    return None if np.isnan(interval[0]) else list(interval)
