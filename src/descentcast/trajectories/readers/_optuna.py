"""Optuna: the intermediate values that the trials of a study in SQLite reported, one run a trial."""

import json
from pathlib import Path
from typing import Any

from descentcast.trajectories.readers._records import Points, Record, plain_setting, whole_step
from descentcast.trajectories.readers._sqlite import columns, database

TABLES = {"studies", "trials", "trial_params", "trial_intermediate_values"}
VALUE = "value"
KINDS = {"NAN": float("nan"), "INF_POS": float("inf"), "INF_NEG": float("-inf")}


def read_optuna(path: Path) -> list[Record]:
    """Return the trials that reported intermediate values, their parameters as settings; pruned ones too.

    Raises:
        DataError: Not a database of Optuna's, or a damaged one.
    """
    with database(path) as connection:
        kind = "intermediate_value_type" if "intermediate_value_type" in columns(
            connection, "trial_intermediate_values"
        ) else "''"  # fmt: skip  # Before Optuna 3 a value that is not finite was NULL.
        studies = dict(connection.execute("SELECT study_id, study_name FROM studies ORDER BY study_id").fetchall())
        trials = connection.execute("SELECT trial_id, study_id, number, state FROM trials ORDER BY study_id, number")
        found = {trial: (study, number, state) for trial, study, number, state in trials}
        parameters: dict[Any, dict[str, Any]] = {}
        for trial, name, value, law in connection.execute(
            "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params ORDER BY param_id"
        ):
            parameters.setdefault(trial, {})[str(name)] = _parameter(value, law)
        points: dict[Any, Points] = {}
        for trial, step, value, special in connection.execute(
            f"SELECT trial_id, step, intermediate_value, {kind} FROM trial_intermediate_values "
            "ORDER BY trial_intermediate_value_id"
        ):
            if trial not in points:
                points[trial] = Points(f"{path}: trial {trial}")
            number = KINDS.get(special, KINDS["NAN"] if value is None else value)
            points[trial].add(VALUE, whole_step(f"{path}: trial {trial}", step), number)
    records = []
    for trial, (study, number, state) in found.items():
        if trial in points:
            name = f"trial {number}" if len(studies) == 1 else f"{studies.get(study)}/trial {number}"
            setting = plain_setting(parameters.get(trial, {}))
            labels = {**parameters.get(trial, {}), "study": studies.get(study), "state": state}
            records.append(Record(name, points[trial].series(), setting, labels, key=str(trial)))
    return records


def _parameter(value: Any, law: Any) -> Any:
    """Return a parameter as the trial saw it: categories and integers are stored as numbers beside their law."""
    try:
        law = json.loads(law)
        name, choices = law["name"], law["attributes"].get("choices")
        if name == "CategoricalDistribution":
            return choices[int(value)]
        return int(value) if name.startswith("Int") else value
    except (AttributeError, TypeError, ValueError, KeyError, IndexError, OverflowError, RecursionError):
        return value
