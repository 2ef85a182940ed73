"""The records of a `.wandb` file, found and checked many at once.

The file is LevelDB's log: blocks of 32 KiB, in them frames of a checksum, a length, a kind and bytes; a record that
does not fit is split over blocks. Every block begins with a frame, so blocks are walked side by side.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descentcast.errors import DataError
from descentcast.trajectories.readers._checksums import joined

HEADER, BLOCK, HEAD = b":W&B", 1 << 15, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
DAMAGED, CUT = "record {} is damaged: it and what follows are left out", "cut off within record {}"
WINDOW = 512 * BLOCK  # bytes looked at together
PADDING = 64  # zeros after the bytes: what looks a little past the end of a record finds something


@dataclass(frozen=True, eq=False)
class Records:
    """Some records of a log, in the order in which they were written.

    Attributes:
        buffer: Bytes, with zeros at the end.
        starts: Where each record begins in them.
        ends: Where each record ends.
    """

    buffer: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def bytes_of(self, record: int) -> bytes:
        """Return the bytes of one record."""
        return self.buffer[self.starts[record] : self.ends[record]].tobytes()


def log_records(path: Path, damage: list[str]) -> Iterator[Records]:
    """Yield the records of a log window by window, as far as its checksums hold; what is wrong is added to `damage`.

    Raises:
        DataError: The file does not begin as W&B's do.
    """
    with path.open("rb") as file:
        whole, part, first = 0, b"", HEAD
        while data := file.read(WINDOW):
            if first and not data.startswith(HEADER):
                raise DataError(f"{path}: not a file of W&B's: it does not begin with {HEADER.decode()!r}")
            view = np.frombuffer(data, dtype=np.uint8)
            starts, lengths, kinds = _frames(view, first)
            sound, fault = _sound(data, starts, lengths, kinds, first)
            found, part = _joined(view, starts[:sound] + HEAD, lengths[:sound], kinds[:sound], part)
            whole += len(found.starts)
            yield found
            if fault:
                damage.append(fault.format(whole + 1))
                return
            first = 0
        if part:  # Between two frames of one record.
            damage.append(CUT.format(whole + 1))


def _frames(view: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where frames begin, how many bytes they hold and of which kind they are, as they say themselves."""
    at = np.arange(0, len(view), BLOCK)
    ends = np.minimum(at + BLOCK, len(view)) - HEAD
    at[0] = first
    found = [at[:0]]
    while len(at):
        there = at <= ends
        at, ends = at[there], ends[there]
        found.append(at)
        at = at + HEAD + view[at + 4] + (view[at + 5].astype(np.int64) << 8)
    starts = np.sort(np.concatenate(found))
    return starts, view[starts + 4] + (view[starts + 5].astype(np.int64) << 8), view[starts + 6]


def _sound(data: bytes, starts: np.ndarray, lengths: np.ndarray, kinds: np.ndarray, first: int) -> tuple[int, str]:
    """Return how many frames are sound before the first that is not, and what is wrong with that."""
    ends = starts + HEAD + lengths
    wrong = (kinds < FULL) | (kinds > LAST) | (ends > np.minimum((starts // BLOCK + 1) * BLOCK, len(data)))
    whole = int(wrong.argmax()) if wrong.any() else len(starts)
    at = _first_unsound(data, starts[:whole], ends[:whole])
    if at is not None:
        return at, DAMAGED
    if whole < len(starts):
        return whole, CUT if ends[whole] > len(data) else DAMAGED
    end = int(ends[-1]) if len(ends) else first
    rest = len(data) - end  # Of a block with no room for a head, the rest is zeros.
    return len(starts), CUT if rest and BLOCK - end % BLOCK >= HEAD else ""


def _first_unsound(data: bytes, starts: np.ndarray, ends: np.ndarray) -> int | None:
    """Return which frame is the first of which the checksum is not that of its bytes, None where there is none."""
    if not len(starts):
        return None
    heads = np.frombuffer(data, dtype=np.uint8)[starts[:, None] + np.arange(6)].view("<u2")
    sums = heads[:, 0] | (heads[:, 1].astype(np.uint32) << np.uint32(16))
    groups = np.flatnonzero(np.diff(starts // BLOCK, prepend=-1))
    bytes_of = memoryview(data)
    expected = joined(heads, sums, ends - starts - 6, groups)
    last = ends[np.append(groups[1:], len(starts)) - 1]
    own = [zlib.crc32(bytes_of[a:b]) for a, b in zip(starts[groups].tolist(), last.tolist(), strict=True)]
    for group in np.flatnonzero(np.array(own, dtype=np.uint32) != expected).tolist():
        for i in range(groups[group], groups[group + 1] if group + 1 < len(groups) else len(starts)):
            if zlib.crc32(bytes_of[starts[i] + 6 : ends[i]]) != sums[i]:
                return i
    return None


def _joined(
    view: np.ndarray, starts: np.ndarray, lengths: np.ndarray, kinds: np.ndarray, part: bytes
) -> tuple[Records, bytes]:
    """Return the records of frames, and the beginning of one that goes on; those that were split are put behind."""
    starts, ends = starts.copy(), starts + lengths
    behind, at = [], len(view)
    for i in np.flatnonzero(kinds != FULL).tolist():
        body = view[starts[i] : ends[i]].tobytes()
        part = body if kinds[i] == FIRST else part + body
        if kinds[i] == LAST:
            behind.append(part)
            starts[i], ends[i] = at, at + len(part)
            at, part = at + len(part), b""
    kept = (kinds == FULL) | (kinds == LAST)
    more = np.frombuffer(b"".join(behind) + bytes(PADDING), dtype=np.uint8)
    return Records(np.concatenate([view, more]), starts[kept], ends[kept]), part
