"""Results written to a folder, each file whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from descentcast.errors import DataError


def save_result(folder: Path, name: str, summary: dict[str, Any], axes: Axes) -> tuple[Path, Path]:
    """Write `name.json` and `name.png` into `folder`, and return their paths.

    Raises:
        DataError: The folder cannot be written.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    as_json, as_png = folder / f"{name}.json", folder / f"{name}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder / f".{name}.{os.getpid()}"
        scratch.write_text(json.dumps(summary))
        os.replace(scratch, as_json)
        figure.savefig(scratch, format="png", dpi=150)
        os.replace(scratch, as_png)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from error
    return as_json, as_png
