"""Phases of a training: stretches of steps within which one law moves a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._shown import Shown
from descentcast.errors import ArgumentError, DataError
from descentcast.kernels._change_points import change_points
from descentcast.trajectories import Trajectories, Trajectory

# Names under which a step size is recorded.
STEP_SIZES = ("step_size", "step_size:0", "lr", "learning_rate", "train/learning_rate", "eta")
# A schedule of at most so many values is taken as it is; one that changes all the time is cut where it has changed by
# this factor, into phases of so many recorded transitions at least.
FEW_RATES, RATIO, SHORTEST = 8, 1.5, 10


@dataclass(frozen=True, eq=False, repr=False)
class Phases(Shown):
    """Stretches of recorded transitions, each of one law.

    Attributes:
        begins: The first transition of each phase, shape (K,), the first of them 0.
        steps: How many transitions there are.
        rates: The step size of every transition, shape (steps,), NaN where none is known.
        source: Where the phases come from: "recorded" (a column of step sizes), "setting" (a schedule of step sizes in
            the setting of the runs), "given", or "detected".
    """

    begins: np.ndarray
    steps: int
    rates: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.begins)

    @property
    def ends(self) -> np.ndarray:
        """The transition after the last of each phase, shape (K,)."""
        return np.append(self.begins[1:], self.steps)

    @property
    def of(self) -> np.ndarray:
        """The phase of each transition, shape (steps,)."""
        return np.repeat(np.arange(len(self)), self.ends - self.begins)

    @property
    def step_sizes(self) -> np.ndarray:
        """The geometric mean of the step sizes of each phase, shape (K,), NaN where none is known."""
        return np.array([_mean(self.rates[a:b]) for a, b in zip(self.begins, self.ends, strict=True)])

    @property
    def table(self) -> pd.DataFrame:
        """begin, end, step_size: one row a phase."""
        return pd.DataFrame({"begin": self.begins, "end": self.ends, "step_size": self.step_sizes})

    def to_dict(self) -> dict[str, Any]:
        """Return the table, what it comes from and the number of transitions as plain values."""
        rows = [
            {"begin": int(a), "end": int(b), "step_size": None if np.isnan(r) else float(r)}
            for a, b, r in zip(self.begins, self.ends, self.step_sizes, strict=True)
        ]
        return {"phases": rows, "steps": self.steps, "source": self.source}


def phases(
    runs: Trajectories | Trajectory, rates: ArrayLike | None = None, coordinate: int | str | None = None
) -> Phases:
    """Return the phases of runs that followed one schedule.

    Taken from the step sizes, if these are known: `rates`, a recorded column (`step_size`, `lr`, `learning_rate`,
    ...; the value in row t made the step from row t to t + 1), or a sequence of numbers as `schedule` in the setting
    of the runs, or "constant" with a `step`. A schedule of up to eight values is cut where the value changes, any
    other where it has changed by a factor of 1.5, and what is shorter than ten transitions, such as a warm-up of
    which few steps were recorded, is joined to the neighbour whose step sizes are nearest. Otherwise phases are
    detected (`change_points`), which takes noise to be even within a phase: where it falls with the loss, one phase
    looks like several, and step sizes should be given.

    Args:
        runs: One run or several.
        rates: The step size of every transition.
        coordinate: The coordinate whose steps tell phases apart; by default the first that is no step size.

    Raises:
        ArgumentError: No such coordinate, step sizes that are not positive or too few.
        DataError: Runs whose recorded step sizes differ, or that were recorded at different steps.

    Examples:
        >>> run = Trajectory(np.stack([np.arange(6.0), [0.1, 0.1, 0.1, 0.01, 0.01, 0.01]], axis=1), ("loss", "lr"))
        >>> phases(run).table
           begin  end  step_size
        0      0    3       0.10
        1      3    5       0.01
    """
    runs = as_runs(runs)
    for run in runs:
        both = min(len(run), len(runs[0]))
        if not np.array_equal(run.steps[:both], runs[0].steps[:both]):
            raise DataError(
                f"{run.run}: recorded at other steps than {runs[0].run}, must be at the same to share phases"
            )
    index = coordinate_of(runs, coordinate)
    steps = max(len(run) for run in runs) - 1
    known, source = rates_of(runs, rates, steps)
    if known is None:
        cuts = change_points(runs.coordinate(index))
        return Phases(np.append(0, cuts).astype(int), steps, np.full(steps, np.nan), source)
    return Phases(cut_at(known), steps, known, source)


def cut_at(rates: np.ndarray) -> np.ndarray:
    """Return where a schedule of step sizes is cut into phases, the first at 0.

    Examples:
        >>> cut_at(np.array([0.1, 0.1, 0.01, 0.01])), cut_at(np.geomspace(1, 0.2, 40))
        (array([0, 2]), array([ 0, 10, 20, 30]))
    """
    changes = np.flatnonzero(~np.isclose(rates[1:], rates[:-1], rtol=1e-9, atol=0)) + 1
    if len(changes) < FEW_RATES:
        return np.append(0, changes).astype(int)
    begins, low, high = [0], rates[0], rates[0]
    for t, rate in enumerate(rates):
        low, high = min(low, rate), max(high, rate)
        if high > RATIO * low:
            begins.append(t)
            low = high = rate
    return _joined(begins, np.log(rates))


def _joined(begins: list[int], logarithms: np.ndarray) -> np.ndarray:
    """Join the shortest phase to the neighbour to which that adds least variance (Ward), until all are long enough."""
    kept = [*begins, len(logarithms)]
    while len(kept) > 2:
        lengths = np.diff(kept)
        i = int(lengths.argmin())
        if lengths[i] >= SHORTEST:
            break
        means = np.array([logarithms[a:b].mean() for a, b in pairwise(kept)])
        added = np.full(len(means) + 2, np.inf)  # one more on either side, that is no neighbour
        added[1:-1] = (means - means[i]) ** 2 * lengths * lengths[i] / (lengths + lengths[i])
        del kept[i if added[i] <= added[i + 2] else i + 1]
    return np.array(kept[:-1], dtype=int)


def rates_of(runs: Trajectories, rates: ArrayLike | None, steps: int) -> tuple[np.ndarray | None, str]:
    """Return the step size of every transition of runs of one schedule, and where it comes from."""
    if rates is not None:
        return _rates("rates", rates, steps), "given"
    column = next((runs.names.index(name) for name in STEP_SIZES if name in runs.names), None)
    if column is not None:
        columns = sorted(runs.coordinate(column), key=len)
        for c in columns[:-1]:
            if not np.allclose(c[:-1], columns[-1][: len(c) - 1], rtol=1e-6, atol=0):
                raise DataError(f"{runs.names[column]}: the runs followed different schedules: give one at a time")
        return _rates(runs.names[column], columns[-1][:-1], steps), "recorded"
    schedule = runs.setting.get("schedule")
    if isinstance(schedule, (Sequence, np.ndarray)) and not isinstance(schedule, str):
        return _rates("schedule", schedule, steps), "setting"
    step = runs.setting.get("step")
    if schedule == "constant" and isinstance(step, int | float) and step > 0:
        return np.full(steps, float(step)), "setting"
    return None, "detected"


def coordinate_of(runs: Trajectories, coordinate: int | str | None) -> int:
    """Return the index of a coordinate; by default of the first that is no step size."""
    if isinstance(coordinate, str):
        return runs.names.index(_checks.one_of("coordinate", coordinate, runs.names))
    if coordinate is not None:
        return _checks.integer("coordinate", coordinate, low=0, high=len(runs.names) - 1)
    index = next((i for i, name in enumerate(runs.names) if name not in STEP_SIZES), None)
    if index is None:
        raise DataError(f"{runs.names[0]}: only step sizes were recorded, nothing that they move")
    return index


def as_runs(value: Any) -> Trajectories:
    """Return `value` as runs: those given, or the only one."""
    if isinstance(value, Trajectory):
        return Trajectories((value,))
    if not isinstance(value, Trajectories):
        raise ArgumentError(f"runs is a {type(value).__name__}, must be Trajectories or a Trajectory")
    return value


def _rates(name: str, value: ArrayLike, steps: int) -> np.ndarray:
    array = _checks.vector(name, value, least=steps)[:steps]
    if (array < 0).any():
        raise ArgumentError(f"{name} holds {array.min():g}, must be step sizes of at least 0")
    # A schedule may end at, or warm up from, a step size of zero, of which there is no ratio.
    positive = array[array > 0]
    if not len(positive):
        raise ArgumentError(f"{name} holds no step size above 0")
    return np.maximum(array, 1e-3 * positive.min())


def _mean(rates: np.ndarray) -> float:
    return float(np.exp(np.log(rates).mean())) if len(rates) and np.isfinite(rates).all() else float("nan")
