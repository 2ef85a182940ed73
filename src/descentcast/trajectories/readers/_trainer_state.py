"""Hugging Face Trainer: the log history in the `trainer_state.json` of a checkpoint."""

import json
from pathlib import Path
from typing import Any

from descentcast.errors import DataError
from descentcast.trajectories.readers._records import Points, Record, whole_step

NAME = "trainer_state.json"
SETTING = ("train_batch_size", "logging_steps", "eval_steps", "max_steps", "num_train_epochs")
ASIDE = ("epoch", "train_runtime", "total_flos")


def read_trainer_state(path: Path) -> list[Record]:
    """Return the run whose log history a trainer state holds.

    Raises:
        DataError: Not JSON, not a trainer state.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text: {error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {' '.join(str(error).split())[:100]}") from None
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise DataError(f"{path}: not a trainer state: no list 'log_history'")
    points = Points(str(path))
    for entry in history:
        if not isinstance(entry, dict) or "step" not in entry:
            raise DataError(f"{path}: an entry of 'log_history' is no object with a step")
        step = whole_step(str(path), entry["step"])
        for name, cell in entry.items():
            if name != "step":
                points.add(name, step, cell)
    setting = {key: state[key] for key in SETTING if isinstance(state.get(key), int | float)}
    return [Record("", points.series(ASIDE, _averaged(state)), setting, setting)]


def latest(files: list[Path]) -> list[Path]:
    """Return one state a training: the output folder's, or its latest checkpoint's, which holds all before it."""
    kept: dict[Path, tuple[float, Path]] = {}
    for file in files:
        head, _, number = file.parent.name.rpartition("-")
        checkpoint = head == "checkpoint" and number.isdecimal()
        training, rank = (file.parent.parent, float(number)) if checkpoint else (file.parent, float("inf"))
        kept[training] = max(kept.get(training, (rank, file)), (rank, file))
    return [file for _, file in kept.values()]


def training(file: Path) -> Path:
    """Return the folder that a state's run is named by: the training's, not the checkpoint's."""
    return file.parent.parent if file.parent.name.startswith("checkpoint-") else file.parent


def _averaged(state: dict[str, Any]) -> dict[str, str]:
    every = state.get("logging_steps")
    if not isinstance(every, int | float) or every == 1:
        return {}
    return {"loss": "Trainer logs the mean of the loss since the log before, not the loss of the step"}
