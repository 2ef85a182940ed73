"""JSON lines: one object a line, its keys the columns."""

import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from descentcast.errors import DataError
from descentcast.trajectories.readers._tables import CUT, Table, no_text

MOST_CELLS = 100_000_000  # of a table in memory
BLOCK = 4096  # lines parsed at a time


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
    rows, notes = 0, []
    try:
        with path.open(encoding="utf-8-sig") as file:
            _check_first(path, file)
            for block in _blocks(path, file, notes):
                names = tuple(block[0]) if block else ()
                if len(names) == len(columns) and all(tuple(row) == names for row in block) and names == tuple(columns):
                    for name, cells in columns.items():
                        cells.extend([row[name] for row in block])
                    rows += len(block)
                    continue
                for row in block:
                    for name in row:
                        if name not in columns:
                            columns[name] = [None] * rows
                    for name, cells in columns.items():
                        cells.append(row.get(name))
                    rows += 1
                if len(columns) * rows > MOST_CELLS:
                    raise DataError(f"{path}: {len(columns)} columns that few rows have: make it a long table")
    except UnicodeDecodeError as error:
        raise no_text(path, "a JSON lines file", error) from None
    if not rows:
        raise DataError(f"{path}: empty")
    return {name: _column(cells, name in text) for name, cells in columns.items()}, tuple(notes)


def _check_first(path: Path, file: TextIO) -> None:
    """Refuse a first line that has two values under one name, of which the parser would keep the last."""
    twice: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        names = Counter(name for name, _ in pairs)
        twice[:] = [name for name, count in names.items() if count > 1]  # The outermost object is looked at last.

    with contextlib.suppress(ValueError, RecursionError):  # Said of the line when its turn comes.
        json.loads(file.readline(), object_pairs_hook=look)
    if twice:
        raise DataError(f"{path}: line 1 has two values called {twice[0]!r:.60}")
    file.seek(0)


def _blocks(path: Path, file: TextIO, notes: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Yield the objects of some lines at a time; a note is added where the last line is cut off."""
    number = 0
    while lines := list(islice(file, BLOCK)):
        block = objects_at_once(lines)
        if block is None:
            block = []
            for at, line in enumerate(lines, start=number + 1):
                try:
                    block += [_object(path, at, line)] if line.strip() else []
                except DataError:
                    if at == 1 or line.endswith("\n"):
                        raise
                    notes.append(CUT)
        yield block
        number += len(lines)


def objects_at_once(lines: Sequence[str]) -> list[dict[str, Any]] | None:
    """Return the objects of lines of JSON parsed together, or None where that may not be what they are line by line.

    Without arrays an object cannot go on in a line that begins with a brace: each line then has one object at least,
    and as many objects as lines are one each.
    """
    text = ",".join(lines)
    if "[" in text or not all(line.startswith("{") for line in lines):
        return None
    try:
        found = json.loads(f"[{text}]")
    except (ValueError, RecursionError):
        return None
    return found if len(found) == len(lines) else None


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
