"""Results written to a folder, each file whole or not at all."""

import json
import os
import tempfile
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
