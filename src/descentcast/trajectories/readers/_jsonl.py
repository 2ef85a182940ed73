"""JSON lines: one object a line, its keys the columns."""

import json
from pathlib import Path

from descentcast.errors import DataError
from descentcast.trajectories.readers._tables import Table


def read_jsonl(path: Path) -> Table:
    """Return the columns of a JSON lines file, None where an object lacks a key that others have.

    Raises:
        DataError: Not text, a line that is no JSON object.
    """
    rows = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
            if line.strip():
                rows.append(_object(path, number, line))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a JSON lines file: {error}") from None
    if not rows:
        raise DataError(f"{path}: empty")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _object(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path}: line {number} is not JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{path}: line {number} is nested too deeply, must be a flat JSON object") from None
    if not isinstance(row, dict):
        raise DataError(f"{path}: line {number} must be a JSON object, one key a column, it is {line.strip()!r:.60}")
    return row
