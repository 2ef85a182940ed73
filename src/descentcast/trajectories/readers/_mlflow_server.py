"""MLflow's tracking server, by its REST interface: every point of every metric, page by page.

An address is the server's, as `http://host:5000`, or what its page shows in a browser:
`http://host:5000/#/experiments/1`, `http://host:5000/#/experiments/1/runs/ab12...`; an experiment's name after the `#`
stands for the experiment. Credentials come from the environment, where MLflow itself looks for them.
"""

import base64
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from descentcast.errors import DataError
from descentcast.trajectories.readers._http import answer
from descentcast.trajectories.readers._mlflow import finite_or_not, record_of
from descentcast.trajectories.readers._records import Points, Record, clipped, no_column, shown, whole_step

INTERFACE = "api/2.0/mlflow"
USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
POINTS, RUNS, EXPERIMENTS = 25_000, 1000, 1000  # a page
PLACE = re.compile(r"/(?:experiments(?:/(?P<experiment>[^/?]+)(?:/runs/(?P<run>\w+))?.*)?)?")


class Address(NamedTuple):
    """What of a server to read: all, an experiment by id or name, or one run."""

    server: str
    experiment: str = ""
    name: str = ""
    run: str = ""


def address_of(text: str) -> Address:
    """Return what an address names.

    Raises:
        DataError: No host, a password in the address, or a page that shows neither an experiment nor a run.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise DataError(f"{shown(text)}: no address: {error}") from None
    if "@" in parts.netloc:
        raise DataError(f"an address with a user in it is not read: set {USER} and {PASSWORD}, or {TOKEN}")
    if not host or not text.isprintable() or " " in parts.netloc + parts.path:
        raise DataError(f"{shown(text)}: no address of a server, such as http://localhost:5000")
    if host == "wandb.ai" or host.endswith(".wandb.ai"):
        raise DataError(f"{shown(text)}: runs at W&B are read as wandb://entity/project or wandb://entity/project/run")
    server = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    if not parts.fragment.startswith("/"):
        return Address(server, name=unquote(parts.fragment))
    match = PLACE.fullmatch(parts.fragment)
    if match is None:
        raise DataError(f"{shown(text)}: a page of no experiment and no run: name one, or the server alone")
    return Address(server, experiment=match["experiment"] or "", run=match["run"] or "")


def read_mlflow_server(address: str, columns: Sequence[str] | None = None) -> list[Record]:
    """Return the runs that an address names and that are not deleted, with all points of their metrics.

    Points of one step are in the order of their times of day, which is all that the server tells.

    Args:
        address: See the module.
        columns: The metrics to fetch; all by default.

    Raises:
        DataError: No server of MLflow's, no such experiment or run, a run without one of the columns.
    """
    at = address_of(address)
    server = _Server(at.server)
    records = []
    for run, experiment in _runs(server, at):
        record = _record(server, run, experiment, columns)
        records += [record] if record else []
    return records


class _Server:
    """Requests to one server."""

    def __init__(self, address: str) -> None:
        self.address, self._headers = address, _credentials()

    def get(self, what: str, **parameters: Any) -> dict[str, Any]:
        """Return what the server answers."""
        return answer(f"{self.address}/{INTERFACE}/{what}", parameters, headers=self._headers)

    def post(self, what: str, **body: Any) -> dict[str, Any]:
        """Return what the server answers."""
        return answer(f"{self.address}/{INTERFACE}/{what}", body=body, headers=self._headers)

    def all(self, ask: Any, what: str, field: str, **given: Any) -> Iterator[dict[str, Any]]:
        """Yield the entries of all pages."""
        seen: set[str] = set()
        page: dict[str, Any] = {}
        while True:
            found = ask(what, **given, **page)
            entries, token = found.get(field, []), found.get("next_page_token")
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise DataError(f"{self.address}: no server of MLflow's: {what} answers without a list of {field}")
            yield from entries
            if not token:
                return
            if not isinstance(token, str) or token in seen:
                raise DataError(f"{self.address}: {what} answers with the same page again")
            seen.add(token)
            page = {"page_token": token}


def _credentials() -> dict[str, str]:
    user, password, token = (os.environ.get(name, "") for name in (USER, PASSWORD, TOKEN))
    if user and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _runs(server: _Server, at: Address) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the runs of an address, each with the name of its experiment."""
    if at.run:
        run = _part(server.get("runs/get", run_id=at.run), "run", server)
        yield run, _name(server, str(_part(run, "info", server).get("experiment_id")))
        return
    if at.name:
        found = server.get("experiments/get-by-name", experiment_name=at.name)
        experiments = [_part(found, "experiment", server)]
    elif at.experiment:
        experiments = [_part(server.get("experiments/get", experiment_id=at.experiment), "experiment", server)]
    else:
        given = {"max_results": EXPERIMENTS, "view_type": "ACTIVE_ONLY"}
        experiments = list(server.all(server.post, "experiments/search", "experiments", **given))
    names = {str(one.get("experiment_id")): str(one.get("name")) for one in experiments}
    given = {"run_view_type": "ACTIVE_ONLY", "max_results": RUNS, "order_by": ["attributes.start_time ASC"]}
    if names:
        for run in server.all(server.post, "runs/search", "runs", experiment_ids=list(names), **given):
            yield run, names.get(str(_part(run, "info", server).get("experiment_id")), "")


def _name(server: _Server, experiment: str) -> str:
    found = server.get("experiments/get", experiment_id=experiment)
    return str(_part(found, "experiment", server).get("name"))


def _record(server: _Server, run: Mapping[str, Any], experiment: str, columns: Sequence[str] | None) -> Record | None:
    """Return a run with all points of its metrics, None where it logged none."""
    info, data = _part(run, "info", server), run.get("data", {})
    key = str(info.get("run_id") or info.get("run_uuid"))
    place = f"{server.address}: run {shown(key)}"
    names = sorted(_pairs(data, "metrics"))
    if not names:
        return None
    for name in columns or ():
        if name not in names:
            raise no_column(f"{server.address}: {shown(info.get('run_name') or key)}", name, names)
    points = Points(place)
    for name in names if columns is None else columns:
        given = {"run_id": key, "run_uuid": key, "metric_key": name, "max_results": POINTS}
        for point in server.all(server.get, "metrics/get-history", "metrics", **given):
            points.add(name, _step(place, point.get("step", 0)), finite_or_not(point.get("value")))
    parameters, tags = _pairs(data, "params"), _pairs(data, "tags")
    return record_of(info.get("run_name"), points.series(), parameters, tags, experiment, key)


def _step(place: str, step: Any) -> int:
    """Return a step; JSON made from protocol buffers may have it as text."""
    return whole_step(place, int(step) if isinstance(step, str) and re.fullmatch(r"-?\d{1,18}", step) else step)


def _part(found: Mapping[str, Any], name: str, server: _Server) -> Mapping[str, Any]:
    part = found.get(name)
    if not isinstance(part, dict):
        raise DataError(f"{server.address}: no server of MLflow's: it answers {clipped(part)} for {name!r}")
    return part


def _pairs(data: Any, kind: str) -> dict[str, Any]:
    """Return the entries of one kind by name."""
    entries = data.get(kind, []) if isinstance(data, dict) else []
    entries = entries if isinstance(entries, list) else []
    return {str(entry["key"]): entry.get("value") for entry in entries if isinstance(entry, dict) and "key" in entry}
