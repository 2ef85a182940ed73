"""Arrays under keys in one SQLite file of bounded size.

Losing an entry costs time and never a result, so nothing waits for the disk: a process that is killed leaves whole
entries, an entry that does not match its checksum is not there, and a file that a power cut broke is set aside.
"""

import hashlib
import json
import math
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock

# Seconds that one try waits for another process, and how many tries there are.
PATIENCE, TRIES = 1.0, 5
BUSY = sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL
BROKEN = sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB

T = TypeVar("T")


@dataclass(frozen=True)
class ArrayStore:
    """A file of arrays under keys, bounded in size; the entries used longest ago go first.

    Every call opens the file anew, so that a store may be used from any thread and on either side of a fork. Methods
    raise `sqlite3.Error` or `OSError` where the disk does not play along.

    Attributes:
        path: The SQLite file; it and its folder are made by the first `put`.
        limit: Bytes the file may take.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = ArrayStore(pathlib.Path(folder) / "densities.sqlite", limit=1_000_000)
        ...     store.put("key", {"probs": np.array([[0.25, 0.75]])})
        ...     store.get("key")["probs"], store.get("another")
        (array([[0.25, 0.75]]), None)
    """

    path: Path
    limit: int

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """Return the arrays under a key; None where there are none, or not those that were put."""
        return self._run(lambda db: _read(db, key)) if self.path.exists() else None

    def put(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        """Keep float32 or float64 arrays under a key, and drop what was used longest ago where room is needed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._run(lambda db: _write(db, key, arrays, self.limit))

    def info(self) -> dict[str, Any]:
        """Return path, number of entries, bytes on the disk and the limit."""
        count = "SELECT count(*) FROM entries"
        entries = self._run(lambda db: db.execute(count).fetchone()[0]) if self.path.exists() else 0
        return {
            "path": str(self.path),
            "entries": entries,
            "bytes": sum(file.stat().st_size for file in self._files() if file.exists()),
            "limit_bytes": self.limit,
        }

    def clear(self) -> int:
        """Drop every entry, and a broken file that was set aside; return how many entries there were."""
        self._aside.unlink(missing_ok=True)
        removed = self._run(_empty) if self.path.exists() else 0
        self._aside.unlink(missing_ok=True)  # if it was the file just now that was broken
        return removed

    @property
    def _aside(self) -> Path:
        return self.path.with_suffix(".broken")

    def _files(self) -> tuple[Path, ...]:
        return self.path, *(Path(f"{self.path}{end}") for end in ("-wal", "-shm")), self._aside

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` makes of an open connection; again where others hold the file or it is broken."""
        for tried in range(TRIES):
            inode = _inode(self.path)
            try:
                with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as db:
                    _prepare(db)
                    return work(db)
            except sqlite3.DatabaseError as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte says the kind
                if tried == TRIES - 1 or code not in BUSY + BROKEN:
                    raise
                if code in BROKEN:
                    self._set_aside(inode)
                else:
                    time.sleep(0.01 * 2**tried)
        raise AssertionError("the last try returns or raises")

    def _set_aside(self, inode: int | None) -> None:
        """Move a broken file out of the way, unless another process has."""
        with FileLock(self.path.with_suffix(".lock"), timeout=PATIENCE * TRIES):
            if _inode(self.path) == inode:
                # What was not yet written back first: a new file must never meet it.
                for file in self._files()[1:3]:
                    file.unlink(missing_ok=True)
                os.replace(self.path, self._aside)


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA synchronous = OFF")
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'recency'").fetchone():
        return
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is in the file: it can shrink then
    db.execute("PRAGMA journal_mode = WAL")
    with db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE IF NOT EXISTS entries (key PRIMARY KEY, used, header, checksum, data)")
        db.execute("CREATE INDEX IF NOT EXISTS recency ON entries (used)")


def _read(db: sqlite3.Connection, key: str) -> dict[str, np.ndarray] | None:
    # As bytes, whatever a fault of the disk has made of their types.
    columns = ", ".join(f"CAST({name} AS BLOB)" for name in ("header", "checksum", "data"))
    row = db.execute(f"SELECT {columns} FROM entries WHERE key = ?", (key,)).fetchone()
    header, checksum, data = (part or b"" for part in row or (b"", b"", b""))
    if checksum != _checksum(key, header, data):
        return None
    with suppress(sqlite3.OperationalError):  # another process writes, or the disk is full: then recency is a bit off
        db.execute("PRAGMA busy_timeout = 20")
        db.execute("UPDATE entries SET used = ? WHERE key = ?", (time.time_ns(), key))
    try:
        return _decoded(json.loads(header), data)
    except (ValueError, TypeError):
        return None


def _write(db: sqlite3.Connection, key: str, arrays: dict[str, np.ndarray], limit: int) -> None:
    little = {name: np.asarray(a, dtype=a.dtype.newbyteorder("<")) for name, a in arrays.items()}
    header = json.dumps([(name, a.dtype.str, a.shape) for name, a in little.items()]).encode()
    data = b"".join(a.tobytes() for a in little.values())
    page = db.execute("PRAGMA page_size").fetchone()[0]
    need = len(data) // page + 8  # pages, with those of the table's and the indexes' own nodes
    if (need + 8) * page > limit:
        return
    with db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM entries WHERE key = ?", (key,))
        while _pages(db, "page_count") - _pages(db, "freelist_count") > limit // page - need:
            oldest = "DELETE FROM entries WHERE key = (SELECT key FROM entries ORDER BY used LIMIT 1)"
            if db.execute(oldest).rowcount == 0:
                break
        row = key, time.time_ns(), header, _checksum(key, header, data), data
        db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", row)
    _shrink(db, to=limit // page)


def _empty(db: sqlite3.Connection) -> int:
    removed = db.execute("DELETE FROM entries").rowcount
    _shrink(db, to=0)
    return removed


def _shrink(db: sqlite3.Connection, to: int) -> None:
    """Give free pages back to the disk, as far as the file has more than `to` pages."""
    over = _pages(db, "page_count") - to
    if over > 0:
        db.executescript(f"PRAGMA incremental_vacuum({over})")  # `execute` would stop after the first page


def _pages(db: sqlite3.Connection, of: str) -> int:
    return db.execute(f"PRAGMA {of}").fetchone()[0]


def _decoded(header: list[tuple[str, str, list[int]]], data: bytes) -> dict[str, np.ndarray]:
    arrays, at = {}, 0
    for name, kind, shape in header:
        flat = np.frombuffer(data, kind, math.prod(shape), at)
        arrays[name] = flat.reshape(shape).astype(flat.dtype.newbyteorder("="))  # a copy that can be written to
        at += flat.nbytes
    return arrays


def _checksum(key: str, header: bytes, data: bytes) -> bytes:
    return hashlib.sha256(b"\n".join([key.encode(), header, data])).digest()


def _inode(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_ino
    return None
