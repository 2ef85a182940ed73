"""`descentcast runs`, and what a forecast says of the runs that it read."""

import json

import pytest

from tests.test_cli import call

HOSTILE = "<script>[/red]\x1b[31m\n'\"\ud800"  # The last is half of a pair, which no encoding has.


@pytest.fixture
def folder(tmp_path):
    for arm, end in (("adam", "1.5"), ("sgd", "nan")):
        (tmp_path / arm).mkdir()
        lines = [f"{step},{1 / (step + 1)}" for step in range(30)]
        (tmp_path / arm / "seed1.csv").write_text("\n".join(["step,loss", *lines, f"30,{end}"]) + "\n")
    return tmp_path


def test_runs_lists_what_is_there(folder, monkeypatch, capsys):
    code, text, error = call(monkeypatch, capsys, "runs", folder, "--arm", "{arm}/seed*", "--json")
    assert (code, error) == (0, "")
    first, second = json.loads(text)
    assert (first["run"], first["arm"], first["rows"], first["every"], first["diverged"]) == (
        "adam/seed1", "adam", 31, 1, None,
    )  # fmt: skip
    assert (second["arm"], second["rows"], second["last"], second["diverged"]) == ("sgd", 30, 29, 30)
    code, text, _ = call(monkeypatch, capsys, "runs", folder)
    assert code == 0
    assert "2 run(s)" in text
    assert "adam/seed1" in text


def test_hostile_names_are_printed_and_listed_as_text(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.jsonl"
    rows = [{"step": i, "run": HOSTILE, HOSTILE: float(i)} for i in range(3)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    code, text, _ = call(monkeypatch, capsys, "runs", path, "--json")
    assert code == 0
    assert json.loads(text)[0]["column"] == HOSTILE.replace("\ud800", "?")
    monkeypatch.setenv("COLUMNS", "300")
    code, text, _ = call(monkeypatch, capsys, "runs", path)
    assert code == 0
    assert "<script>[/red]\\x1b[31m\\n" in text
    assert "\x1b" not in text
    code, text, error = call(monkeypatch, capsys, "runs", path, "--arm", HOSTILE)
    assert (code, text, error.count("\n")) == (2, "", 1)
    assert "\x1b" not in error


def test_a_forecast_says_what_reading_mended(folder, monkeypatch, capsys):
    arguments = ["forecast", folder, "--columns", "loss", "--start", "0.5", "--steps", 3, "--estimator", "local-linear"]
    code, text, _ = call(monkeypatch, capsys, *arguments)
    assert code == 0
    assert "note: sgd/seed1: diverged at step 30" in text
    code, text, _ = call(monkeypatch, capsys, *arguments, "--json")
    assert json.loads(text)["reading"] == ["sgd/seed1: diverged at step 30"]
