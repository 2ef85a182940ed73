"""Which files and folders hold runs, of which format, and how each is read."""

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from descentcast.errors import DataError
from descentcast.trajectories.readers._csv import read_csv
from descentcast.trajectories.readers._jsonl import read_jsonl
from descentcast.trajectories.readers._lightning import is_lightning, read_lightning
from descentcast.trajectories.readers._mlflow import TABLES as MLFLOW
from descentcast.trajectories.readers._mlflow import is_mlflow_run, read_mlflow_database, read_mlflow_folder, started
from descentcast.trajectories.readers._mlflow_server import address_of, read_mlflow_server
from descentcast.trajectories.readers._optuna import TABLES as OPTUNA
from descentcast.trajectories.readers._optuna import read_optuna
from descentcast.trajectories.readers._parquet import read_parquet
from descentcast.trajectories.readers._recorded import nothing_yet, with_setting
from descentcast.trajectories.readers._records import Record, shown, well_formed
from descentcast.trajectories.readers._sqlite import MAGIC, database, tables
from descentcast.trajectories.readers._tables import NAME, RUN, one_run_each, runs_of
from descentcast.trajectories.readers._tensorboard import MARK, read_tensorboard
from descentcast.trajectories.readers._trackio import TABLES as TRACKIO
from descentcast.trajectories.readers._trackio import read_trackio
from descentcast.trajectories.readers._trainer_state import NAME as TRAINER_STATE
from descentcast.trajectories.readers._trainer_state import latest, read_trainer_state, training
from descentcast.trajectories.readers._wandb import read_wandb
from descentcast.trajectories.readers._wandb_api import SCHEME, read_wandb_api, run_path

TABULAR = {
    ".csv": read_csv, ".jsonl": read_jsonl, ".ndjson": read_jsonl, ".parquet": read_parquet, ".pq": read_parquet,
}  # fmt: skip
DATABASES: dict[str, tuple[set[str], Callable[[Path], list[Record]]]] = {
    "Optuna": (OPTUNA, read_optuna),
    "MLflow": (MLFLOW, read_mlflow_database),
    "Trackio": (TRACKIO, read_trackio),
}
DATABASE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
WANDB, MLFLOW_SERVER, WANDB_API = "W&B", "MLflow server", "W&B API"
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
SUPPORTED = (
    "CSV, JSON lines, Parquet, TensorBoard event files, .wandb, MLflow, Trackio and Optuna databases, MLflow folders, "
    "trainer_state.json"
)


@dataclass(frozen=True)
class Source:
    """A file, folder or server that holds one run or several.

    Attributes:
        format: What wrote it, for people.
        path: What messages call it, of a server its address.
        place: The path, without a suffix that says nothing, that its run is named by and that arms match.
        files: What is read.
    """

    format: str
    path: Path | str
    place: Path
    files: tuple[Path, ...]

    def records(self, arm: str | None, columns: Sequence[str] | None = None) -> list[Record]:
        """Return the runs, at least one.

        Args:
            arm: The column that names arms, where the source is a table.
            columns: What is wanted; a source may leave out other columns where all of these are there.

        Raises:
            DataError: It cannot be read.
        """
        try:
            found = self._read(arm, columns)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        except MemoryError:
            raise DataError(f"{self.path}: cannot be read: it takes more memory than there is") from None
        if not found:
            raise DataError(f"{self.path}: no run in this {self.format} source has recorded a number")
        return [_well_formed(record) for record in found]

    def _read(self, arm: str | None, columns: Sequence[str] | None) -> list[Record]:
        if self.format == MLFLOW_SERVER:
            return read_mlflow_server(str(self.path), columns)
        if self.format == WANDB_API:
            return read_wandb_api(str(self.path))
        file = self.files[0]
        if self.format == WANDB:
            return read_wandb(file, columns)
        if self.format in DATABASES:
            return DATABASES[self.format][1](file)
        if self.format in TREES:
            return TREES[self.format](self.files)
        if file.suffix.lower() == ".jsonl" and not file.stat().st_size:
            return [nothing_yet(file)]
        table, notes = TABULAR[file.suffix.lower()](file, [RUN, NAME, *([arm] if arm else [])])
        records = runs_of(table, file, arm, notes)
        if RUN not in table:
            one_run_each(file, records)
        return with_setting(file, records)


TREES: dict[str, Callable[[tuple[Path, ...]], list[Record]]] = {
    "TensorBoard": read_tensorboard,
    "MLflow folder": lambda files: read_mlflow_folder(files[0]),
    "Trainer": lambda files: read_trainer_state(files[0]),
    "Lightning": lambda files: read_lightning(files[0]),
}


