"""`descentcast bench kernels`: the table, the files, one line where something is wrong."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from descentcast.benchmark import _run, load_suite
from descentcast.cli import cli
from descentcast.cli._forecast import _coverage


@pytest.fixture
def small(monkeypatch):
    suite = load_suite()
    problems = tuple(p for p in suite.problems if p.name == "quadratic_gaussian")
    judging = suite.judging | {"simulated": 50, "pairs": 50, "starts": 3}
    found = replace(suite, problems=problems, contexts={30: (1, 30)}, judging=judging)
    monkeypatch.setattr(_run, "load_suite", lambda: found)
    _run._truth.cache_clear()
    yield
    _run._truth.cache_clear()


def test_kernels_prints_a_table_and_writes_it(tmp_path, small):
    arguments = ["bench", "kernels", "--quick", "--estimators", "counts", "--jobs", "1", "--out", str(tmp_path)]
    run = CliRunner().invoke(cli, arguments)
    assert run.exit_code == 0, run.output
    assert "30 values, 1 seed(s), 1 problems" in run.output
    assert all(name in run.output for name in ("counts", "true kernel", "last value", "10 steps"))
    assert {p.name for p in tmp_path.iterdir()} == {"kernels.jsonl", "kernels.json", "kernels.csv"}
    again = CliRunner().invoke(cli, [*arguments, "--json"])
    found = json.loads(again.stdout)
    assert found == json.loads((tmp_path / "kernels.json").read_text())
    assert {row["estimator"] for row in found["table"]} >= {"counts", "marginal"}
    assert found["claims"] == []


def test_an_unknown_estimator_is_refused():
    run = CliRunner().invoke(cli, ["bench", "kernels", "--estimators", "magic"])
    assert run.exit_code == 2


def test_the_coverage_of_a_forecast_is_one_line_a_coordinate():
    rows = [
        {"coordinate": "w", "lag": 1, "level": 0.9, "coverage": 0.875, "steps": 40},
        {"coordinate": "w", "lag": 10, "level": 0.9, "coverage": 0.5, "steps": 4},
        {"coordinate": "v", "lag": 10, "level": 0.9, "coverage": None, "steps": 0},
    ]
    (line,) = _coverage(rows, several=False)
    assert (
        line == "held-out values within the kernel's 90 % intervals: 88% of 40, 1 step ahead; 50% of 4, 10 steps ahead"
    )
    assert _coverage(rows, several=True)[0].startswith("w: held-out")
    assert _coverage(rows[2:], several=False) == []
