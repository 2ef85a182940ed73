"""Arrays and a JSON header in one file: written whole or not at all, read without running anything."""

import json
import os
import uuid
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from descentcast.errors import ArgumentError, DataError

# What NumPy, zipfile, zlib and json raise on bytes that are not theirs.
UNREADABLE = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    BadZipFile,
    zlib.error,
)


def plain(name: str, value: Any) -> Any:
    """Return `value` as what JSON knows: numpy's numbers and arrays become Python's, tuples become lists.

    Raises:
        ArgumentError: `value` holds something that JSON cannot write.
    """
    try:
        return json.loads(json.dumps(value, default=_native))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} == {value!r:.80}, must hold numbers, text, lists and dictionaries") from error


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write arrays and header to `path`: a file of that name is replaced at once or left as it was.

    Raises:
        DataError: The file cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)  # pyright: ignore[reportArgumentType]
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def read(
    path: str | os.PathLike[str], form: str, names: Collection[str]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays called `names` and the header of a file whose header says it is of the form `form`.

    Raises:
        DataError: No such file, a damaged one, or one of another form.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            if header["form"] != form:
                raise DataError(f"{path}: holds {header['form']!r}, must hold {form!r}")
            return {name: archive[name] for name in names}, header
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(f"{path}: damaged, or not a file of the form {form!r}") from error


def _native(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
