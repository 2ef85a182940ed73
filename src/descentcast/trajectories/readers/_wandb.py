"""W&B: the `.wandb` file of a run's folder, offline or not: a log of protocol buffers. Owns wandb.

The file is LevelDB's log: blocks of 32 KiB, in them records of a checksum, a length, a kind and bytes; a record that
does not fit is split over blocks. wandb itself has no public reader of it.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from descentcast.errors import DataError
from descentcast.trajectories.readers._records import Points, Record, missing, plain_setting, whole_step

HEADER, BLOCK, HEAD = b":W&B", 1 << 15, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
ASIDE = ("_runtime", "_timestamp")
STEP, INNER = "_step", "_"
NUMBER = "-0123456789NI"  # how a number begins in JSON, NaN and Infinity among them


def read_wandb(path: Path) -> list[Record]:
    """Return the run of a `.wandb` file, read up to the damage where it is damaged or cut.

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
    for raw in _records(path.read_bytes(), path, damage):
        try:
            entry: Any = Entry.FromString(raw)
        except Exception:  # protobuf's DecodeError is not public in all its implementations.
            continue  # Sound by its checksum, so written so: of a kind that is not known.
        kind = entry.WhichOneof("record_type")
        if kind == "history":
            _log(points, entry.history, path)
        elif kind == "run":
            run = entry.run
            configuration |= _settings(run.config)
        elif kind == "config":
            configuration |= _settings(entry.config)
    own = {name: value for name, value in configuration.items() if not name.startswith(INNER)}
    setting = plain_setting(own)
    labels: dict[str, Any] = dict(setting) | {"tags": "", "group": "", "job_type": ""}
    if run is not None:
        labels |= {"tags": ",".join(run.tags), "group": run.run_group, "job_type": run.job_type}
    name = run.display_name or run.run_id if run is not None else path.stem
    key = run.run_id if run is not None else path.stem
    return [
        Record(name, points.series(ASIDE), setting, {k: v for k, v in labels.items() if v != ""}, tuple(damage), key)
    ]


def _records(data: bytes, path: Path, damage: list[str]) -> Iterator[bytes]:
    """Yield the records of a log, as far as its checksums hold; what is wrong is added to `damage`."""
    if not data.startswith(HEADER):
        raise DataError(f"{path}: not a file of W&B's: it does not begin with {HEADER.decode()!r}")
    head_of = struct.Struct("<IHB").unpack_from
    at, end, whole, parts = HEAD, len(data), 0, b""
    while at < end:
        room = BLOCK - at % BLOCK
        if room < HEAD:
            at += room  # No head fits: the rest of the block is filled with zeros.
            continue
        if at + HEAD > end:
            damage.append(f"cut off within record {whole + 1}")
            return
        checksum, length, kind = head_of(data, at)
        body = data[at + HEAD : at + HEAD + length]
        if len(body) < length:
            damage.append(f"cut off within record {whole + 1}")
            return
        if zlib.crc32(body, zlib.crc32(bytes([kind]))) != checksum or kind not in (FULL, FIRST, MIDDLE, LAST):
            damage.append(f"record {whole + 1} is damaged: it and what follows are left out")
            return
        at += HEAD + length
        parts = body if kind in (FULL, FIRST) else parts + body
        if kind in (FULL, LAST):
            whole += 1
            yield parts


def _log(points: Points, history: Any, path: Path) -> None:
    step, cells = history.step.num, []
    for item in history.item:
        name = item.key or ".".join(item.nested_key)
        cell = _value(item.value_json)
        if name == STEP:
            step = cell
        elif not isinstance(cell, dict):
            cells.append((name, cell))
    at = whole_step(str(path), step)
    for name, cell in cells:
        points.add(name, at, cell)


def _value(text: str) -> Any:
    try:
        return float(text) if text[:1] in NUMBER and text else json.loads(text)
    except (ValueError, RecursionError):
        return text


def _settings(record: Any) -> dict[str, Any]:
    found = {}
    for item in record.update:
        try:
            found[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        except (ValueError, RecursionError):
            continue
    return found
