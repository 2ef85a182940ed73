"""Hostile places and bytes: what is no run is refused in one line, and no run is read twice."""

import contextlib
import os
import sqlite3

import numpy as np
import pytest

from descentcast.errors import DataError
from descentcast.trajectories import list_runs, read
from descentcast.trajectories.readers import _parquet

TABLE = "step,loss\n0,1.0\n1,0.5\n2,0.25\n"


def refused(path, message, **options):
    with pytest.raises(DataError, match=message) as error:
        read(path, **options)
    return str(error.value)


def test_links_that_lead_round_in_circles_give_every_run_once(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "seed1.csv").write_text(TABLE)
    for name in ("round", "again"):  # Two of them are 2^40 paths to who follows links.
        (tmp_path / "a" / name).symlink_to(tmp_path)
    for pattern in ("**/*.csv", "a/**/*.csv", "**", "*/*.csv", "a/*", "**/seed?.csv"):
        assert [run.run for run in read(f"{tmp_path}/{pattern}")] == ["seed1"]
    assert [run.run for run in read(tmp_path)] == ["seed1"]


def test_a_run_that_is_named_twice_is_one_run_under_its_own_name(tmp_path, monkeypatch):
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-1" / "loss.csv").write_text(TABLE)
    (tmp_path / "latest-run").symlink_to("run-1")
    (tmp_path / "alias.csv").symlink_to("run-1/loss.csv")
    monkeypatch.chdir(tmp_path)
    both = ["alias.csv", "run-1/loss.csv", tmp_path / "run-1", "latest-run", "./run-1/../run-1/loss.csv"]
    assert [run.run for run in read(both)] == ["loss"]
    assert read(f"{tmp_path}/*", arm="{arm}/loss")[0].arm == "run-1"


def test_hidden_folders_are_left_out_of_globs_unless_named(tmp_path):
    (tmp_path / ".old").mkdir()
    (tmp_path / ".old" / "a.csv").write_text(TABLE)
    (tmp_path / "b.csv").write_text(TABLE)
    assert [run.run for run in read(f"{tmp_path}/**/*.csv")] == ["b"]
    assert [run.run for run in read(f"{tmp_path}/**/.old/*.csv")] == ["a"]
    refused(f"{tmp_path}/**/*.pq", "no such file")


def test_pipes_and_devices_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    (tmp_path / "b.csv").symlink_to("/dev/zero")
    refused(tmp_path, "no runs in this folder")
    refused(tmp_path / "a.csv", "no regular file")
    refused(tmp_path / "b.csv", "no regular file")
    (tmp_path / "c.csv").write_text(TABLE)
    assert [run.run for run in read(tmp_path)] == ["c"]
    (tmp_path / "d.csv").symlink_to("nowhere")
    refused(tmp_path, "cannot be read: No such file")


@pytest.fixture
def emptied(tmp_path):
    """Give a folder that is emptied by renaming: what removes folders otherwise goes no deeper than Python may."""
    yield tmp_path
    while (tmp_path / "deep" / "deep").exists():
        os.rename(tmp_path / "deep" / "deep", tmp_path / "next")
        os.rmdir(tmp_path / "deep")
        os.rename(tmp_path / "next", tmp_path / "deep")


def test_a_folder_deeper_than_a_path_may_be_is_one_line(emptied):
    tmp_path = emptied
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("deep", dir_fd=here)
        there = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
    assert "\n" not in refused(tmp_path, "cannot be read|no runs in this folder")
    assert "\n" not in refused(f"{tmp_path}/**/*.csv", "cannot be read|no such file")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_bytes_in_other_encodings(tmp_path, suffix):
    text = TABLE if suffix == ".csv" else '{"step": 0, "loss": 1.0}\n{"step": 1, "loss": 0.5}\n'
    path = tmp_path / f"a{suffix}"
    path.write_bytes(text.encode("utf-8-sig"))
    assert read(path).names == ("loss",)
    for encoding in ("utf-16", "utf-16-be"):
        path.write_bytes("\ufeff".encode(encoding)[:2] + text.encode(encoding))
        refused(path, "text in UTF-16, must be in UTF-8$")
    path.write_bytes(text.replace("loss", "é").encode("latin-1"))
    refused(path, "not a (CSV|JSON lines) file: 'utf-8' codec can't decode")


