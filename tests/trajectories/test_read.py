import csv
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import descentcast as dc
from descentcast.errors import ArgumentError, DataError
from descentcast.trajectories import Trajectories, Trajectory, read

finite = st.floats(allow_nan=False, allow_infinity=False)
labels = st.text("abcxyz019 ,\"'é-", min_size=1, max_size=6).map(str.strip).filter(lambda s: s and not s.isdigit())


@st.composite
def recorded(draw):
    names = draw(
        st.lists(
            labels.filter(lambda s: s not in ("run", "step", "name", "value")), min_size=1, max_size=3, unique=True
        )
    )
    runs = []
    for run in draw(st.lists(labels, min_size=1, max_size=3, unique=True)):
        steps = sorted(draw(st.sets(st.integers(0, 2**40), min_size=2, max_size=5)))
        values = [[draw(finite) for _ in names] for _ in steps]
        runs.append(Trajectory(np.array(values), names=tuple(names), steps=np.array(steps), run=run))
    return Trajectories(tuple(runs))


def wide(runs):
    return [
        {"step": int(step), "run": run.run, **dict(zip(run.names, row, strict=True))}
        for run in runs
        for step, row in zip(run.steps, run.values.tolist(), strict=True)
    ]


def long(runs):
    return [
        {"run": run.run, "step": int(step), "name": name, "value": value}
        for run in runs
        for step, row in zip(run.steps, run.values.tolist(), strict=True)
        for name, value in zip(run.names, row, strict=True)
    ]


