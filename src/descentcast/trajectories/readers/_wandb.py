"""W&B: the `.wandb` file of a run's folder, offline or not: a log of protocol buffers. Owns wandb.

Its frames are found and checked in `_wandb_log`, what was logged at each step is decoded in `_wandb_history`; the rest,
and what is written in any other way, goes through wandb's own messages. wandb itself has no public reader of the file.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from descentcast.trajectories.readers._records import Points, Record, Series, missing, plain_setting, whole_step
from descentcast.trajectories.readers._wandb_history import OWN_STEP, add_history, value_of
from descentcast.trajectories.readers._wandb_log import log_records

ASIDE = ("_runtime", "_timestamp")
INNER = "_"


def read_wandb(path: Path, columns: Sequence[str] | None = None) -> list[Record]:
    """Return the run of a `.wandb` file, read up to the damage where it is damaged or cut.

    Args:
        path: The file.
        columns: What is decoded, if all of it is there; by default all.

    Raises:
        DataError: wandb is not installed, or not a `.wandb` file.
    """
    try:
        from wandb.proto.wandb_internal_pb2 import Record as Entry  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError:
        raise missing(str(path), "W&B runs", "wandb") from None
    damage: list[str] = []
    points, run = Points(str(path)), None
    configuration: dict[str, Any] = {}

    def rest(_: int, raw: bytes) -> None:
        nonlocal run
        try:
            entry: Any = Entry.FromString(raw)
        except Exception:  # protobuf's DecodeError is not public in all its implementations.
            return  # Sound by its checksum, so written so: of a kind that is not known.
        kind = entry.WhichOneof("record_type")
        if kind == "history":
            _log(points, entry.history, path, columns)
        elif kind == "run":
            run = entry.run
            configuration.update(_settings(run.config))
        elif kind == "config":
            configuration.update(_settings(entry.config))

    for records in log_records(path, damage):
        add_history(points, records, str(path), rest, columns)
    series = points.series(ASIDE)
    if columns is not None and any(name not in series for name in columns):
        return read_wandb(path)  # What is there instead is to be told.
    name = run.display_name or run.run_id if run is not None else path.stem
    key = run.run_id if run is not None else path.stem
    tags = {"tags": ",".join(run.tags), "group": run.run_group, "job_type": run.job_type} if run is not None else {}
    return [record_of(name, series, configuration, tags, key, tuple(damage))]


def record_of(
    name: str, series: Mapping[str, Series], configuration: Mapping[str, Any], tags: Mapping[str, str], key: str,
    notes: tuple[str, ...] = (),
) -> Record:  # fmt: skip
    """Return a run as W&B tells of it."""
    setting = plain_setting({name: value for name, value in configuration.items() if not name.startswith(INNER)})
    labels = setting | {name: value for name, value in tags.items() if value != ""}
    return Record(name, series, setting, labels, notes, key)


def _log(points: Points, history: Any, path: Path, columns: Sequence[str] | None) -> None:
    step, cells = history.step.num, []
    for item in history.item:
        name = item.key or ".".join(item.nested_key)
        cell = value_of(item.value_json)
        if name == OWN_STEP:
            step = cell
        elif not isinstance(cell, dict) and (columns is None or name in columns):
            cells.append((name, cell))
    at = whole_step(str(path), step)
    for name, cell in cells:
        points.add(name, at, cell)


def _settings(record: Any) -> dict[str, Any]:
    found = {}
    for item in record.update:
        try:
            found[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        except (ValueError, RecursionError):
            continue
    return found
