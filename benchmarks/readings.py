"""Ways to read a model: rows at visits, probed, both, and recalibrated, on development problems with a simulator.

    python benchmarks/readings.py [--models smollm2-135m smollm2-135m@frozen descent-small] [--problems 12] [--views 4]
        [--out FOLDER] [--json]

The problems are those of `benchmarks/suite/drawn_problems.py`; no reported figure uses them, so that they may decide
what is the default. `name@frozen` is a model without its adapter, `name@FOLDER` with that one. Columns:
Bhattacharyya distance of rows at visited states, at the others in their hull, and outside it; total variation of the
landing. Each problem of each model is written to `--out` when it is done and not computed again.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.suite.drawn_problems import Judged
from benchmarks.suite.engine import load

import descentcast as dc
from descentcast.kernels import TransitionKernel
from descentcast.kernels._recalibrated import mended

COLUMNS = ("visited", "between", "outside", "landing")
CLASSICAL = {
    "local-linear": dc.LocalLinearKernel(),
    "conditional density": dc.KernelDensityKernel(),
    "AR(1)": dc.AutoregressiveKernel(),
}
# By whether the model was trained on restarts.
READINGS = {True: "both", False: "visited"}


def main() -> None:
    """Read every problem with every model, and print averages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["smollm2-135m", "smollm2-135m@frozen", "descent-small"])
    parser.add_argument("--problems", type=int, default=12)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("out/readings"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found: dict[str, list[list[float]]] = {}
    for model in ["", *arguments.models]:
        for number in range(arguments.problems):
            for name, measures in problem_of(model, number, arguments.views, arguments.out).items():
                found.setdefault(name, []).append(measures)
    table = [
        {"kernel": name, **dict(zip(COLUMNS, np.nanmean(rows, axis=0).tolist(), strict=True))}
        for name, rows in found.items()
    ]
    if arguments.json:
        print(json.dumps(table))
    else:
        dc.reports.show_table(table, f"{arguments.problems} development problems, {arguments.views} views")


def problem_of(model: str, number: int, views: int, folder: Path) -> dict[str, list[float]]:
    """Return the measures of every kernel of one problem, or what its file says."""
    path = folder / f"{model.replace('/', '_') or 'classical'}-{number}-{views}.json"
    if path.exists():
        return json.loads(path.read_text())
    problem = Judged.of(number)
    found = {name: problem.judge(kernel) for name, kernel in kernels(model, problem, views)}
    folder.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(found))
    os.replace(scratch, path)
    print(f"{model or 'classical'}: problem {number}", file=sys.stderr, flush=True)
    return found


def kernels(model: str, problem: Judged, views: int) -> Iterator[tuple[str, TransitionKernel]]:
    """Yield each kernel with its name."""
    if not model:
        for name, estimator in CLASSICAL.items():
            fitted = dc.RecalibratedKernel(estimator).fit(problem.recorded, problem.edges)
            yield name, fitted.estimator_.kernel_
            yield f"{name}, recalibrated", fitted.kernel_
        return
    loaded = load(model)
    estimator = dc.InContextKernel(loaded, views=views, rows=READINGS[loaded.restarts])
    read = estimator.fit(problem.recorded, problem.edges).kernel_
    (reading,), columns = estimator._readings, problem.recorded.coordinate(0)
    named = {
        "probed" if part.probed else "visited": part.kernel(rule, "quantile")
        for part, rule in zip(reading.parts, reading.rules, strict=True)
    } | {READINGS[loaded.restarts]: read}
    for name, kernel in named.items():
        yield f"{model}, {name}", kernel
        yield f"{model}, {name}, recalibrated", mended(columns, kernel, estimator.unevenness).kernel


if __name__ == "__main__":
    main()
