"""Results of units, one JSON line each: a benchmark that was stopped goes on where it was.

A unit is one (part, model, family, seed). A line is written by one call, under a lock, after the unit is done; a last
line that was cut short is dropped when the file is next read or written.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

# Changed whenever what a unit computes changes: older lines then no longer count.
VERSION = 1


@dataclass(frozen=True, order=True)
class Unit:
    """What is computed at once.

    Attributes:
        part: Part of the benchmark.
        model: Model, or "classical".
        family: Problem, prior family or loss curve.
        seed: Seed.
    """

    part: str
    model: str
    family: str
    seed: int


class Store:
    """A folder with one JSON-lines file a part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, unit: Unit, weights: str, values: dict[str, Any], **details: Any) -> None:
        """Append the result of a unit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {**vars(unit), "weights": weights, "version": VERSION, **rounded(details), "values": rounded(values)}
        path = self._path(unit.part)
        with FileLock(self._lock(path)):
            broken = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
            line = "\n" * broken + json.dumps(record) + "\n"
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(handle, line.encode())
                os.fsync(handle)
            finally:
                os.close(handle)

    def records(self, part: str) -> list[dict[str, Any]]:
        """Return the results of a part: of each model those of the weights that were measured last, one a unit."""
        found: dict[tuple[str, str, str, int], dict[str, Any]] = {}
        latest: dict[str, str] = {}
        for record in self._lines(part):
            if record["version"] == VERSION:
                latest[record["model"]] = record["weights"]
                found[record["model"], record["weights"], record["family"], record["seed"]] = record
        return [record for record in found.values() if record["weights"] == latest[record["model"]]]

    def done(self, part: str, model: str, weights: str) -> set[tuple[str, int]]:
        """Return family and seed of what has been computed of a part for a model with these weights."""
        return {
            (r["family"], r["seed"])
            for r in self._lines(part)
            if (r["model"], r["weights"], r["version"]) == (model, weights, VERSION)
        }

    def _lines(self, part: str) -> Iterable[dict[str, Any]]:
        path = self._path(part)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:  # cut short when the benchmark was stopped
                continue

    @staticmethod
    def _lock(path: Path) -> Path:
        # Not beside the results, which are kept in the repository.
        return Path(tempfile.gettempdir()) / f"{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]}.lock"

    def _path(self, part: str) -> Path:
        return self.folder / f"{part}.jsonl"


def rounded(value: Any) -> Any:
    """Return nested values with numbers of six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
