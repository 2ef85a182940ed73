"""What results look like at a prompt."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import descentcast as dc
from descentcast._shown import described
from descentcast.kernels import LocalLinearKernel

PACKAGE = Path(__file__).parents[1] / "src" / "descentcast"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros(0), "[]"),
        (np.zeros((0, 3)), "<0 x 3 float64>"),
        (np.array(2.5), "<one from 2.5 to 2.5>"),
        (np.array([1.0, np.nan]), "[1, nan]"),
        (np.array([np.nan, np.inf, *range(8)]), "<10 from 0 to 7>"),
        (np.full(9, np.nan), "<9 float64>"),
        (np.arange(7) % 2 == 0, "<7 of False, True>"),
        (np.array(["visited", "completed"] * 50), "<100 of 'completed', 'visited'>"),
        (1 / 3, "0.333333"),
        (1 / 3 + 2j / 3, "0.333333+0.666667j"),
        ((1,), "(1,)"),
        ([1, (2, 3)], "[1, (2, 3)]"),
        ({"lr": 0.1, "opt": "adam"}, "{'lr': 0.1, 'opt': 'adam'}"),
        (dict.fromkeys(range(9), 0), "{0: 0, 1: 0, 2: 0, ... 9 in all}"),
        (pd.DataFrame({"a": [1, 2], "b": [3, 4]}), "<2 rows of a, b>"),
        ("word", "'word'"),
        ("w" * 500, f"'{'w' * 116}..."),
    ],
)
def test_values_in_a_few_words(value, text):
    assert described(value) == text


def test_results_show_their_answer_and_not_their_arrays():
    problem = dc.problems.DoubleWell()
    slow, fast = (problem.simulate([-1.0, 1.2], 200, random_state=seed) for seed in (1, 2))
    kernel = LocalLinearKernel().fit(slow).kernel_
    forecast = dc.forecast(kernel, [0.1, 0.5], 20)
    result = dc.Trial({"slow": slow, "fast": fast}, estimator=LocalLinearKernel(), steps=20).run(40)
    assert repr(slow[0]).startswith("Trajectory(values=<201 x 1 from ")
    assert repr(slow).startswith("Trajectories(runs=(Trajectory(")
    assert repr(forecast) == f"Forecast(2 start(s), 20 steps, x)\n{forecast.landing.to_string()}"
    assert repr(result) == f"TrialResult(slow, fast)\n{result.summary()}"
    many = dc.forecast(kernel, np.linspace(-1, 1, 200), 2)
    for shown in (slow, kernel, kernel.evidence, forecast.basins, forecast.marginals, result.evidence, many):
        assert len(repr(shown)) < 2500
        assert "array(" not in repr(shown)
    noted = dc.Trajectory([1.0, 2.0], notes=["row 7 is left out"])
    assert "notes=('row 7 is left out',)" in repr(noted)
    assert not {"arm", "setting", "diverged"} & {word.split("=")[0] for word in repr(noted).split(", ")}


def test_no_exported_dataclass_prints_its_arrays():
    """A dataclass without equality holds arrays; problems keep theirs from being shown field by field."""
    exported = {
        alias.name
        for path in [*PACKAGE.rglob("__init__.py"), *PACKAGE.rglob("__init__.pyi")]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    internal = {"Record", "Series"}
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            decorators = " ".join(map(ast.unparse, getattr(node, "decorator_list", [])))
            if isinstance(node, ast.ClassDef) and "eq=False" in decorators and path.parent.name != "problems":
                found[node.name] = "repr=False" in decorators
    shown = {name: own for name, own in found.items() if name in exported - internal}
    assert len(shown) > 35
    assert [name for name, own in shown.items() if not own] == []
