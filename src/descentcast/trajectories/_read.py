"""`read`: from files to runs; `list_runs`: what there is to read."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from glob import glob
from pathlib import Path

import numpy as np
import pandas as pd

from descentcast.errors import ArgumentError, DataError, DescentcastError
from descentcast.trajectories._runs import assembled, divergence, named_runs, ordered
from descentcast.trajectories._trajectories import Trajectories
from descentcast.trajectories.readers import Source, is_address, source_at, sources_in, well_formed


def read(
    path_or_glob: str | Path | Sequence[str | Path], columns: Sequence[str] | None = None, arm: str | None = None
) -> Trajectories:
    r"""Read recorded runs from tables or from what a tracker kept.

    What is read: CSV, JSON lines, Parquet; TensorBoard event files (all points); W&B's `.wandb` files, of offline runs
    too, and its server; MLflow, SQLite, folders or a server; Trackio; Hugging Face's `trainer_state.json`; Lightning's
    `metrics.csv`; the intermediate values of Optuna studies in SQLite.

    A table is wide: one column a coordinate, and optionally `step` (the optimizer step of a row) and `run` (which run a
    row belongs to); or long: the columns `step`, `name`, `value` and optionally `run`. A file without a column `run` is
    one run, called by the file's name.

    Values are kept as they were written, at the steps at which they were written; nothing is resampled. Steps are
    sorted; of rows of one step the one written last counts. Columns that hold no numbers are no coordinates. A run that
    ends in NaN or infinity is kept up to there and its `diverged` says where; other rows without finite values are left
    out. Rows are those at which all columns were recorded. `notes` of a run say what was left out or mended, `notes` of
    the result which runs of fewer than two rows were left out.

    Args:
        path_or_glob: A file, a folder (all below it, of one format), a glob such as `runs/**/*.csv`, the address of a
            server, `http://host:5000` of MLflow's (and `/#/experiments/1`, `/#experiment`, ... as its page shows),
            `wandb://entity/project` or `wandb://entity/project/run_id` of W&B's; or several of them.
        columns: The coordinates to read, in this order; by default all, if they were recorded at the same steps.
        arm: What names the arm of a run: a column of a table, a setting, a tag; or a path with `{arm}` in it, such as
            `{arm}/seed*`, that is held against the end of the run's path or of its name.

    Returns:
        The runs, files in alphabetical order. Where runs of several files have one name they are called `file/run`.

    Raises:
        DataError: Nothing there, a format that is not read, a cell of a column that is not a number (the message names
            file, column and row; rows are counted from 1 below the column names), an unknown column, no run of two
            rows, runs that recorded different coordinates, a run without an arm, a library that is not installed.
        ArgumentError: `columns` is not a list of different names, `arm` is no name and no path with one `{arm}`.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "adam").mkdir(), Path(folder, "sgd").mkdir()
        ...     _ = Path(folder, "adam", "seed1.csv").write_text("step,w,loss\n0,1.0,0.5\n10,0.5,0.125\n20,nan,nan\n")
        ...     _ = Path(folder, "sgd", "seed1.csv").write_text("step,w,loss\n0,1.0,0.5\n10,0.9,0.4\n")
        ...     runs = read(folder, columns=["w"], arm="{arm}/seed*")
        >>> runs[0].run, runs[0].arm, runs.names, runs[0].steps.tolist(), runs[0].values.tolist(), runs[0].diverged
        ('adam/seed1', 'adam', ('w',), [0, 10], [[1.0], [0.5]], 20)
    """
    if columns is not None and (isinstance(columns, str) or not columns or len(set(columns)) != len(columns)):
        raise ArgumentError(f"columns == {columns!r}, must be a list of different names")
    return assembled(named_runs(_sources(path_or_glob), arm, columns), columns)


def list_runs(path_or_glob: str | Path | Sequence[str | Path], arm: str | None = None) -> pd.DataFrame:
    r"""Return what there is to read: one row a run and column of numbers.

    Args:
        path_or_glob: As for `read`.
        arm: As for `read`.

    Returns:
        run, arm, format, column, rows, first and last (steps), every (steps between rows, missing where that differs),
        diverged (step, missing where it did not), note (what is wrong or was mended).

    Raises:
        DataError: As for `read`, but for what is wrong with single columns.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "seed1.csv").write_text("step,w,loss\n0,1,2\n10,2,3\n20,3,nan\n")
        ...     list_runs(folder)[["run", "column", "rows", "first", "last", "every", "diverged"]]
             run column  rows  first  last  every  diverged
        0  seed1      w     3      0    20     10      <NA>
        1  seed1   loss     2      0    10     10        20
    """
    table = []
    for one in named_runs(_sources(path_or_glob), arm):
        for name, series in one.record.series.items():
            if not len(series.values):
                continue
            steps, values, notes = ordered(series)
            end, bad = divergence(values[:, None])
            kept = steps[:end][~bad]
            gaps = np.unique(np.diff(kept))
            table.append(
                {
                    "run": one.run,
                    "arm": one.arm,
                    "format": one.source.format,
                    "column": name,
                    "rows": len(kept),
                    "first": int(kept[0]) if len(kept) else None,
                    "last": int(kept[-1]) if len(kept) else None,
                    "every": int(gaps[0]) if len(gaps) == 1 else None,
                    "diverged": int(steps[end]) if end < len(steps) else None,
                    "note": "; ".join(filter(None, [series.fault, *one.record.notes, *notes, series.note])),
                }
            )
    frame = pd.DataFrame(table, columns=[*COLUMNS])
    return frame.astype({name: kind for name, kind in COLUMNS.items() if kind})


STEPS = dict.fromkeys(("rows", "first", "last", "every", "diverged"), "Int64")  # Whole numbers, or missing.
COLUMNS = dict.fromkeys(("run", "arm", "format", "column")) | STEPS | {"note": None}


def _sources(path_or_glob: str | Path | Sequence[str | Path]) -> list[tuple[Source, str]]:
    """Return the sources that are named, each once whatever it is named by, with what its runs are called."""
    given = [path_or_glob] if isinstance(path_or_glob, str | os.PathLike) else path_or_glob
    given = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(one, str | os.PathLike) for one in given):
        raise ArgumentError(f"path_or_glob == {path_or_glob!r:.80}, must be a path, or a list of paths")
    found: dict[str, Source] = {}
    for pattern in given:
        for source in _reachable(pattern):
            place = str(source.path)
            real = place if is_address(place) else os.path.realpath(place)
            if real not in found or os.path.abspath(place) == real:  # A link stands back, such as W&B's `latest-run`.
                found[real] = source
    if not found:
        raise ArgumentError(f"path_or_glob == {path_or_glob!r}, must name at least one file")
    sources = list(found.values())
    counts = Counter(source.place for source in sources)
    places = [Path(one.path) if counts[one.place] > 1 else one.place for one in sources]
    return list(zip(sources, map(well_formed, _names(places)), strict=True))


def _reachable(pattern: str | Path) -> Iterator[Source]:
    if is_address(pattern):
        yield source_at(str(pattern))
        return
    try:
        path = Path(pattern).expanduser()
        paths = [path] if path.exists() else _matching(path)
        if not paths:
            raise DataError(f"{pattern}: no such file")
        for path in paths:
            yield from sources_in(path)
    except OSError as error:
        raise DataError(f"{pattern}: cannot be read: {error.strerror or error}") from error
    except DescentcastError:
        raise
    except (RuntimeError, ValueError) as error:  # A home directory that is not there; a name with a zero in it.
        raise DataError(f"{pattern}: cannot be read: {error}") from error


def _matching(pattern: Path) -> list[Path]:
    """Return what a glob matches; `**` goes through no links, which can lead round in circles."""
    if "**" not in pattern.parts:
        return sorted(map(Path, glob(str(pattern))))
    at = pattern.parts.index("**")
    below, hidden = "/".join(pattern.parts[at:]), any(part.startswith(".") for part in pattern.parts[at:])
    found: set[Path] = set()
    for head in map(Path, glob(str(Path(*pattern.parts[:at]))) if at else ["."]):
        paths = head.glob(below)
        found |= {p for p in paths if hidden or not any(n.startswith(".") for n in p.relative_to(head).parts)}
    return sorted(found)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the last parts of the paths, with as many folders before them as it takes to tell all apart."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) or str(path) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
