"""W&B's own client against a small server here that speaks as much of its interface as the client asks for."""

import json
import math
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from descentcast import cli
from descentcast.errors import DataError
from descentcast.trajectories import list_runs, read

pytestmark = pytest.mark.slow  # wandb starts a service of its own.

KEY = "0123456789" * 4
LONG = np.random.default_rng(0).normal(size=2500)
HISTORIES = {
    "a1": [{"_step": i, "_runtime": i / 8, "_timestamp": 1e9 + i, "loss": x} for i, x in enumerate(LONG.tolist())],
    "b2": [
        {"_step": 0, "loss": 1.0, "val": {"loss": 0.1 + 0.2}, "picture": {"_type": "image-file", "width": 3}},
        {"_step": 7, "loss": 5e10, "note": "text"},
        {"_step": 3000, "loss": "NaN", "val": {"loss": -1e-300}},
        {"_step": 3001, "loss": "Infinity"},
    ],
}
DESCRIBED = {
    "a1": {"displayName": "adam-1", "config": {"lr": {"value": 0.1}, "opt": {"value": {"name": "adam"}}}},
    "b2": {"displayName": "sgd-1", "config": {"lr": {"value": 0.2}, "opt": {"value": {"name": "sgd"}}}},
}


def node(name):
    keys = {key for row in HISTORIES[name] for key in row}
    return {
        "id": name, "projectId": "1", "tags": ["first"], "name": name, "sweepName": None, "state": "finished",
        "group": "", "jobType": "train", "commit": None, "readOnly": False, "createdAt": "2026-01-01T00:00:00Z",
        "heartbeatAt": "2026-01-01T00:00:00Z", "description": "", "notes": "", "user": {"name": "me", "username": "me"},
        "historyLineCount": len(HISTORIES[name]), "systemMetrics": "{}", "summaryMetrics": "{}",
        "historyKeys": {
            "sets": [], "lastStep": HISTORIES[name][-1]["_step"],
            "keys": {key: {"typeCounts": [{"type": "number", "count": 1}], "monotonic": False} for key in keys},
        },
        "displayName": DESCRIBED[name]["displayName"], "config": json.dumps(DESCRIBED[name]["config"]),
    }  # fmt: skip


def page(name, given):
    """Return the rows of some steps, as many as were asked for at most: a sample where there are more."""
    rows = [row for row in HISTORIES[name] if given["minStep"] <= row["_step"] < given["maxStep"]]
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(given["pageSize"], len(rows))).astype(int))
    return [json.dumps(rows[i]) for i in chosen]


def answered(query, given):
    """Return the data of an answer."""
    operation = re.search(r"query (\w+)", query)[1]
    if operation in ("Viewer", "GetDefaultEntity"):
        return {
            "viewer": {"id": "u", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
        }
    if (given["entity"], given["project"]) != ("me", "digits"):
        return {"project": None}
    if operation == "Runs":  # One a page.
        at = int(given["cursor"] or 0)
        edges = [{"node": node(name), "cursor": str(at + 1)} for name in list(HISTORIES)[at : at + 1]]
        info = {"endCursor": str(at + 1), "hasNextPage": at + 1 < len(HISTORIES)}
        return {
            "project": {"internalId": "1", "runCount": 2, "readOnly": False, "runs": {"edges": edges, "pageInfo": info}}
        }
    name = given.get("run") or given.get("runName") or given["name"]
    if name not in HISTORIES:
        return {"project": {"run": None}}
    if operation == "HistoryPage":
        return {"project": {"run": {"history": page(name, given)}}}
    if operation == "RunParquetHistory":
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}
    assert operation in ("Run", "RunHistoryKeys", "RunState", "LightweightRun"), operation
    return {"project": {"run": node(name)}}


@pytest.fixture(scope="module")
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = 200, {"data": answered(asked["query"], asked.get("variables") or {})}
            if (
                self.headers["Authorization"]
                != "Basic " + "YXBpOjAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODk="
            ):
                status, body = 401, {"errors": [{"message": "user is not logged in"}]}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def do_GET(self):
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_):
            pass

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{found.server_address[1]}"
    found.shutdown()
    found.server_close()


@pytest.fixture(autouse=True)
def _environment(server, monkeypatch, tmp_path):
    settings = {"API_KEY": KEY, "BASE_URL": server, "DIR": tmp_path, "CACHE_DIR": tmp_path, "ERROR_REPORTING": "false"}
    for name, value in settings.items():
        monkeypatch.setenv(f"WANDB_{name}", str(value))


def test_every_point_of_every_run_of_a_project():
    runs = read("wandb://me/digits", ["loss"])
    assert [run.run for run in runs] == ["adam-1", "sgd-1"]
    assert runs[0].values.tobytes() == LONG.tobytes()
    assert runs[0].steps.tolist() == list(range(2500))
    assert (runs[1].steps.tolist(), runs[1].values.ravel().tolist(), runs[1].diverged) == ([0, 7], [1.0, 5e10], 3000)
    assert dict(runs[0].setting) == {"lr": 0.1, "opt.name": "adam"}
    assert [run.arm for run in read("wandb://me/digits", ["loss"], arm="opt.name")] == ["adam", "sgd"]
    assert [run.arm for run in read("wandb://me/digits", ["loss"], arm="job_type")] == ["train", "train"]
    assert read("wandb://me/digits/a1").names == ("loss",), "times of day are no coordinates"


def test_one_run_by_its_id_or_the_address_of_its_page():
    for address in ("wandb://me/digits/b2", "wandb://me/digits/runs/b2"):
        [run] = read(address, ["val.loss"])
        assert (run.run, run.steps.tolist()) == ("sgd-1", [0, 3000])
        assert run.values.ravel().tolist() == [0.1 + 0.2, -1e-300]


def test_the_command_lists_them(capsys):
    cli.cli.main(["runs", "wandb://me/digits", "--json"], standalone_mode=False)
    rows = {(row["run"], row["column"]): row["rows"] for row in json.loads(capsys.readouterr().out)}
    assert rows["adam-1", "loss"] == 2500
    assert rows["sgd-1", "val.loss"] == 2
    assert rows["sgd-1", "loss"] == 2
    assert math.isnan(list_runs("wandb://me/digits/a1")["diverged"].astype(float)[0])


@pytest.mark.parametrize(
    ("address", "key", "message"),
    [
        ("wandb://me/digits", "", r"needs an API key: set WANDB_API_KEY$"),
        ("wandb://me/digits", "abc", "API key must have 40"),
        ("wandb://me/digits", "9" * 40, "wandb://me/digits: W&B did not answer as asked: .*user is not logged in"),
        ("wandb://me/nothing", KEY, "Could not find project nothing"),
        ("wandb://me/digits/c3", KEY, "Could not find run"),
    ],
)
def test_what_is_wrong_is_one_line(address, key, message, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", key)
    with pytest.raises(DataError, match=message) as error:
        read(address)
    assert str(error.value).isprintable()
    assert not key or key not in str(error.value)


def test_no_network_is_said_at_once(monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9: no answer: Connection refused"):
        read("wandb://me/digits")


def test_without_wandb_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(DataError, match=r"W&B runs needs a library: pip install 'descentcast\[wandb\]'$"):
        read("wandb://me/digits")


def test_a_forecast_of_a_project(capsys):
    arguments = ["wandb://me/digits/a1", "--columns", "loss", "--start", "0.5", "--steps", "5"]
    cli.cli.main(["forecast", *arguments, "--estimator", "local-linear", "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == ["adam-1"]
    assert sum(row["probability"] for row in found["landing"]) == pytest.approx(1)
