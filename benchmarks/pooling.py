"""How views are pooled, and what that does to a forecast: every rule on a development chain, for a frozen model.

    python benchmarks/pooling.py [--model smollm2-135m] [--views 3] [--json]

The chain (x' = x - 0.12 x + 0.28 sin(2.2 x) + 0.15 noise, two minima, two recorded runs of 90 steps) is of no family
that reported figures use. For each way to read rows and each rule: log score of the rows at one step and iterated, the
Bhattacharyya distance of visited and other rows from the true kernel on the same cells, and the total variation of the
landing after 60 steps from ten starts, against 4,000 simulated runs each.
"""

import argparse
import json

import numpy as np
from scipy.stats import norm

import descentcast as dc
from descentcast.densities import RULES, lay_out, read_densities, within
from descentcast.encoding import draw_views
from descentcast.kernels import default_edges, propagate
from descentcast.kernels._read_rows import ReadRows
from descentcast.kernels._reading import iterated_score

NOISE, STEPS, HORIZON = 0.15, 90, 60
STARTS = np.array([-1.5, -1.0, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 1.0, 1.5])


def drift(x: np.ndarray) -> np.ndarray:
    """Return the mean displacement at x."""
    return -0.12 * x + 0.28 * np.sin(2.2 * x)


def simulate(starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Return paths, shape (m, steps + 1)."""
    paths = [starts]
    for _ in range(steps):
        paths.append(paths[-1] + drift(paths[-1]) + NOISE * rng.normal(size=len(starts)))
    return np.stack(paths, axis=1)


def main() -> None:
    """Read the runs in every view, then try every rule on what was read."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rng = np.random.default_rng(3)
    candidates = simulate(np.tile([-0.1, 0.1], 20), STEPS, rng)
    right = candidates[:, -1] > 0
    columns = [candidates[np.argmin(right)], candidates[np.argmax(right)]]
    runs = dc.Trajectories.from_arrays(columns)
    edges, _ = default_edges(runs, 0)
    n, h = len(edges) - 1, edges[1] - edges[0]
    inside = (edges[:-1] + edges[1:])[:, None] / 2 + h * (np.arange(16) + 0.5 - 8) / 16
    whole = np.concatenate([[-np.inf], edges, [np.inf]])
    truth = np.diff(norm.cdf((whole - (inside + drift(inside))[..., None]) / NOISE), axis=-1).mean(axis=1)
    landed = (simulate(np.repeat(STARTS, 4000), HORIZON, rng)[:, -1] > 0).reshape(len(STARTS), -1).mean(axis=1)
    cells = np.searchsorted(edges, np.concatenate(columns), side="right") - 1
    paths = np.split(cells, [STEPS + 1])
    visits = np.bincount(cells, minlength=n).astype(float)
    model = dc.load_model(arguments.model, adapter=None)
    table = []
    for probed in (False, True):
        stacked = []
        for view in draw_views(edges[0], edges[-1], arguments.views, 2, np.random.default_rng(0)):
            context = lay_out(columns, view, model.alphabet)
            points = context.probes(view.encode((edges[:-1] + edges[1:]) / 2)) if probed else context.points
            found = read_densities(model, context, points, bound=1e-5)
            stacked.append(within(view.by_value(found.probs), view.edges, edges))
        of = np.arange(n) if probed else cells
        seen = np.ones(n) if probed else np.arange(1.0, len(cells) + 1)
        rows = ReadRows(np.stack(stacked), of, seen, cells, edges, probed)
        for rule in RULES:
            kernel = rows.kernel(rule, "quantile")
            density, overflow = propagate(kernel, np.eye(n)[kernel.cell(STARTS)], HORIZON)
            mass = density[:, -1] @ (kernel.centres > 0), density[:, -1] @ (kernel.centres <= 0)
            gone = overflow[:, -1].sum(axis=1)
            variation = (np.abs(mass[0] - landed) + np.abs(mass[1] - (1 - landed)) + gone) / 2
            laws = np.hstack([kernel.overflow[:, :1], kernel.matrix, kernel.overflow[:, 1:]])
            distance = dc.scoring.bhattacharyya(laws, truth)
            one = np.concatenate([kernel.matrix[p[:-1], p[1:]] for p in paths]) / h
            table.append(
                {
                    "rows": "probed" if probed else "visited",
                    "rule": rule,
                    "log score": float(np.log(np.maximum(one, 1e-12)).mean()),
                    "iterated": iterated_score(kernel, paths),
                    "BC visited": float(distance[visits > 0].mean()),
                    "BC other": float(distance[visits == 0].mean()),
                    "landing TV": float(variation.mean()),
                }
            )
    if arguments.json:
        print(json.dumps(table))
    else:
        dc.reports.show_table(
            table, f"{arguments.model}, {arguments.views} views, two runs of {STEPS} steps, {n} cells"
        )


if __name__ == "__main__":
    main()
