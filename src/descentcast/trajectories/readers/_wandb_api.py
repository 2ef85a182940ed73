"""W&B's servers, by wandb's own client: every row of a run's history, never its sample. Owns wandb with `_wandb`.

The API key comes from the environment, `WANDB_API_KEY`, and `WANDB_BASE_URL` names a server of one's own, as for wandb.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from descentcast.errors import DataError
from descentcast.trajectories.readers._http import check_reached
from descentcast.trajectories.readers._records import Points, Record, flat, missing, shown, whole_step
from descentcast.trajectories.readers._wandb import ASIDE, record_of
from descentcast.trajectories.readers._wandb_history import OWN_STEP

SCHEME, KEY, SERVER = "wandb://", "WANDB_API_KEY", "WANDB_BASE_URL"
TIMEOUT = 60  # seconds for a server to answer
PART = re.compile(r"(?!\.+$)[\w .-]+")
SHOWN = 200  # characters of the client's message


def read_wandb_api(address: str) -> list[Record]:
    """Return the runs of a project, oldest first, or one run, with all rows of their histories.

    Args:
        address: `wandb://entity/project`, or `wandb://entity/project/run_id`.

    Raises:
        DataError: wandb is not installed, no API key, no such project or run, no answer.
    """
    path = run_path(address)
    try:
        import wandb
    except ImportError:
        raise missing(address, "W&B runs", "wandb") from None
    key = os.environ.get(KEY, "")
    if not key:
        raise DataError(f"{address}: reading from W&B needs an API key: set {KEY}")
    with _one_line(address):
        check_reached(os.environ.get(SERVER) or wandb.setup().settings.base_url)  # wandb itself tries for a minute.
        api = wandb.Api(api_key=key, timeout=TIMEOUT)
        runs = [api.run(path)] if path.count("/") == 2 else api.runs(path)
        return [_record(address, run) for run in runs]


def run_path(address: str) -> str:
    """Return `entity/project` or `entity/project/run_id` of an address.

    Raises:
        DataError: It is neither.
    """
    parts = address.removeprefix(SCHEME).strip("/").split("/")
    if parts[-2:-1] == ["runs"]:  # As in the address of a run's page.
        del parts[-2]
    if len(parts) not in (2, 3) or not all(map(PART.fullmatch, parts)):
        raise DataError(f"{shown(address)}: must be wandb://entity/project or wandb://entity/project/run_id")
    return "/".join(parts)


def _record(address: str, run: Any) -> Record:
    place = f"{address}: run {run.id}"
    points = Points(place)
    for row in run.scan_history():
        step = whole_step(place, row.get(OWN_STEP))
        for name, cell in flat(row):
            if name != OWN_STEP:
                points.add(name, step, cell)
    tags = {"tags": ",".join(run.tags or ()), "group": run.group or "", "job_type": run.job_type or ""}
    return record_of(run.name or run.id, points.series(ASIDE), run.config, tags, run.id)


@contextmanager
def _one_line(address: str) -> Iterator[None]:
    """Turn whatever the client raises into one line; its errors are of many kinds and without a common base."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:SHOWN] or type(error).__name__
        raise DataError(f"{address}: W&B did not answer as asked: {text}") from None
