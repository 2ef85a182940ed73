"""From a table of cells to runs: wide (one column a coordinate) or long (run, step, name, value)."""

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from descentcast.errors import DataError
from descentcast.trajectories._trajectories import LAST_STEP
from descentcast.trajectories.readers._records import Record, Series, clipped, shown

# Columns by name, all equally long: masked float64 arrays, or arrays of cells with None where there is none.
Table: TypeAlias = dict[str, np.ndarray]

RUN, STEP, NAME, VALUE = "run", "step", "name", "value"
LIKE_STEP = ("step", "_step", "steps", "global_step", "iteration", "iter")  # what else steps are called
LIKE_NUMBER = re.compile(r"[-+]?(?=[^\d]*\d)[\d.,' \u00a0\u202f]+%?")  # as people write numbers
EPOCH = "epoch"  # Lightning writes it in every row, whatever else is in it
CUT = "the last line is cut off: left out"


def runs_of(table: Table, path: Path, arm: str | None = None, notes: tuple[str, ...] = ()) -> list[Record]:
    """Return the runs that a table holds.

    Args:
        table: Cells by column. Numbers may be text.
        path: What messages call the table.
        arm: The column that names arms, if there is one.
        notes: What reading the file mended.

    Returns:
        The runs, in order of appearance; the rows of one run need not be adjacent.

    Raises:
        DataError: No rows, no coordinates, a row without a run or with a step that is no whole number.
    """
    rows = len(next(iter(table.values()), ()))
    if not rows:
        raise DataError(f"{path}: no rows under the column names")
    kept = np.flatnonzero(~_blank(table)) if STEP in table else np.arange(rows)
    labels = [column for column in dict.fromkeys((arm, RUN)) if column is not None and column in table]
    is_long = {NAME, VALUE} <= table.keys()
    if is_long and (STEP not in table or table.keys() - {RUN, STEP, NAME, VALUE, arm}):
        columns = ", ".join(map(shown, table))
        raise DataError(f"{path}: a long table has the columns run (optional), step, name, value, not {columns}")
    groups = _groups(table, path, labels, kept)
    steps = _steps(path, table) if STEP in table else None
    if steps is None and (like := [name for name in table if name.strip().lower() in LIKE_STEP]):
        notes += (f"no column {STEP!r}: rows are numbered from 0, {shown(like[0])} is a column like others",)
    series = _long(table, path, groups, steps) if is_long else _wide(table, path, groups, steps, {STEP, *labels})
    return [
        Record(_run(label, groups), found, labels=dict(zip(labels, label, strict=True)), notes=notes)
        for label, found in zip(groups, series, strict=True)
    ]


def no_text(path: Path, what: str, error: UnicodeDecodeError) -> DataError:
    """Return the error for a file whose bytes are no text in UTF-8."""
    with path.open("rb") as file:
        wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return DataError(f"{path}: {'text in UTF-16, must be in UTF-8' if wide else f'not {what}: {error}'}")


def is_number(cell: Any) -> bool:
    """Return whether a cell reads as a number; true and false do not."""
    try:
        float(cell)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(cell, bool | np.bool_)


def _wide(
    table: Table, path: Path, groups: dict[tuple[str, ...], np.ndarray], steps: np.ndarray | None, others: set[str]
) -> list[dict[str, Series]]:
    names = [name for name in table if name not in others]
    if not names:
        raise DataError(f"{path}: no coordinates, only {', '.join(table)}")
    everything = np.arange(len(table[names[0]]))
    numbers = {name: _numbers(path, table, name, everything) for name in names}
    # A row in which no coordinate has a cell was written all the same: programs write NaN as an empty cell.
    nothing = np.logical_and.reduce([lacking for _, lacking, _ in numbers.values()])
    out = []
    for rows in groups.values():
        at = np.arange(len(rows)) if steps is None else steps[rows]
        found = {}
        full = (name for name, (_, lacking, _) in numbers.items() if not lacking[rows].any() and name != EPOCH)
        whole = next(full, None) is not None and (np.diff(at) > 0).all()
        for name, (values, lacking, fault) in numbers.items():
            there = ~(lacking & ~nothing)[rows]
            if whole and _ends(there):  # As programs write NaN: it diverged while others, a step size say, went on.
                there[:] = True
            chosen = (at, rows) if there.all() else (at[there], rows[there])
            if len(values):
                found[name] = Series(chosen[0], values[chosen[1]], fault)
            else:
                found[name] = Series(at[:0], values, fault, note=_like_numbers(table[name]))
        out.append(found)
    return out


def _ends(there: np.ndarray) -> bool:
    """Return whether a column has a cell in each of its first rows, two at least, and in none of two or more after."""
    first = int(there.sum())
    return first >= 2 and len(there) - first >= 2 and bool(there[:first].all())


def _like_numbers(cells: np.ndarray) -> str:
    """Return what is to be said of a column without a number, if it looks as if it should hold some."""
    cell = next((cell for cell in cells if cell is not None), None)
    like = isinstance(cell, str) and LIKE_NUMBER.fullmatch(cell.strip()) is not None
    return f"{clipped(cell)} is not written as a number: no coordinate" if like else ""


