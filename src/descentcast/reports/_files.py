"""Results written to a folder, each file whole or not at all."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from descentcast.errors import DataError


def writable(folder: Path) -> Path:
    """Return the folder, made where it was not there, or say at once that nothing can be written to it.

    Raises:
        DataError: The folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from error


def save_result(folder: Path, name: str, summary: dict[str, Any], axes: Axes) -> tuple[Path, Path]:
    """Write `name.json` and `name.png` into `folder`, and return their paths.

    Raises:
        DataError: The folder cannot be written.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    as_json, as_png = folder / f"{name}.json", folder / f"{name}.png"
    scratch = writable(folder) / f".{name}.{os.getpid()}"
    try:
        scratch.write_text(json.dumps(summary))
        os.replace(scratch, as_json)
        figure.savefig(scratch, format="png", dpi=150)
        os.replace(scratch, as_png)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return as_json, as_png


@dataclass(frozen=True)
class SavedResult:
    """A result that was written to a folder before.

    Attributes:
        summary: Its dict.
        picture: Its plot, a PNG file; empty where there was none beside it.
    """

    summary: dict[str, Any]
    picture: bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return self.summary


def read_result(path: Path) -> SavedResult:
    """Return a result that `save_result` wrote, its plot with it where that lies beside it.

    Raises:
        DataError: The file cannot be read, or holds no result.
    """
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        picture = path.with_suffix(".png")
        if isinstance(summary, dict) and summary:
            return SavedResult(summary, picture.read_bytes() if picture.is_file() else b"")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError:
        pass
    raise DataError(f"{path}: holds no result, must be a JSON file that --out or --json has written")
