"""Recordings on disk: one JSON lines file a run, written chunk by chunk, and its settings beside it.

A row is one line, an object of strict JSON: `step`, the step sizes, one key a column; columns of a slower cadence are
absent where they were not measured; numbers that are not finite are the strings "NaN", "Infinity", "-Infinity". A chunk
is appended by one write, so that a killed process leaves whole rows, and at worst one torn line at the end, which can
be told apart: what precedes the end of an object is no JSON. `read` reads both files.
"""

import contextlib
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from descentcast.errors import ArgumentError, DataError
from descentcast.trajectories._runs import divergence
from descentcast.trajectories._trajectories import Trajectory

ROWS, SETTING = ".jsonl", ".setting.json"
STEP, STEP_SIZE = "step", "step_size"
VERSION = 1

Measured = tuple[Sequence[str], np.ndarray, np.ndarray]
Columns = Mapping[str, tuple[np.ndarray, np.ndarray]]  # By name: the steps, increasing, and the values.


class RowFile:
    """The files of a recording that is being made.

    Args:
        path: Where the rows go; must end in `.jsonl`.
        begin: The step of the first row. A recording that is there and began before is gone on with, in a file beside
            it: `a.2.jsonl`, `a.3.jsonl`, ... after `a.jsonl`.

    Raises:
        ArgumentError: A path of another kind, or a file that is already there and did not begin before.
        DataError: A file that cannot be made.
    """

    def __init__(self, path: str | Path, begin: int = 0) -> None:
        self.path, self.piece = Path(path).expanduser(), 1
        if self.path.suffix != ROWS:
            raise ArgumentError(f"path == {str(path)!r}, must end in {ROWS}")
        resumed = begin > 0 and _began_before(self.path, begin)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while (file := _made(self.path)) is None:
                if not resumed:
                    raise ArgumentError(f"path == {str(path)!r} is already there, recordings are not overwritten")
                self.piece += 1
                self.path = self.path.with_name(f"{Path(path).stem}.{self.piece}{ROWS}")
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error
        self._file = file
        self.closed = False
        self._waiting: list[bytes] = []
        self._size = 0

    def append(self, rows: bytes) -> None:
        """Append rows by one write. Where the disk refuses, they wait for the next chunk, with a warning at first."""
        if rows:
            self._waiting.append(rows)
        try:
            self._write(b"".join(self._waiting))
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            if rows and len(self._waiting) == 1:
                warnings.warn(f"{self.path}: cannot be written: {error.strerror}; rows wait in memory", stacklevel=2)
        else:
            self._waiting = []

    def write_setting(self, content: Mapping[str, Any]) -> None:
        """Replace the settings as a whole: readers see the old ones or the new ones."""
        target = setting_path(self.path)
        temporary = target.with_name(target.name + f".{os.getpid()}")
        try:
            temporary.write_text(json.dumps(_plain(content), indent=1), encoding="utf-8")
            os.replace(temporary, target)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            warnings.warn(f"{target}: cannot be written: {error.strerror}", stacklevel=2)

    def close(self) -> None:
        """Write what waits and have it reach the disk.

        Raises:
            DataError: Rows that could not be written.
        """
        self.append(b"")
        self.closed, lost = True, bool(self._waiting)
        with contextlib.suppress(OSError):
            os.fsync(self._file)
        os.close(self._file)
        if lost:
            raise DataError(f"{self.path}: the last rows could not be written")

    def _write(self, data: bytes) -> None:
        done = 0
        while done < len(data):
            done += os.write(self._file, data[done:])
        self._size += done


def _made(path: Path) -> int | None:
    """Return the descriptor of a new file, None where one is there."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
    except FileExistsError:
        return None


def _began_before(path: Path, begin: int) -> bool:
    """Return whether the first row of a recording that is there is of an earlier step, or there is no row yet."""
    try:
        with path.open("rb") as file:
            line = file.readline()
        first = json.loads(line) if line else {STEP: -1}
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and isinstance(step := first.get(STEP), int) and step < begin


def setting_path(path: Path) -> Path:
    """Return where the settings of the rows at `path` are."""
    return path.with_name(path.name.removesuffix(ROWS) + SETTING)


def assemble(
    columns: Columns, names: Sequence[str], run: str, arm: str | None, setting: Mapping[str, Any]
) -> Trajectory:
    """Return the rows in which all named columns are, as `read` would from the file.

    Raises:
        DataError: An unknown column, fewer than two such rows.
    """
    for name in names:
        if name not in columns:
            raise DataError(f"{run}: no column {name!r} was recorded, there are {', '.join(columns) or 'none'}")
    if not names:
        raise DataError(f"{run}: no column was recorded at every step")
    steps = columns[names[0]][0]
    for name in names[1:]:
        steps = np.intersect1d(steps, columns[name][0], assume_unique=True)
    values = np.stack([columns[name][1][np.searchsorted(columns[name][0], steps)] for name in names], axis=1)
    end, bad = divergence(values)
    diverged = int(steps[end]) if end < len(steps) else None
    notes = (
        (f"{int(bad.sum())} rows without finite values before others that have them: left out",) if bad.any() else ()
    )
    steps, values = steps[:end][~bad], values[:end][~bad]
    return Trajectory(values, tuple(names), steps, run, arm, setting, diverged, notes)


def is_step_size(name: str) -> bool:
    """Return whether a column holds step sizes."""
    return name == STEP_SIZE or name.startswith(STEP_SIZE + ":")


STRICT = json.JSONEncoder(allow_nan=False)  # Made once: `json.dumps` would make one a row.


def lines(measured: Sequence[Measured], logged: Mapping[str, Sequence[tuple[int, float]]]) -> bytes:
    """Return rows as lines, in order of their steps.

    Args:
        measured: Names, steps and values, shape (rows, names), of what was measured together.
        logged: Steps and values by name.
    """
    measured = [part for part in measured if len(part[1])]
    if measured and not any(logged.values()) and all(np.array_equal(s, measured[0][1]) for _, s, _ in measured):
        values = np.concatenate([values for _, _, values in measured], axis=1)
        if np.isfinite(values).all():
            return _alike([name for names, _, _ in measured for name in names], measured[0][1], values)
    rows: dict[int, dict[str, Any]] = {}
    for names, steps, values in measured:
        for step, row in zip(steps.tolist(), values.tolist(), strict=True):
            rows.setdefault(step, {STEP: step}).update(zip(names, row, strict=True))
    for name, points in logged.items():
        for step, value in points:
            rows.setdefault(step, {STEP: step})[name] = value
    return b"".join(_line(row) for _, row in sorted(rows.items()))


def _alike(names: Sequence[str], steps: np.ndarray, values: np.ndarray) -> bytes:
    """Return rows of finite numbers that have all columns: what JSON's encoder makes of them, by one format."""
    keys = [json.dumps(name).replace("%", "%%") for name in (STEP, *names)]
    form = "{" + ", ".join(f"{key}: %r" for key in keys) + "}\n"
    return "".join([form % row for row in zip(steps.tolist(), *values.T.tolist(), strict=True)]).encode()


def _line(row: Mapping[str, Any]) -> bytes:
    try:
        return STRICT.encode(row).encode() + b"\n"
    except ValueError:
        return STRICT.encode(_plain(row)).encode() + b"\n"


def _plain(value: Any) -> Any:
    """Return a value as strict JSON can say it."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
