"""Hostile files: every reader is given mutations of real files, and may answer with runs or with one clear error.

    python benchmarks/fuzz_readers.py [--inputs 1000000] [--piece 2000] [--formats csv,wandb] [--work FOLDER]

The seeds are small files written by the libraries themselves (`tracker_files.py`); of databases the tables that readers
look at are kept. An input is a seed with one to eight
mutations: bits, cuts, repeats, splices of two seeds, hostile tokens. Records of event logs are given their right
checksums again half of the time, and databases and Parquet files are changed through their libraries half of the time,
so that what lies behind checksums and pages is reached. Input k of a format is the same in every run.

Anything but runs that keep their promises (finite values, increasing steps) or a `DescentcastError` is a failure,
warnings too; so are 20 processor seconds, 4 GB, and the death of the process. Counts are added to a JSON file
(`--counts`) after each piece: a run that was stopped goes on where it was.
"""

import argparse
import gc
import json
import os
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # `benchmarks` is a folder of the repository, not installed

from benchmarks.mutations import WORTH_CHANGING, change_database, change_parquet, mutated, mutated_events, mutated_log

from benchmarks import tracker_files
from descentcast.errors import DescentcastError
from descentcast.trajectories import Trajectories, list_runs, read
from descentcast.trajectories._read import _sources
from descentcast.trajectories._runs import assembled, named_runs
from descentcast.trajectories.recording import record
from descentcast.trajectories.recording._files import setting_path

COUNTS = Path(__file__).with_suffix(".json")
SECONDS, WAIT, MEMORY = 20, 300, 4 << 30
nan, inf = float("nan"), float("inf")
RUNS = [
    tracker_files.Run(name, {"lr": 0.1 * k, "o": name}, {"loss": ([0, 1, 2, 5], loss), "acc": ([0, 5], [0.5, 0.6])})
    for k, name, loss in ((1, "a", [1.5, 0.25, -1e-3, 3.0]), (2, "b", [1.0, 5e10, nan, inf]))
]


def write_table(folder: Path, suffix: str) -> None:
    """Write a wide table and a long one."""
    for shape, rows in (("wide", tracker_files.wide_rows(RUNS)), ("long", tracker_files.long_rows(RUNS))):
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]
        lines = lines if suffix == ".csv" else [json.dumps(row) for row in rows]
        (folder / f"{shape}{suffix}").write_text("\n".join(lines) + "\n")


def write_parquet(folder: Path) -> None:
    """Write a wide table and a long one."""
    for long in (False, True):
        tracker_files.write_parquet(folder, RUNS, long=long).rename(folder / f"{long}.parquet")


def write_lightning(folder: Path) -> None:
    """Write what a CSVLogger writes."""
    rows = ["epoch,step,train_loss,val_loss", "0,0,1.5,", "0,1,1.25,", "0,1,,2.5", "1,2,nan,", "1,3,0.5,", "1,3,,2.25"]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")


def write_trainer(folder: Path) -> None:
    """Write what a Trainer writes."""
    history = [{"loss": 1.5, "epoch": 0.1, "step": 1}, {"loss": 0.25, "step": 2}, {"eval_loss": nan, "step": 2}]
    state = {"log_history": history, "logging_steps": 5, "epoch": 1.0}
    (folder / "trainer_state.json").write_text(json.dumps(state))


def write_recording(folder: Path) -> None:
    """Write what a recorder of this package writes: rows, and the settings beside them."""
    import torch

    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    with record(optimizer, model, ["loss", "weight[0,1]"], path=folder / "run.jsonl", arm="a") as recorder:
        for step in range(4):
            optimizer.zero_grad()
            model(torch.ones(3, 2)).square().sum().backward()
            optimizer.step()
            schedule.step()
            recorder.log({"val_loss": float("nan") if step else 0.5})


def write_tensorboard(folder: Path) -> None:
    """Write scalars of both styles."""
    tracker_files.write_tensorboard(folder / "old", RUNS)
    tracker_files.write_tensorboard(folder / "new", RUNS, new_style=True)


