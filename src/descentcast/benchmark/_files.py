"""Files of results: JSON lines that grow by whole records, and tables that are replaced whole."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from descentcast.errors import DataError


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file, none where it is not there; a line that was cut off is left out.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    found = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def append_results(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Append records to a file in one write, after the end of a whole line.

    Raises:
        DataError: The file cannot be written.
    """
    text = "".join(json.dumps(record) + "\n" for record in records).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                text = text if file.read(1) == b"\n" else b"\n" + text
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_whole(path: Path, text: str) -> Path:
    """Write a text to a file, whole or not at all, and return its path.

    Raises:
        DataError: The file cannot be written.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return path
