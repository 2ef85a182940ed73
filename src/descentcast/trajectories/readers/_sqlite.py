"""SQLite databases of trackers, opened for reading only: nothing is created, migrated or locked."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from descentcast.errors import DataError

MAGIC = b"SQLite format 3\0"
LOGGED_AT, HEAD_OF_LOGGED = 18, b"\2\2"  # where a database says that it keeps a write-ahead log, and how


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading; whatever is wrong with it in the block is one clear error.

    Raises:
        DataError: It cannot be opened, is damaged, or lacks a table or column.
    """
    try:
        real = path.resolve()
        with closing(sqlite3.connect(f"{real.as_uri()}?{_how(real)}", uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            yield connection
    except (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError, OverflowError) as error:
        raise DataError(f"{path}: not a database that can be read: {' '.join(str(error).split())[:200]}") from None


def _how(path: Path) -> str:
    """Return how to open a database.

    One that keeps a write-ahead log is given its files by whoever opens it, even for reading only; where there is no
    log nobody writes, and it is read as it lies there.
    """
    with path.open("rb") as file:
        logged = file.read(len(HEAD_OF_LOGGED) + LOGGED_AT)[LOGGED_AT:] == HEAD_OF_LOGGED
    log = path.with_name(f"{path.name}-wal")
    return "mode=ro&immutable=1" if logged and not log.exists() else "mode=ro"


def tables(connection: sqlite3.Connection) -> set[str]:
    """Return the names of the tables; views, which run what their author wrote, are none."""
    return {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """Return the names of the columns of a table."""
    return {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}