def _well_formed(record: Record) -> Record:
    series = {
        well_formed(name): points if points.fault.isascii() else replace(points, fault=well_formed(points.fault))
        for name, points in record.series.items()
    }
    return replace(record, run=well_formed(record.run), series=series, notes=tuple(map(well_formed, record.notes)))


def is_address(given: object) -> bool:
    """Return whether something names a server rather than a file."""
    return isinstance(given, str) and ADDRESS.match(given) is not None


def source_at(address: str) -> Source:
    """Return the source at an address, `http(s)://...` of MLflow's or `wandb://...`; it is not asked yet.

    Raises:
        DataError: An address of another kind, or one that names nothing.
    """
    scheme, _, place = address.partition("://")
    if scheme.lower() in ("http", "https"):
        address_of(address)
        return Source(MLFLOW_SERVER, address, Path(place), ())
    if address.startswith(SCHEME):
        return Source(WANDB_API, address, Path(run_path(address)), ())
    raise DataError(f"{shown(address)}: addresses that are read: http:// and https:// of MLflow's servers, wandb://")


def sources_in(path: Path) -> list[Source]:
    """Return the sources at a path: a file, or all below a folder, by path.

    Raises:
        DataError: Not a format that is read; nothing in a folder; several programs' files in one folder.
        OSError: A folder cannot be listed.
    """
    if not path.is_dir():
        return [_of_file(path)]
    found = list(_below(path))
    if not found:
        raise DataError(f"{path}: no runs in this folder; what is read: {SUPPORTED}")
    formats = sorted({source.format for source in found})
    if len(formats) > 1:
        counts = ", ".join(f"{sum(s.format == f for s in found)} {f}" for f in formats)
        example = next(source.path for source in found if source.format == formats[0])
        raise DataError(f"{path}: runs of several formats ({counts}): name those of one, such as {example}")
    return sorted(found, key=_place)


def _place(source: Source) -> Path:
    """Return what sources are sorted by: the path, but runs of MLflow's file store, named at random, by start."""
    path = source.files[0]
    return path.with_name(f"{started(path):020} {path.name}") if source.format == "MLflow folder" else path


def _of_file(path: Path) -> Source:
    suffix = path.suffix.lower()
    if not _ends(path):
        raise DataError(f"{path}: no regular file, which is what is read")
    if path.name == TRAINER_STATE or suffix == ".json":
        return Source("Trainer", path, training(path) if path.name == TRAINER_STATE else path.with_suffix(""), (path,))
    if MARK in path.name:
        return Source("TensorBoard", path, path.parent, (path,))
    if suffix == ".wandb":
        return Source(WANDB, path, path.parent, (path,))
    if suffix == ".csv" and is_lightning(path):
        return Source("Lightning", path, path.parent, (path,))
    if suffix in TABULAR:
        return Source("table", path, path.with_suffix(""), (path,))
    with path.open("rb") as file:
        magic = file.read(len(MAGIC))
    if magic != MAGIC:
        raise DataError(f"{path}: format {path.suffix or '(no suffix)'!r} is not read; what is: {SUPPORTED}")
    with database(path) as connection:
        there = tables(connection)
    for name, (needed, _) in DATABASES.items():
        if needed <= there:
            return Source(name, path, path.with_suffix(""), (path,))
    raise DataError(f"{path}: a database, but not of {', '.join(DATABASES)}")


def _below(folder: Path) -> Iterator[Source]:
    """Yield the sources below a folder; what belongs to a run that was found is not looked into."""
    states: list[Path] = []
    for at, folders, files in os.walk(folder, onerror=_refuse):
        here = Path(at)
        if is_mlflow_run(here):
            yield Source("MLflow folder", here, here, (here,))
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [path for name in sorted(files) if not name.startswith(".") and _ends(path := here / name)]
        if logs := [path for path in paths if path.suffix == ".wandb"]:
            yield from map(_of_file, logs)
            folders.clear()
            continue
        if events := [path for path in paths if MARK in path.name]:
            yield Source("TensorBoard", here, here, tuple(events))
        states += [path for path in paths if path.name == TRAINER_STATE]
        for path in paths:
            if path.suffix.lower() in TABULAR:
                yield _of_file(path)
            elif path.suffix.lower() in DATABASE_SUFFIXES:
                try:
                    yield _of_file(path)
                except DataError:
                    continue  # Another program's database.
    yield from map(_of_file, latest(states))


def _ends(path: Path) -> bool:
    """Return whether a path is not a pipe, a socket or a device, which may never end."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True  # What is wrong is said where it is opened.


def _refuse(error: OSError) -> None:
    raise error
