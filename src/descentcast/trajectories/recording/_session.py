"""A recording in the making: rows are drafted, committed, kept in memory, and written in chunks."""

import atexit
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.trajectories._trajectories import Trajectory
from descentcast.trajectories.recording._files import STEP, STEP_SIZE, VERSION, RowFile, assemble, is_step_size, lines
from descentcast.trajectories.recording._state import Measured, Meter, State

PATIENCE = 5.0  # Seconds after which a chunk is written, however small.
RESERVED = (STEP, "run", "name", "value", "")


class Session:
    """What every recorder does, whatever moves the parameters.

    Args:
        state: Where the training is; `state.step` is the step of the first row.
        meters: What is measured, at every `every`-th step.
        every: The cadence.
        path: The file of rows, or None to keep them in memory only.
        chunk: How many rows are written at once.
        run: What the run is called.
        arm: The arm it belongs to.
        setting: What it is made with; may be added to later.
    """

    def __init__(
        self,
        state: State,
        meters: Sequence[Meter],
        *,
        every: int,
        path: str | Path | None,
        chunk: int,
        run: str,
        arm: str | None,
        setting: dict[str, Any],
    ) -> None:
        self.state, self.setting = state, setting
        self._every, self._chunk, self._run, self._arm = every, chunk, run, arm
        names = [name for meter in meters for name in meter.names]
        for i, name in enumerate(names):
            if name in RESERVED or name in names[:i]:
                raise ArgumentError(f"observables: two columns are called {name!r}" if name else "a column has no name")
        self._streams = [_Stream(meter) for meter in meters]
        # At each moment first what autograd need not be told of: place in the row, cadence, how.
        self._at = {
            moment: [
                [
                    (i, meter.every, meter.measure)
                    for i, meter in enumerate(meters)
                    if meter.moment == moment and meter.plain == plain
                ]
                for plain in (True, False)
            ]
            for moment in ("parameters", "gradients")
        }
        self._quick = [m.measure for m in meters] if all(m.plain and m.every == 1 for m in meters) else None
        self._nothing: list[Measured | None] = [None] * len(meters)
        self._draft: list[Measured | None] | None = None  # The row of the present step.
        self._kept: list[tuple[int, list[Measured | None]]] = []  # Rows that wait for the next chunk.
        self.due = state.step % every == 0  # Whether the present step is recorded.
        self._logged: dict[str, dict[int, float]] = {}
        self._written: dict[str, int] = {}  # Of each logged name, how many values are on disk.
        self._first_rates: np.ndarray | None = None
        self._schedule: dict[str, Any] = {}
        self._rows = 0
        self._since = time.monotonic()
        self._file = RowFile(path, state.step) if path is not None else None
        self._finished = False
        self._said: dict[str, Any] | None = None
        atexit.register(self.close, False)

    def measure(self, moment: Literal["parameters", "gradients"]) -> None:
        """Measure what is known at this moment, for the row of the present step."""
        draft: list[Measured | None] | None = self._draft
        if draft is None or moment == "parameters":  # What may be there is of a step that failed.
            draft = self._draft = [*self._nothing]
        state, rows = self.state, self._rows
        plain, others = self._at[moment]
        for i, every, measure in plain:
            if every == 1 or rows % every == 0:
                draft[i] = measure(state)
        if others:
            with torch.no_grad():
                for i, every, measure in others:
                    if rows % every == 0:
                        draft[i] = measure(state)

    def measure_all(self) -> None:
        """Measure what is known of the present step, where its gradients are there before it is taken."""
        if self._quick is None:
            self.measure("parameters")
            self.measure("gradients")
        else:
            state = self.state
            self._draft = [measure(state) for measure in self._quick]

    def drop(self) -> None:
        """Forget the row of the present step: the step was not taken."""
        self._draft = None

    def commit(self) -> None:
        """Keep the row of the present step, if one is due, and go on to the next step."""
        if self._draft is not None:
            self._keep()
            if len(self._kept) >= self._chunk or time.monotonic() - self._since > PATIENCE:
                self.flush()
        step = self.state.step = self.state.step + 1
        self.due = step % self._every == 0

    def log(self, values: Mapping[str, float]) -> None:
        """Keep values under names of their own at the present step; a later value of the same step replaces one."""
        if self._finished:
            raise ArgumentError("log: the recording has ended")
        taken = {name for stream in self._streams for name in stream.meter.names}
        for name, value in values.items():
            if name in taken or name in RESERVED:
                raise ArgumentError(f"log: {name!r} is already the name of a column")
            points = self._logged.setdefault(str(name), {})
            if self.state.step in points:  # It is the last one: in the file it is written again, and counts.
                self._written[name] = min(self._written.get(name, 0), len(points) - 1)
            points[self.state.step] = float(value)

    def flush(self) -> None:
        """Bring the waiting rows to the host, and to the file if there is one."""
        kept, self._kept = self._kept, []
        settled = []
        for i, stream in enumerate(self._streams):
            there = [(step, row[i]) for step, row in kept if row[i] is not None]
            settled.append((stream.meter.names, *stream.settle(there)))
        for names, _, values in settled:
            if len(values) and is_step_size(names[0]):
                self._note_schedule(values)
        logged = {name: list(values.items())[self._written.get(name, 0) :] for name, values in self._logged.items()}
        self._written = {name: len(values) for name, values in self._logged.items()}
        if self._file is not None and not self._file.closed:
            self._file.append(lines(settled, logged))
            self._write_setting(self._file)
        self._since = time.monotonic()

    def close(self, last_row: bool = True) -> None:
        """End the recording, if asked with a last row where all that is recorded can be known of the parameters."""
        if self._finished:
            return
        self._finished = True
        atexit.unregister(self.close)
        if last_row and self.due and all(stream.meter.moment == "parameters" for stream in self._streams):
            self.measure("parameters")
            self._keep()
        self.flush()
        if self._file is not None:
            self._file.close()

    def trajectory(self, names: Sequence[str] | None = None) -> Trajectory:
        """Return the rows of the named columns; by default of those at every recorded step, but for the step size."""
        self.flush()
        columns = {name: column for stream in self._streams for name, column in stream.columns().items()}
        for name, values in self._logged.items():
            columns[name] = (np.array(list(values), dtype=np.int64), np.array(list(values.values())))
        chosen = self._usual if names is None else names
        return assemble(columns, chosen, self._run, self._arm, self._schedule | self.setting)

    @property
    def _usual(self) -> list[str]:
        return [n for s in self._streams if s.meter.every == 1 for n in s.meter.names if not is_step_size(n)]

    def _keep(self) -> None:
        if self._draft is not None:
            self._kept.append((self.state.step, self._draft))
            self._draft = None
            self._rows += 1

    def _note_schedule(self, rates: np.ndarray) -> None:
        """Keep the first step size, and whether all of them stayed."""
        if self._first_rates is None:
            self._first_rates = rates[0]
            self._schedule = {STEP: float(rates[0, 0]), "schedule": "constant"}
        if (rates != self._first_rates).any():
            self._schedule["schedule"] = f"column {STEP_SIZE}"

    def _write_setting(self, file: RowFile) -> None:
        content = {
            "version": VERSION,
            "run": self._run,
            "piece": file.piece,
            "arm": self._arm,
            "columns": self._usual,
            "finished": self._finished,
            "setting": self._schedule | self.setting,
        }
        if content != self._said:
            file.write_setting(content)
            self._said = content


