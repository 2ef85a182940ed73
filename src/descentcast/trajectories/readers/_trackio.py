"""Trackio: one SQLite database a project, one row a log call, its metrics as JSON."""

import json
from pathlib import Path
from typing import Any

from descentcast.errors import DataError
from descentcast.trajectories.readers._records import Points, Record, flat, plain_setting, whole_step
from descentcast.trajectories.readers._sqlite import columns, database

TABLES = {"metrics", "configs"}


def read_trackio(path: Path) -> list[Record]:
    """Return the runs of a project.

    Raises:
        DataError: Not a database of Trackio's, or a damaged one.
    """
    with database(path) as connection:
        key = (
            "run_id" if "run_id" in columns(connection, "metrics") else "run_name"
        )  # Ids came after the first releases.
        points: dict[Any, Points] = {}
        names: dict[Any, str] = {}
        for run, name, step, metrics in connection.execute(
            f"SELECT {key}, run_name, step, metrics FROM metrics ORDER BY id"
        ):
            if run not in points:
                points[run], names[run] = Points(f"{path}: {name}"), str(name)
            found, at = points[run], whole_step(f"{path}: {name}", step)
            for metric, value in flat(_object(path, metrics)):
                found.add(metric, at, value)
        key = "run_id" if "run_id" in columns(connection, "configs") else "run_name"
        settings = {
            run: _object(path, config) for run, config in connection.execute(f"SELECT {key}, config FROM configs")
        }
    records = []
    for run, found in points.items():
        own = {name: value for name, value in settings.get(run, {}).items() if not str(name).startswith("_")}
        labels = {**dict(flat(own)), "group": settings.get(run, {}).get("_Group")}
        records.append(Record(names[run], found.series(), plain_setting(own), labels, key=str(run)))
    return records


def _object(path: Path, text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: an entry is not JSON: {' '.join(str(error).split())[:100]}") from None
    return found if isinstance(found, dict) else {}
