"""Observed runs of training: frozen values with their step indices, names, run, arm and setting."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import Steps, Values
from descentcast.errors import DataError
from descentcast.trajectories._resampling import Method, resampled

LAST_STEP = 2**53  # Beyond it float64 skips whole numbers.


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(Shown):
    """The recorded values of one run, one row an optimizer step (or every k-th: its stride).

    Attributes:
        values: Recorded values, shape (T, D), read-only float64. A one-dimensional input becomes (T, 1).
        names: One name a coordinate; `x0, x1, ...` by default, `x` if there is one.
        steps: The optimizer step of each row, strictly increasing; 0, 1, 2, ... by default.
        run: What the run is called in messages and tables.
        arm: The setting of a trial that the run belongs to, if any.
        setting: What the run was made with: `step` (size), `batch` (size), `optimizer`, `schedule`.
        diverged: The first step of which a value was NaN or infinite and after which none was finite again: the run
            was kept up to it. None where the run did not diverge.
        notes: What was mended or left out when the run was read, in words.

    Raises:
        DataError: Fewer than two steps, a value that is not finite (the message names run, step and coordinate), steps
            that are not strictly increasing integers, names or steps that do not fit the values.

    Examples:
        >>> Trajectory([1.0, 0.5, 0.25], run="seed 1").values.shape
        (3, 1)
    """

    values: Values
    names: tuple[str, ...] = ()
    steps: Steps = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    run: str = "run 0"
    arm: str | None = None
    setting: Mapping[str, Any] = field(default_factory=dict)
    diverged: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values = _table(self.values, self.run)
        given = [self.names] if isinstance(self.names, str) else _checks.several("names", self.names)
        _checks.instance("setting", self.setting, Mapping, "a dictionary")
        names = tuple(map(str, given)) or default_names(values.shape[1])
        if len(names) != values.shape[1] or len(set(names)) != len(names):
            raise DataError(f"{self.run}: names == {list(names)}, must be {values.shape[1]} different names")
        steps = _steps(self.steps, len(values), self.run)
        if not np.isfinite(values).all():
            row, i = (int(k) for k in np.argwhere(~np.isfinite(values))[0])
            place = f"step {steps[row]}, coordinate {names[i]!r}"
            raise DataError(f"{self.run}: value {values[row, i]} at {place}: must be finite")
        for array, position in ((values, "values"), (steps, "steps")):
            array.flags.writeable = False
            object.__setattr__(self, position, array)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "setting", dict(self.setting))
        object.__setattr__(self, "notes", tuple(self.notes))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def stride(self) -> int | None:
        """Optimizer steps between rows, or None where the cadence is irregular."""
        gaps = np.unique(np.diff(self.steps))
        return int(gaps[0]) if len(gaps) == 1 else None

    def resampled(self, every: int, method: Method = "previous") -> "Trajectory":
        """Return the run at steps s_0, s_0 + every, s_0 + 2 every, ..., for a run of irregular cadence.

        `"previous"` takes at each step the row recorded last at or before it, so nothing is known early; rows between
        records repeat, which makes them too still. `"linear"` draws a line to the next record, so that a row knows of
        values that come later, and is smoother than the run was: not for what is to be scored step by step. A step
        that was recorded keeps its values under both. `notes` say how many rows were made.

        Args:
            every: Optimizer steps between rows.
            method: `"previous"` or `"linear"`.

        Raises:
            ArgumentError: `every` is no positive whole number, an unknown method.
            DataError: Fewer than two rows would be left, or more than 10 million.

        Examples:
            >>> run = Trajectory([8.0, 4.0, 1.0], steps=[0, 2, 5])
            >>> run.resampled(1).values[:, 0].tolist()
            [8.0, 8.0, 4.0, 4.0, 4.0, 1.0]
            >>> run.resampled(1, method="linear").values[:, 0].round(6).tolist()
            [8.0, 6.0, 4.0, 3.0, 2.0, 1.0]
        """
        steps, values, note = resampled(self.steps, self.values, every, method, self.run)
        return replace(self, steps=steps, values=values, notes=(*self.notes, note) if note else self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Return run, arm, setting, divergence, notes, names, steps and values as plain values."""
        return {
            "run": self.run,
            "arm": self.arm,
            "setting": dict(self.setting),
            "diverged": self.diverged,
            "notes": list(self.notes),
            "names": list(self.names),
            "steps": self.steps.tolist(),
            "values": self.values.tolist(),
        }


