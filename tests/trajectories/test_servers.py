"""Runs on servers: MLflow's own server, started here, and servers that answer nonsense."""

import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from benchmarks.tracker_files import Run

from benchmarks import tracker_files
from descentcast import cli
from descentcast.errors import DataError
from descentcast.trajectories import list_runs, read
from descentcast.trajectories.readers import _http, _mlflow_server

nan, inf = float("nan"), float("inf")
RUNS = [
    Run("adam-1", {"lr": 0.1, "opt": "adam"}, {
        "loss": ([0, 1, 2, 30], [1.5, 0.1 + 0.2, -1e-300, 3.0]), "val/acc": ([0, 30], [0.5, 0.6]),
    }),
    Run("sgd-1", {"lr": 0.2, "opt": "sgd"}, {
        "loss": ([0, 1, 2, 3], [1.0, 5e10, nan, inf]), "val/acc": ([0, 1], [0.1, 0.2]),
    }),
    Run("again", {"lr": 0.3, "opt": "sgd"}, {"loss": ([5, 5, 3, 5], [1.0, 2.0, 3.0, 4.0])}),
]  # fmt: skip


@pytest.fixture(scope="module")
def mlflow_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def mlflow(mlflow_folder):
    pytest.importorskip("flask", reason="mlflow-skinny needs it to be a server")
    with tracker_files.mlflow_server(mlflow_folder) as address:
        yield tracker_files.write_mlflow_server(address, RUNS)


def page_of(address, name):
    [key] = [record.key for record in _mlflow_server.read_mlflow_server(address) if record.run == name]
    return f"{address}/#/experiments/0/runs/{key}"


def loss_of(path):
    return {run.run: (run.steps.tolist(), run.values.ravel().tolist(), run.diverged) for run in read(path, ["loss"])}


EXPECTED = {
    "adam-1": ([0, 1, 2, 30], [1.5, 0.1 + 0.2, -1e-300, 3.0], None),
    "sgd-1": ([0, 1], [1.0, 5e10], 2),
    "again": ([3, 5], [3.0, 4.0], None),
}


@pytest.mark.slow
def test_mlflow_server_gives_every_point_as_it_was_logged(mlflow, monkeypatch):
    assert loss_of(mlflow) == EXPECTED
    assert loss_of(mlflow + "/") == EXPECTED
    monkeypatch.setattr(_mlflow_server, "POINTS", 3)
    monkeypatch.setattr(_mlflow_server, "RUNS", 1)
    monkeypatch.setattr(_mlflow_server, "EXPERIMENTS", 1)
    assert loss_of(mlflow) == EXPECTED, "page by page"
    with pytest.raises(DataError, match=r"again: no column 'val/acc', there are loss$"):
        read(mlflow, ["val/acc", "loss"], arm="opt")
    runs = read([page_of(mlflow, name) for name in ("adam-1", "sgd-1")], ["val/acc", "loss"], arm="opt")
    assert [(run.run, run.arm, run.steps.tolist()) for run in runs] == [
        ("adam-1", "adam", [0, 30]),
        ("sgd-1", "sgd", [0, 1]),
    ]
    assert dict(runs[0].setting) == {"lr": "0.1", "opt": "adam"}
    assert [run.arm for run in read(mlflow, ["loss"], arm="experiment")] == ["Default"] * 3
    assert [run.arm for run in read(page_of(mlflow, "sgd-1"), ["loss"], arm="{arm}-*")] == ["sgd"]
    assert list_runs(mlflow)["rows"].tolist() == [4, 2, 2, 2, 2]
    with pytest.raises(DataError, match=r"adam-1: no column 'lss', there are loss, val/acc$"):
        read(mlflow, ["lss"])


@pytest.mark.slow
def test_mlflow_server_and_its_database_tell_the_same_runs(mlflow, mlflow_folder):
    there, here = (read(place, ["loss"]).to_dict() for place in (mlflow, mlflow_folder / "mlflow.db"))
    assert there == here


