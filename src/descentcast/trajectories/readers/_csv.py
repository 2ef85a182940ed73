"""CSV: a line of column names, then one line a row, values separated by commas."""

import csv
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from descentcast.errors import DataError
from descentcast.trajectories.readers._tables import CUT, Table, is_number, no_text


def read_csv(path: Path, text: Collection[str]) -> tuple[Table, tuple[str, ...]]:
    """Return the columns of a CSV file, and what was mended.

    A column of numbers is a masked float64 array, masked where a cell is empty; any other is an array of text, None
    where a cell is empty. A line without any cell is a row of empty cells, except at the end of the file, where it is
    nothing. A last line that ends within a row is left out.

    Args:
        path: The file.
        text: Names of columns that are labels, kept as they are written.

    Raises:
        DataError: Not text, no line of column names, two columns of one name, a row with more cells than names.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = _names(path, file)
            lines = _lines(path, file, len(names), [i for i, name in enumerate(names) if name in text])
    except UnicodeDecodeError as error:
        raise no_text(path, "a CSV file", error) from None
    filled = np.flatnonzero(lines.notna().any(axis=1))
    lines = lines.iloc[: filled[-1] + 1] if filled.size else lines.iloc[:0]
    cut = len(lines) > 1 and not _ended(path) and _is_cut([lines.iloc[i].tolist() for i in (-2, -1)])
    lines = lines.iloc[:-1] if cut else lines
    return {name: _column(lines[i]) for i, name in enumerate(names)}, (CUT,) if cut else ()


class _UnderNumbers:
    """The rest of a file under a row of as many zeros as it has columns, which says how wide rows are."""

    def __init__(self, file: TextIO, columns: int) -> None:
        self._file, self._first = file, ",".join(["0"] * columns) + "\n"

    def read(self, size: int = -1) -> str:
        first, self._first = self._first, ""
        return first or self._file.read(size)

    def __iter__(self) -> "_UnderNumbers":
        return self

    def __next__(self) -> str:
        first, self._first = self._first, ""
        return first or next(self._file)


def _lines(path: Path, file: TextIO, columns: int, labels: list[int]) -> pd.DataFrame:
    try:
        lines = pd.read_csv(  # pyright: ignore[reportCallIssue]
            _UnderNumbers(file, columns),  # pyright: ignore[reportArgumentType]
            header=None,  # pandas would rename columns and take surplus cells for an index.
            dtype=dict.fromkeys(labels, str),  # pyright: ignore[reportArgumentType]
            na_values=[""],
            keep_default_na=False,  # So an empty cell is missing, and "nan" is what the program wrote.
            skipinitialspace=True,
            skip_blank_lines=False,  # In a file of one column a blank line is an empty cell.
            low_memory=False,
        )
    except pd.errors.ParserError as error:
        fault = _why(path, columns) or f"not a CSV file: {' '.join(str(error).split())}"
        raise DataError(f"{path}: {fault}") from None
    except OverflowError:
        raise DataError(f"{path}: not a CSV file: a number of too many digits") from None
    return lines.iloc[1:]


def _names(path: Path, file: TextIO) -> list[str]:
    try:
        names = [name.strip() for name in next(csv.reader(file, skipinitialspace=True), [])]
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file: {error}") from None
    if not any(names):
        blank = path.read_bytes().removeprefix(b"\xef\xbb\xbf").strip()
        raise DataError(f"{path}: {'the first line must name the columns, it is blank' if blank else 'empty'}")
    if all(is_number(name) for name in names):
        raise DataError(f"{path}: the first line must name the columns, it holds numbers: {', '.join(names)[:60]}")
    if len(names) == 1 and (odd := [sign for sign in ";\t" if sign in names[0]]):
        raise DataError(f"{path}: the column names are separated by {odd[0]!r}, must be by commas")
    seen: set[str] = set()
    for i, name in enumerate(names):
        if not name or name in seen:
            fault = f"is the second called {name!r:.60}" if name else "has no name"
            raise DataError(f"{path}: column {i + 1} {fault}: every column needs a name of its own")
        seen.add(name)
    return names


def _column(cells: pd.Series) -> np.ndarray:
    if cells.dtype.kind in "iuf":
        values = cells.to_numpy(dtype=np.float64)
        return np.ma.array(values, mask=np.isnan(values), copy=False)  # "nan" would have made a column of text.
    return cells.astype(object).where(cells.notna(), None).to_numpy(dtype=object)


def _why(path: Path, columns: int) -> str:
    """Return which line has more cells than there are column names, if one has."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, skipinitialspace=True)
        try:
            for row in reader:
                if len(row) > columns:
                    return f"line {reader.line_num} has {len(row)} cells, there are {columns} column names"
        except csv.Error:
            pass
    return ""


def _ended(path: Path) -> bool:
    """Return whether the file ends with a line break."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() in b"\r\n"


def _is_cut(rows: list[list[Any]]) -> bool:
    """Return whether the last of two rows ends before the other does: in cells, or within its last number."""
    before, last = (row[-1] for row in rows)
    if last != last:  # Missing.
        return bool(before == before)
    return not is_number(last) and is_number(before)
