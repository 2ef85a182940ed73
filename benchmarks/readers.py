"""What reading costs: every source, written by the library that people use, read back and compared bit for bit.

    python benchmarks/readers.py [--rows 1000000] [--logged 20000] [--only csv,wandb] [--json]

Tables hold `rows` rows of two columns. Trackers log `logged` steps (Optuna a hundredth of that) through their own
library; where the format is a database or a stream of records, the file is then multiplied to `rows` steps and read
again. Each file is read in a process of its own, which has read a small file of the format before, so that imports do
not count: processor seconds, and the largest memory of that process, Python and libraries included (`base`: before
reading).
"""

import argparse
import csv
import json
import re
import resource
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # `benchmarks` is a folder of the repository, not installed

from benchmarks.tracker_files import Run

from benchmarks import tracker_files
from descentcast import reports
from descentcast.trajectories import read
from descentcast.trajectories.readers import _wandb_log
from descentcast.trajectories.readers._event_records import _masked_crc

SMALL = 5
SERVERS = ExitStack()


def logged(rows: int) -> Run:
    """Return a run of a noisy loss."""
    rng = np.random.default_rng(0)
    values = 1 / (1 + np.arange(rows) / 100) + 0.1 * rng.normal(size=rows)
    return Run("run", {"lr": 0.1}, {"loss": (list(range(rows)), values.tolist())})


def write_csv(folder: Path, rows: int) -> Path:
    """Write a table through the standard library."""
    path = folder / "run.csv"
    loss, norm = logged(rows).series["loss"][1], np.random.default_rng(1).normal(size=rows).tolist()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", "norm"])
        writer.writerows(zip(range(rows), loss, norm, strict=True))
    return path


def write_jsonl(folder: Path, rows: int) -> Path:
    """Write a table through the standard library."""
    path = folder / "run.jsonl"
    loss, norm = logged(rows).series["loss"][1], np.random.default_rng(1).normal(size=rows).tolist()
    with path.open("w") as file:
        for i in range(rows):
            file.write(json.dumps({"step": i, "loss": loss[i], "norm": norm[i]}) + "\n")
    return path


def write_parquet(folder: Path, rows: int) -> Path:
    """Write a table through pyarrow."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    path = folder / "run.parquet"
    loss, norm = logged(rows).series["loss"][1], np.random.default_rng(1).normal(size=rows)
    parquet.write_table(arrow.table({"step": np.arange(rows), "loss": loss, "norm": norm}), path)
    return path


def multiply_events(path: Path, rows: int) -> Path:
    """Write an event file of as many scalars, one event of the library's at a time, checksums at once."""
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

    values = logged(rows).series["loss"][1]
    events = [
        Event(
            wall_time=i, step=i, summary=Summary(value=[Summary.Value(tag="loss", simple_value=x)])
        ).SerializeToString()
        for i, x in enumerate(values)
    ]
    sums = np.zeros(rows, dtype=np.uint32)
    lengths = np.array([len(event) for event in events])
    for length in np.unique(lengths):
        members = np.flatnonzero(lengths == length)
        body = np.frombuffer(b"".join(events[i] for i in members), dtype=np.uint8).reshape(len(members), length)
        sums[members] = _masked_crc(body)
    heads = {n: struct.pack("<Q", n) for n in map(int, np.unique(lengths))}
    heads = {n: h + _masked_crc(np.frombuffer(h, dtype=np.uint8)[None]).tobytes() for n, h in heads.items()}
    target = path / "many" / "events.out.tfevents.1"
    target.parent.mkdir()
    with target.open("wb") as file:
        for event, total in zip(events, sums.tolist(), strict=True):
            file.write(heads[len(event)] + event + struct.pack("<I", total))
    return target


def multiply_log(path: Path, rows: int) -> Path:
    """Write a log of W&B's of as many steps: the library's own records again and again, at later steps."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    [source] = path.rglob("*.wandb")
    raws = [window.bytes_of(i) for window in _wandb_log.log_records(source, []) for i in range(len(window.starts))]
    entries = [Record.FromString(raw) for raw in raws]
    logged_steps = sum(entry.WhichOneof("record_type") == "history" for entry in entries)
    target = path.parent / "many.wandb"
    with target.open("wb") as file:
        out = bytearray(source.read_bytes()[: _wandb_log.HEAD])
        for k in range(-(-rows // logged_steps)):
            for entry, raw in zip(entries, raws, strict=True):
                if entry.WhichOneof("record_type") == "history":
                    entry.history.step.num += logged_steps if k else 0
                    for item in entry.history.item:
                        if "_step" in (item.key, *item.nested_key):
                            item.value_json = str(entry.history.step.num)
                    raw = entry.SerializeToString()
                elif k and entry.WhichOneof("record_type") != "summary":
                    continue
                append_frames(out, raw)
        file.write(out)
    return target


def append_frames(out: bytearray, record: bytes) -> None:
    """Append a record to a log of LevelDB's kind."""
    block, head = _wandb_log.BLOCK, _wandb_log.HEAD
    first = True
    while first or record:
        room = block - len(out) % block
        if room < head:
            out += bytes(room)
            room = block
        body, record = record[: room - head], record[room - head :]
        kind = (1 if first else 4) if not record else (2 if first else 3)
        out += struct.pack("<IHB", zlib.crc32(body, zlib.crc32(bytes([kind]))), len(body), kind) + body
        first = False


