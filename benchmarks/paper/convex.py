"""Convex problems: kernels of over- and under-parametrised linear regression, and forecasts from unseen starts.

    python benchmarks/paper/convex.py [--estimators "local-linear" "descent-small" ...] [--shown ...]

Two coordinates. What a model has read is kept in the density store, so that a second call only draws. Writes
`docs/paper/convex-kernels.png`, `docs/paper/convex-forecasts.png` and `benchmarks/results/paper/convex.csv`.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # `benchmarks` is a folder of the repository, not installed

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from benchmarks.paper.drawing import convex_forecasts, convex_kernels, saved  # noqa: E402
from benchmarks.paper.estimators import ESTIMATORS, FROZEN, LOCAL_LINEAR, SMALL  # noqa: E402
from benchmarks.paper.rows import RESULTS  # noqa: E402

import descentcast as dc  # noqa: E402
from descentcast import scoring  # noqa: E402

PROBLEMS = {
    "under-parametrised": dc.problems.LinearRegression(0.2, 4, over_parametrised=False, dimension=2),
    "over-parametrised": dc.problems.LinearRegression(0.2, 4, over_parametrised=True, dimension=2),
}
# Four recorded runs from around the minimum, and starts between them that no run had.
RECORDED = np.array([[-2.0, 1.5], [2.0, -1.5], [-1.2, -2.0], [1.6, 2.0]])
UNSEEN = np.array([[1.2, 1.0], [-0.8, -1.1], [0.5, 0.6]])
VALUES, STEPS, REAL_RUNS = 40, 40, 5000
JUDGED = (5, 20, 40)
LEVELS = (0.05, 0.5, 0.95)
TRUE_KERNEL = "true"


def recorded(problem: dc.problems.LinearRegression) -> dc.Trajectories:
    """Return the runs that everything is estimated from."""
    return problem.simulate(problem.minima[0] + RECORDED, VALUES - 1, random_state=0)


def real(problem: dc.problems.LinearRegression) -> np.ndarray:
    """Return real runs from the unseen starts, shape (starts, runs, steps + 1, 2)."""
    starts = np.repeat(problem.minima[0] + UNSEEN, REAL_RUNS, axis=0)
    return problem.paths(starts, STEPS, random_state=1).reshape(len(UNSEEN), REAL_RUNS, STEPS + 1, 2)


def judged(forecast: dc.Forecast, runs: np.ndarray) -> list[dict[str, Any]]:
    """Return how far a forecast is from real runs, for each start, coordinate and step."""
    quantiles, rows = forecast.quantiles(LEVELS), []
    for start in range(len(runs)):
        for k, marginal in enumerate(forecast.marginals):
            edges = marginal.kernel.edges
            for step in JUDGED:
                values = runs[start, :, step, k]
                counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
                law = np.concatenate(
                    [
                        marginal.overflow[start, step, :1],
                        marginal.density[start, step],
                        marginal.overflow[start, step, 1:],
                    ]
                )
                true, found = np.quantile(values, LEVELS), quantiles[k][start, step]
                rows.append(
                    {
                        "start": start,
                        "coordinate": marginal.kernel.name,
                        "step": step,
                        "wasserstein1": float(scoring.wasserstein1(law, counts / len(values), edges)),
                        "median": found[1],
                        "median_of_runs": true[1],
                        "width_90": found[2] - found[0],
                        "width_90_of_runs": true[2] - true[0],
                    }
                )
    return rows


def main() -> None:
    """Estimate, forecast, judge, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--estimators", nargs="+", choices=ESTIMATORS, default=list(ESTIMATORS))
    parser.add_argument("--shown", nargs="+", choices=ESTIMATORS, default=[FROZEN, SMALL, LOCAL_LINEAR])
    arguments = parser.parse_args()
    rows, kernels, forecasts, runs = [], {}, {}, {}
    for title, problem in PROBLEMS.items():
        context, starts = recorded(problem), problem.minima[0] + UNSEEN
        reference = dc.LocalLinearKernel().fit(context)
        edges = reference.edges_
        runs[title] = real(problem)
        kernels[title] = {TRUE_KERNEL: problem.kernel(edges)}
        for name in arguments.estimators:
            print(f"{title}: {name}", file=sys.stderr, flush=True)
            kernels[title][name] = ESTIMATORS[name]().fit(context, edges).kernel_
        forecasts[title] = {name: dc.forecast(k, starts, STEPS) for name, k in kernels[title].items()}
        for name, forecast in forecasts[title].items():
            rows += [{"problem": title, "estimator": name, **row} for row in judged(forecast, runs[title])]
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS / "convex.csv", index=False, float_format="%.5g")
    mean = table.groupby(["problem", "estimator", "step"], sort=False)["wasserstein1"].mean().unstack("step")
    print(mean.to_string(float_format=lambda x: f"{x:.3f}"))
    shown = [n for n in arguments.shown if n in arguments.estimators]
    pictured = (*shown[:2], TRUE_KERNEL)
    saved(convex_kernels({t: {n: k[n] for n in pictured} for t, k in kernels.items()}, TRUE_KERNEL), "convex-kernels")
    saved(convex_forecasts(forecasts, runs, shown), "convex-forecasts")


if __name__ == "__main__":
    main()
