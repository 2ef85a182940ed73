"""Hostile runs: whatever was logged, in whatever order and to whatever end, every reader tells the same run."""

import json
import math
import sqlite3
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import fuzz_readers
from descentcast.errors import DataError, DescentcastError
from descentcast.trajectories import list_runs, read

nan, inf = math.nan, math.inf
points = st.lists(
    st.tuples(st.integers(0, 12), st.floats(allow_nan=True, allow_infinity=True)), min_size=1, max_size=25
)


def expected(logged):
    """Return steps, values and divergence by the rules, plainly: last wins, sorted, the end without numbers is cut."""
    last = dict(logged)
    steps = sorted(last)
    finite = [step for step in steps if math.isfinite(last[step])]
    diverged = next((step for step in steps if not finite or step > finite[-1]), None)
    return finite, [last[step] for step in finite], diverged


def columns_of(logged, cell):
    return "\n".join(["step,run,loss", *(f"{step},r,{cell(value)}" for step, value in logged)]) + "\n"


def write_csv(path, logged):
    (path / "a.csv").write_text(columns_of(logged, repr))


def write_long_csv(path, logged):
    rows = [f"r,{step},loss,{value!r}" for step, value in logged]
    (path / "a.csv").write_text("\n".join(["run,step,name,value", *rows]) + "\n")


def write_jsonl(path, logged):
    rows = [json.dumps({"run": "r", "step": step, "loss": value}) for step, value in logged]
    (path / "a.jsonl").write_text("\n".join(rows) + "\n")


def write_parquet(path, logged):
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    steps, values = zip(*logged, strict=True)
    table = arrow.table({"step": steps, "run": ["r"] * len(steps), "loss": arrow.array(values, arrow.float64())})
    parquet.write_table(table, path / "a.parquet")


def write_trainer(path, logged):
    (path / "trainer_state.json").write_text(json.dumps({"log_history": [{"step": s, "loss": v} for s, v in logged]}))


def write_lightning(path, logged):
    rows = [f"0,{step},{value!r}," for step, value in logged] + [f"0,{step},,1.0" for step, _ in logged]
    (path / "metrics.csv").write_text("\n".join(["epoch,step,loss,val", *rows]) + "\n")


def write_mlflow_folder(path, logged):
    (path / "run" / "metrics").mkdir(parents=True)
    (path / "run" / "meta.yaml").touch()
    (path / "run" / "metrics" / "loss").write_text("".join(f"{i} {v!r} {s}\n" for i, (s, v) in enumerate(logged)))


def write_mlflow_database(path, logged):
    with sqlite3.connect(path / "a.db") as db:
        db.execute("CREATE TABLE experiments (experiment_id, name)")
        db.execute("CREATE TABLE runs (run_uuid, name, experiment_id, lifecycle_stage, start_time)")
        db.execute("INSERT INTO runs VALUES ('u', 'r', 0, 'active', 0)")
        db.execute("CREATE TABLE metrics (key, value FLOAT, timestamp, run_uuid, step, is_nan)")
        db.execute("CREATE TABLE params (key, value, run_uuid)")
        db.execute("CREATE TABLE tags (key, value, run_uuid)")
        largest = 1.7976931348623157e308
        for i, (step, value) in enumerate(logged):
            kept = 0.0 if value != value else max(-largest, min(largest, value))
            db.execute("INSERT INTO metrics VALUES ('loss', ?, ?, 'u', ?, ?)", (kept, i, step, value != value))
    db.close()


def write_trackio(path, logged):
    words = {nan: "NaN", inf: "Infinity", -inf: "-Infinity"}
    with sqlite3.connect(path / "a.db") as db:
        db.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_id, run_name, step, metrics)")
        db.execute("CREATE TABLE configs (run_id, config)")
        for step, value in logged:
            cell = "NaN" if value != value else words.get(value, value)
            entry = json.dumps({"loss": cell}).encode()
            db.execute("INSERT INTO metrics (run_id, run_name, step, metrics) VALUES ('u', 'r', ?, ?)", (step, entry))
    db.close()