class _Stream:
    """What one meter has measured, as arrays on the host."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self._settled: list[tuple[np.ndarray, np.ndarray]] = []

    def settle(self, rows: Sequence[tuple[int, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Keep steps and what was measured at each; return the steps and the values, shape (rows, names)."""
        steps, pending = np.array([step for step, _ in rows], dtype=np.int64), [value for _, value in rows]
        if not self.meter.names or not len(steps):
            return steps[:0], np.empty((0, len(self.meter.names)))
        values = self.meter.finish(to_host(pending)) if _even(pending) else self._one_by_one(pending)
        self._settled.append((steps, values))
        return steps, values

    def columns(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return steps and values of each column, of what is settled."""
        steps = np.concatenate([np.empty(0, dtype=np.int64), *(steps for steps, _ in self._settled)])
        values = np.concatenate([np.empty((0, len(self.meter.names))), *(v for _, v in self._settled)])
        return {name: (steps, values[:, i]) for i, name in enumerate(self.meter.names)}

    def _one_by_one(self, pending: list[Measured]) -> np.ndarray:
        return np.concatenate([self.meter.finish(to_host([value])) for value in pending])


def to_host(pending: Sequence[Measured]) -> np.ndarray:
    """Return measurements, equally many numbers each, as an array of shape (rows, numbers); one transfer in all."""
    if set(map(type, pending)) == {float}:
        return np.array(pending).reshape(-1, 1)
    flat = [part for value in pending for part in (value if isinstance(value, list | tuple) else (value,))]
    if set(map(type, flat)) == {float}:
        return np.array(flat).reshape(len(pending), -1)
    tensors = [part for part in flat if isinstance(part, torch.Tensor)]
    if len(tensors) < len(flat) or not flat:
        return np.array([float(part) for part in flat]).reshape(len(pending), -1)  # pyright: ignore[reportArgumentType]
    first = tensors[0]
    if any(part.device != first.device for part in tensors) or any(part.dtype != first.dtype for part in tensors):
        tensors = [part.cpu().double() for part in tensors]
    return torch.stack(tensors).cpu().double().numpy().reshape(len(pending), -1)


def _even(pending: Sequence[Measured]) -> bool:
    kinds = set(map(type, pending))
    if kinds == {list} or kinds == {tuple}:
        return len(set(map(len, pending))) == 1  # pyright: ignore[reportArgumentType]
    return not kinds & {list, tuple}


def checked(every: Any, chunk: Any, path: str | Path | None, run: str | None) -> tuple[int, int, str]:
    """Return the checked cadence and chunk, and what the run is called."""
    name = run if run is not None else "run 0" if path is None else Path(path).stem
    return _checks.integer("every", every, low=1), _checks.integer("chunk", chunk, low=1), name