def multiply_rows(path: Path, rows: int) -> Path:
    """Repeat the logged rows of a database, their steps shifted, until there are as many."""
    shifts = {
        "metrics": ("key", "timestamp"), "trial_intermediate_values": ("trial_intermediate_value_id",),
    }  # fmt: skip
    with sqlite3.connect(path) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        table = next(name for name in shifts if name in names)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
        columns = [name for name in columns if name != "trial_intermediate_value_id"]
        there, top = connection.execute(f"SELECT count(*), max(step) + 1 FROM {table}").fetchone()
        chosen = ", ".join("step + ? * ?" if c == "step" else "NULL" if c == "log_id" else c for c in columns)
        for k in range(1, -(-rows // there)):
            connection.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM {table} LIMIT {there}", (k, top)
            )
    connection.close()
    return path


def serve_mlflow(folder: Path, runs: Sequence[Run]) -> str:
    """Write through a tracking server of MLflow's, which goes on until `SERVERS` is closed."""
    return tracker_files.write_mlflow_server(SERVERS.enter_context(tracker_files.mlflow_server(folder)), runs)


def by_run(write: Callable[..., Any]) -> Callable[[Path, int], Any]:
    """Return a writer of one run of so many steps."""
    return lambda folder, rows: write(folder, [logged(rows)])


# Name: library, how to write, what it logs, how to multiply, the column.
SOURCES: dict[str, tuple[str, Callable[[Path, int], Any], str, Callable[[Path, int], Path] | None, str]] = {
    "csv": ("Python", write_csv, "rows", None, "loss"),
    "jsonl": ("Python", write_jsonl, "rows", None, "loss"),
    "parquet": ("pyarrow", write_parquet, "rows", None, "loss"),
    "tensorboard": ("torch", by_run(tracker_files.write_tensorboard), "logged", multiply_events, "loss"),
    "wandb": ("wandb", by_run(tracker_files.write_wandb), "logged", multiply_log, "loss"),
    "mlflow": ("mlflow-skinny", by_run(tracker_files.write_mlflow_database), "logged", multiply_rows, "loss"),
    "mlflow folder": ("mlflow-skinny", by_run(tracker_files.write_mlflow_folder), "logged", None, "loss"),
    "mlflow server": ("mlflow-skinny", by_run(serve_mlflow), "logged", None, "loss"),
    "trackio": ("trackio", by_run(tracker_files.write_trackio), "logged", multiply_rows, "loss"),
    "trainer": ("transformers", by_run(tracker_files.write_trainer_state), "logged", None, "loss"),
    "lightning": ("lightning", by_run(tracker_files.write_lightning), "logged", None, "loss"),
    "optuna": ("optuna", by_run(tracker_files.write_optuna), "reported", multiply_rows, "value"),
}


def measured(path: Path | str, small: Path | str, column: str) -> dict[str, Any]:
    """Read in a process of its own, and return what it took; the values come back as bytes in a file."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", str(path), str(small), column],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def measure(path: str, small: str, column: str) -> None:
    """Read, and print what it took."""
    read(small, [column])
    base = largest()
    start, wall = time.process_time(), time.perf_counter()
    [run] = read(path, [column])
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    peak = largest()
    expected = np.array(logged(len(run)).series["loss"][1])
    values = run.values[:, 0]
    exact = "yes" if values.tobytes() == expected.tobytes() else "no"
    if exact == "no" and (values == expected.astype(np.float32)).all():
        exact = "as float32"
    print(json.dumps({"rows": len(run), "exact": exact, "seconds": seconds, "wall": wall, "MB": peak, "base MB": base}))


def largest() -> int:
    """Return the largest resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")  # Unlike getrusage's, it does not count what the parent held before the start.
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Write, read, print."""
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--logged", type=int, default=20_000)
    parser.add_argument("--only", help="comma-separated sources")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    counts = {"rows": given.rows, "logged": given.logged, "reported": max(given.logged // 100, SMALL)}
    table = []
    for name, (library, write, amount, multiply, column) in SOURCES.items():
        if given.only and name not in given.only.split(","):
            continue
        wrote = f"{library} {sys.version.split()[0] if library == 'Python' else version(library)}"
        with tempfile.TemporaryDirectory() as place, SERVERS:
            folders = [Path(place, part) for part in ("small", "large")]
            for folder in folders:
                folder.mkdir()
            small, path = write(folders[0], SMALL), write(folders[1], counts[amount])
            table.append({"source": name, "written by": wrote, **measured(path, small, column)})
            if multiply:
                many = measured(multiply(path, given.rows), small, column)
                exact = many["exact"] if name == "tensorboard" else "repeated"
                table.append({"source": name, "written by": f"{wrote}, multiplied", **many, "exact": exact})
    if given.json:
        print(json.dumps(table))
    else:
        reports.show_table(table, "Reading, processor seconds and largest memory of the process")


if __name__ == "__main__":
    main()
