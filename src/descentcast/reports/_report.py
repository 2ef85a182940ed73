"""Results on one page, HTML or JSON, made of the same dicts."""

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import jinja2
import numpy as np
from matplotlib.figure import Figure

from descentcast import _checks
from descentcast.errors import ArgumentError, DataError
from descentcast.reports._files import SavedResult
from descentcast.reports._plot import plot
from descentcast.reports._sections import Section, section

SUFFIXES = (".html", ".json")


def report(results: Any, path: str | Path, title: str = "descentcast report") -> Path:
    """Write results as one page that needs no other file: what was found, pictures, tables, notes.

    Args:
        results: A result (anything with `to_dict`), several of them, or a dict heading -> result. What `to_dict` has
            returned, or a file of it has held, will do in place of a result; it comes without a picture.
        path: A file `.html`, or `.json`: a list with, for each result, its heading, its kind and its dict.
        title: The page's heading.

    Returns:
        The path. The file is whole or not there at all.

    Raises:
        ArgumentError: Another suffix, no results, or something that is no result.
        DataError: The file cannot be written.

    Examples:
        >>> import tempfile, descentcast as dc
        >>> runs = dc.Trajectories.from_arrays([[0.0, 1.0, 0.5, 0.7, 0.2, 0.4, 0.6, 0.1]] * 2)
        >>> result = dc.forecast(dc.LocalLinearKernel().fit(runs), [0.5], 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = report({"From one half": result}, f"{folder}/page.html")
        ...     "From one half" in page.read_text(encoding="utf-8")
        True
    """
    target = Path(_checks.instance("path", path, (str, Path), "where the page goes"))
    if target.suffix not in SUFFIXES:
        raise ArgumentError(f"path == {str(path)!r}, must end in {' or '.join(SUFFIXES)}")
    named = _named(results)
    if target.suffix == ".json":
        plain = [{"title": name, "kind": _kind(result), **_dict(result)} for name, result in named]
        return _written(target, json.dumps(plain, default=_plain))
    sections = [section(name, _dict(result), _picture(result)) for name, result in named]
    return _written(target, _page(sections, title if len(named) > 1 else named[0][0]))


def _named(results: Any) -> list[tuple[str, Any]]:
    """Return results with their headings; each is held to be one before anything is written."""
    if hasattr(results, "to_dict"):
        found = [(_kind(results), results)]
    elif isinstance(results, Mapping) and results and all(map(_is_result, results.values())):
        found = [(str(name), result) for name, result in results.items()]
    elif isinstance(results, Mapping):
        found = [("Result", results)]
    elif isinstance(results, Sequence) and not isinstance(results, str):
        found = [pair for result in results for pair in _named(result)]
    else:
        raise ArgumentError(f"results hold a {type(results).__name__}, must be results, or what their to_dict returns")
    if not found or not all(_is_result(result) and _dict(result) for _, result in found):
        raise ArgumentError("results == nothing, must be at least one result, or what its to_dict returns")
    return found


def _plain(value: Any) -> Any:
    """Return what JSON has no word for, such as a setting that is a number of NumPy's, as a number or as text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _is_result(value: Any) -> bool:
    return isinstance(value, Mapping) or hasattr(value, "to_dict")


def _dict(result: Any) -> dict[str, Any]:
    return dict(result if isinstance(result, Mapping) else result.to_dict())


def _kind(result: Any) -> str:
    return "Result" if isinstance(result, Mapping | SavedResult) else type(result).__name__


def _picture(result: Any) -> str | None:
    """Return the result's picture as a PNG file, base64; None where there is none."""
    if isinstance(result, SavedResult):
        return base64.b64encode(result.picture).decode() or None
    try:
        figure = cast(Figure, plot(result).figure)
    except ArgumentError:
        return None
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return base64.b64encode(file.getvalue()).decode()


def _page(sections: list[Section], title: str) -> str:
    template = files("descentcast.reports").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        title=title,
        sections=sections,
        written=f"Written {datetime.now().astimezone():%d %B %Y, %H:%M}",
        footer=f"Made by descentcast {version('descentcast')}.",
    )


def _written(path: Path, text: str) -> Path:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        if scratch.exists():
            scratch.unlink()
    return path
