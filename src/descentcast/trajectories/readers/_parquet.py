"""Parquet: a table with types, wide or long. Owns pyarrow."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from descentcast.errors import DataError
from descentcast.trajectories.readers._records import clipped, missing
from descentcast.trajectories.readers._tables import Table

INDEX = "__index_level_"  # how pandas calls the index of a frame in a file
MOST_CELLS = 500_000_000  # of a table in memory
MOST_TEXT, MOST_PARTS = 100_000_000, 1_000_000  # of a file's description of itself, before its data is believed


def read_parquet(path: Path, text: Collection[str]) -> tuple[Table, tuple[str, ...]]:
    """Return the columns of a Parquet file, and what was mended: nothing.

    Columns of numbers are masked float64 arrays, masked at nulls; others are arrays of cells, None at nulls.

    Args:
        path: The file.
        text: Names of columns that are labels.

    Raises:
        DataError: pyarrow is not installed, not a Parquet file, a damaged one, two columns of one name.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise missing(str(path), "Parquet", "parquet") from None
    try:
        with parquet.ParquetFile(
            path, thrift_string_size_limit=MOST_TEXT, thrift_container_size_limit=MOST_PARTS
        ) as file:
            names = file.schema_arrow.names
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise DataError(f"{path}: two columns are called {twice[0]!r:.60}")
            if file.metadata.num_rows * len(names) > MOST_CELLS:  # A few bytes can stand for as many as one likes.
                raise DataError(f"{path}: {file.metadata.num_rows} rows of {len(names)} columns are more than are read")
            found = file.read(use_threads=False)
            return {name: _column(found.column(name), name in text) for name in names if not name.startswith(INDEX)}, ()
    except (arrow.ArrowException, OSError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise DataError(f"{path}: not a Parquet file, or a damaged one: {clipped(str(error))}") from None


def _column(cells: Any, label: bool) -> np.ndarray:
    import pyarrow as arrow

    kind = cells.type
    numeric = arrow.types.is_integer(kind) or arrow.types.is_floating(kind) or arrow.types.is_decimal(kind)
    if numeric and not (label and arrow.types.is_integer(kind)):
        values = cells.cast(arrow.float64(), safe=False)
        if not values.null_count:
            return np.ma.array(values.to_numpy(), copy=False)
        return np.ma.array(values.fill_null(0.0).to_numpy(), mask=values.is_null().to_numpy(), copy=False)
    if arrow.types.is_null(kind):
        return np.ma.masked_all(len(cells))
    if arrow.types.is_string(kind) or arrow.types.is_large_string(kind) or label:
        cells = cells.dictionary_encode()  # A name that is there a million times is made once.
    if not arrow.types.is_dictionary(cells.type):
        return np.array([f"<{kind}>"] * len(cells), dtype=object)
    encoded = cells.combine_chunks()
    encoded = encoded.unify_dictionaries() if isinstance(encoded, arrow.ChunkedArray) else encoded
    names = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    return names[encoded.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)]
