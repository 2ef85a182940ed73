"""The recorded runs of the real studies: read, and made anew.

A study is `benchmarks/data/studies/<study>.parquet`: one table of all its runs, that `dc.read` reads, with columns
`run` (`report 200`), `arm` (what the run was started from or made with, such as `from 0.5`), `step`, and what was
recorded. Beside it `<study>.json` holds the settings and the processor seconds of a run (the median). Seeds come from
`benchmarks/studies.toml`.
"""

import json
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import descentcast as dc

BENCHMARKS = Path(__file__).resolve().parents[1]
FOLDER = BENCHMARKS / "data" / "studies"
ROLES = ("development", "given", "report")
EVERY_SECONDS = 30  # between two savings of what has been made


@dataclass(frozen=True)
class Case:
    """One run to be made: its role, its seed, and the start or step size where the study has several."""

    role: str
    seed: int
    arm: str = ""
    value: float | None = None

    @property
    def run(self) -> str:
        """What the run is called."""
        return " ".join(filter(None, (self.role, str(self.seed), self.arm)))


def seeds(study: str) -> dict[str, Any]:
    """Return what `studies.toml` fixes for a study, seeds as lists."""
    found = tomllib.loads((BENCHMARKS / "studies.toml").read_text())[study]
    for role in ROLES:
        if isinstance(found[role], dict):
            found[role] = list(range(found[role]["first"], found[role]["first"] + found[role]["count"]))
    return found


def cases(study: str) -> Iterator[Case]:
    """Return every run of a study, in the order in which they are made."""
    fixed = seeds(study)
    for role in ROLES:
        for seed in fixed[role]:
            if "given_starts" in fixed:
                kinds = ("given", "report") if role == "development" else (role,)
                values = [v for kind in kinds for v in fixed[f"{kind}_starts"]]
                yield from (Case(role, seed, f"from {v:g}", v) for v in values)
            elif "given_step" in fixed:
                of_role = {"given": [fixed["given_step"]], "report": [fixed["given_step"], *fixed["report_steps"]]}
                yield from (Case(role, seed, f"step {v:g}", v) for v in of_role.get(role, of_role["report"]))
            else:
                yield Case(role, seed)


def runs(study: str, role: str, columns: list[str]) -> dc.Trajectories:
    """Return the runs of one role, with the settings that they were made with."""
    setting = about(study)["setting"]
    read = dc.read(FOLDER / f"{study}.parquet", columns, arm="arm")
    return dc.Trajectories(
        tuple(
            replace(run, setting={**setting, **_step_of(run.arm)}) for run in read if run.run.split(" ", 1)[0] == role
        )
    )


def about(study: str) -> dict[str, Any]:
    """Return `setting` and `seconds` (of one run, processor time of one core) of a study."""
    return json.loads((FOLDER / f"{study}.json").read_text())


def generate(study: str, train: Callable[[Case], dc.Trajectory]) -> None:
    """Make every run of a study that is not there yet, saving now and then: stop it and go on as you like."""
    path = FOLDER / f"{study}.parquet"
    frames = [pd.read_parquet(path)] if path.exists() else []
    done = set(frames[0]["run"]) if frames else set()
    seconds = [about(study)["seconds"]] if frames else []
    saved = time.monotonic()
    todo = [case for case in cases(study) if case.run not in done]
    for i, case in enumerate(todo):
        began = time.process_time()
        run = train(case)
        seconds.append(time.process_time() - began)
        frames.append(_table(case, run))
        setting = {k: v for k, v in run.setting.items() if k != "seed"}
        if i + 1 == len(todo) or time.monotonic() - saved > EVERY_SECONDS:
            frames = [pd.concat(frames, ignore_index=True)]
            frames[0].to_parquet(path, index=False, compression="zstd")
            kept = {"setting": setting, "seconds": round(float(np.median(seconds)), 4)}
            path.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")
            saved = time.monotonic()
            print(f"{study}: {i + 1} of {len(todo)} runs", file=sys.stderr, flush=True)


def _table(case: Case, run: dc.Trajectory) -> pd.DataFrame:
    values = run.values.astype(np.float32)
    table = pd.DataFrame(values, columns=list(run.names))
    table.insert(0, "step", run.steps)
    if run.diverged is not None:  # A row that is not finite says at which step that was.
        table.loc[len(table)] = [run.diverged, *[np.nan] * len(run.names)]
        table = table.astype({"step": np.int64, **dict.fromkeys(run.names, np.float32)})
    table.insert(0, "arm", case.arm or "all")
    table.insert(0, "run", case.run)
    return table


def _step_of(arm: str | None) -> dict[str, float]:
    return {"step": float(arm.removeprefix("step "))} if arm and arm.startswith("step ") else {}