def write_csv(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def same(one, other):
    assert [run.run for run in one] == [run.run for run in other]
    assert one.names == other.names
    for a, b in zip(one, other, strict=True):
        assert a.values.tobytes() == b.values.tobytes()
        assert a.steps.tolist() == b.steps.tolist()


@pytest.mark.parametrize("shape", [wide, long])
@pytest.mark.parametrize(("suffix", "write"), [("csv", write_csv), ("jsonl", write_jsonl)])
@settings(max_examples=30, deadline=None)
@given(runs=recorded())
def test_what_was_written_comes_back_to_the_last_bit(tmp_path_factory, shape, suffix, write, runs):
    path = tmp_path_factory.mktemp("runs") / f"file.{suffix}"
    write(path, shape(runs))
    same(read(path), runs)


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Return a function that writes a file into the current folder and returns its name."""
    monkeypatch.chdir(tmp_path)

    def put(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    return put


def test_a_plain_file_is_one_run_called_by_its_stem(put):
    [run] = read(put("seed 3.csv", "w,b\n1,2\n3,4\n5,6\n"))
    assert (run.run, run.names, run.steps.tolist()) == ("seed 3", ("w", "b"), [0, 1, 2])
    assert run.values.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_columns_select_and_reorder_and_leave_text_alone(put):
    put("a.csv", "w,note,b\n1,warm-up,2\n3,,4\n")
    runs = read("a.csv", columns=["b", "w"])
    assert runs.names == ("b", "w")
    assert runs[0].values.tolist() == [[2, 1], [4, 3]]
    put("a.jsonl", '{"step": 0, "name": "w", "value": 1}\n{"step": 0, "name": "note", "value": "x"}')
    put("b.jsonl", '{"step": 0, "name": "w", "value": 1}\n{"step": 1, "name": "w", "value": "x"}')
    for names in (["w"], None):
        with pytest.raises(DataError, match=r"^b\.jsonl: column 'value', row 2 holds 'x', must be a number$"):
            read("b.jsonl", columns=names)
    put("c.csv", "w,note\n1,warm-up\n3,\n")
    assert read("c.csv").names == ("w",)
    with pytest.raises(DataError, match=r"^c\.csv: column 'note', row 1 holds 'warm-up', must be a number$"):
        read("c.csv", columns=["note"])


def test_a_folder_a_glob_and_a_list_give_the_same_runs(put):
    for seed in range(3):
        put(f"runs/seed{seed}.csv", f"w\n{seed}\n1\n")
    put("runs/notes.txt", "not a run")
    expected = [0.0, 1.0, 2.0]
    for given_ in ("runs", "runs/*.csv", ["runs/seed0.csv", "runs/seed[12].csv"], ["runs", "runs/*.csv"]):
        runs = read(given_)
        assert [run.run for run in runs] == ["seed0", "seed1", "seed2"]
        assert [run.values[0, 0] for run in runs] == expected


def test_a_file_whose_name_looks_like_a_glob_is_a_file(put):
    put("loss[1].csv", "w\n1\n2\n")
    put("loss1.csv", "w\n3\n4\n")
    assert read("loss[1].csv")[0].run == "loss[1]"


def test_runs_of_equal_stems_are_told_apart_by_their_folders(put):
    put("a/loss.csv", "w\n1\n2\n")
    put("b/loss.jsonl", '{"w": 1}\n{"w": 2}\n')
    assert [run.run for run in read("*/loss.*")] == ["a/loss", "b/loss"]


def test_runs_named_in_several_files_carry_the_files_name(put):
    for name in "ab":
        put(f"{name}.csv", "run,w\n01,1\n1,5\n01,2\n1,6\n")
    assert [run.run for run in read("a.csv")] == ["01", "1"]
    runs = read(["a.csv", "b.csv"])
    assert [run.run for run in runs] == ["a/01", "a/1", "b/01", "b/1"]
    assert runs[3].values.ravel().tolist() == [5, 6]  # rows of runs that are interleaved stay with their run


def test_long_tables_need_not_be_sorted_by_name(put):
    put("a.csv", "name,step,value\nw,0,1\nw,5,2\nb,0,3\nb,5,4\n")
    [run] = read("a.csv")
    assert (run.names, run.steps.tolist()) == (("w", "b"), [0, 5])
    assert run.values.tolist() == [[1, 3], [2, 4]]


def test_files_of_other_programs_are_read(put):
    [run] = read(put("windows.csv", b"\xef\xbb\xbfstep, w\r\n0, 1.5e-3\r\n1, -2\r\n\r\n , \r\n"))
    assert (run.names, run.values.ravel().tolist()) == (("w",), [1.5e-3, -2])
    [run] = read(put("a.jsonl", '\n{"step": 0.0, "w": 1}\n\n{"step": 1, "w": 12345678901234567890}\n'))
    assert run.values.ravel().tolist() == [1, 12345678901234567890.0]


BAD = {
    "text": ("a.csv", "w,b\n1,2\n3,x4\n", r"^a\.csv: column 'b', row 2 holds 'x4', must be a number$"),
    "empty cell": (
        "a.csv",
        "w,b\n1,2\n3,\n4,5\n",
        r"^a\.csv: a: recorded at different steps: w \(3\), b \(2\): name those to read$",
    ),
    "below a blank line": ("a.csv", "n,w\n1,1\n\n3,x\n", r"^a\.csv: column 'w', row 3 holds 'x'"),
    "an empty step": ("a.csv", "step,w\n0,1\n,2\n", r"^a\.csv: column 'step', row 2 is empty, must be a whole number"),
    "NaN for a step": ("a.csv", "step,w\n0,1\nnan,2\n", r"^a\.csv: column 'step', row 2 holds nan, must be a whole"),
    "a word for a step": ("a.csv", "step,w\n0,1\nx,2\n", r"column 'step', row 2 holds 'x', must be a whole number of"),
    "blank first line": ("a.csv", "\nw,b\n1,2\n3,4\n", r"^a\.csv: the first line must name the columns, it is blank$"),
    "blank lines only": ("a.csv", "\n\n", r"^a\.csv: empty$"),
    "nested": ("a.jsonl", '{"w": 1}\n{"w": ' + "[" * 100_000 + "\n", r"^a\.jsonl: line 2 is nested too deeply"),
    "huge step": ("a.csv", "step,name,value\n0,w,1\n1e30,w,2\n", r"column 'step', row 2 holds 1e\+30, must be a whole"),
    "short row": ("a.csv", "w,b\n1,2\n3\n4,5\n", r"^a\.csv: a: recorded at different steps: w \(3\), b \(2\)"),
    "NaN": ("a.csv", "w\n1\nnan\n", r"^a: 1 recorded step\(s\) before it diverged at step 1, at least 2 are needed$"),
    "infinity": ("a.jsonl", '{"w": 1}\n{"w": -Infinity}', r"^a: 1 recorded step\(s\) before it diverged at step 1"),
    "overflow": ("a.csv", "w\n1\n1e999\n", r"^a: 1 recorded step\(s\) before it diverged at step 1"),
    "huge integer": ("a.jsonl", '{"w": 1}\n{"w": 1' + "0" * 400 + "}", r"column 'w', row 2 holds 1000"),
    "true": ("a.jsonl", '{"w": 1}\n{"w": true}', r"column 'w', row 2 holds True"),
    "a list": ("a.jsonl", '{"w": 1}\n{"w": [1, 2]}', r"column 'w', row 2 holds \[1, 2\]"),
    "missing key": ("a.jsonl", '{"w": 1, "b": 1}\n{"w": 2}\n{"w": 3, "b": 3}', r"different steps: w \(3\), b \(2\)"),
    "one step": (
        "a.csv",
        "run,w\nA,1\nB,1\n",
        r"^A: 1 recorded step\(s\), at least .* nor has any other of the 2 runs$",
    ),
    "empty file": ("a.csv", "", r"^a\.csv: empty$"),
    "empty lines": ("a.jsonl", "\n\n", r"^a\.jsonl: empty$"),
    "header only": ("a.csv", "w,b\n", r"^a\.csv: no rows"),
    "no header": ("a.csv", "1,2\n3,4\n", r"the first line must name the columns, it holds numbers: 1, 2$"),
    "two names alike": ("a.csv", "w,w\n1,2\n3,4\n", r"^a\.csv: column 2 is the second called 'w'"),
    "a name missing": ("a.csv", ",w\n0,1\n1,2\n", r"^a\.csv: column 1 has no name"),
    "long row": ("a.csv", "w,b\n1,2\n3,4,5\n", r"^a\.csv: line 3 has 3 cells, there are 2 column names$"),
    "surplus cells": ("a.csv", "w,b\n1,2,3\n3,4,5\n", r"^a\.csv: line 2 has 3 cells"),
    "open quotes": ("a.csv", 'w,b\n1,"2\n3,4\n', r"^a\.csv: not a CSV file: .*EOF inside string"),
    "binary": ("a.csv", b"w\n\xff\xfe\x00\x81\n", r"^a\.csv: not a CSV file"),
    "binary lines": ("a.jsonl", b'{"w": \xff}', r"^a\.jsonl: not a JSON lines file"),
    "not JSON": ("a.jsonl", '{"w": 1}\n{"w": }\n', r"^a\.jsonl: line 2 is not JSON"),
    "no object": ("a.jsonl", '{"w": 1}\n[1]\n', r"^a\.jsonl: line 2 must be a JSON object"),
    "several runs": (
        "a.csv",
        "step,seed,w\n0,1,1\n1,1,2\n0,2,3\n1,2,4\n0,3,5\n1,3,6\n",
        r"^a\.csv: seed: 4 of 6 rows repeat a step: where there are several runs, a column 'run' must say which$",
    ),
    "half a step": (
        "a.csv",
        "step,w\n0,1\n0.5,2\n",
        r"^a\.csv: column 'step', row 2 holds 0\.5, must be a whole number of at most 2\^53$",
    ),
    "no run": ("a.csv", "run,w\nA,1\n,2\n", r"^a\.csv: column 'run', row 2: empty, must say which run$"),
    "no coordinate": ("a.csv", "run,step\nA,1\nA,2\n", r"^a\.csv: no coordinates"),
    "long, no step": ("a.csv", "name,value\nw,1\nw,2\n", r"^a\.csv: a long table has the columns"),
    "long, surplus": ("a.csv", "step,name,value,host\n0,w,1,x\n1,w,2,x\n", r"not step, name, value, host$"),
    "long, a gap": (
        "a.csv",
        "step,name,value\n0,w,1\n0,b,1\n1,w,2\n2,w,2\n2,b,2",
        r"^a\.csv: a: recorded at different steps: w \(3\), b \(2\): name those to read$",
    ),
    "format": ("a.txt", "w\n1\n2\n", r"^a\.txt: format '\.txt' is not read; what is: CSV, JSON lines, "),
    "no format": ("runs", "w\n1\n2\n", r"^runs: format '\(no suffix\)' is not read"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_one_clear_line(put, case):
    name, text, message = BAD[case]
    put(name, text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=message) as caught:
            read(name)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_one_clear_line(put, tmp_path):
    for absent in ("absent.csv", "absent/*.csv", "absent"):
        with pytest.raises(DataError, match=r"^absent.*: no such file$"):
            read(absent)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"^folder: no runs in this folder; what is read: CSV, JSON lines, "):
        read("folder")


def test_what_cannot_be_looked_up_is_one_clear_line(put, tmp_path, monkeypatch):
    for name in ("~nosuchuser/x.csv", "x" * 300 + ".csv"):
        with pytest.raises(DataError, match=rf"^{name}: cannot be read: [^\n]+$"):
            read(name)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "closed").mkdir()
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError, match=r"^closed: cannot be read: Permission denied$"):
        read("closed")


def test_unknown_columns_list_what_is_there(put):
    put("a.csv", "step,w,b\n0,1,2\n1,3,4\n")
    put("b.csv", "step,name,value\n0,w,1\n0,b,1\n1,w,2\n1,b,2\n")
    for name in ("a.csv", "b.csv"):
        with pytest.raises(DataError, match=rf"^{name}: no column 'loss', there are w, b$"):
            read(name, columns=["w", "loss"])


@pytest.mark.parametrize("columns", ["w", [], ["w", "w"]])
def test_columns_must_be_a_list_of_different_names(put, columns):
    put("a.csv", "w\n1\n2\n")
    with pytest.raises(ArgumentError, match=r"columns == .*must be a list of different names"):
        read("a.csv", columns=columns)


def test_files_of_different_coordinates_are_refused(put):
    put("a.csv", "w\n1\n2\n")
    put("b.csv", "w,b\n1,1\n2,2\n")
    with pytest.raises(DataError, match=r"b recorded \['w', 'b'\] but a recorded \['w'\]"):
        read("*.csv")
    assert read("*.csv", columns=["w"]).names == ("w",)


def test_nothing_to_read_is_refused():
    with pytest.raises(ArgumentError, match="at least one file"):
        read([])


@pytest.mark.parametrize("given", [None, 3, [None], ["a.csv", 3]])
def test_what_is_no_path_is_refused_by_name(given):
    with pytest.raises(ArgumentError, match=r"path_or_glob == .*, must be a path, or a list of paths"):
        read(given)


def test_a_column_that_ends_as_programs_write_nan_diverged(tmp_path):
    frame = pd.DataFrame({"step": range(6), "loss": [1, 0.5, 0.7, *[np.nan] * 3], "lr": 0.1})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "b.parquet")
    frame.to_json(tmp_path / "c.jsonl", orient="records", lines=True)
    for path in sorted(tmp_path.iterdir()):
        for columns in (["loss"], None):
            (run,) = dc.read(path, columns)
            assert (run.diverged, len(run)) == (3, 3)
    sparse = pd.DataFrame({"step": range(6), "loss": 1.0, "val": [1, np.nan, 2, np.nan, np.nan, np.nan]})
    sparse.to_csv(tmp_path / "d.csv", index=False)
    assert dc.read(tmp_path / "d.csv", ["val"])[0].diverged is None


def test_two_runs_in_one_table_are_refused_without_their_names(tmp_path):
    path = tmp_path / "seeds.csv"
    pd.DataFrame({"seed": [0] * 4 + [1] * 4, "step": [*range(4)] * 2, "loss": range(8)}).to_csv(path, index=False)
    with pytest.raises(DataError, match="4 of 8 rows repeat a step"):
        dc.read(path, ["loss"])


def test_files_of_one_stem_are_told_apart(tmp_path):
    (tmp_path / "seed1.csv").write_text("step,w\n0,1\n1,2\n")
    (tmp_path / "seed1.jsonl").write_text('{"step": 0, "w": 1}\n{"step": 1, "w": 2}\n')
    assert [run.run for run in dc.read(tmp_path)] == ["seed1.csv", "seed1.jsonl"]
