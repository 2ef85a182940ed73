"""JSON lines: one object a line, its keys the columns."""

import json
from collections.abc import Collection
from json.scanner import make_scanner
from pathlib import Path
from typing import Any

import numpy as np

from descentcast.errors import DataError
from descentcast.trajectories.readers._tables import CUT, Table

MOST_CELLS = 100_000_000  # of a table in memory
SCAN = make_scanner(json.JSONDecoder())  # pyright: ignore[reportArgumentType]


def read_jsonl(path: Path, text: Collection[str]) -> tuple[Table, tuple[str, ...]]:
    """Return the columns of a JSON lines file, None where an object lacks a key that others have, and what was mended.

    A last line that ends within an object is left out.

    Args:
        path: The file.
        text: Names of columns that are labels.

    Raises:
        DataError: Not text, a line that is no JSON object.
    """
    columns: dict[str, list[Any]] = {}
    usual: tuple[str, ...] = ()  # the keys of the row before, where they are those of all rows
    appends: list[Any] = []
    rows, notes = 0, ()
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = _object(path, number, line)
                except DataError:
                    if not rows or line.endswith("\n"):
                        raise
                    notes = (CUT,)
                    break
                if tuple(row) == usual:
                    for append, cell in zip(appends, row.values(), strict=True):
                        append(cell)
                else:
                    for name in row:
                        if name not in columns:
                            columns[name] = [None] * rows
                    for name, cells in columns.items():
                        cells.append(row.get(name))
                    usual = tuple(row) if len(row) == len(columns) else ()
                    appends = [columns[name].append for name in usual]
                    if len(columns) * rows > MOST_CELLS:
                        raise DataError(f"{path}: {len(columns)} columns that few rows have: make it a long table")
                rows += 1
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a JSON lines file: {error}") from None
    if not rows:
        raise DataError(f"{path}: empty")
    return {name: _column(cells, name in text) for name, cells in columns.items()}, notes


def _column(cells: list[Any], label: bool) -> np.ndarray:
    kinds = set(map(type, cells))
    if label or not kinds <= {float, int, type(None)}:
        column = np.empty(len(cells), dtype=object)
        column[:] = cells
        return column
    try:
        values = np.array(cells, dtype=np.float64)
    except OverflowError:
        return _column(cells, label=True)
    if type(None) not in kinds:
        return np.ma.array(values, copy=False)
    return np.ma.array(values, mask=[cell is None for cell in cells], copy=False)


def _object(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        row, end = SCAN(line, len(line) - len(line.lstrip()))  # As json.loads does, at half its price.
        if line[end:].strip():
            json.loads(line)  # Says what is wrong.
    except StopIteration as error:
        raise DataError(f"{path}: line {number} is not JSON: Expecting value: char {error.value}") from None
    except RecursionError:
        raise DataError(f"{path}: line {number} is nested too deeply, must be a flat JSON object") from None
    except ValueError as error:
        raise DataError(f"{path}: line {number} is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{path}: line {number} must be a JSON object, one key a column, it is {line.strip()!r:.60}")
    return row