FORMATS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "csv": (lambda folder: write_table(folder, ".csv"), "*.csv"),
    "jsonl": (lambda folder: write_table(folder, ".jsonl"), "*.jsonl"),
    "recording": (write_recording, "*.jsonl"),
    "parquet": (write_parquet, "*.parquet"),
    "lightning": (write_lightning, "*.csv"),
    "trainer": (write_trainer, "*.json"),
    "tensorboard": (write_tensorboard, "**/*tfevents*"),
    "wandb": (lambda folder: tracker_files.write_wandb(folder, RUNS), "**/*.wandb"),
    "mlflow": (lambda folder: tracker_files.write_mlflow_database(folder, RUNS), "*.db"),
    "mlflow folder": (lambda folder: tracker_files.write_mlflow_folder(folder, RUNS), "mlruns/*/*/metrics"),
    "trackio": (lambda folder: tracker_files.write_trackio(folder, RUNS), "*.db"),
    "optuna": (lambda folder: tracker_files.write_optuna(folder, RUNS), "*.db"),
}


def seeds_in(work: Path, formats: Sequence[str]) -> dict[str, list[Path]]:
    """Return the seeds of each format, written once into a folder."""
    seeds = {}
    for name in formats:
        write, pattern = FORMATS[name]
        folder = work / "corpus" / name.replace(" ", "-")
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write(folder)
            for database in folder.glob("*.db"):
                shrink(database)
            (folder / "done").touch()
        found = sorted(folder.glob(pattern))
        seeds[name] = [path.parent for path in found] if name == "mlflow folder" else found
    return seeds


def shrink(database: Path) -> None:
    """Leave of a database what readers look at, in small pages, so that few mutations are lost on the rest."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = DELETE")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if name not in WORTH_CHANGING and not name.startswith("sqlite_"):
            connection.execute(f"DROP TABLE {name}")
    connection.execute("PRAGMA page_size = 1024")
    connection.execute("VACUUM")
    connection.close()


def make(format_name: str, seeds: list[Path], place: Path, rng: np.random.Generator) -> Path:
    """Make an input in an empty folder, and return what to read."""
    seed, other = (seeds[int(i)] for i in rng.integers(0, len(seeds), size=2))
    behind = rng.random() < 0.5
    if format_name == "mlflow folder":
        target = place / "0" / "run"
        shutil.copytree(seed, target)
        files = sorted(path for path in target.rglob("*") if path.is_file())
        file = files[int(rng.integers(0, len(files)))]
        file.write_bytes(mutated(file.read_bytes(), b"1 2 3\n", rng))
        return place
    target = place / seed.name
    if behind and format_name in ("mlflow", "trackio", "optuna"):
        target.write_bytes(change_database(seed.read_bytes(), rng))
    elif behind and format_name == "parquet":
        change_parquet(target, rng)
    else:
        mutate = {"tensorboard": mutated_events, "wandb": mutated_log}.get(format_name, mutated) if behind else mutated
        target.write_bytes(mutate(seed.read_bytes(), other.read_bytes(), rng))
    if format_name == "recording":
        setting = setting_path(seed).read_bytes()
        setting_path(target).write_bytes(mutated(setting, setting, rng) if rng.random() < 0.7 else setting)
        if rng.random() < 0.5:
            shutil.copyfile(seed, target)
    if format_name == "lightning" and rng.random() < 0.3:
        (place / "hparams.yaml").write_bytes(mutated(b"lr: 0.1\nopt: {name: adam}\n", b"", rng))
    return target


def outcome(path: Path, rng: np.random.Generator) -> str:
    """Read an input, all of it and columns that it lists; return "read" or "refused", or raise what should not be.

    One input in eight goes through what users call, `list_runs` and `read`; the others through what these two are made
    of, so that a file is parsed once.
    """
    if rng.random() < 0.125:
        try:
            names = [str(name) for name in list_runs(path)["column"].unique()]
            checked(read(path, some_of(names, rng) if rng.random() < 0.7 else None))
        except DescentcastError:
            return "refused"
        return "read"
    try:
        found = named_runs(_sources(path), None)
    except DescentcastError:
        return "refused"
    names = list(dict.fromkeys(name for one in found for name, s in one.record.series.items() if len(s.values)))
    results = set()
    for columns in (None, some_of(names, rng)):
        try:
            checked(assembled(found, columns))
            results.add("read")
        except DescentcastError:
            results.add("refused")
    return "read" if "read" in results else "refused"


def some_of(names: list[str], rng: np.random.Generator) -> list[str] | None:
    """Return one or two names in random order, None where there are none."""
    return [names[int(i)] for i in rng.permutation(len(names))[: int(rng.integers(1, 3))]] or None


def checked(runs: Trajectories) -> None:
    """Hold runs against what is promised of them."""
    for run in runs:
        assert np.isfinite(run.values).all(), "values that are not finite"
        assert (np.diff(run.steps) > 0).all(), "steps that do not increase"
    json.dumps(runs.to_dict())


def piece(format_name: str, seeds: list[Path], first: int, count: int, report: Path, failures: Path) -> None:
    """Try some inputs of a format, and note after each how it went; runs in a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("error")
    counts: Counter[str] = Counter()
    for index in range(first, first + count):
        report.write_text(json.dumps([index, counts]))
        rng = np.random.default_rng([zlib.crc32(format_name.encode()), index])
        with tempfile.TemporaryDirectory(dir=report.parent) as folder:
            path = make(format_name, seeds, Path(folder), rng)
            set_timers(SECONDS, WAIT)
            try:
                counts[outcome(path, rng)] += 1
            except BaseException:
                counts["failed"] += 1
                note(failures, format_name, index, path, traceback.format_exc())
            finally:
                set_timers(0, 0)
    report.write_text(json.dumps([first + count, counts]))


