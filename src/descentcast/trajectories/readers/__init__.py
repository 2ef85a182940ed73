"""Readers of recorded runs, one file a format; each turns a file into a `Table`, which `_tables` turns into runs."""

from collections.abc import Callable
from pathlib import Path

from descentcast.trajectories.readers._csv import read_csv
from descentcast.trajectories.readers._jsonl import read_jsonl
from descentcast.trajectories.readers._tables import RUN, Table, runs_of

READERS: dict[str, Callable[[Path], Table]] = {".csv": read_csv, ".jsonl": read_jsonl}

__all__ = ["READERS", "RUN", "Table", "runs_of"]
