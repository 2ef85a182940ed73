"""The frames of a TensorBoard event file, their checksums, and its plain scalars decoded many at once.

A record is its length (8 bytes), the checksum of that, the bytes of one event, and the checksum of those. Almost all
events of a training log are one float under one tag, written in one canonical way: events of equal length then differ
in time, step and value alone, and are decoded as columns of a byte matrix. All others are left to the library.
"""

import struct
from array import array
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

HEAD, FOOT = 12, 4
POLYNOMIAL = np.uint32(0x82F63B78)  # CRC-32C, reflected
BLOCK = 1 << 16  # records decoded at a time
LONGEST_CHECKED = 1024  # bytes; scalars are shorter, images and histograms are not read
MOST_LAYOUTS = 64  # ways of one length to write a scalar, before the rest is left to the library
DAMAGED = "record {} is damaged: it and what follows are left out"


@dataclass(frozen=True, eq=False)
class Scalars:
    """Points of one tag: position of their record in the file, step and value."""

    tag: bytes
    positions: np.ndarray
    steps: np.ndarray
    values: np.ndarray


class Layout(NamedTuple):
    """Where an event of one length keeps its step, the name of its tag and its value."""

    step: int
    step_bytes: int
    tag: slice
    value: int


@dataclass(frozen=True, eq=False)
class EventFile:
    """An event file in pieces.

    Attributes:
        scalars: Points that were decoded.
        others: Position and bytes of the events that were not.
        damage: What is wrong with the rest of the file, in words; empty where nothing is.
    """

    scalars: list[Scalars]
    others: list[tuple[int, bytes]]
    damage: str


def event_records(data: bytes) -> EventFile:
    """Split an event file into scalars and other events, as far as its frames and checksums hold."""
    starts, lengths, damage = _frames(data)
    raw = np.frombuffer(data, dtype=np.uint8)
    scalars: list[Scalars] = []
    left: list[np.ndarray] = []
    wrong = [len(starts)]
    for length in np.unique(lengths):
        members = np.flatnonzero(lengths == length)
        if length > LONGEST_CHECKED:
            left.append(members)
            continue
        for block in np.split(members, range(BLOCK, len(members), BLOCK)):
            rows = raw[starts[block][:, None] + np.arange(length + FOOT)]
            sound = _masked_crc(rows[:, :-FOOT]) == _checksum(rows)
            if not sound.all():
                wrong.append(int(block[~sound][0]))
            found, rest = _decoded(rows[:, :-FOOT], block)
            scalars += found
            left.append(rest)
    last = min(wrong)
    if last < len(starts):
        damage = DAMAGED.format(last + 1)
    others = np.sort(np.concatenate(left)) if left else np.empty(0, dtype=np.int64)
    return EventFile(
        [kept for points in scalars if len((kept := _until(points, last)).steps)],
        [(int(i), data[starts[i] : starts[i] + lengths[i]]) for i in others if i < last],
        damage,
    )


def _frames(data: bytes) -> tuple[np.ndarray, np.ndarray, str]:
    """Return where events begin, how long they are, and what is wrong with the frame at which that ended."""
    starts, lengths, at, end = array("q"), array("q"), 0, len(data)
    length_of = struct.Struct("<Q").unpack_from
    damage = ""
    while at < end:
        if at + HEAD > end:
            damage = "cut off within a record"
            break
        (length,) = length_of(data, at)
        if at + HEAD + length + FOOT > end:
            damage = "cut off within a record"
            break
        starts.append(at + HEAD)
        lengths.append(length)
        at += HEAD + length + FOOT
    begin, size = np.array(starts, dtype=np.int64), np.array(lengths, dtype=np.int64)
    # A damaged length leads astray: believe frames as far as the checksums of their lengths hold.
    raw = np.frombuffer(data, dtype=np.uint8)
    heads = np.append(begin, at + HEAD) if damage and at + HEAD <= end else begin
    for first in range(0, len(heads), BLOCK):
        head = raw[heads[first : first + BLOCK, None] + np.arange(-HEAD, 0)]
        sound = _masked_crc(head[:, :8]) == _checksum(head)
        if not sound.all():
            last = first + int(np.argmin(sound))
            return begin[:last], size[:last], DAMAGED.format(last + 1)
    return begin, size, damage


