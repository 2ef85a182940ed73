"""Every example runs."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = [
    pytest.param(path, marks=pytest.mark.slow if path.stem.startswith("plot_study") else (), id=path.stem)
    for path in sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
]


@pytest.mark.parametrize("path", EXAMPLES)
def test_example(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    assert list((tmp_path / "out").iterdir())
