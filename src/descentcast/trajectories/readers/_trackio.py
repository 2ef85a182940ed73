"""Trackio: one SQLite database a project, one row a log call, its metrics as JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from descentcast.errors import DataError
from descentcast.trajectories._trajectories import LAST_STEP
from descentcast.trajectories.readers._jsonl import objects_at_once
from descentcast.trajectories.readers._records import Points, Record, flat, plain_setting, whole_step
from descentcast.trajectories.readers._sqlite import columns, database

TABLES = {"metrics", "configs"}
BLOCK = 4096  # rows parsed at a time


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
        logged = connection.execute(f"SELECT {key}, run_name, step, metrics FROM metrics ORDER BY id")
        while rows := logged.fetchmany(BLOCK):
            for run, name, _, _ in rows:
                if run not in points:
                    points[run], names[run] = Points(f"{path}: {name}"), str(name)
            if not _add_at_once(points, rows):
                for run, name, step, metrics in rows:
                    at = whole_step(f"{path}: {name}", step)
                    for metric, value in flat(_object(path, metrics)):
                        points[run].add(metric, at, value)
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


def _add_at_once(points: dict[Any, Points], rows: list[tuple[Any, ...]]) -> bool:
    """Add rows of one run that logged the same metrics, as columns; return whether they are such rows."""
    runs, _, steps, texts = zip(*rows, strict=True)
    if set(map(type, steps)) != {int} or any(run != runs[0] for run in runs):
        return False
    try:  # Newer releases keep bytes, older ones text.
        entries = objects_at_once([text if isinstance(text, str) else text.decode() for text in texts])
    except (AttributeError, UnicodeDecodeError):
        return False
    if entries is None or max(map(abs, steps)) > LAST_STEP or len(set(map(tuple, entries))) > 1:
        return False
    columns = {name: [entry[name] for entry in entries] for name in entries[0]}
    if any(set(map(type, cells)) != {float} for cells in columns.values()):
        return False
    for name, cells in columns.items():
        points[runs[0]].extend(name, np.array(steps), np.array(cells))
    return True


def _object(path: Path, text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: an entry is not JSON: {' '.join(str(error).split())[:100]}") from None
    return found if isinstance(found, dict) else {}
