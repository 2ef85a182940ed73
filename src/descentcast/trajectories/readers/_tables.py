"""From a table of cells to runs: wide (one column a coordinate) or long (run, step, name, value)."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from descentcast.errors import DataError
from descentcast.trajectories._trajectories import LAST_STEP, Trajectory

Table: TypeAlias = dict[str, list[Any]]

RUN, STEP, NAME, VALUE = "run", "step", "name", "value"


def runs_of(table: Table, path: Path, run: str, columns: Sequence[str] | None) -> list[Trajectory]:
    """Return the runs that a table holds.

    Args:
        table: Cells by column, all columns equally long. Numbers may be text.
        path: What messages call the table.
        run: What a run is called where the table does not say.
        columns: The coordinates that are wanted, in this order; all, in the table's order, by default.

    Returns:
        The runs, in order of appearance; the rows of one run need not be adjacent.

    Raises:
        DataError: A cell that is not a finite number (the message names file, column and row), an unknown column, steps
            that do not increase, a run of fewer than two steps.
    """
    if not any(table.values()):
        raise DataError(f"{path}: no rows under the column names")
    rows = np.arange(len(next(iter(table.values()))))
    named = _groups(path, table, RUN, rows) if RUN in table else {run: rows}
    if {NAME, VALUE} <= table.keys():
        return _long(table, path, named, columns)
    return _wide(table, path, named, columns)


def is_number(cell: Any) -> bool:
    """Return whether a cell reads as a number; true and false do not."""
    try:
        float(cell)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(cell, bool)


def _wide(table: Table, path: Path, named: dict[str, np.ndarray], columns: Sequence[str] | None) -> list[Trajectory]:
    chosen = _chosen(path, (name for name in table if name not in (RUN, STEP)), columns)
    values = np.stack([_numbers(path, table, name) for name in chosen], axis=1)
    steps = _steps(path, table) if STEP in table else None
    runs = []
    for run, rows in named.items():
        at = np.arange(len(rows)) if steps is None else _increasing(path, run, steps[rows])
        runs.append(Trajectory(values[rows], names=chosen, steps=at, run=run))
    return runs


def _long(table: Table, path: Path, named: dict[str, np.ndarray], columns: Sequence[str] | None) -> list[Trajectory]:
    if STEP not in table or table.keys() - {RUN, STEP, NAME, VALUE}:
        raise DataError(f"{path}: a long table has the columns run (optional), step, name, value, not {_list(table)}")
    values, steps = _numbers(path, table, VALUE), _steps(path, table)
    runs = []
    for run, rows in named.items():
        by_name = _groups(path, table, NAME, rows)
        chosen = _chosen(path, by_name, columns)
        at = [_increasing(path, f"{run}, {name}", steps[by_name[name]]) for name in chosen]
        for name, other in zip(chosen, at, strict=True):
            if len(odd := np.setxor1d(at[0], other)):
                lacking = name if odd[0] in at[0] else chosen[0]
                raise DataError(f"{path}: {run}: step {odd[0]} has no value of {lacking!r}")
        stacked = np.stack([values[by_name[name]] for name in chosen], axis=1)
        runs.append(Trajectory(stacked, names=chosen, steps=at[0], run=run))
    return runs


def _chosen(path: Path, present: Iterable[str], columns: Sequence[str] | None) -> tuple[str, ...]:
    there = tuple(present)
    if not there:
        raise DataError(f"{path}: no coordinates, only {RUN} and {STEP}")
    for name in columns or ():
        if name not in there:
            raise DataError(f"{path}: no column {name!r}, there are {_list(there)}")
    return tuple(columns or there)


def _groups(path: Path, table: Table, column: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rows of each value of a column of labels."""
    groups: dict[str, list[int]] = {}
    for row in rows:
        label = table[column][row]
        if label is None:
            raise DataError(f"{path}: column {column!r}, row {row + 1}: empty, must say which {column}")
        groups.setdefault(str(label), []).append(row)
    return {label: np.array(members) for label, members in groups.items()}


def _numbers(path: Path, table: Table, column: str) -> np.ndarray:
    cells = table[column]
    for row, cell in enumerate(cells, start=1):
        if not is_number(cell) or not math.isfinite(float(cell)):
            what = "is empty" if cell is None else f"holds {cell!r:.40}"
            raise DataError(f"{path}: column {column!r}, row {row} {what}, must be a finite number")
    return np.array([float(cell) for cell in cells])


def _steps(path: Path, table: Table) -> np.ndarray:
    steps = _numbers(path, table, STEP)
    if (odd := np.flatnonzero((steps != np.rint(steps)) | (np.abs(steps) > LAST_STEP))).size:
        what = f"row {odd[0] + 1} holds {steps[odd[0]]:g}"
        raise DataError(f"{path}: column {STEP!r}, {what}, must be a whole number of at most 2^53")
    return steps.astype(np.int64)


def _increasing(path: Path, run: str, steps: np.ndarray) -> np.ndarray:
    if (back := np.flatnonzero(np.diff(steps) <= 0)).size:
        before, after = steps[back[0]], steps[back[0] + 1]
        raise DataError(f"{path}: {run}: step {after} follows step {before}, steps must increase")
    return steps


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
