"""TensorBoard: the scalars in the event files of a folder, all points, one run a folder. Owns tensorboard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from descentcast.errors import DataError
from descentcast.trajectories._trajectories import LAST_STEP
from descentcast.trajectories.readers._event_records import EventFile, event_records
from descentcast.trajectories.readers._records import Record, Series, missing, shown

MARK, PLUGIN = "tfevents", "scalars"


def read_tensorboard(files: Sequence[Path]) -> list[Record]:
    """Return the run whose event files these are.

    Where a later file says that a session started at a step (`purge_step`), or begins, for a tag, at a step that an
    earlier one has passed, the run was resumed there: what the earlier file has from that step on was lost with it, and
    is left out. A damaged or cut file is read up to the damage.

    Args:
        files: Event files of one folder, in the order in which they were begun.

    Raises:
        DataError: tensorboard is not installed, or no file holds an event.
    """
    place = str(files[0].parent if len(files) > 1 else files[0])
    found: dict[str, list[tuple[int, np.ndarray, np.ndarray]]] = {}
    sessions = np.full(len(files), np.inf)  # The step at which each file says that its session started.
    notes, events = [], 0
    for number, file in enumerate(files):
        records = event_records(file.read_bytes())
        notes += [f"{file.name}: {records.damage}"] if records.damage else []
        events += len(records.others) + sum(len(points.steps) for points in records.scalars)
        points, sessions[number] = _points(records, place)
        for tag, (steps, values) in points.items():
            found.setdefault(tag, []).append((number, steps, values))
    if not events:
        raise DataError(f"{place}: not an event file of TensorBoard's, or an empty one")
    series = {}
    purged = np.append(np.minimum.accumulate(sessions[::-1])[::-1][1:], np.inf)
    for tag, pieces in found.items():
        kept, dropped = _resumed(pieces, purged)
        steps, values = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
        if dropped:
            notes.append(f"{shown(tag)}: {dropped} points after the step at which the run was resumed are left out")
        if (np.abs(steps) > LAST_STEP).any():
            raise DataError(f"{place}: {shown(tag)}: a step of more than 2^53")
        series[tag] = Series(steps, values)
    return [Record("", series, notes=tuple(notes))]


def _points(records: EventFile, place: str) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], float]:
    """Return steps and values of each tag of one file, as written, and the step at which its session started."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    for points in records.scalars:
        tag = points.tag.decode("utf-8", "replace")
        found.setdefault(tag, []).append((points.positions, points.steps, points.values))
    others, session = _through_library(records.others, place)
    for tag, points in others.items():
        positions, steps, values = zip(*points, strict=True)
        arrays = np.array(positions), np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)
        found.setdefault(tag, []).append(arrays)
    out, first = {}, {}
    for tag, pieces in found.items():
        positions, steps, values = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
        order = np.argsort(positions, kind="stable")
        if len(order):
            out[tag], first[tag] = (steps[order], values[order]), positions[order[0]]
    return dict(sorted(out.items(), key=lambda item: first[item[0]])), session


def _through_library(
    events: list[tuple[int, bytes]], place: str
) -> tuple[dict[str, list[tuple[int, int, float]]], float]:
    """Return position, step and value of the scalars in events of no canonical form, and where a session started.

    That is infinity where none says so, or where one says 0, which is what is not said.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError:
        raise missing(place, "TensorBoard event files", "tensorboard") from None
    found: dict[str, list[tuple[int, int, float]]] = {}
    plugins: dict[str, str] = {}
    session = np.inf
    for position, raw in events:
        try:
            event: Any = Event.FromString(raw)
        except Exception:  # protobuf's DecodeError is not public in all its implementations.
            continue  # Sound by its checksum, so written so: no event of a kind that is known.
        if event.session_log.status == SessionLog.START and event.step > 0:
            session = min(session, event.step)
        for value in event.summary.value:
            kind = value.WhichOneof("value")
            plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
            if kind == "simple_value":
                number = value.simple_value
            elif kind == "tensor" and plugin == PLUGIN:
                number = _scalar(value.tensor)
            else:
                continue
            if number is not None:
                found.setdefault(value.tag, []).append((position, event.step, number))
    return found, session


def _scalar(tensor: Any) -> float | None:
    """Return the number that a tensor of no dimension holds, as newer writers log scalars."""
    from tensorboard.util import tensor_util

    try:
        array = tensor_util.make_ndarray(tensor)
        return float(array) if array.ndim == 0 else None
    except (TypeError, ValueError, OverflowError, KeyError, IndexError):
        return None


def _resumed(
    pieces: list[tuple[int, np.ndarray, np.ndarray]], purged: np.ndarray
) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """Return the points of one tag file by file, without those at or after the first step of a later file.

    Args:
        pieces: Number of each file that has the tag, steps and values.
        purged: From which step on later files say that a file does not count, one number a file.
    """
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    dropped, least = 0, np.inf
    for number, steps, values in reversed(pieces):
        before = steps < min(least, purged[number])
        dropped += int((~before).sum())
        kept.append((steps[before], values[before]))
        least = min(least, steps.min())
    return kept[::-1], dropped
