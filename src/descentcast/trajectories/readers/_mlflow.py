"""MLflow: a tracking database in SQLite, or a folder of the file store, one file a metric."""

from array import array
from pathlib import Path
from typing import Any

import numpy as np

from descentcast.errors import DataError
from descentcast.trajectories.readers._records import Points, Record, Series, clipped, plain_setting, whole_step
from descentcast.trajectories.readers._sqlite import database

TABLES = {"experiments", "runs", "metrics", "params", "tags"}
LARGEST = 1.7976931348623157e308  # What the database holds for infinity, as MLflow documents.
RUN_NAME, INNER = "mlflow.runName", "mlflow."


def read_mlflow_database(path: Path) -> list[Record]:
    """Return the runs of a tracking database that are not deleted.

    Raises:
        DataError: Not a database of MLflow's, or a damaged one.
    """
    with database(path) as connection:
        experiments = dict(connection.execute("SELECT experiment_id, name FROM experiments").fetchall())
        runs = connection.execute(
            "SELECT run_uuid, name, experiment_id FROM runs WHERE lifecycle_stage = 'active' ORDER BY start_time, rowid"
        ).fetchall()
        parameters, tags = _pairs(connection, "params"), _pairs(connection, "tags")
        points: dict[Any, Points] = {}
        for run, name, step, value, is_nan in connection.execute(
            "SELECT run_uuid, key, step, value, is_nan FROM metrics ORDER BY rowid"
        ):
            if run not in points:
                points[run] = Points(f"{path}: run {run}")
            number = float("nan") if is_nan else finite_or_not(value)
            points[run].add(str(name), whole_step(f"{path}: run {run}", step), number)
    return [
        record_of(name, points[run].series(), parameters.get(run, {}), tags.get(run, {}), experiments.get(at), str(run))
        for run, name, at in runs
        if run in points
    ]


def finite_or_not(value: Any) -> Any:
    """Return a value of a database, infinity where that was logged."""
    return value * 2 if isinstance(value, float) and abs(value) == LARGEST else value


def is_mlflow_run(folder: Path) -> bool:
    """Return whether a folder is a run of the file store."""
    return (folder / "meta.yaml").is_file() and (folder / "metrics").is_dir()


def started(folder: Path) -> int:
    """Return when a run of the file store began, in milliseconds; 0 where it does not say."""
    time = _said(folder, "start_time")
    return int(time) if time.isdecimal() else 0


def _said(folder: Path, key: str) -> str:
    """Return what a folder's `meta.yaml` says under a key, empty where it says nothing."""
    meta = folder / "meta.yaml"
    lines = [line.partition(":") for line in _text(meta).splitlines()] if meta.is_file() else []
    return next((value.strip().strip("'\"") for name, _, value in lines if name.strip() == key), "")


def read_mlflow_folder(folder: Path) -> list[Record]:
    """Return the run that a folder of the file store holds.

    A last line of a metric that is cut off is left out.

    Raises:
        DataError: A metric's line is not `timestamp value step`.
    """
    series, notes = {}, []
    for file in sorted((folder / "metrics").rglob("*")):
        if file.is_file():
            name = file.relative_to(folder / "metrics").as_posix()
            series[name], cut = _metric(file)
            notes += [f"the last line of {name} is cut off: left out"] if cut else []
    parameters, tags = (
        {f.relative_to(folder / kind).as_posix(): _text(f) for f in sorted((folder / kind).rglob("*")) if f.is_file()}
        for kind in ("params", "tags")
    )
    experiment = _said(folder.parent, "name") or folder.parent.name
    return [record_of(tags.get(RUN_NAME), series, parameters, tags, experiment, folder.name, tuple(notes))]


def _metric(file: Path) -> tuple[Series, bool]:
    steps, values = array("q"), array("d")
    text = _text(file)
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            _, value, step = line.split(" ")[:3]  # Newer releases add the data set after them.
            value, step = float(value), whole_step(str(file), int(step))
        except (ValueError, DataError):
            if number == len(lines) and number > 1:
                return Series(*_arrays(steps, values)), True
            raise DataError(
                f"{file}: line {number} holds {clipped(line)}, must be a timestamp, value and step"
            ) from None
        steps.append(step)
        values.append(value)
    return Series(*_arrays(steps, values)), False


def _arrays(steps: "array[int]", values: "array[float]") -> tuple[np.ndarray, np.ndarray]:
    return np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _pairs(connection: Any, table: str) -> dict[Any, dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for run, key, value in connection.execute(f"SELECT run_uuid, key, value FROM {table}"):
        found.setdefault(run, {})[str(key)] = value
    return found


def record_of(
    name: Any, series: dict[str, Series], parameters: dict[str, Any], tags: dict[str, Any], experiment: Any, key: str,
    notes: tuple[str, ...] = (),
) -> Record:  # fmt: skip
    """Return a run as MLflow tells of it."""
    own = {tag: value for tag, value in tags.items() if not tag.startswith(INNER)}
    labels = {**own, **parameters, "experiment": experiment}
    return Record(str(name or key), series, plain_setting(parameters), labels, notes, key)