def note(failures: Path, format_name: str, index: int, path: Path | None, text: str) -> None:
    """Keep an input that failed, and how."""
    failures.mkdir(parents=True, exist_ok=True)
    stem = failures / f"{format_name.replace(' ', '-')}-{index}"
    stem.with_suffix(".txt").write_text(text)
    if path is not None and path.is_file():
        shutil.copyfile(path, stem.with_name(f"{stem.name}{path.suffix or '.bin'}"))


def set_timers(processor: float, waited: float) -> None:
    """Have an input stopped after so many seconds of the processor's and of the clock's; zeros: go on."""
    signal.setitimer(signal.ITIMER_PROF, processor)
    signal.setitimer(signal.ITIMER_REAL, waited)


def too_slow(number: int, frame: Any) -> None:
    """Stop an input that takes too long."""
    raise TimeoutError(f"more than {SECONDS} seconds")


def processor_seconds() -> float:
    """Return the processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def fuzz(inputs: int, size: int, formats: list[str] | None, work: Path, counts_file: Path) -> dict[str, Any]:
    """Try inputs, as many of each format, piece by piece, from where the counts say the last run ended."""
    seeds = seeds_in(work, formats or list(FORMATS))
    counts = json.loads(counts_file.read_text()) if counts_file.exists() else {}
    signal.signal(signal.SIGPROF, too_slow)
    signal.signal(signal.SIGALRM, too_slow)
    for found in seeds.values():  # What readers import is imported once, not in each process.
        for seed in found:
            list_runs(seed)
    gc.freeze()
    scratch = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    report, share = scratch / "report", -(-inputs // len(seeds))
    try:
        while any(counts.get(name, {}).get("inputs", 0) < share for name in seeds):
            for name, found in seeds.items():
                own = counts.setdefault(name, {"inputs": 0, "read": 0, "refused": 0, "failed": 0, "seconds": 0.0})
                count = min(size, share - own["inputs"])
                if count <= 0:
                    continue
                start = processor_seconds()
                child = os.fork()
                if not child:
                    try:
                        piece(name, found, own["inputs"], count, report, work / "failures")
                    finally:
                        os._exit(0)
                _, status = os.waitpid(child, 0)
                at, done = json.loads(report.read_text())
                if status:  # The process died of this input: it is a failure, and the next piece goes on after it.
                    done["failed"] = done.get("failed", 0) + 1
                    note(work / "failures", name, at, None, f"the process died, status {status}")
                    at += 1
                own["inputs"] = at
                for kind in ("read", "refused", "failed"):
                    own[kind] += done.get(kind, 0)
                own["seconds"] = round(own["seconds"] + processor_seconds() - start, 1)
                temporary = counts_file.with_name(counts_file.name + ".new")
                temporary.write_text(json.dumps(counts, indent=1) + "\n")
                os.replace(temporary, counts_file)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return counts


def main() -> None:
    """Fuzz, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--piece", type=int, default=2000)
    parser.add_argument("--formats", help="comma-separated; all by default")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "descentcast-fuzz")
    parser.add_argument("--counts", type=Path, default=COUNTS)
    given = parser.parse_args()
    formats = given.formats.split(",") if given.formats else None
    counts = fuzz(given.inputs, given.piece, formats, given.work, given.counts)
    for name, own in counts.items():
        print(f"{name:14s}", *(f"{kind} {own[kind]:>9,}" for kind in ("inputs", "read", "refused", "failed")))


if __name__ == "__main__":
    main()
