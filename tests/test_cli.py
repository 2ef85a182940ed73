"""The command line as a person meets it: what it prints, and one line with exit code 2 for what is wrong."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from descentcast import cli, reports
from tests.conftest import BY_PAIRS, FakeModel, make_tokenizer, tiny_llama


@pytest.fixture
def run_file(tmp_path):
    rng = np.random.default_rng(0)
    x = [1.0]
    for _ in range(30):
        x.append(0.7 * x[-1] + 0.1 * rng.normal())
    path = tmp_path / "run.csv"
    pd.DataFrame({"w": x}).to_csv(path, index=False)
    return path


def call(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["descentcast", *map(str, arguments)])
    capsys.readouterr()  # drops what was printed while the test was prepared
    with pytest.raises(SystemExit) as stop:
        cli.main()
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out, printed.err


@pytest.fixture
def with_fake_model(monkeypatch):
    monkeypatch.setattr("descentcast.language_models.loaded", lambda name: FakeModel())


def test_forecast_writes_table_plot_and_json(run_file, tmp_path, with_fake_model, monkeypatch, capsys):
    out = tmp_path / "out"
    code, text, _ = call(
        monkeypatch, capsys, "forecast", run_file, "--start", "0.5", "--start", "-0.1", "--steps", 5, "--out", out
    )
    assert code == 0
    assert "Landing after 5 steps, from 1 run(s) of 31 values in all" in text
    assert (out / "forecast.png").read_bytes().startswith(b"\x89PNG")
    saved = json.loads((out / "forecast.json").read_text())
    assert saved["runs"] == ["run"]
    assert sorted(p.name for p in out.iterdir()) == ["forecast.json", "forecast.png"]


def test_json_is_all_that_is_printed(run_file, with_fake_model, monkeypatch, capsys):
    code, text, error = call(monkeypatch, capsys, "forecast", run_file, "--start", "0.5", "--steps", 3, "--json")
    assert (code, error) == (0, "")
    landing = json.loads(text)["landing"]
    assert sum(row["probability"] for row in landing) == pytest.approx(1)


def test_forecast_shows_each_members_held_out_score_and_weight(run_file, with_fake_model, monkeypatch, capsys):
    good = ["forecast", run_file, "--start", "0.5", "--steps", 3, "--views", 1]
    code, text, _ = call(monkeypatch, capsys, *good, "--json")
    assert code == 0
    result = json.loads(text)
    held_out = {row["member"]: row for row in result["held_out"]}
    members = ["InContextKernel(descent-small)", "LocalLinearKernel", "KernelDensityKernel"]
    assert list(held_out) == [*(f"recalibrated {member}" for member in members), "stack"]
    assert sum(row["weight"] for row in result["held_out"][:-1]) == pytest.approx(1)
    assert held_out["stack"]["weight"] is None
    assert {row["transitions"] for row in result["held_out"]} == {21}
    best = max(row["log_score"] for row in result["held_out"][:-1])
    assert held_out["stack"]["log_score"] >= best - np.log(3) / 21
    assert all(row["low"] is not None for row in result["landing"])
    code, text, _ = call(monkeypatch, capsys, *good, "--as-fitted", "--json")
    assert [row["member"] for row in json.loads(text)["held_out"]] == [*members, "stack"]
    code, text, _ = call(monkeypatch, capsys, *good)
    assert "Held-out score" in text
    assert "LocalLinearKernel" in text


@pytest.mark.parametrize(("given", "asked"), [("none", None), ("there", "there")])
def test_a_model_is_read_without_its_adapter_or_with_another(given, asked, run_file, monkeypatch, capsys):
    calls = []

    def load(name, adapter):
        calls.append((name, adapter))
        return FakeModel()

    monkeypatch.setattr("descentcast.load_model", load)
    good = ["forecast", run_file, "--start", "0.5", "--steps", 3, "--views", 1, "--estimator", "in-context"]
    code, _, error = call(monkeypatch, capsys, *good, "--model", "smollm2-135m", "--adapter", given, "--json")
    assert (code, error) == (0, "")
    assert calls == [("smollm2-135m", asked)]


def test_forecast_by_classical_estimators_needs_no_language_model(run_file, monkeypatch, capsys):
    monkeypatch.setattr("descentcast.language_models.loaded", None)
    arguments = ["forecast", run_file, "--start", "0.5", "--steps", 3, "--json"]
    code, text, _ = call(monkeypatch, capsys, *arguments, "--estimator", "counts", "--estimator", "autoregressive")
    assert code == 0
    result = json.loads(text)
    assert "model" not in result
    members = ["recalibrated CountKernel", "recalibrated AutoregressiveKernel"]
    assert [row["member"] for row in result["held_out"]] == [*members, "stack"]
    code, text, error = call(monkeypatch, capsys, *arguments, "--estimator", "local-linear")
    assert code == 0
    assert json.loads(text)["held_out"][0]["weight"] == 1
    code, _, error = call(monkeypatch, capsys, *arguments, "--estimator", "magic")
    assert code == 2
    assert "magic" in error


def test_bad_input_is_one_line_and_exit_code_2(run_file, tmp_path, monkeypatch, capsys):
    words, short, gpt = tmp_path / "words.csv", tmp_path / "short.csv", tmp_path / "gpt2"
    words.write_text("w\n1.0\nabc\n2.0\n")
    short.write_text("w\n1.0\n")
    tokenizer = make_tokenizer(BY_PAIRS, 2)
    tiny_llama(len(tokenizer)).save_pretrained(gpt)
    tokenizer.save_pretrained(gpt)
    good = ["--start", "0.5", "--steps", "5"]
    cases = [
        (["forecast", tmp_path / "missing.csv", *good], "missing.csv"),
        (["forecast", words, *good], "abc"),
        (["forecast", short, *good], "at least 2"),
        (["forecast", run_file, "--start", "99", "--steps", "5"], "start == 99, must be within the grid of w"),
        (["forecast", run_file, "--start", "x", "--steps", "5"], "start == 'x', must be 1 number(s)"),
        (["forecast", run_file, *good, "--model", "no-such-model"], "no-such-model"),
        (["forecast", run_file, *good, "--model", gpt], "its tokenizer cuts 1234567,89 into"),
        (["forecast", run_file, "--start", "0.5", "--steps", "0"], "steps == 0"),
        (["forecast", run_file, *good, "--views", "0"], "'--views': 0 is not in the range 1<=x<=64"),
        (["forecast", run_file, *good, "--rows", "all"], "--rows"),
        (["forecast", run_file, "--steps", "5"], "--start"),
        (["models", "pull", "no-such-model"], "no-such-model"),
        (["demo", "--model", "no-such-model"], "no-such-model"),
        (["demo", "--adapter", "no-such-folder"], "no-such-folder"),
        (["nothing"], "nothing"),
    ]
    for arguments, message in cases:
        code, text, error = call(monkeypatch, capsys, *arguments)
        assert (code, text) == (2, ""), (arguments, text, error)
        assert error.count("\n") == 1, error
        assert error.startswith("descentcast: ")
        assert message in error


def test_models_list(monkeypatch, capsys):
    code, text, _ = call(monkeypatch, capsys, "models", "list", "--json")
    assert code == 0
    assert {"smollm2-135m", "gemma3-270m"} <= {entry["name"] for entry in json.loads(text)}
    code, text, _ = call(monkeypatch, capsys, "models", "list")
    assert "Apache-2.0" in text


def test_demo_compares_with_the_truth(monkeypatch, capsys, tmp_path, with_fake_model):
    monkeypatch.setattr("descentcast.reports._demo.REAL_RUNS", 200)
    code, text, _ = call(monkeypatch, capsys, "demo", "--views", 1, "--out", tmp_path, "--json")
    assert code == 0
    result = json.loads(text)
    classical = {"local-linear", "local-linear, recalibrated", "nearest minimum"}
    assert set(result["total_variation"]) == {"language model", *classical}
    starts = np.array(result["table"]["start"])
    context = reports._demo.record_context(reports._demo.PhaseRetrieval(), 0)
    assert len(starts) == 8
    assert not any(np.isclose(run.values[0, 0], starts).any() for run in context)
    assert {run.values[-1, 0] > 0 for run in context} == {True, False}
    truth = np.array(result["table"]["truth"])
    assert truth[0] < 0.05
    assert truth[-1] > 0.95
    assert (tmp_path / "demo.png").exists()


def test_help_fits_a_terminal_of_a_hundred_columns(monkeypatch, capsys):
    for command in ([], ["forecast"], ["demo"], ["models"], ["cache"]):
        code, text, _ = call(monkeypatch, capsys, *command, "--help")
        assert code == 0
        assert max(map(len, text.splitlines())) <= 100


def test_the_package_imports_without_torch():
    code = "import descentcast, descentcast.cli, sys; print('torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    "code",
    [
        "import descentcast",
        "import sys, descentcast.cli as c; sys.argv[1:] = ['--help']\ntry: c.main()\nexcept SystemExit: pass",
        "import descentcast as dc; runs = dc.Trajectories.from_arrays([[0.0, 1.0, 0.5, 0.7, 0.2, 0.4]] * 2)\n"
        "for k in (dc.LocalLinearKernel(), dc.CountKernel()): dc.forecast(k.fit(runs), [0.5], 3)",
        "import descentcast as dc; dc.InContextKernel, dc.next_densities, dc.densities.store_info()",
    ],
)
def test_torch_comes_only_with_a_model(code):
    code += "\nimport sys; print({'torch', 'transformers', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_cache_is_shown_and_cleared(run_file, tmp_path, monkeypatch, capsys):
    model = FakeModel()
    model.fingerprint = "fake weights"
    monkeypatch.setattr("descentcast.language_models.loaded", lambda name: model)
    monkeypatch.setenv("DESCENTCAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DESCENTCAST_CACHE_MB", "9.5")
    path = str(tmp_path / "cache" / "densities.sqlite")
    empty = {"path": path, "entries": 0, "bytes": 0, "limit_bytes": 9_500_000}
    assert json.loads(call(monkeypatch, capsys, "cache", "info", "--json")[1]) == empty
    forecast = ["forecast", run_file, "--start", "0.5", "--steps", 3, "--json"]
    first = call(monkeypatch, capsys, *forecast)
    monkeypatch.setattr(model, "log_probs", None)  # the second time it is not asked
    assert call(monkeypatch, capsys, *forecast) == first
    info = json.loads(call(monkeypatch, capsys, "cache", "info", "--json")[1])
    assert info["entries"] == 8  # views, for the fit and for what is held out
    assert 0 < info["bytes"] <= 9_500_000
    code, text, _ = call(monkeypatch, capsys, "cache", "info")
    assert (code, text) == (0, f"{path}\n8 entries, {info['bytes'] / 1e6:.1f} MB; at most 9.5 MB\n")
    assert call(monkeypatch, capsys, "cache", "clear") == (0, f"8 entries dropped from {path}\n", "")
    assert json.loads(call(monkeypatch, capsys, "cache", "clear", "--json")[1]) == {"path": path, "removed": 0}
    monkeypatch.setenv("DESCENTCAST_CACHE_MB", "0")
    assert call(monkeypatch, capsys, "cache", "info")[1].endswith("turned off\n")


def test_a_cache_that_cannot_be_used_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DESCENTCAST_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("DESCENTCAST_CACHE_MB", "lots")
    (tmp_path / "file").write_text("")
    code, text, error = call(monkeypatch, capsys, "cache", "info")
    assert (code, text) == (2, "")
    assert error == "descentcast: DESCENTCAST_CACHE_MB == 'lots', must be a number of at least 0\n"
    monkeypatch.setenv("DESCENTCAST_CACHE_MB", "1")
    code, text, error = call(monkeypatch, capsys, "cache", "clear")
    assert (code, text, error.count("\n")) == (2, "", 1)
    assert "file/densities.sqlite: the density store cannot be used" in error


def test_small_numbers_are_shown_with_their_digits(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    path = tmp_path / "loss.csv"
    pd.DataFrame({"loss": 1e-6 * (5 + rng.normal(size=60))}).to_csv(path, index=False)
    arguments = ["forecast", path, "--steps", 5, "--estimator", "local-linear", "--start", "4.5e-6"]
    code, text, _ = call(monkeypatch, capsys, *arguments)
    assert code == 0
    row = next(line.split() for line in text.splitlines() if "basin 0" in line)
    assert float(row[0]) == 4.5e-6
    assert float(row[3]) == pytest.approx(5e-6, rel=0.2)
    assert re.fullmatch(r"[01]\.\d{3}", row[4])


@pytest.mark.parametrize("group", [(), ("models",), ("cache",), ("bench",)])
def test_a_group_by_itself_shows_its_commands_line_by_line(group, monkeypatch, capsys):
    code, text, error = call(monkeypatch, capsys, *group)
    assert (code, text) == (2, "")
    assert error.startswith("Usage: descentcast")
    assert "\nCommands:\n" in error


@pytest.mark.parametrize("option", [("--digits", 3), ("--model", "gemma3-270m"), ("--rows", "visited")])
def test_options_of_reading_are_refused_where_nothing_is_read(option, run_file, monkeypatch, capsys):
    arguments = ["forecast", run_file, "--start", "0.5", "--steps", 3, "--estimator", "counts", *option]
    code, _, error = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert error == (
        f"descentcast: {option[0]} says how a language model reads, must be left out where none is asked to\n"
    )
