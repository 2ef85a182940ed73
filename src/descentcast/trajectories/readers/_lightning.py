"""Lightning: the `metrics.csv` of its CSVLogger, with `hparams.yaml` beside it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from descentcast.trajectories.readers._csv import read_csv
from descentcast.trajectories.readers._records import Record, flat, plain_setting
from descentcast.trajectories.readers._tables import STEP, runs_of

NAME, EPOCH, SETTINGS = "metrics.csv", "epoch", "hparams.yaml"
MOST = 200_000  # characters of a file of settings, a second or two of parsing


def is_lightning(path: Path) -> bool:
    """Return whether a CSV file is a CSVLogger's."""
    if path.name != NAME:
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return {EPOCH, STEP} <= set(file.readline(100_000).strip().split(","))


def read_lightning(path: Path) -> list[Record]:
    """Return the run of a `metrics.csv`; metrics that were logged at one step are of one row, whatever their lines.

    Raises:
        DataError: As for any CSV file.
    """
    table, notes = read_csv(path, ())
    setting = _settings(path.with_name(SETTINGS))
    records = []
    for record in runs_of(table, path, notes=notes):
        series = {name: replace(points, aside=name == EPOCH) for name, points in record.series.items()}
        records.append(replace(record, series=series, setting=plain_setting(setting), labels=dict(flat(setting))))
    return records


def _settings(path: Path) -> dict[str, Any]:
    """Return the hyperparameters, none where they hold more than plain values."""
    try:
        text = path.read_text(encoding="utf-8")
        found = yaml.safe_load(text) if len(text) <= MOST and "&" not in text else {}  # Anchors can grow without end.
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