@pytest.mark.slow
def test_mlflow_server_pages_name_experiments_and_runs(mlflow, capsys):
    for address in ("/#/experiments/0", "/#/experiments/0/runs?searchFilter=a", "/#Default", "/#/", "/#/experiments"):
        assert loss_of(mlflow + address) == EXPECTED
    page = page_of(mlflow, "sgd-1") + "/model-metrics"
    assert loss_of(page) == {"sgd-1": EXPECTED["sgd-1"]}
    assert loss_of([page, page]) == loss_of(page)
    for address, message in (
        ("/#/experiments/77", "status 404, .*No Experiment with id"),
        ("/#no such thing", "Could not find experiment|status 404"),
        ("/#/experiments/0/runs/" + "0" * 32, "status 404, .*not found"),
        ("/#/models/a", "a page of no experiment and no run"),
        ("/elsewhere", "status 404"),
    ):
        with pytest.raises(DataError, match=message) as error:
            read(mlflow + address)
        assert "\n" not in str(error.value)
    cli.cli.main(["runs", mlflow, "--json"], standalone_mode=False)
    rows = json.loads(capsys.readouterr().out)
    assert [(row["run"], row["format"], row["column"], row["rows"]) for row in rows] == [
        ("adam-1", "MLflow server", "loss", 4),
        ("adam-1", "MLflow server", "val/acc", 2),
        ("sgd-1", "MLflow server", "loss", 2),
        ("sgd-1", "MLflow server", "val/acc", 2),
        ("again", "MLflow server", "loss", 2),
    ]


