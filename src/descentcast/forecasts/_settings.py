"""Forecasts over a grid of step sizes and batch sizes, from runs at one setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._shown import Shown
from descentcast.errors import ArgumentError
from descentcast.forecasts._forecast import forecast
from descentcast.forecasts._marginal import INTERVAL, start_laws
from descentcast.forecasts._result import Forecast
from descentcast.kernels import KernelEstimator, LocalLinearKernel, TransitionKernel, propagate, rescaled_edges
from descentcast.kernels._resampling import redrawn
from descentcast.kernels._rescaling import caveats
from descentcast.trajectories import Trajectories

# A run that is so many lengths of the hull of runs and starts outside it has diverged.
REACH = 5.0
# A grid is doubled until so little leaves it, or it reaches to where runs count as diverged.
LEFT = 1e-3
REPLICATES = 12
LEVELS = (0.05, 0.5, 0.95)


@dataclass(frozen=True, eq=False, repr=False)
class SettingsForecast(Shown):
    """Forecasts at every step size and batch size of a grid.

    Attributes:
        table: start, step_factor, batch_factor, step, batch (NaN where the runs do not say), divergence, low, high,
            q05, q50, q95: one row a setting and start. `divergence` is the probability of having left the bounds within
            the horizon, `low` and `high` its 5 % and 95 % quantiles over resampled runs (NaN without), and the
            quantiles are of the state at the horizon, infinite in what has left.
        forecasts: The forecast at each (step_factor, batch_factor).
        edges: batch_factor, start, step_factor, low, high: where the probability of divergence crosses 1/2, linear in
            the logarithm of the step size; NaN where it does not within the grid. The edge of stability. `low` is 0,
            or `high` infinite, where resampled runs have it beyond the factors.
        bounds: Beyond these a run has diverged.
        notes: What the numbers rest on, in words.
    """

    table: pd.DataFrame
    forecasts: dict[tuple[float, float], Forecast]
    edges: pd.DataFrame
    bounds: tuple[float, float]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return tables, bounds and notes as plain values; what does not exist or is infinite as None."""
        return {
            "table": _records(self.table),
            "edges": _records(self.edges),
            "bounds": list(self.bounds),
            "notes": list(self.notes),
        }


def forecast_settings(
    fitted: Any,
    starts: ArrayLike,
    steps: int,
    step_factors: Sequence[float] = (1.0,),
    batch_factors: Sequence[float] = (1.0,),
    estimator: KernelEstimator | None = None,
    bounds: tuple[float, float] | None = None,
    replicates: int = REPLICATES,
) -> SettingsForecast:
    """Forecast at step sizes and batch sizes that nobody ran, and where training becomes unstable.

    Kernels are carried over by the rule of plain SGD (`TransitionKernel.rescaled`). For runs, the kernel of each
    setting is estimated on a grid of its own: wide enough that hardly anything leaves it, or up to the bounds, and fine
    beside one step at that setting. Outside the visited states the estimator extrapolates, so that a probability of
    divergence rests on the slope at the end of what runs have seen.

    Args:
        fitted: Runs of one coordinate, or what is fixed to one grid: a fitted estimator or a `TransitionKernel`, whose
            grid are the bounds.
        starts: Starting states, shape (m,).
        steps: The horizon.
        step_factors: New step sizes over that of the runs, each greater than 0.
        batch_factors: New batch sizes over that of the runs, each greater than 0.
        estimator: What is fitted to runs; `LocalLinearKernel()` by default.
        bounds: Beyond these a run has diverged; by default five times the hull of runs and starts on either side of it.
        replicates: How many resampled kernels intervals rest on; 0 for none.

    Raises:
        ArgumentError: Factors that are not positive, runs of several coordinates, an estimator of kernels of several,
            starts outside the bounds.

    Examples:
        >>> import descentcast as dc
        >>> runs = dc.problems.Quadratic(step_size=0.1).simulate([2.0, -2.0], steps=300)
        >>> found = forecast_settings(
        ...     runs, [1.0], 100, step_factors=[1, 10, 30], estimator=dc.AutoregressiveKernel(), replicates=0
        ... )
        >>> found.table["divergence"].round(3).tolist()  # at 2 over the curvature, 20 times the step size of the runs
        [0.0, 0.0, 1.0]
    """
    points = _checks.vector("starts", starts)
    by_step, by_batch = (
        [_checks.real(name, factor, low=0, open_low=True) for factor in _checks.several(name, given)]
        for name, given in (("step_factors", step_factors), ("batch_factors", batch_factors))
    )
    factors = [(step, batch) for batch in by_batch for step in by_step]
    if not factors:
        raise ArgumentError("step_factors and batch_factors must hold one factor each at least")
    count = _checks.integer("replicates", replicates, low=0)
    source: _OfRuns | _OfOneGrid
    if isinstance(fitted, Trajectories):
        source = _OfRuns(fitted, points, steps, estimator, bounds, count)
    else:
        if estimator is not None or bounds is not None:
            raise ArgumentError(
                "estimator and bounds are for runs: what is fitted has its own, and its grid are bounds"
            )
        source = _OfOneGrid(fitted, count)
    setting, rows, made, shares = source.setting, [], {}, {}
    for step, batch in factors:
        kernel, again = source.at(step, batch)
        result = made[step, batch] = forecast(kernel, points, steps)
        gone = _gone(kernel, points, steps)
        by_run = np.array([_gone(k, points, steps) for k in again]).reshape(-1, len(points))
        shares[step, batch] = np.vstack([gone, by_run])
        low, high = np.quantile(shares[step, batch], INTERVAL, axis=0) if again else np.full((2, len(points)), np.nan)
        quantiles = np.asarray(result.quantiles(LEVELS))[:, -1]
        for i, start in enumerate(points.tolist()):
            rows.append(
                {
                    "start": start,
                    "step_factor": step,
                    "batch_factor": batch,
                    "step": _number(setting.get("step")) * step,
                    "batch": _number(setting.get("batch")) * batch,
                    "divergence": gone[i],
                    "low": low[i],
                    "high": high[i],
                    **dict(zip(("q05", "q50", "q95"), quantiles[i].tolist(), strict=True)),
                }
            )
    edges = [_edge(shares, sorted(set(by_step)), batch, points, i) for batch in by_batch for i in range(len(points))]
    return SettingsForecast(pd.DataFrame(rows), made, pd.DataFrame(edges), source.bounds, source.notes)


