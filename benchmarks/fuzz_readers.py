"""Hostile files: every reader is given mutations of real files, and may answer with runs or with one clear error.

    python benchmarks/fuzz_readers.py [--inputs 1000000] [--piece 500] [--formats csv,wandb] [--work FOLDER]

The seeds are small files written by the libraries themselves (`tracker_files.py`). An input is a seed with one to eight
mutations: bits, cuts, repeats, splices of two seeds, hostile tokens. Records of event logs are given their right
checksums again half of the time, and databases and Parquet files are changed through their libraries half of the time,
so that what lies behind checksums and pages is reached. Input k of a format is the same in every run.

Anything but runs that keep their promises (finite values, increasing steps) or a `DescentcastError` is a failure,
warnings too; so are 20 seconds, 4 GB, and the death of the process. Counts are added to a JSON file (`--counts`) after
each piece: a run that was stopped goes on where it was.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import sqlite3
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # `benchmarks` is a folder of the repository, not installed

from benchmarks.tracker_files import Run

from benchmarks import tracker_files
from descentcast.errors import DescentcastError
from descentcast.trajectories import list_runs, read
from descentcast.trajectories.readers._event_records import _masked_crc

COUNTS = Path(__file__).with_suffix(".json")
SECONDS, MEMORY, MOST_MUTATIONS = 20, 4 << 30, 8
nan, inf = float("nan"), float("inf")
RUNS = [
    Run("a", {"lr": 0.1, "o": "adam"}, {"loss": ([0, 1, 2, 5], [1.5, 0.25, -1e-3, 3.0]), "acc": ([0, 5], [0.5, 0.6])}),
    Run("b", {"lr": 0.2, "o": "sgd"}, {"loss": ([0, 1, 2, 3], [1.0, 5e10, nan, inf]), "acc": ([0, 1], [0.1, 0.2])}),
]
TOKENS = [
    *b"""NaN nan Infinity -inf 1e999 -1e-999 18446744073709551616 -9223372036854775809 null true 1_000 0x10 1.5 -1 1e308
    step run name value "step" "run" "name" "value" _step ../../etc/passwd <script>alert(1)</script> [/red] {arm} %s
    ' " , { } &a "\\ud800" !!python/object/apply:os.system""".split(),
    *(b"\n", b"\r\n", b"\r", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[31m", "\u0661".encode()),
    *(b"9" * 400, b"[" * 2000, b'{"a":' * 1500),
]


def seeds_in(work: Path) -> dict[str, list[Path]]:
    """Return the seeds of each format, written once into a folder."""
    corpus = work / "corpus"
    if not (corpus / "done").exists():
        shutil.rmtree(corpus, ignore_errors=True)
        for name in ("tables", "tensorboard", "new_style", "wandb", "mlflow", "mlflow_folder", "trackio", "optuna"):
            (corpus / name).mkdir(parents=True)
        tables = corpus / "tables"
        for shape, rows in (("wide", tracker_files.wide_rows(RUNS)), ("long", tracker_files.long_rows(RUNS))):
            names = list(dict.fromkeys(name for row in rows for name in row))
            lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]
            (tables / f"{shape}.csv").write_text("\n".join(lines) + "\n")
            (tables / f"{shape}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        tracker_files.write_parquet(tables, RUNS).rename(tables / "wide.parquet")
        tracker_files.write_parquet(tables, RUNS, long=True).rename(tables / "long.parquet")
        lightning = "epoch,step,train_loss,val_loss\n0,0,1.5,\n0,1,1.25,\n0,1,,2.5\n1,2,nan,\n1,3,0.5,\n1,3,,2.25\n"
        (tables / "metrics.csv").write_text(lightning)
        history = [
            {"loss": 1.5, "learning_rate": 0.1, "epoch": 0.1, "step": 1},
            {"loss": 0.25, "step": 2},
            {"eval_loss": nan, "step": 2},
        ]
        (tables / "trainer_state.json").write_text(
            json.dumps({"log_history": history, "logging_steps": 5, "epoch": 1.0})
        )
        tracker_files.write_tensorboard(corpus / "tensorboard", RUNS)
        tracker_files.write_tensorboard(corpus / "new_style", RUNS, new_style=True)
        tracker_files.write_wandb(corpus / "wandb", RUNS)
        tracker_files.write_mlflow_database(corpus / "mlflow", RUNS)
        tracker_files.write_mlflow_folder(corpus / "mlflow_folder", RUNS)
        tracker_files.write_trackio(corpus / "trackio", RUNS)
        tracker_files.write_optuna(corpus / "optuna", RUNS)
        for database in corpus.rglob("*.db"):
            with sqlite3.connect(database) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("VACUUM")
            connection.close()
        (corpus / "done").touch()
    return {
        "csv": sorted(corpus.glob("tables/*e.csv")) + sorted(corpus.glob("tables/long.csv")),
        "jsonl": sorted(corpus.glob("tables/*.jsonl")),
        "parquet": sorted(corpus.glob("tables/*.parquet")),
        "lightning": sorted(corpus.glob("tables/metrics.csv")),
        "trainer": sorted(corpus.glob("tables/*.json")),
        "tensorboard": sorted(corpus.rglob("*tfevents*")),
        "wandb": sorted(corpus.rglob("*.wandb")),
        "mlflow": [corpus / "mlflow" / "mlflow.db"],
        "mlflow folder": sorted(path.parent for path in corpus.glob("mlflow_folder/mlruns/*/*/meta.yaml")),
        "trackio": [corpus / "trackio" / "project.db"],
        "optuna": [corpus / "optuna" / "study.db"],
    }


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
    out, at, records = b"", 0, []
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        records.append(data[at + 12 : at + 12 + length])
        at += 16 + length
    for k in rng.integers(0, len(records), size=int(rng.integers(1, 4))):
        records[k] = mutated(records[k], other, rng)
    rng.shuffle(records) if rng.random() < 0.2 else None
    for record in records:
        head = struct.pack("<Q", len(record))
        sums = [
            int(_masked_crc(np.frombuffer(part, dtype=np.uint8)[None])[0]) if part else 0xA282EAD8
            for part in (head, record)
        ]
        out += head + struct.pack("<I", sums[0]) + record + struct.pack("<I", sums[1])
    return out


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


def change_database(path: Path, rng: np.random.Generator) -> None:
    """Change cells, rows and columns of the tables of a database."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("PRAGMA synchronous = OFF")
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
    connection.close()


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
        shutil.copyfile(seed, target)
        change_database(target, rng)
    elif behind and format_name == "parquet":
        change_parquet(target, rng)
    else:
        mutate = {"tensorboard": mutated_events, "wandb": mutated_log}.get(format_name, mutated) if behind else mutated
        target.write_bytes(mutate(seed.read_bytes(), other.read_bytes(), rng))
    if format_name == "lightning" and rng.random() < 0.3:
        (place / "hparams.yaml").write_bytes(mutated(b"lr: 0.1\nopt: {name: adam}\n", b"", rng))
    return target


def outcome(path: Path, rng: np.random.Generator) -> str:
    """Read an input, all of it or columns that it lists; return "read" or "refused", or raise what should not be."""
    try:
        columns = None
        if rng.random() < 0.7:
            names = list_runs(path)["column"].unique()
            columns = [str(name) for name in rng.permutation(names)[: int(rng.integers(1, 3))]]
        runs = read(path, columns or None)
    except DescentcastError:
        return "refused"
    for run in runs:
        assert np.isfinite(run.values).all(), "values that are not finite"
        assert (np.diff(run.steps) > 0).all(), "steps that do not increase"
    json.dumps(runs.to_dict())
    return "read"


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
            signal.alarm(SECONDS)
            try:
                counts[outcome(path, rng)] += 1
            except BaseException:
                counts["failed"] += 1
                note(failures, format_name, index, path, traceback.format_exc())
            finally:
                signal.alarm(0)
    report.write_text(json.dumps([first + count, counts]))


def note(failures: Path, format_name: str, index: int, path: Path | None, text: str) -> None:
    """Keep an input that failed, and how."""
    failures.mkdir(parents=True, exist_ok=True)
    stem = failures / f"{format_name.replace(' ', '-')}-{index}"
    stem.with_suffix(".txt").write_text(text)
    if path is not None and path.is_file():
        shutil.copyfile(path, stem.with_name(f"{stem.name}{path.suffix or '.bin'}"))


def too_slow(number: int, frame: Any) -> None:
    """Stop an input that takes too long."""
    raise TimeoutError(f"more than {SECONDS} seconds")


def fuzz(inputs: int, size: int, formats: list[str] | None, work: Path, counts_file: Path) -> dict[str, Any]:
    """Try inputs, as many of each format, piece by piece, from where the counts say the last run ended."""
    seeds = {name: found for name, found in seeds_in(work).items() if formats is None or name in formats}
    counts = json.loads(counts_file.read_text()) if counts_file.exists() else {}
    signal.signal(signal.SIGALRM, too_slow)
    scratch = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    report, share = scratch / "report", -(-inputs // len(seeds))
    try:
        while any(counts.get(name, {}).get("inputs", 0) < share for name in seeds):
            for name, found in seeds.items():
                own = counts.setdefault(name, {"inputs": 0, "read": 0, "refused": 0, "failed": 0, "seconds": 0.0})
                count = min(size, share - own["inputs"])
                if count <= 0:
                    continue
                start = time.perf_counter()
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
                own["seconds"] = round(own["seconds"] + time.perf_counter() - start, 1)
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
    parser.add_argument("--piece", type=int, default=500)
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
