"""JSON lines: one object a line, its keys the columns."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from descentcast.errors import DataError
from descentcast.trajectories.readers._tables import CUT, Table


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
                for name, cell in row.items():
                    cells = columns.get(name)
                    if cells is None:
                        cells = columns[name] = []
                    if len(cells) < rows:
                        cells.extend([None] * (rows - len(cells)))
                    cells.append(cell)
                rows += 1
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a JSON lines file: {error}") from None
    if not rows:
        raise DataError(f"{path}: empty")
    return {name: _column(cells + [None] * (rows - len(cells)), name in text) for name, cells in columns.items()}, notes


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
        row = json.loads(line)
    except RecursionError:
        raise DataError(f"{path}: line {number} is nested too deeply, must be a flat JSON object") from None
    except ValueError as error:
        raise DataError(f"{path}: line {number} is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{path}: line {number} must be a JSON object, one key a column, it is {line.strip()!r:.60}")
    return row
