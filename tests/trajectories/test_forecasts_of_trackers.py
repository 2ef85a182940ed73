"""One command from a tracker's files to a forecast, as docs/reading.md has it."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.tracker_files import Run

from benchmarks import tracker_files
from descentcast import cli

PAGE = (Path(__file__).parents[2] / "docs" / "reading.md").read_text()


@pytest.fixture
def runs():
    rng = np.random.default_rng(0)
    found = []
    for seed in range(2):
        loss = [2.0]
        for _ in range(40):
            loss.append(0.8 * loss[-1] + 0.1 + 0.05 * rng.normal())
        found.append(Run(f"seed{seed}", {"lr": 0.1}, {"loss": (list(range(41)), loss)}))
    return found


def forecast(capsys, path, column, start="1.5"):
    """Run the command of the page with a classical estimator in place of the default ones, and check the landing."""
    arguments = [str(path), "--columns", column, "--start", start, "--steps", "20"]
    command = ["forecast", *arguments]
    shape = " ".join(command).replace(str(path), "PATH")
    assert shape.replace("PATH", "").split() in [line.replace("PATH", "").split() for line in commands()]
    cli.cli.main([*command, "--estimator", "local-linear", "--json"], standalone_mode=False)
    landing = json.loads(capsys.readouterr().out)["landing"]
    assert sum(row["probability"] for row in landing) == pytest.approx(1)
    settled = [row for row in landing if row["probability"] > 0.5]
    assert abs(settled[0]["position"] - 0.5) < 0.2  # the fixed point of x -> 0.8 x + 0.1


def commands():
    """Return the commands of the page, what they read called PATH."""
    found = []
    for line in PAGE.splitlines():
        words = line.split()
        if words[:2] == ["descentcast", "forecast"]:
            found.append(" ".join([words[1], "PATH", *words[3:]]))
    return found


def test_tensorboard(tmp_path, runs, capsys):
    forecast(capsys, tracker_files.write_tensorboard(tmp_path / "logs", runs), "loss")


@pytest.mark.slow
def test_wandb(tmp_path, runs, capsys):
    forecast(capsys, tracker_files.write_wandb(tmp_path, runs), "loss")


@pytest.mark.slow
def test_optuna(tmp_path, runs, capsys):
    forecast(capsys, tracker_files.write_optuna(tmp_path, runs), "value")
