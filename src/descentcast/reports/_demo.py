"""The demonstration: two recorded runs of a real problem, forecasts from starts that nobody ran, then the truth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from descentcast._shown import Shown
from descentcast.forecasts import Forecast, forecast, minima
from descentcast.kernels import InContextKernel, LocalLinearKernel, RecalibratedKernel, TransitionKernel
from descentcast.language_models import LanguageModel
from descentcast.problems import PhaseRetrieval
from descentcast.trajectories import Trajectories

INTRODUCTION = """\
Phase retrieval on the diabetes data by minibatch SGD: two minima, and noise decides between them.
Two recorded runs are read, one that ended in each minimum. Forecast: eight starts that nobody ran."""
RECORDED_STEPS = 100
HORIZON = 60
# Offsets from the separatrix: four starts well inside the basins, and four so near that noise decides.
OFFSETS = (-0.70, -0.35, -0.10, -0.04, 0.04, 0.10, 0.35, 0.70)
REAL_RUNS = 5_000


@dataclass(frozen=True, eq=False, repr=False)
class Demo(Shown):
    """Predicted and true landings of phase retrieval by minibatch SGD.

    Attributes:
        problem: The problem.
        context: The recorded runs, one a basin: all that the estimators saw.
        kernel: The language model's kernel.
        forecast: The language model's forecast.
        landings: Landing tables (start, basin, position, probability, low, high) by method, "truth" first.
        distances: Total variation of the landing from the truth, averaged over starts, by method.
        details: Numerical outcomes of the reading: log score, pooling rule, mass outside digits, notes.
    """

    problem: PhaseRetrieval
    context: Trajectories
    kernel: TransitionKernel
    forecast: Forecast
    landings: dict[str, pd.DataFrame]
    distances: dict[str, float]
    details: dict[str, Any]

    def table(self) -> pd.DataFrame:
        """Return the probability of the right-hand minimum by start and method."""
        columns = {method: _probabilities(frame)[:, 1] for method, frame in self.landings.items()}
        return pd.DataFrame({"start": self.forecast.starts, **columns})

    def scores(self) -> pd.DataFrame:
        """Return the total variation from the truth, a method."""
        return pd.DataFrame({"method": list(self.distances), "total variation": list(self.distances.values())})

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        return {
            "table": self.table().to_dict(orient="list"),
            "total_variation": self.distances,
            "minima": {"true": self.problem.minima.tolist(), "found": minima(self.kernel).to_dict()},
            "details": self.details,
            "forecast": self.forecast.to_dict(),
        }


def run_demo(
    model: str | LanguageModel,
    digits: int = 2,
    views: int = 4,
    seed: int = 0,
    progress: Callable[[int, int], Any] | None = None,
    recalibrate: bool = True,
    **options: str,
) -> Demo:
    """Forecast phase retrieval on real data from eight starts nobody ran, and compare with running SGD there.

    Args:
        model: A model, or its name.
        digits: Digits a value.
        views: Encodings that are pooled.
        seed: Seed of the recorded runs; the real runs that judge have seeds of their own.
        progress: Called with (views read, views in all).
        recalibrate: Correct the rows that are read by the recorded steps (`RecalibratedKernel`).
        **options: `rows` and `completion` of `InContextKernel`.

    Returns:
        The comparison: the language model, a local-linear kernel as fitted and recalibrated, the nearest minimum, and
        the truth by `REAL_RUNS` real runs a start.
    """
    problem = PhaseRetrieval()
    context = record_context(problem, seed)
    starts = problem.separatrix + np.array(OFFSETS)
    reader = InContextKernel(model, digits, views, progress=progress, random_state=seed, **options)
    estimator = (RecalibratedKernel(reader) if recalibrate else reader).fit(context)
    kernel = estimator.kernel_
    read: Any = getattr(estimator, "estimator_", estimator)
    assert isinstance(kernel, TransitionKernel)
    basins = [(kernel.edges[0], problem.separatrix), (problem.separatrix, kernel.edges[-1])]
    predicted = forecast(estimator, starts, HORIZON, basins=basins)
    mended = RecalibratedKernel(LocalLinearKernel()).fit(context, kernel.edges)
    classical, corrected = (forecast(fit, starts, HORIZON, basins=basins) for fit in (mended.estimator_, mended))
    nearest = np.abs(starts[:, None] - problem.minima).argmin(axis=1)
    landings = {
        "truth": _frame(starts, problem, true_law(problem, starts, seed + 1)),
        "language model": predicted.landing,
        "local-linear": classical.landing,
        "local-linear, recalibrated": corrected.landing,
        "nearest minimum": _frame(starts, problem, np.eye(3)[nearest]),
    }
    laws = {method: _probabilities(frame) for method, frame in landings.items()}
    distances = {
        method: float(np.abs(law - laws["truth"]).sum(axis=1).mean() / 2)
        for method, law in laws.items()
        if method != "truth"
    }
    details = {
        "model": model if isinstance(model, str) else model.name,
        "rows": reader.rows,
        "recalibrated": recalibrate,
        "pooling": read.rules_[0],
        "log_score": read.log_score_[0],
        "outside_mass": read.outside_mass_,
        "pruned_mass": read.pruned_mass_,
        "notes": list(predicted.notes),
    }
    return Demo(problem, context, kernel, predicted, landings, distances, details)


def record_context(problem: PhaseRetrieval, seed: int) -> Trajectories:
    """Return one recorded run a basin: the first of each kind among runs that start at the separatrix."""
    runs = problem.simulate(np.full(64, problem.separatrix), RECORDED_STEPS, seed)
    right = [bool(run.values[-1, 0] > problem.separatrix) for run in runs]
    return Trajectories((runs[right.index(False)], runs[right.index(True)]))


def true_law(problem: PhaseRetrieval, starts: np.ndarray, seed: int) -> np.ndarray:
    """Return the share of real runs that are left and right of the separatrix, or diverged, at the horizon."""
    ends = problem.paths(np.repeat(starts, REAL_RUNS), HORIZON, seed)[:, -1, 0].reshape(len(starts), REAL_RUNS)
    diverged = ~np.isfinite(ends)
    right = (ends > problem.separatrix) & ~diverged
    return np.stack([(~right & ~diverged).mean(axis=1), right.mean(axis=1), diverged.mean(axis=1)], axis=1)


def _probabilities(landing: pd.DataFrame) -> np.ndarray:
    """Return the probabilities of (left basin, right basin, anything else) for each start, shape (m, 3)."""
    left, right = (landing.loc[landing["basin"] == f"basin {i}", "probability"].to_numpy(float) for i in (0, 1))
    return np.stack([left, right, 1 - left - right], axis=1)


def _frame(starts: np.ndarray, problem: PhaseRetrieval, law: np.ndarray) -> pd.DataFrame:
    """Return a landing table of the problem's two basins, like those of forecasts."""
    names, places = ("basin 0", "basin 1", "diverged"), (*problem.minima, np.nan)
    spread = 1.645 * np.sqrt(law * (1 - law) / REAL_RUNS)
    return pd.DataFrame(
        {
            "start": np.repeat(starts, 3),
            "basin": np.tile(names, len(starts)),
            "position": np.tile(places, len(starts)),
            "probability": law.ravel(),
            "low": (law - spread).clip(0, 1).ravel(),
            "high": (law + spread).clip(0, 1).ravel(),
        }
    )
