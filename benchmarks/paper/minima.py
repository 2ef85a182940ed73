"""Non-convex problems: the minimum that is reached from each of a grid of unseen starts, predicted and true.

    python benchmarks/paper/minima.py [--estimators "local-linear" "descent-small" ...] [--shown ...]

Two coordinates. "wells" moves in a double and a tilted triple well, one a coordinate: six minima. "deep linear" is a
network of two scalar layers, whose minima are the two branches of a hyperbola; its coordinates drive each other, and
are turned to the principal axes of the recorded runs first. What a model has read is kept in the density store, so that
a second call only draws. Writes `docs/paper/minima.png` and `benchmarks/results/paper/minima.csv`.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # `benchmarks` is a folder of the repository, not installed

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from benchmarks.paper.drawing import Landings, landings, saved  # noqa: E402
from benchmarks.paper.estimators import ESTIMATORS, FROZEN, LOCAL_LINEAR, SMALL  # noqa: E402
from benchmarks.paper.rows import RESULTS  # noqa: E402

import descentcast as dc  # noqa: E402
from descentcast.problems._stationary_points import zeros  # noqa: E402

STEPS, VALUES, REAL_RUNS, SIDE = 60, 40, 400, 16
# Where the truth is so certain, there is one right answer.
CERTAIN = 0.8


@dataclass(frozen=True, eq=False)
class Landscape:
    """A problem in two coordinates with several minima.

    Attributes:
        name: What tables call it.
        paths: (starts (m, 2), steps, seed) -> iterates (m, steps + 1, 2).
        recorded: Starts of the recorded runs, shape (R, 2).
        box: (low, high) of the grid of starts, the same for both coordinates.
        separatrices: In each coordinate of the estimates, what parts the minima.
        turned: Whether estimates are made in the principal axes of the recorded runs.
        coordinates: What the axes of the picture are called.
    """

    name: str
    paths: Callable[[np.ndarray, int, int], np.ndarray]
    recorded: np.ndarray
    box: tuple[float, float]
    separatrices: tuple[np.ndarray, np.ndarray]
    turned: bool
    coordinates: tuple[str, str]

    @property
    def starts(self) -> np.ndarray:
        """The grid of starts, shape (SIDE^2, 2), none of which is on a line of symmetry."""
        line = np.linspace(*self.box, SIDE)
        return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)

    def minimum(self, states: np.ndarray) -> np.ndarray:
        """Return the number of the minimum whose basin each state (..., 2) of the estimates' coordinates is in."""
        parts = [np.searchsorted(cuts, states[..., k]) for k, cuts in enumerate(self.separatrices)]
        return parts[0] * (len(self.separatrices[1]) + 1) + parts[1]


def wells() -> Landscape:
    """Return the separable problem."""
    parts = (dc.problems.DoubleWell(), dc.problems.TiltedTripleWell())

    def paths(starts: np.ndarray, steps: int, seed: int) -> np.ndarray:
        streams = np.random.default_rng(seed).spawn(2)
        each = [p.paths(starts[:, k], steps, streams[k]) for k, p in enumerate(parts)]
        return np.concatenate(each, axis=-1)

    cuts = tuple(zeros(p.gradient, p.minima[0], p.minima[-1], rising=False) for p in parts)
    recorded = np.array([[-1.5, -1.4], [1.5, 1.4], [-0.1, 0.6], [0.1, -0.5], [1.5, -0.7], [-1.5, 0.7]])
    return Landscape("wells", paths, recorded, (-1.4, 1.4), (cuts[0], cuts[1]), False, ("$x$", "$y$"))


def deep_linear() -> Landscape:
    """Return the network of two scalar layers."""
    problem = dc.problems.ScalarDeepLinear()
    recorded = np.array([[-1.6, 0.8], [1.6, -0.8], [0.6, -0.8], [-0.8, 0.6]])
    # In the principal axes, the first coordinate goes along the diagonal, and zero parts the branches.
    cuts = (np.array([0.0]), np.array([]))
    return Landscape("deep linear", problem.paths, recorded, (-1.65, 1.65), cuts, True, ("$w_0$", "$w_1$"))


def axes_of(runs: np.ndarray, turned: bool) -> np.ndarray:
    """Return the principal axes of recorded runs (R, T, 2) as columns, the first pointing to positive coordinates."""
    if not turned:
        return np.eye(2)
    flat = runs.reshape(-1, 2)
    axes = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)[2].T
    return axes * np.sign(axes.sum(axis=0))


def predicted(kernels: tuple, landscape: Landscape, starts: np.ndarray) -> np.ndarray:
    """Return the probability of each minimum at the horizon, shape (m, minima).

    A start beyond the grid of the runs counts as one at its end.
    """
    laws = []
    for k, kernel in enumerate(kernels):
        ends = [kernel.edges[0], *landscape.separatrices[k], kernel.edges[-1]]
        inside = np.clip(starts[:, k], kernel.edges[0], kernel.edges[-1])
        basins = list(pairwise(ends))
        marginal = dc.forecast(kernel, inside, STEPS, basins=basins).marginals[0]
        laws.append(marginal.density[:, -1] @ marginal.basins.shares(kernel.edges))
    return (laws[0][:, :, None] * laws[1][:, None, :]).reshape(len(starts), -1)


def main() -> None:
    """Estimate, predict, compare, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--estimators", nargs="+", choices=ESTIMATORS, default=list(ESTIMATORS))
    parser.add_argument("--shown", nargs="+", choices=ESTIMATORS, default=[FROZEN, SMALL, LOCAL_LINEAR])
    arguments = parser.parse_args()
    rows, pictures = [], {}
    for landscape in (wells(), deep_linear()):
        runs = landscape.paths(landscape.recorded, VALUES - 1, 0)
        axes = axes_of(runs, landscape.turned)
        starts = landscape.starts
        ends = landscape.paths(np.repeat(starts, REAL_RUNS, axis=0), STEPS, 1)[:, -1] @ axes
        count = (len(landscape.separatrices[0]) + 1) * (len(landscape.separatrices[1]) + 1)
        reached = landscape.minimum(ends).reshape(len(starts), REAL_RUNS)
        truth = np.stack([(reached == m).mean(axis=1) for m in range(count)], axis=1)
        context = dc.Trajectories.from_arrays(list(runs @ axes))
        edges = dc.LocalLinearKernel().fit(context).edges_
        certain, found = truth.max(axis=1) >= CERTAIN, {}
        for name in arguments.estimators:
            print(f"{landscape.name}: {name}", file=sys.stderr, flush=True)
            law = predicted(ESTIMATORS[name]().fit(context, edges).kernel_, landscape, starts @ axes)
            found[name] = law
            right = law.argmax(axis=1) == truth.argmax(axis=1)
            rows.append(
                {
                    "problem": landscape.name,
                    "estimator": name,
                    "starts": len(starts),
                    "right": right.mean(),
                    "certain_starts": int(certain.sum()),
                    "right_where_certain": right[certain].mean(),
                    "total_variation": (np.abs(law - truth).sum(axis=1) / 2).mean(),
                }
            )
        pictures[landscape.name] = Landings(runs, landscape.box, landscape.coordinates, truth, found)
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS / "minima.csv", index=False, float_format="%.4g")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    shown = [n for n in arguments.shown if n in arguments.estimators]
    saved(landings(pictures, shown), "minima")


if __name__ == "__main__":
    main()