@dataclass(frozen=True, eq=False, repr=False)
class Trajectories(Shown, Sequence[Trajectory]):
    """Runs that recorded the same coordinates.

    Attributes:
        runs: The runs, at least one, all with the same coordinate names.
        notes: Which runs were left out when these were read, and why, in words.

    Raises:
        DataError: No run at all, or runs whose coordinate names differ.

    Examples:
        >>> runs = Trajectories.from_arrays([[1.0, 0.5, 0.25], [2.0, 1.0, 0.5, 0.25]], names=["w"])
        >>> len(runs), runs.names, [len(run) for run in runs]
        (2, ('w',), [3, 4])
    """

    runs: tuple[Trajectory, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        runs = tuple(self.runs)
        if not runs:
            raise DataError("no runs: at least one is needed")
        for run in runs:
            if not isinstance(run, Trajectory):
                raise DataError(f"runs hold a {type(run).__name__}, must be of Trajectory: from_arrays makes them")
            if run.names != runs[0].names:
                raise DataError(
                    f"{run.run} recorded {list(run.names)} but {runs[0].run} recorded {list(runs[0].names)}: "
                    "runs must have the same coordinates"
                )
        object.__setattr__(self, "runs", runs)
        object.__setattr__(self, "notes", tuple(self.notes))

    @classmethod
    def from_arrays(
        cls,
        arrays: Sequence[ArrayLike],
        names: Sequence[str] | None = None,
        setting: Mapping[str, Any] | None = None,
    ) -> "Trajectories":
        """Build runs from arrays, one a run.

        Args:
            arrays: Each of shape (steps,) or (steps, coordinates), with at least two steps.
            names: One name a coordinate.
            setting: What all the runs were made with, for example `{"step": 0.1, "batch": 8}`.

        Returns:
            The runs, called `run 0`, `run 1`, ...

        Raises:
            DataError: An empty list, a run of fewer than two steps, values that are not finite or not numbers.

        Examples:
            >>> Trajectories.from_arrays([[[0.0, 1.0], [0.5, 0.5]]]).names
            ('x0', 'x1')
        """
        if not isinstance(arrays, Iterable):
            raise DataError(f"arrays is a {type(arrays).__name__}, must be a list of arrays, one a run")
        if setting is not None and not isinstance(setting, Mapping):
            raise DataError(f"setting is a {type(setting).__name__}, must be a mapping such as {{'step': 0.1}}")
        if isinstance(arrays, np.ndarray) and arrays.ndim == 1 and arrays.dtype != object:
            arrays = [arrays]
        return cls(
            tuple(
                Trajectory(values=array, names=tuple(names or ()), run=f"run {i}", setting=setting or {})  # pyright: ignore[reportArgumentType]
                for i, array in enumerate(arrays)
            )
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The coordinate names that all runs share."""
        return self.runs[0].names

    @property
    def setting(self) -> Mapping[str, Any]:
        """The part of the setting that all runs share."""
        first, *rest = (run.setting for run in self.runs)
        return {k: v for k, v in first.items() if all(k in s and _same(s[k], v) for s in rest)}

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Trajectory]:
        return iter(self.runs)

    def __getitem__(self, index: Any) -> Any:
        return Trajectories(self.runs[index]) if isinstance(index, slice) else self.runs[index]

    def coordinate(self, index: int) -> list[np.ndarray]:
        """Return the values of one coordinate, an array of shape (T,) a run."""
        return [run.values[:, index] for run in self.runs]

    def transitions(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return all pairs (x_t, x_{t+1}) of one coordinate, never across runs: two arrays of equal length."""
        columns = self.coordinate(index)
        return np.concatenate([c[:-1] for c in columns]), np.concatenate([c[1:] for c in columns])

    def resampled(self, every: int, method: Method = "previous") -> "Trajectories":
        """Return the runs at a regular cadence, each from its first step on; see `Trajectory.resampled`."""
        return Trajectories(tuple(run.resampled(every, method) for run in self.runs), self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the runs and notes as plain values."""
        return {"runs": [run.to_dict() for run in self.runs], "notes": list(self.notes)}


def default_names(coordinates: int) -> tuple[str, ...]:
    """Return `x` for one coordinate, `x0, x1, ...` for several."""
    return ("x",) if coordinates == 1 else tuple(f"x{i}" for i in range(coordinates))


def _table(raw: Any, run: str) -> np.ndarray:
    try:
        values = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{run}: values must be numbers of shape (steps,) or (steps, coordinates)") from None
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] == 0:
        raise DataError(f"{run}: values have shape {values.shape}, must be (steps,) or (steps, coordinates)")
    if len(values) < 2:
        raise DataError(f"{run}: {len(values)} recorded step(s), at least 2 are needed")
    return values


def _steps(raw: Any, rows: int, run: str) -> np.ndarray:
    rule = f"{run}: steps must be {rows} strictly increasing integers"
    try:
        steps = np.asarray(raw) if np.size(raw) else np.arange(rows)
    except ValueError:
        raise DataError(f"{rule}, not a ragged list") from None
    if steps.shape != (rows,):
        raise DataError(f"{rule}, they have shape {steps.shape}")
    if steps.dtype.kind not in "iuf":
        raise DataError(f"{rule}, they hold {steps.tolist()[0]!r:.40}")
    whole = (steps == np.rint(steps)) & (steps >= -LAST_STEP) & (steps <= LAST_STEP)
    if not whole.all():
        raise DataError(f"{rule} of at most 2^53, they hold {steps[~whole][0]:g}")
    steps = steps.astype(np.int64)
    if (np.diff(steps) <= 0).any():
        raise DataError(rule)
    return steps


def _same(one: Any, other: Any) -> bool:
    """Return whether two settings are equal, arrays entry by entry."""
    arrays = isinstance(one, np.ndarray) or isinstance(other, np.ndarray)
    return bool(np.array_equal(one, other) if arrays else one == other)