def test_two_values_of_one_name_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"step": 0, "loss": 1.0, "loss": 2.0}\n{"step": 1, "loss": 0.5, "loss": 2.0}\n')
    refused(path, "line 1 has two values called 'loss'$")
    path.write_text('{"step": 0, "loss": 1.0, "more": {"a": 1, "a": 2}}\n{"step": 1, "loss": 0.5}\n')
    assert read(path).names == ("loss",)
    (tmp_path / "a.csv").write_text("step,loss,loss\n0,1,2\n1,2,3\n")
    refused(tmp_path / "a.csv", "column 3 is the second called 'loss'")


def test_numbers_as_people_write_them_are_never_left_out_in_silence(tmp_path):
    path = tmp_path / "a.csv"
    for cell in ("1,234", "12.345,6", "1'234.5", "1 234", "5%", "-3,5"):
        path.write_text(f'step,loss,acc,what\n0,"{cell}",1,a\n1,"{cell}",2,b\n')
        [run] = read(path)
        assert run.names == ("acc",)
        assert run.notes == (f"loss: {cell!r} is not written as a number: no coordinate",)
        assert read(path, ["acc"])[0].notes == ()
        refused(path, r"column 'loss', row 1 holds .*, must be a number", columns=["loss"])
        path.write_text(f'step,loss\n0,"{cell}"\n1,999\n')
        refused(path, r"column 'loss', row 1 holds .*, must be a number")


def test_steps_by_another_name_are_said_to_be_none(tmp_path):
    path = tmp_path / "a.csv"
    for name in ("Step", "_step", "global_step"):
        path.write_text(f"{name},loss\n0,1.5\n10,2.5\n")
        [run] = read(path, ["loss"])
        assert run.steps.tolist() == [0, 1]
        assert run.notes == (f"no column 'step': rows are numbered from 0, {name} is a column like others",)


@pytest.mark.parametrize("head", ["step;loss", "step\tloss"])
def test_other_separators_are_named(tmp_path, head):
    (tmp_path / "a.csv").write_text(f"{head}\n0;1,5\n1;2,5\n")
    refused(tmp_path / "a.csv", r"the column names are separated by '(;|\\t)', must be by commas$")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("2024-01-01", "column 'step', row 2 holds '2024-01-01', must be a whole number"),
        ("1e300", "column 'step', row 2 holds 1e.300, must be a whole number"),
        ("0.5", "column 'step', row 2 holds 0.5, must be a whole number"),
        ("1\x000", r"column 'step', row 2 holds '1\\x000', must be a whole number"),
        ("9" * 5000, "column 'step', row 2 holds .*, must be a whole number"),
    ],
)
def test_steps_that_are_none(tmp_path, cell, message):
    (tmp_path / "a.csv").write_text(f"step,loss\n0,1\n{cell},2\n")
    assert len(refused(tmp_path / "a.csv", message)) < 300


def test_a_name_that_is_no_text_can_be_listed(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.csv"
    with open(path, "w") as file:
        file.write("step,loss\n0,1\n1,x\n2,3\n")
    [note] = list_runs(tmp_path)["note"]
    assert note.endswith("column 'loss', row 2 holds 'x', must be a number")
    note.encode()


def test_a_parquet_file_of_a_billion_rows_in_a_few_bytes_is_refused(tmp_path, monkeypatch):
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    monkeypatch.setattr(_parquet, "MOST_CELLS", 2000)
    parquet.write_table(arrow.table({"step": np.arange(1001), "loss": np.zeros(1001)}), tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "1001 rows of 2 columns are more than are read")


def test_a_database_that_is_being_written_is_read_as_far_as_it_is(tmp_path):
    """A write-ahead log beside the database holds the last rows."""
    path = tmp_path / "a.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_id, run_name, step, metrics)")
        writer.execute("CREATE TABLE configs (run_id, config)")
        for step in range(3):
            entry = (step, f'{{"loss": {step / 2}}}'.encode())
            writer.execute("INSERT INTO metrics (run_id, run_name, step, metrics) VALUES ('u', 'r', ?, ?)", entry)
        writer.execute("BEGIN IMMEDIATE")  # Nor does a lock matter.
        assert read(path)[0].values.ravel().tolist() == [0, 0.5, 1]
        assert (tmp_path / "a.db-wal").exists()
        writer.execute("ROLLBACK")
    assert read(path)[0].values.ravel().tolist() == [0, 0.5, 1]
    path.chmod(0o444)
    assert read(path)[0].steps.tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["a.db"]
