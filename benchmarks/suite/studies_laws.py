"""Laws of a final value: forecasts and baselines in one form, and their scores."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks.suite.losses import fit_power_law, power_law
from scipy.special import ndtr

import descentcast as dc

CELLS, REACH = 400, 8.0  # of a Gaussian's grid, and how many deviations it reaches to either side
LEAST = 1e-6  # the smallest deviation of a Gaussian, in the coordinate's unit
LEVEL = 0.9
TINY = 1e-12
POINTS = 2001  # of the integral of a CRPS, on either side


@dataclass(frozen=True)
class Law:
    """One law a run: masses below the grid, in its cells and above it, shape (m, n + 2), on edges (m or 1, n + 1)."""

    masses: np.ndarray
    edges: np.ndarray

    def below(self, x: np.ndarray) -> np.ndarray:
        """Return the distribution functions, (m, k), at x (k,) or (m, k); mass off the grid is at infinity."""
        rows = np.cumsum(self.masses, axis=1)[:, :-1]
        edges = np.broadcast_to(self.edges, (len(rows), self.edges.shape[1]))
        at = np.broadcast_to(x, (len(rows), np.shape(x)[-1]))
        return np.stack([np.interp(u, e, r) for u, e, r in zip(at, edges, rows, strict=True)])

    def within(self, basins: list[tuple[float, float]]) -> np.ndarray:
        """Return the mass of each law in adjoining basins, shape (m, basins + 1): the last is what is in none."""
        found = np.diff(self.below(np.array([basins[0][0], *(high for _, high in basins)])), axis=1)
        return np.column_stack([found, np.maximum(1 - found.sum(axis=1), 0.0)])

    def repeated(self, starts: int, runs: int) -> "Law":
        """Return the law of each of `starts` starts once for each of its report runs."""
        edges = np.broadcast_to(self.edges, (starts, self.edges.shape[1]))
        return Law(np.repeat(self.masses, runs, axis=0), np.repeat(edges, runs, axis=0))

    def crps(self, observed: np.ndarray, low: float, high: float) -> np.ndarray:
        """Return the CRPS of each law, (m,), of values censored at `low` and `high`."""
        # On either side of what came by itself: there the integrand jumps.
        y = np.clip(observed, low, high)[:, None]
        part = np.linspace(0, 1, POINTS)
        left, right = low + (y - low) * part, y + (high - y) * part
        missed = np.trapezoid(self.below(left) ** 2, left, axis=1)
        return missed + np.trapezoid((1 - self.below(right)) ** 2, right, axis=1)

    def covered(self, observed: np.ndarray, level: float = LEVEL) -> np.ndarray:
        """Return whether the central interval of each law holds what came, (m,)."""
        at = self.below(observed[:, None])[:, 0]
        return (at >= (1 - level) / 2) & (at <= (1 + level) / 2)


def of_forecast(result: dc.Forecast, log: bool, alone: bool = False) -> Law:
    """Return the law of a forecast of one coordinate at its end, of its logarithm if `log`.

    Where there are resampled kernels it is the law that the forecast's quantiles are of, which holds what is not known
    of the kernel; `alone`, that of the one kernel.
    """
    (marginal,) = result.marginals
    density, overflow = (marginal.density, marginal.overflow) if alone else _stated(marginal)
    masses = np.column_stack([overflow[:, -1, 0], density[:, -1], overflow[:, -1, 1]])
    # What lies below zero has no logarithm: it is put where nothing that was trained comes.
    edges = np.log(np.maximum(marginal.kernel.edges, TINY)) if log else marginal.kernel.edges
    return Law(masses, edges[None])


def _stated(marginal: Any) -> tuple[np.ndarray, np.ndarray]:
    return marginal.averaged or (marginal.density, marginal.overflow)


def gaussian(mean: np.ndarray, deviation: np.ndarray) -> Law:
    """Return Gaussians on grids of their own; `mean` and `deviation` of shape (m,)."""
    deviation = np.maximum(deviation, LEAST)
    z = np.linspace(-REACH, REACH, CELLS + 1)
    cdf = np.concatenate([[0.0], ndtr(z), [1.0]])
    masses = np.broadcast_to(np.diff(cdf), (len(mean), CELLS + 2))
    return Law(masses, mean[:, None] + deviation[:, None] * z)


def mean_of(finals: np.ndarray, count: int) -> Law:
    """Return `count` times the Gaussian that the final values of the given runs suggest for one more run."""
    deviation = finals.std(ddof=1) * np.sqrt(1 + 1 / len(finals))
    return gaussian(np.full(count, finals.mean()), np.full(count, deviation))


def last_value(present: np.ndarray, known: list[np.ndarray], steps: int) -> Law:
    """Return random walks of `steps` steps from the present values, with the increments' mean square of known runs."""
    scale = np.sqrt(np.mean(np.concatenate([np.diff(k) for k in known]) ** 2))
    return gaussian(present, np.full(len(present), scale * np.sqrt(steps)))


def power_law_at(known: list[np.ndarray], row: int) -> tuple[float, float]:
    """Return mean and deviation of `log(a + b s^-c)` at a row, fitted to known runs of equal length together."""
    curve = np.mean(known, axis=0)
    parameters = fit_power_law(curve, None)
    residuals = np.stack(known) - power_law(parameters, np.arange(1, len(curve) + 1))
    scale = np.sqrt((residuals**2).sum() / max(residuals.size - 3, 1))
    return float(power_law(parameters, np.array([row + 1.0]))[0]), float(scale)
