"""`descentcast report` and `descentcast doctor`, as a person meets them."""

import json

import pytest

from descentcast import cli


def call(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["descentcast", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code or 0, *capsys.readouterr()


def test_saved_results_become_a_page(tmp_path, monkeypatch, capsys):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "trial.json").write_text(json.dumps({"conclusion": f"Arm {folder} it is."}))
    page = tmp_path / "page.html"
    files = [tmp_path / folder / "trial.json" for folder in "ab"]
    code, text, _ = call(monkeypatch, capsys, "report", *files, "--out", page, "--json")
    assert code == 0
    assert json.loads(text) == {"path": str(page), "results": ["trial", str(files[1])]}
    assert "Arm a it is." in page.read_text()
    assert "Arm b it is." in page.read_text()


def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys):
    code, text, error = call(monkeypatch, capsys, "report", tmp_path / "none.json", "--out", tmp_path / "p.html")
    assert (code, text) == (2, "")
    assert error.count("\n") == 1
    assert "none.json: cannot be read" in error


def test_the_doctor_fails_with_a_code_when_a_check_fails(monkeypatch, capsys):
    code, text, _ = call(monkeypatch, capsys, "doctor", "--json")
    assert code == 0
    assert {"check", "state", "detail"} == set(json.loads(text)[0])
    monkeypatch.setenv("DESCENTCAST_CACHE_MB", "much")
    code, text, _ = call(monkeypatch, capsys, "doctor")
    assert code == 1
    assert "failed" in text
