"""How wide a stack's intervals must be: the sizes in `kernels/uncertainty.toml`, on development problems.

    python benchmarks/intervals.py [--problems 12] [--views 4] [--scales 0 0.5 1 1.5] [--shares 0 0.15 0.5 1]

For each factor on the sizes (visited, hull, outside) and each share, the coverage of nominal 90 % intervals one and ten
steps ahead and of landings, over the contexts of `descentcast bench kernels`: by context, on average, and the lowest
and highest of a problem. Reported problems are not touched.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

import descentcast as dc
from descentcast.benchmark import load_suite
from descentcast.benchmark._measures import judged_landing, predictive_coverage
from descentcast.benchmark._truth import truth_of
from descentcast.forecasts import _marginal
from descentcast.kernels import _stacked
from descentcast.kernels._discrepancy import learnt

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.development import development_problems


def main() -> None:
    """Fit the stack once a problem and context, and measure its coverage under every choice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=12)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--scales", type=float, nargs="+", default=[0.0, 0.5, 1.0, 1.5])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.15, 0.5, 1.0])
    arguments = parser.parse_args()
    suite, model = load_suite(), dc.load_model("descent-small")
    horizon, certain, level = (suite.judging[name] for name in ("horizon", "certain", "level"))
    members = [
        dc.RecalibratedKernel(member)
        for member in (
            dc.InContextKernel(model, views=arguments.views),
            dc.LocalLinearKernel(),
            dc.KernelDensityKernel(),
        )
    ]
    found: dict[tuple[float, float, str], dict[str, list[float]]] = {}
    for problem in development_problems(arguments.problems):
        truth = truth_of(problem, suite.judging)
        for runs, values in suite.contexts.values():
            stack = dc.StackedKernel(members).fit(problem.record(runs, values, 0), problem.edges[0])
            for scale in arguments.scales:
                now = learnt()
                size = replace(now, **{k: scale * getattr(now, k) for k in ("visited", "hull", "outside")})
                vars(stack).pop("replicates_", None)
                for share in arguments.shares:
                    own = replace(size, share=share)
                    with (
                        patch.object(_stacked, "learnt", return_value=own),
                        patch.object(_marginal, "learnt", return_value=own),
                    ):
                        ahead = dc.forecast(stack, truth.states[:, 0], 10)
                        shown = {f"{lag} ahead": predictive_coverage(ahead, truth, lag, level) for lag in (1, 10)}
                        shown["landing"] = judged_landing(stack, truth, horizon, certain)["landing_covered"]
                    for name, covered in shown.items():
                        found.setdefault((scale, share, name), {}).setdefault(problem.name, []).append(covered)
    table = []
    for (scale, share, name), by_problem in found.items():
        covered = np.array(list(by_problem.values()))
        each = np.nanmean(covered, axis=1)
        table.append(
            {
                "scale": scale,
                "share": share,
                "intervals": name,
                **{str(n): float(np.nanmean(column)) for n, column in zip(suite.contexts, covered.T, strict=True)},
                "mean": float(np.nanmean(each)),
                "lowest": float(np.nanmin(each)),
                "highest": float(np.nanmax(each)),
            }
        )
    dc.reports.show_table(table, f"{arguments.problems} development problems, coverage of 90 % intervals")


if __name__ == "__main__":
    main()
