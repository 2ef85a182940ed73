"""`read`: from files to runs."""

import os
from collections.abc import Sequence
from dataclasses import replace
from glob import glob
from pathlib import Path

from descentcast.errors import ArgumentError, DataError
from descentcast.trajectories._trajectories import Trajectories
from descentcast.trajectories.readers import READERS, RUN, runs_of


def read(path_or_glob: str | Path | Sequence[str | Path], columns: Sequence[str] | None = None) -> Trajectories:
    r"""Read recorded runs from CSV or JSON lines files.

    A table is wide: one column a coordinate, and optionally `step` (the optimizer step of a row) and `run` (which run a
    row belongs to); or long: the columns `step`, `name`, `value` and optionally `run`. A file without a column `run` is
    one run, called by the file's name.

    Args:
        path_or_glob: A file, a folder (its `.csv` and `.jsonl` files), a glob such as `runs/**/*.csv`, or several.
        columns: The coordinates to read, in this order; all by default.

    Returns:
        The runs, files in alphabetical order. Where several files have a column `run`, runs are called `file/run`.

    Raises:
        DataError: Nothing there, a format that is not read, a cell that is not a finite number (the message names file,
            column and row; rows are counted from 1 below the column names), an unknown column, steps that do not
            increase, a run of fewer than two steps, files that recorded different coordinates.
        ArgumentError: `columns` is not a list of different names.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "seed1.csv").write_text("step,w,loss\n0,1.0,0.5\n10,0.5,0.125\n")
        ...     runs = read(folder, columns=["w"])
        >>> runs[0].run, runs.names, runs[0].steps.tolist(), runs[0].values.tolist()
        ('seed1', ('w',), [0, 10], [[1.0], [0.5]])
    """
    if columns is not None and (isinstance(columns, str) or not columns or len(set(columns)) != len(columns)):
        raise ArgumentError(f"columns == {columns!r}, must be a list of different names")
    given = [path_or_glob] if isinstance(path_or_glob, str | os.PathLike) else path_or_glob
    paths = list(dict.fromkeys(path for pattern in given for path in _reachable(pattern)))
    if not paths:
        raise ArgumentError(f"path_or_glob == {path_or_glob!r}, must name at least one file")
    runs = []
    for path, name in zip(paths, _names(paths), strict=True):
        try:
            table = READERS[path.suffix.lower()](path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
        found = runs_of(table, path, name, columns)
        several = len(paths) > 1 and RUN in table
        runs += [replace(run, run=f"{name}/{run.run}") for run in found] if several else found
    return Trajectories(tuple(runs))


def _reachable(pattern: str | Path) -> list[Path]:
    try:
        return _files(pattern)
    except OSError as error:
        raise DataError(f"{pattern}: cannot be read: {error.strerror or error}") from error
    except RuntimeError as error:  # A home directory that is not there.
        raise DataError(f"{pattern}: cannot be read: {error}") from error


def _files(pattern: str | Path) -> list[Path]:
    path = Path(pattern).expanduser()
    supported = ", ".join(READERS)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in READERS)
        if not found:
            raise DataError(f"{path}: no file in this folder can be read, supported are {supported}")
        return found
    found = [path] if path.is_file() else sorted(p for p in map(Path, glob(str(path), recursive=True)) if p.is_file())
    if not found:
        raise DataError(f"{path}: no such file")
    for file in found:
        if file.suffix.lower() not in READERS:
            raise DataError(f"{file}: format {file.suffix or '(no suffix)'!r} is not read, supported are {supported}")
    return found


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the files' stems, with as many folders before them as it takes to tell all apart."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.with_suffix("").parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