def write_wandb(path, logged):
    from wandb.proto.wandb_internal_pb2 import HistoryItem, HistoryRecord, Record  # pyright: ignore

    out = bytearray(b":W&B\xe1\xbe\x00")
    for step, value in logged:
        items = [HistoryItem(nested_key=["_step"], value_json=str(step))]
        items.append(HistoryItem(key="loss", value_json=json.dumps(value)))
        body = Record(history=HistoryRecord(item=items)).SerializeToString()
        out += struct.pack("<IHB", zlib.crc32(body, zlib.crc32(b"\1")), len(body), 1) + body
    (path / "run-r.wandb").write_bytes(bytes(out))


WRITERS = [
    write_csv, write_long_csv, write_jsonl, write_parquet, write_trainer, write_lightning, write_mlflow_folder,
    write_mlflow_database, write_trackio, write_wandb,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@settings(max_examples=25, deadline=None)
@given(logged=points)
def test_unordered_repeated_and_diverging_points_are_the_run_that_the_rules_say(tmp_path_factory, write, logged):
    path = tmp_path_factory.mktemp("runs")
    if write in (write_mlflow_database,):  # Holds infinity as the largest number there is.
        logged = [(s, v) for s, v in logged if abs(v) != 1.7976931348623157e308]
    steps, values, diverged = expected(logged)
    write(path, logged) if logged else None
    if len(steps) < 2:
        with pytest.raises(DataError):
            read(path, ["loss"])
        return
    [run] = read(path, ["loss"])
    assert run.steps.tolist() == steps
    assert run.values.ravel().tolist() == values
    assert run.diverged == diverged
    assert (len(logged) > len(dict(logged))) == any("repeat a step" in note for note in run.notes)


def test_a_run_that_diverges_late_is_kept_and_one_that_never_began_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("step,loss\n0,1\n10,nan\n20,3\n30,inf\n40,nan\n")
    (tmp_path / "b.csv").write_text("step,loss\n0,nan\n1,nan\n")
    runs = read(tmp_path)
    assert [run.run for run in runs] == ["a"]
    assert (runs[0].steps.tolist(), runs[0].diverged) == ([0, 20], 30)
    assert runs[0].notes == ("1 rows without finite values before others that have them: left out",)
    assert runs.notes == ("b: 0 recorded step(s) before it diverged at step 0: left out",)


def test_rows_that_a_program_left_empty_are_rows_without_a_number(tmp_path):
    (tmp_path / "a.csv").write_text("step,loss\n0,1\n1,2\n2,\n3,\n")
    [run] = read(tmp_path)
    assert (len(run), run.diverged) == (2, 2)


@pytest.mark.parametrize("end", ["3,", "3", "3,0.5e-", "3,-"])
def test_a_table_that_was_cut_while_it_was_written_is_read_to_its_last_whole_row(tmp_path, end):
    (tmp_path / "a.csv").write_text("step,loss\n0,1\n1,2\n2,4\n" + end)
    [run] = read(tmp_path)
    assert run.values.ravel().tolist() == [1, 2, 4]
    assert run.notes == ("the last line is cut off: left out",)


def test_irregular_cadence_is_kept(tmp_path):
    (tmp_path / "a.csv").write_text("step,loss\n0,1\n1,2\n10,3\n1000,4\n")
    [run] = read(tmp_path)
    assert (run.steps.tolist(), run.stride) == ([0, 1, 10, 1000], None)


def test_arms_by_column_separate_runs_of_one_name(tmp_path):
    rows = [f"{arm},{seed},{i},{i * k}" for k, arm in enumerate(("adam", "sgd")) for seed in (1, 2) for i in range(3)]
    (tmp_path / "a.csv").write_text("\n".join(["arm,run,step,loss", *rows]) + "\n")
    runs = read(tmp_path, arm="arm")
    assert [(run.arm, run.run) for run in runs] == [(a, f"{a}/{s}") for a in ("adam", "sgd") for s in (1, 2)]
    assert runs[2].values.ravel().tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"no label 'host' to name an arm by, there are run$"):
        read(tmp_path, ["loss"], arm="host")
    with pytest.raises(DataError, match="its place does not match arm"):
        read(tmp_path, ["loss"], arm="{arm}/seed*")
    with pytest.raises(DescentcastError, match=r"arm == '\{arm\}/\{arm\}', must be"):
        read(tmp_path, ["loss"], arm="{arm}/{arm}")