class _OfRuns:
    """Kernels of runs, each setting on a grid of its own."""

    def __init__(
        self,
        runs: Trajectories,
        starts: np.ndarray,
        steps: int,
        estimator: KernelEstimator | None,
        bounds: tuple[float, float] | None,
        replicates: int,
    ) -> None:
        if len(runs.names) > 1:
            raise ArgumentError(f"fitted has the coordinates {list(runs.names)}, must have one")
        own = LocalLinearKernel() if estimator is None else estimator
        if not isinstance(own, KernelEstimator):
            raise ArgumentError(f"estimator is a {type(own).__name__}, must be one such as LocalLinearKernel()")
        values = np.concatenate([*runs.coordinate(0), starts])
        self._hull = float(values.min()), float(values.max())
        length = self._hull[1] - self._hull[0] or max(abs(self._hull[0]), 1.0)
        far = self._hull[0] - REACH * length, self._hull[1] + REACH * length
        self.bounds = far if bounds is None else _checks.interval("bounds", bounds)
        if self._hull[0] < self.bounds[0] or self._hull[1] > self.bounds[1]:
            raise ArgumentError(f"bounds == {self.bounds}, must hold runs and starts, {self._hull}")
        self._runs, self._starts, self._steps, self._estimator = runs, starts, steps, own
        gaps = sorted({int(gap) for run in runs for gap in np.diff(run.steps)})
        self.setting = {**runs.setting, "stride": gaps[0]} if len(gaps) == 1 else dict(runs.setting)
        mixed = f"rescaled as if a step at a time, runs were recorded every {gaps[0]} to {gaps[-1]} steps"
        rngs = np.random.default_rng(0).spawn(replicates)
        drawn = [redrawn([run.values for run in runs], rng) for rng in rngs]
        self._again = [Trajectories.from_arrays(d, names=runs.names, setting=runs.setting) for d in drawn]
        self.notes = (
            *caveats(self.setting),
            *([mixed] if len(gaps) > 1 else []),
            *(f"runs have different settings of {name}, factors are of all of them together" for name in _unlike(runs)),
            f"diverged: beyond [{self.bounds[0]:.4g}, {self.bounds[1]:.4g}], where no run has been",
        )

    def at(self, step: float, batch: float) -> tuple[TransitionKernel, list[TransitionKernel]]:
        """Return the kernel at a setting, and those of resampled runs on the same grid."""
        wide = 0.0
        while True:
            grid = rescaled_edges(self._runs, 0, step, batch, self._within(step, batch, wide))
            kernel = self._fit(self._runs, grid, step, batch)
            whole = grid[0] <= self.bounds[0] and grid[-1] >= self.bounds[1]
            if whole or _gone(kernel, self._starts, self._steps).max() < LEFT:
                return kernel, [self._fit(drawn, grid, step, batch) for drawn in self._again]
            wide = 2 * wide + 1

    def _within(self, step: float, batch: float, wide: float) -> tuple[float, float]:
        default = rescaled_edges(self._runs, 0, step, batch)
        low, high = min(default[0], self._hull[0]), max(default[-1], self._hull[1])
        more = wide * (high - low) / 2
        return max(low - more, self.bounds[0]), min(high + more, self.bounds[1])

    def _fit(self, runs: Trajectories, grid: np.ndarray, step: float, batch: float) -> TransitionKernel:
        kernel = type(self._estimator)(**self._estimator.get_params(deep=False)).fit(runs, grid).kernel_
        if not isinstance(kernel, TransitionKernel):
            raise ArgumentError(f"estimator makes a {type(kernel).__name__}, must make kernels of one coordinate each")
        return kernel.rescaled(step, batch)