def _long(
    table: Table, path: Path, groups: dict[tuple[str, ...], np.ndarray], steps: np.ndarray | None
) -> list[dict[str, Series]]:
    assert steps is not None
    out = []
    for rows in groups.values():
        found = {}
        for (name,), members in _groups(table, path, [NAME], rows).items():
            values, _, fault = _numbers(path, table, VALUE, members)
            found[name] = Series(steps[members] if len(values) else steps[:0], values, fault)
        out.append(found)
    return out


def _numbers(path: Path, table: Table, column: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Return some cells of a column as numbers, NaN where there is none, where there is none, and the first fault.

    There are no values where no cell is a number.
    """
    cells = table[column]
    if isinstance(cells, np.ma.MaskedArray):
        lacking = np.ma.getmaskarray(cells)[rows]
        return np.where(lacking, np.nan, cells.data[rows]), lacking, ""
    cells = cells[rows]
    lacking = np.fromiter((cell is None for cell in cells), dtype=bool, count=len(cells))
    present = cells[~lacking]
    values = np.full(len(cells), np.nan)
    if set(map(type, present)) <= {str, int, float}:
        try:
            values[~lacking] = present.astype(np.float64)
            return values, lacking, ""
        except (ValueError, OverflowError):
            pass
    odd = next(i for i, cell in enumerate(cells) if cell is not None and not is_number(cell))
    fault = f"{path}: column {column!r:.60}, row {rows[odd] + 1} holds {clipped(cells[odd])}, must be a number"
    return values if any(map(is_number, present)) else np.empty(0), lacking, fault


def _steps(path: Path, table: Table) -> np.ndarray:
    """Return the steps of all rows; those of blank rows are nothing."""
    rule = "must be a whole number of at most 2^53"
    steps, lacking, fault = _numbers(path, table, STEP, np.arange(len(table[STEP])))
    if fault:
        raise DataError(f"{fault.removesuffix('must be a number')}{rule}")
    if (empty := np.flatnonzero(lacking & ~_blank(table))).size:
        raise DataError(f"{path}: column {STEP!r}, row {empty[0] + 1} is empty, {rule}")
    steps = np.where(lacking, 0, steps)
    if (odd := np.flatnonzero(~((steps == np.rint(steps)) & (np.abs(steps) <= LAST_STEP)))).size:
        raise DataError(f"{path}: column {STEP!r}, row {odd[0] + 1} holds {steps[odd[0]]:g}, {rule}")
    return steps.astype(np.int64)


def _blank(table: Table) -> np.ndarray:
    """Return which rows have no cell at all."""
    blank = np.ones(len(next(iter(table.values()))), dtype=bool)
    for cells in table.values():
        if not blank.any():
            break
        blank &= np.ma.getmaskarray(cells) if isinstance(cells, np.ma.MaskedArray) else pd.isna(cells)
    return blank


def _groups(table: Table, path: Path, columns: Sequence[str], rows: np.ndarray) -> dict[tuple[str, ...], np.ndarray]:
    """Return which of some rows have which labels, in order of appearance; all of them have the label () of none."""
    if not columns:
        return {(): rows}
    codes, labels = np.zeros(len(rows), dtype=np.int64), [()]
    for column in columns:
        cells = table[column][rows]
        if isinstance(cells, np.ma.MaskedArray):  # Numbers as labels, in a format that has types.
            cells = np.array([None if cell is np.ma.masked else _written(cell) for cell in cells], dtype=object)
        elif not set(map(type, cells)) <= {str, type(None)}:
            cells = np.array([None if cell is None else str(cell) for cell in cells], dtype=object)
        found, names = pd.factorize(cells)
        if (empty := np.flatnonzero(found < 0)).size:
            raise DataError(f"{path}: column {column!r}, row {rows[empty[0]] + 1}: empty, must say which {column}")
        codes, pairs = pd.factorize(codes * len(names) + found)
        labels = [(*labels[pair // len(names)], str(names[pair % len(names)])) for pair in pairs]
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(1, len(labels)))
    return dict(zip(labels, np.split(rows[order], bounds), strict=True))


def _written(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _run(label: tuple[str, ...], groups: dict[tuple[str, ...], np.ndarray]) -> str:
    """Return what a run is called: by its column, with the arm before it where two arms have a run of that name."""
    if not label:
        return ""
    return label[-1] if len({other[-1] for other in groups}) == len(groups) else "/".join(label)


def one_run_each(path: Path, records: Sequence[Record]) -> None:
    """Refuse a table without a column of runs in which most steps are written again: it holds several runs.

    Raises:
        DataError: It does.
    """
    for record in records:
        for name, points in record.series.items():
            written = len(points.steps)
            if (np.diff(points.steps) > 0).all():
                continue
            _, counts = np.unique(points.steps, return_counts=True)
            again = written - len(counts)
            if (counts > 1).sum() * 2 > len(counts):
                raise DataError(
                    f"{path}: {shown(name)}: {again} of {written} rows repeat a step: where there are several runs, a "
                    f"column {RUN!r} must say which"
                )