def test_folders_of_several_formats_are_refused_by_name(tmp_path):
    write_csv(tmp_path, [(0, 1.0), (1, 2.0)])
    write_trainer(tmp_path, [(0, 1.0), (1, 2.0)])
    with pytest.raises(DataError, match=r"runs of several formats \(1 Trainer, 1 table\): name those of one, such as "):
        read(tmp_path)


def test_a_view_in_a_database_is_never_run(tmp_path):
    with sqlite3.connect(tmp_path / "a.db") as db:
        endless = (
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS step, x AS metrics FROM n"
        )
        db.execute(f"CREATE VIEW metrics AS {endless}")
        db.execute("CREATE TABLE configs (run_id, config)")
    db.close()
    with pytest.raises(DataError, match="a database, but not of Optuna, MLflow, Trackio"):
        read(tmp_path / "a.db")


def test_reading_leaves_a_database_as_it_is(tmp_path):
    write_trackio(tmp_path, [(0, 1.0), (1, 2.0)])
    before = (tmp_path / "a.db").read_bytes()
    read(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]
    assert (tmp_path / "a.db").read_bytes() == before


@pytest.mark.parametrize(
    "lines",
    [
        ['{"a":1},{"a":2}', '{"a":[{"b":1}', '{"c":1}]}'],
        ['{"a":1},{"a":2}', '{"a":"}', '{","a":1}'],
        ['{"a":1}', '{"a":2},'],
        ['{"a":1}{"a":2}', ""],
    ],
)
def test_lines_of_json_are_judged_one_by_one(tmp_path, lines):
    (tmp_path / "a.jsonl").write_text('{"a":0}\n' + "\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"line [23] is not JSON"):
        read(tmp_path)


def test_a_lightning_metric_may_be_called_run(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,run,loss\n0,0,1,1.0\n0,1,1,2.0\n0,0,2,3.0\n0,1,2,4.0\n")
    assert [run.values.ravel().tolist() for run in read(tmp_path, ["loss"])] == [[1, 2], [3, 4]]


def test_what_is_listed_can_be_read(tmp_path):
    write_lightning(tmp_path, [(0, 1.0), (1, 2.0), (2, nan)])
    table = list_runs(tmp_path)
    for row in table.itertuples():
        [run] = read(tmp_path, [row.column])
        assert (len(run), run.steps[0], run.steps[-1]) == (row.rows, row.first, row.last)
    assert table.set_index("column").loc["loss", "diverged"] == 2


def test_a_short_fuzz_run_ends_without_a_failure_and_goes_on_where_it_was(tmp_path):
    formats = ["csv", "jsonl", "parquet", "lightning", "trainer", "tensorboard"]
    counts = fuzz_readers.fuzz(6 * 20, 20, formats, tmp_path, tmp_path / "counts.json")
    assert {name: own["inputs"] for name, own in counts.items()} == dict.fromkeys(formats, 20)
    counts = fuzz_readers.fuzz(6 * 40, 40, formats, tmp_path, tmp_path / "counts.json")
    for own in counts.values():
        assert (own["inputs"], own["failed"]) == (40, 0)
        assert own["read"] + own["refused"] == 40


def test_the_fuzz_target_can_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_readers, "outcome", lambda path, rng: 1 // 0)
    counts = fuzz_readers.fuzz(3, 3, ["trainer"], tmp_path, tmp_path / "counts.json")
    assert counts["trainer"]["failed"] == 3
    assert "ZeroDivisionError" in (tmp_path / "failures" / "trainer-0.txt").read_text()
    assert np.size(list((tmp_path / "failures").iterdir())) == 6