def _checksum(rows: np.ndarray) -> np.ndarray:
    """Return the last four bytes of each row as a checksum."""
    return rows[:, -4:].copy().view("<u4")[:, 0]


def _masked_crc(rows: np.ndarray) -> np.ndarray:
    """Return the masked CRC-32C of each row of bytes, as TFRecord files hold it."""
    crc = np.full(len(rows), 0xFFFFFFFF, dtype=np.uint32)
    for column in rows.T:
        crc = TABLE[(crc ^ column) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    crc ^= np.uint32(0xFFFFFFFF)
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)


def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & np.uint32(1), (table >> np.uint32(1)) ^ POLYNOMIAL, table >> np.uint32(1))
    return table.astype(np.uint32)


TABLE = _crc_table()


def _decoded(rows: np.ndarray, positions: np.ndarray) -> tuple[list[Scalars], np.ndarray]:
    """Return the scalars among events of one length, and the positions of the events that are something else."""
    found, rest = [], []
    for _ in range(MOST_LAYOUTS):
        if not len(rows):
            break
        layout = _layout(rows[0].tobytes())
        if layout is None:
            rest.append(positions[:1])
            rows, positions = rows[1:], positions[1:]
            continue
        free = np.zeros(rows.shape[1], dtype=bool)
        free[1:9] = free[layout.step : layout.step + layout.step_bytes] = free[layout.value : layout.value + 4] = True
        step = rows[:, layout.step : layout.step + layout.step_bytes]
        more = np.arange(layout.step_bytes) < layout.step_bytes - 1  # All but the last byte say that another follows.
        alike = (rows[:, ~free] == rows[0, ~free]).all(axis=1) & ((step >= 0x80) == more).all(axis=1)
        mine = rows[alike]
        weights = np.int64(1) << (7 * np.arange(layout.step_bytes, dtype=np.int64))
        steps = (mine[:, layout.step : layout.step + layout.step_bytes] & 0x7F).astype(np.int64) @ weights
        with np.errstate(invalid="ignore"):  # A signalling NaN is a NaN.
            values = mine[:, layout.value : layout.value + 4].copy().view("<f4")[:, 0].astype(np.float64)
        found.append(Scalars(rows[0, layout.tag].tobytes(), positions[alike], steps, values))
        rows, positions = rows[~alike], positions[~alike]
    return found, np.concatenate([*rest, positions])


def _layout(event: bytes) -> Layout | None:
    """Return the layout of an event that is one float under a tag, each field once and in order; None of any other."""
    at = 10
    if len(event) < 12 or event[0] != 0x09 or event[9] != 0x10:  # Time, then step; a step of 0 is not written.
        return None
    while at < len(event) and event[at] >= 0x80:
        at += 1
    step_bytes = at + 1 - 10
    head = event[at + 1 : at + 7]  # Summary and its length, value and its length, tag and its length.
    if step_bytes > 8 or len(head) < 6 or (head[0], head[2], head[4]) != (0x2A, 0x0A, 0x0A):
        return None
    tag = at + 7
    value = tag + head[5] + 1
    whole = value + 4 == len(event) and head[1] == len(event) - at - 3 and head[3] == len(event) - at - 5
    if not whole or max(head[1], head[3], head[5]) >= 0x80 or event[value - 1] != 0x15:
        return None
    return Layout(10, step_bytes, slice(tag, tag + head[5]), value)


def _until(points: Scalars, last: int) -> Scalars:
    kept = points.positions < last
    return Scalars(points.tag, points.positions[kept], points.steps[kept], points.values[kept])
