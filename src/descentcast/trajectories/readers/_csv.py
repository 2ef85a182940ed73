"""CSV: a line of column names, then one line a row, values separated by commas."""

from pathlib import Path

import numpy as np
import pandas as pd

from descentcast.errors import DataError
from descentcast.trajectories.readers._tables import Table, is_number


def read_csv(path: Path) -> Table:
    """Return the columns of a CSV file, cells as text, None where a cell is empty.

    A line without any cell is a row of empty cells, except at the end of the file, where it is nothing.

    Raises:
        DataError: Not text, no line of column names, two columns of one name, a row with more cells than names.
    """
    try:
        # As text, names included: pandas would round numbers, rename columns and take surplus cells for an index.
        lines = pd.read_csv(
            path,
            header=None,
            dtype=object,
            na_values=[""],
            keep_default_na=False,
            skipinitialspace=True,
            skip_blank_lines=False,  # In a file of one column a blank line is an empty cell.
            encoding="utf-8-sig",
        )
    except pd.errors.EmptyDataError:
        fault = "the first line must name the columns, it is blank" if path.read_bytes().strip() else "empty"
        raise DataError(f"{path}: {fault}") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV file: {' '.join(str(error).split())}") from None
    filled = np.flatnonzero(lines.notna().any(axis=1))
    if not filled.size:
        raise DataError(f"{path}: empty")
    lines = lines.where(lines.notna(), None).iloc[: filled[-1] + 1]
    names = ["" if name is None else str(name).strip() for name in lines.iloc[0]]
    if all(is_number(name) for name in names):
        raise DataError(f"{path}: the first line must name the columns, it holds numbers: {', '.join(names)}")
    for i, name in enumerate(names):
        if not name or name in names[:i]:
            fault = f"is the second called {name!r}" if name else "has no name"
            raise DataError(f"{path}: column {i + 1} {fault}: every column needs a name of its own")
    return {name: lines[i].tolist()[1:] for i, name in enumerate(names)}
