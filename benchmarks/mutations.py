"""Mutations of files for `fuzz_readers.py`: of bytes, of records under their checksums, of rows and columns."""

import sqlite3
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from descentcast.trajectories.readers._event_records import _masked_crc

MOST_MUTATIONS = 8
nan, inf = float("nan"), float("inf")
TOKENS = [
    *b"""NaN nan Infinity -inf 1e999 -1e-999 18446744073709551616 -9223372036854775809 null true 1_000 0x10 1.5 -1 1e308
    step run name value "step" "run" "name" "value" _step ../../etc/passwd <script>alert(1)</script> [/red] {arm} %s
    ' " , { } &a "\\ud800" !!python/object/apply:os.system""".split(),
    *(b"\n", b"\r\n", b"\r", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[31m", "\u0661".encode()),
    *(b"9" * 400, b"[" * 2000, b'{"a":' * 1500),
]


def mutated(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with one to eight mutations; `other` is what is spliced in."""
    out = bytearray(data)
    for _ in range(min(int(rng.geometric(0.5)), MOST_MUTATIONS)):
        at = int(rng.integers(0, len(out) + 1))
        length = int(rng.geometric(0.1))
        match int(rng.integers(0, 10)):
            case 0 | 9:
                if at < len(out):
                    out[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                out[at : at + length] = rng.bytes(length)
            case 2:
                del out[at : at + length]
            case 3:
                del out[at:]
            case 4:
                out[at:at] = out[at : at + length * 4]
            case 5:
                start = int(rng.integers(0, len(other) + 1))
                out[at : at + length * 4] = other[start : start + length * 4]
            case _:
                token = TOKENS[int(rng.integers(0, len(TOKENS)))]
                out[at : at + (len(token) if rng.random() < 0.5 else 0)] = token
    return bytes(out)


def mutated_events(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return an event file of TensorBoard's with mutated records under right checksums."""
    at, frames = 0, []
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        frames.append(data[at : at + 16 + length])
        at += 16 + length
    for k in rng.integers(0, len(frames), size=int(rng.integers(1, 4))):
        frames[k] = _frame(mutated(frames[k][12:-4], other, rng))
    rng.shuffle(frames) if rng.random() < 0.2 else None
    return b"".join(frames)


def _frame(record: bytes) -> bytes:
    """Return a record with its length and checksums."""
    head = struct.pack("<Q", len(record))
    sums = [
        int(_masked_crc(np.frombuffer(part, dtype=np.uint8)[None])[0]) if part else 0xA282EAD8
        for part in (head, record)
    ]
    return head + struct.pack("<I", sums[0]) + record + struct.pack("<I", sums[1])


def mutated_log(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return a log of W&B's with mutated records under right checksums."""
    out, at, records = data[:7], 7, []
    while at + 7 <= len(data):
        _, length, kind = struct.unpack_from("<IHB", data, at)
        records.append((kind, data[at + 7 : at + 7 + length]))
        at += 7 + length
    for k in rng.integers(0, len(records), size=int(rng.integers(1, 4))):
        kind, body = records[k]
        records[k] = kind, mutated(body, other, rng)[:30000]
    for kind, body in records:
        kind = int(rng.integers(0, 6)) if rng.random() < 0.02 else kind
        out += struct.pack("<IHB", zlib.crc32(body, zlib.crc32(bytes([kind]))), len(body), kind) + body
    return out


def cell(rng: np.random.Generator) -> Any:
    """Return a value of any kind that a database may hold."""
    token = TOKENS[int(rng.integers(0, len(TOKENS)))]
    kinds = [
        None,
        token,
        token.decode("utf-8", "replace"),
        int(rng.integers(-(2**63), 2**63)),
        float(rng.normal()),
        0,
        1,
        nan,
        inf,
        -1.5,
        "x",
    ]
    return kinds[int(rng.integers(0, len(kinds)))]


def change_database(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a database with changed cells, rows and columns of its tables."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(data)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    names = [n for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    names = [n for n in names if n in WORTH_CHANGING]
    for _ in range(int(rng.integers(1, MOST_MUTATIONS))):
        table = names[int(rng.integers(0, len(names)))]
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        column = columns[int(rng.integers(0, len(columns)))]
        try:
            match int(rng.integers(0, 10)):
                case 0:
                    connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO other")
                case 1:
                    connection.execute(f"DELETE FROM {table} WHERE abs(random()) % 3 = 0")
                case _:
                    connection.execute(f"UPDATE {table} SET {column} = ? WHERE abs(random()) % 3 = 0", (cell(rng),))
        except (sqlite3.Error, OverflowError, UnicodeError):
            pass
    changed = connection.serialize()
    connection.close()
    return changed


WORTH_CHANGING = {"metrics", "configs", "runs", "params", "tags", "experiments"} | {
    "studies", "trials", "trial_params", "trial_intermediate_values",
}  # fmt: skip


def change_parquet(path: Path, rng: np.random.Generator) -> None:
    """Write a table of columns of any type."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    rows = int(rng.integers(0, 6))
    makers: list[Callable[[], Any]] = [
        lambda: arrow.array(rng.normal(size=rows)),
        lambda: arrow.array([None if rng.random() < 0.3 else float(x) for x in rng.normal(size=rows)], arrow.float32()),
        lambda: arrow.array(rng.integers(-(2**63), 2**63, size=rows)),
        lambda: arrow.array(rng.integers(0, 2**64, size=rows, dtype=np.uint64)),
        lambda: arrow.array(np.arange(rows)),
        lambda: arrow.array([str(cell(rng)) for _ in range(rows)]),
        lambda: arrow.array([["a", "b"][int(rng.integers(0, 2))] for _ in range(rows)]).dictionary_encode(),
        lambda: arrow.array([bool(x) for x in rng.integers(0, 2, size=rows)]),
        lambda: arrow.array([[1.0]] * rows),
        lambda: arrow.array([{"a": 1}] * rows),
        lambda: arrow.array([b"\xff"] * rows),
        lambda: arrow.nulls(rows),
        lambda: arrow.array(np.arange(rows), arrow.timestamp("ms")),
        lambda: arrow.array(rng.normal(size=rows).astype(np.float16)),
        lambda: arrow.array([nan, inf, -inf, 1.0, 2.0][:rows]),
    ]
    names = ["step", "run", "name", "value", "loss", "acc", "", "__index_level_0__", "\n", "x" * 200, "loss"]
    count = int(rng.integers(1, 6))
    chosen = [names[i] for i in rng.integers(0, len(names), size=count)]
    arrays = [makers[i]() for i in rng.integers(0, len(makers), size=count)]
    parquet.write_table(arrow.Table.from_arrays(arrays, chosen), path)
