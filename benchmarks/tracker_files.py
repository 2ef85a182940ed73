"""Runs written by the libraries that people use, for what reads them: the tests, `readers.py` and `fuzz_readers.py`.

Each function writes runs into a folder and returns what to read. A run is its name, its setting, and steps and values
by quantity. A library that is set up by its environment is called in a process of its own.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple


class Run(NamedTuple):
    """What one training logged."""

    name: str
    setting: dict[str, Any]
    series: Mapping[str, tuple[Sequence[int], Sequence[float]]]


def write_tensorboard(folder: Path, runs: Sequence[Run], **style: Any) -> Path:
    """Write event files through torch, one folder a run; `style` goes to `add_scalar`."""
    from torch.utils.tensorboard import SummaryWriter

    for run in runs:
        with SummaryWriter(str(folder / run.name)) as writer:
            for step, logged in by_step(run):
                for name, value in logged.items():
                    writer.add_scalar(name, value, step, **style)
    return folder


def write_wandb(folder: Path, runs: Sequence[Run]) -> Path:
    """Write offline runs."""
    in_process("write_wandb_here", folder, runs, {"WANDB_MODE": "offline", "WANDB_SILENT": "true"})
    return folder / "wandb"


def write_wandb_here(folder: Path, runs: Sequence[Run]) -> None:
    """Write offline runs in this process."""
    import wandb

    for run in runs:
        options = wandb.Settings(console="off", x_disable_stats=True, x_disable_meta=True)
        with wandb.init(project="p", dir=folder, name=run.name, config=run.setting, settings=options) as log:
            for step, logged in by_step(run):
                log.log(logged, step=step)


def write_mlflow_database(folder: Path, runs: Sequence[Run]) -> Path:
    """Write a tracking database."""
    path = folder / "mlflow.db"
    in_process("write_mlflow_here", path, runs, {})
    return path


def write_mlflow_folder(folder: Path, runs: Sequence[Run]) -> Path:
    """Write a folder of the file store, which newer releases keep for those who ask for it."""
    path = folder / "mlruns"
    in_process("write_mlflow_here", path, runs, {"MLFLOW_ALLOW_FILE_STORE": "true"})
    return path


def write_mlflow_server(address: str, runs: Sequence[Run]) -> str:
    """Write through a tracking server that is there."""
    in_process("write_mlflow_here", address, runs, {})
    return address


@contextmanager
def mlflow_server(folder: Path, seconds: float = 300.0) -> Iterator[str]:
    """Run a tracking server on a database in a folder, at a port of this machine; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, store = f"http://127.0.0.1:{port}", f"sqlite:///{folder / 'mlflow.db'}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--default-artifact-root", folder.as_uri()]
    with (folder / "server.log").open("wb") as log:
        alone = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=alone, start_new_session=True)
    try:
        end = time.monotonic() + seconds
        while not _answers(f"{address}/health"):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((folder / "server.log").read_text()[-2000:])
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # Its workers too.
        process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except OSError:
        return False


def write_mlflow_here(where: Path | str, runs: Sequence[Run]) -> None:
    """Write through the client in this process; `where` is a file, a folder, or the address of a server."""
    import mlflow
    from mlflow.entities import Metric, Param

    uri = str(where)
    if "://" not in uri:
        uri = f"sqlite:///{where}" if Path(where).suffix else Path(where).as_uri()
    client = mlflow.MlflowClient(tracking_uri=uri)
    for run in runs:
        at = client.create_run("0", run_name=run.name).info.run_id
        client.log_batch(at, params=[Param(name, str(value)) for name, value in run.setting.items()])
        metrics = [Metric(n, v, 1000 + i, s) for i, (s, logged) in enumerate(by_step(run)) for n, v in logged.items()]
        for first in range(0, len(metrics), 1000):
            client.log_batch(at, metrics=metrics[first : first + 1000])
        client.set_terminated(at)


def write_trackio(folder: Path, runs: Sequence[Run]) -> Path:
    """Write a project's database."""
    in_process("write_trackio_here", folder, runs, {"TRACKIO_DIR": str(folder)})
    return folder / "project.db"


def write_trackio_here(folder: Path, runs: Sequence[Run]) -> None:
    """Write through the library in this process, which keeps its files where the environment says."""
    import trackio

    for run in runs:
        trackio.init(project="project", name=run.name, config=run.setting, auto_log_cpu=False, auto_log_gpu=False)
        for step, logged in by_step(run):
            trackio.log(logged, step=step)
        trackio.finish()


def write_optuna(folder: Path, runs: Sequence[Run]) -> Path:
    """Write a study whose trials report the first quantity of each run; their parameters are the setting."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = folder / "study.db"
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="study")
    choices = {name: list(dict.fromkeys(run.setting[name] for run in runs)) for name in runs[0].setting}
    for run in runs:
        study.enqueue_trial(run.setting)
        trial = study.ask()
        for name in run.setting:
            trial.suggest_categorical(name, choices[name])
        for step, value in zip(*next(iter(run.series.values())), strict=True):
            trial.report(value, step)
        study.tell(trial, 0.0)
    return path


def write_lightning(folder: Path, runs: Sequence[Run]) -> Path:
    """Write through Lightning's CSVLogger, one version a run."""
    from lightning.pytorch.loggers import CSVLogger

    for run in runs:
        logger = CSVLogger(str(folder), name="", version=run.name, flush_logs_every_n_steps=1 << 30)
        logger.log_hyperparams(run.setting)
        for step, logged in by_step(run):
            logger.log_metrics({"epoch": 0, **logged}, step)
        logger.save()
    return folder


def write_trainer_state(folder: Path, runs: Sequence[Run]) -> Path:
    """Write the states that a Trainer saves, one folder a run."""
    from transformers.trainer_callback import TrainerState

    for run in runs:
        (folder / run.name).mkdir(parents=True)
        history = [{**logged, "epoch": 0.0, "step": step} for step, logged in by_step(run)]
        TrainerState(log_history=history, logging_steps=1).save_to_json(str(folder / run.name / "trainer_state.json"))
    return folder


def write_parquet(folder: Path, runs: Sequence[Run], long: bool = False) -> Path:
    """Write a table through pyarrow."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    path = folder / "runs.parquet"
    parquet.write_table(arrow.Table.from_pylist(list(long_rows(runs) if long else wide_rows(runs))), path)
    return path


def by_step(run: Run) -> list[tuple[int, dict[str, float]]]:
    """Return what a run logged at each step, in the order of its first quantity."""
    found: dict[int, dict[str, float]] = {}
    for name, (steps, values) in run.series.items():
        for step, value in zip(steps, values, strict=True):
            found.setdefault(step, {})[name] = value
    return list(found.items())


def wide_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return one row a run and step."""
    return [{"run": run.name, "step": step, **logged} for run in runs for step, logged in by_step(run)]


def long_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return one row a run, step and quantity."""
    return [
        {"run": run.name, "step": step, "name": name, "value": value}
        for run in runs
        for name, (steps, values) in run.series.items()
        for step, value in zip(steps, values, strict=True)
    ]


def in_process(function: str, folder: Path | str, runs: Sequence[Run], environment: dict[str, str]) -> None:
    """Call a function of this file in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, function, str(folder)],
        input=json.dumps([[run.name, run.setting, dict(run.series)] for run in runs]),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])


if __name__ == "__main__":
    given = [Run(*run) for run in json.load(sys.stdin)]
    place = sys.argv[2]
    globals()[sys.argv[1]](place if "://" in place else Path(place), given)
