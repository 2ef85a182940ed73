"""`descentcast trial` as a person meets it."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from descentcast import cli


def call(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["descentcast", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main()
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out, printed.err


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for name, level in (("sgd_lr0.1", 0.5), ("adam", 0.1)):
        (tmp_path / name).mkdir()
        for seed in range(2):
            x = [2.0]
            for _ in range(40):
                x.append(x[-1] - 0.3 * (x[-1] - level) + 0.02 * rng.normal())
            table = pd.DataFrame({"step": np.arange(41), "val_loss": x, "train_loss": x})
            table.to_csv(tmp_path / name / f"seed{seed}.csv", index=False)
    return tmp_path / "sgd_lr0.1", tmp_path / "adam"


@pytest.mark.slow
def test_tables_conclusion_plot_and_json(folders, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    options = ("--metric", "val_loss", "--better", "lower", "--replicates", 100, "--out", out)
    code, text, error = call(monkeypatch, capsys, "trial", *folders, *options)
    assert (code, error) == (0, "")
    assert "val_loss after 40 steps, lower is better." in text
    assert (out / "trial.png").read_bytes().startswith(b"\x89PNG")
    saved = json.loads((out / "trial.json").read_text())
    assert [row["arm"] for row in saved["arms"]] == ["sgd_lr0.1", "adam"]
    assert -0.6 < saved["effects"][0]["effect"] < -0.2
    assert all(line in text for line in saved["conclusion"].splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}"], "at least two"),
        (["{0}", "{0}"], "must be different paths"),
        (["{0}", "{1}", "--outcome", "last"], "outcome == 'last'"),
        (["{0}", "{1}", "--metric", "accuracy"], "accuracy"),
        (["{0}", "{1}", "--steps", "0", "--metric", "val_loss"], "steps == 0"),
        (["{0}", "/nowhere"], "no such file"),
        (["{0}", "{1}", "--better", "up"], "'up'"),
    ],
)
def test_bad_input_is_one_line_and_code_2(folders, arguments, message, monkeypatch, capsys):
    code, text, error = call(monkeypatch, capsys, "trial", *(a.format(*folders) for a in arguments))
    assert (code, text) == (2, "")
    assert message in error
    assert error.count("\n") == 1