class _OfOneGrid:
    """A kernel, or a fitted estimator, of one grid."""

    def __init__(self, fitted: Any, replicates: int) -> None:
        kernel = getattr(fitted, "kernel_", fitted)
        if not isinstance(kernel, TransitionKernel):
            raise ArgumentError(
                f"fitted is a {type(fitted).__name__}, must be runs, a fitted estimator or a kernel of one coordinate"
            )
        self._kernel = kernel
        self._again = list(getattr(fitted, "replicates_", None) or ())[:replicates] if replicates else []
        self.setting, self.bounds = dict(kernel.setting), (float(kernel.edges[0]), float(kernel.edges[-1]))
        self.notes = (*caveats(self.setting), "one grid for all settings, whose ends are the bounds")

    def at(self, step: float, batch: float) -> tuple[TransitionKernel, list[TransitionKernel]]:
        """Return the kernel at a setting, and its replicates."""
        return self._kernel.rescaled(step, batch), [k.rescaled(step, batch) for k in self._again]


def _gone(kernel: TransitionKernel, starts: np.ndarray, steps: int) -> np.ndarray:
    """Return the probability of having left the grid after so many steps, shape (m,)."""
    return propagate(kernel, start_laws(kernel, starts), steps)[1][:, -1].sum(axis=1)


def _edge(
    shares: dict[tuple[float, float], np.ndarray], steps: list[float], batch: float, starts: np.ndarray, i: int
) -> dict[str, float]:
    """Return where the probability of divergence crosses 1/2, and its interval over replicates."""
    curves = np.stack([shares[step, batch][:, i] for step in steps])
    found = np.array([_crossing(np.log(steps), curve) for curve in curves.T])
    edge = found[0] if 0 < found[0] < np.inf else np.nan
    low = high = np.nan
    if len(found) > 1 and np.isfinite(found).all():
        low, high = np.quantile(found, INTERVAL)
    elif len(found) > 1:  # There is no line to infinity.
        low, high = (np.quantile(found, q, method=m) for q, m in zip(INTERVAL, ("lower", "higher"), strict=True))
    return {"batch_factor": batch, "start": float(starts[i]), "step_factor": edge, "low": low, "high": high}


def _crossing(logarithms: np.ndarray, curve: np.ndarray) -> float:
    """Return where a curve passes 1/2: 0 or infinity where that is before its first point or after its last."""
    above = np.flatnonzero(curve >= 0.5)
    if not len(above) or above[0] == 0:
        return 0.0 if len(above) else np.inf
    k = above[0]
    share = (0.5 - curve[k - 1]) / (curve[k] - curve[k - 1])
    return float(np.exp(logarithms[k - 1] + share * (logarithms[k] - logarithms[k - 1])))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _unlike(runs: Trajectories) -> list[str]:
    """Return which of the settings that kernels are rescaled by differ between runs."""
    known = {name for run in runs for name in ("step", "batch") if name in run.setting}
    return sorted(known - set(runs.setting))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table.to_dict(orient="records")
    return [{str(k): float(v) if np.isfinite(v) else None for k, v in row.items()} for row in rows]