@contextmanager
def answering(answers):
    """Run a server that answers each path from a dict: a status and a body; yield its address and its requests."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.split("?")[0].removeprefix("/api/2.0/mlflow/")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append((path, self.headers.get("Authorization")))
            found = answers.get(path, (404, "{}"))
            status, body, *headers = found.pop(0) if isinstance(found, list) else found
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else body.encode())

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


def tracking(points, name="loss", **more):
    """Return the answers of a server with one run of one metric."""
    run = {"info": {"run_id": "u", "run_name": "r", "experiment_id": "0"}, "data": {"metrics": [{"key": name}]}}
    return {
        "experiments/search": (200, json.dumps({"experiments": [{"experiment_id": "0", "name": "e"}]})),
        "runs/search": (200, json.dumps({"runs": [run]})),
        "metrics/get-history": (200, json.dumps({"metrics": points})),
        **more,
    }


def test_steps_as_text_and_numbers_that_are_not_finite_are_understood():
    largest = 1.7976931348623157e308
    points = [{"step": "0", "value": 1.0}, {"value": 2.0}, {"step": 1, "value": 0.5}, {"step": 2, "value": "NaN"}]
    with answering(tracking([*points, {"step": 3, "value": largest}])) as (address, _):
        [run] = read(address)
    assert (run.steps.tolist(), run.values.ravel().tolist(), run.diverged) == ([0, 1], [2.0, 0.5], 2)


def test_a_forecast_of_an_experiment(capsys):
    rng, x, points = np.random.default_rng(0), 2.0, []
    for step in range(60):
        points.append({"step": step, "value": x})
        x = 0.8 * x + 0.1 + 0.05 * rng.normal()
    answers = tracking(points)
    answers["experiments/get-by-name"] = (200, json.dumps({"experiment": {"experiment_id": "0", "name": "digits"}}))
    with answering(answers) as (address, seen):
        arguments = [f"{address}/#digits", "--columns", "loss", "--start", "1.5", "--steps", "20"]
        cli.cli.main(["forecast", *arguments, "--estimator", "local-linear", "--json"], standalone_mode=False)
    [landing] = [row for row in json.loads(capsys.readouterr().out)["landing"] if row["probability"] > 0.5]
    assert abs(landing["position"] - 0.5) < 0.2  # the fixed point of x -> 0.8 x + 0.1
    assert "experiments/search" not in {path for path, _ in seen}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({}, "status 404, Not Found$"),
        ({"experiments/search": (200, "<html>")}, "the answer is not JSON: is this the server's address"),
        ({"experiments/search": (200, b"\xff\xfe")}, "the answer is not JSON"),
        ({"experiments/search": (200, "[" * 100_000)}, "the answer is not JSON"),
        ({"experiments/search": (200, "[]")}, "the answer is no JSON object"),
        ({"experiments/search": (200, '{"experiments": 3}')}, "answers without a list of experiments"),
        ({"experiments/search": (200, "{}")}, "no run in this MLflow server source has recorded a number"),
        ({"experiments/search": (500, '{"message": "a\\nb\\u001b[31m"}')}, r"status 500, .*: a b\?\[31m$"),
        ({"experiments/search": (302, "", ("Location", "http://e.org/"))}, "elsewhere, to http://e.org/: name that"),
        (tracking([{"step": 0, "value": "x"}]), r"run u: loss, step 0 holds 'x', must be a number"),
        (tracking([{"step": 0, "value": None}]), "step 0 holds None, must be a number"),
        (tracking([{"step": 0.5, "value": 1}]), "step 0.5, must be a whole number"),
        (tracking([{"step": "9" * 30, "value": 1}]), "must be a whole number"),
        (tracking([3]), "answers without a list of metrics"),
        (tracking([], **{"runs/search": (200, '{"runs": [{}]}')}), "it answers None for 'info'"),
        (
            tracking([], **{"runs/search": (200, '{"runs": [], "next_page_token": "t"}')}),
            "runs/search answers with the same page again",
        ),
    ],
)
def test_a_server_that_answers_nonsense_is_one_line(answers, message):
    with answering(answers) as (address, _), pytest.raises(DataError, match=message) as error:
        read(address)
    assert str(error.value).isprintable()
    assert address in str(error.value)


def test_a_busy_server_is_asked_again_and_a_redirect_never_gets_the_credentials(monkeypatch):
    monkeypatch.setattr(_http, "WAITS", (0.0, 0.0))
    monkeypatch.setenv(_mlflow_server.TOKEN, "secret")
    points = [{"step": 0, "value": 1.0}, {"step": 1, "value": 2.0}]
    answers = tracking(points)
    answers["runs/search"] = [(503, ""), (429, ""), answers["runs/search"]]
    with answering(answers) as (address, seen):
        assert read(address)[0].values.ravel().tolist() == [1.0, 2.0]
    assert Counter(path for path, _ in seen)["runs/search"] == 3
    assert {authorisation for _, authorisation in seen} == {"Bearer secret"}
    with answering({}) as (other, reached):
        moved = {"experiments/search": (301, "", ("Location", other))}
        with answering(moved) as (address, _), pytest.raises(DataError, match="name that address") as error:
            read(address)
        assert reached == []
        assert "secret" not in str(error.value)
    monkeypatch.setenv(_mlflow_server.USER, "Ada")
    monkeypatch.setenv(_mlflow_server.PASSWORD, "é:b")
    with answering(tracking(points)) as (address, seen):
        read(address)
    assert {authorisation for _, authorisation in seen} == {"Basic QWRhOsOpOmI="}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://", "no address of a server"),
        ("http://a:b@host", "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        ("http://host:99999", "no address: Port out of range"),
        ("http://[", "no address"),
        ("http://ho st", "no address of a server"),
        ("http://host/\n", "no address of a server"),
        ("http://127.0.0.1:9", "no answer: Connection refused"),
        ("https://wandb.ai/a/b", "are read as wandb://entity/project"),
        ("s3://bucket/runs", r"s3://bucket/runs: addresses that are read: http"),
        ("wandb://a", "must be wandb://entity/project or"),
        ("wandb://a/../c", "must be wandb://entity/project or"),
        ("wandb://a/b/c/d", "must be wandb://entity/project or"),
        ("wandb://a/b?c", "must be wandb://entity/project or"),
    ],
)
def test_addresses_that_name_nothing_are_refused(address, message, monkeypatch):
    with pytest.raises(DataError, match=message) as error:
        read(address)
    assert str(error.value).isprintable()
    assert ":b@" not in str(error.value), "no password in a message"
