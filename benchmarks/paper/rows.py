"""Results as rows of a CSV file: what a figure is drawn from, and what is there already need not be computed again."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

RESULTS = Path(__file__).resolve().parents[1] / "results" / "paper"
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "paper"


class Rows:
    """A CSV file to which the rows of one unit are added at once.

    Args:
        path: The file.
        unit: Names of the columns that say which unit a row belongs to.

    Examples:
        >>> import tempfile
        >>> rows = Rows(Path(tempfile.mkdtemp()) / "a.csv", ("model", "seed"))
        >>> rows.add({"model": "m", "seed": 0}, [{"length": 10, "distance": 0.5}, {"length": 20, "distance": 0.25}])
        >>> rows.holds(model="m", seed=0), rows.holds(model="m", seed=1), len(rows.table())
        (True, False, 2)
    """

    def __init__(self, path: Path, unit: Sequence[str]) -> None:
        self.path, self.unit = path, tuple(unit)

    def add(self, unit: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
        """Append the rows of a unit by one write."""
        frame = pd.DataFrame([{**unit, **row} for row in rows])
        there = self.path.exists() and self.path.stat().st_size > 0
        text = frame.to_csv(index=False, header=not there, float_format="%.6g")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)

    def table(self) -> pd.DataFrame:
        """Return all rows; none where there is no file."""
        return pd.read_csv(self.path) if self.path.exists() else pd.DataFrame(columns=list(self.unit))

    def holds(self, **unit: Any) -> bool:
        """Return whether the rows of a unit are there."""
        table = self.table()
        return bool(len(table)) and bool((table[list(unit)] == pd.Series(unit)).all(axis=1).any())
