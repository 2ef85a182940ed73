"""Development chains of one coordinate with a simulator: what was recorded, true rows, true landings.

Chains of the development families of `training/fields.py`, with every kind of noise; no reported figure uses them.
Each is recorded as one run of 120 steps, two of 100 or four of 40. True rows are shares of 3,000 simulated steps from
states drawn evenly in each cell; true landings are shares of 1,500 simulated runs from each of 8 starts, over 8 equal
stretches of the grid and both sides beyond it, after 60 steps.
"""

from dataclasses import dataclass

import numpy as np
from training.fields import DEVELOPMENT_FIELDS
from training.problems import Problem, random_problem

import descentcast as dc
from descentcast.kernels import TransitionKernel, default_edges, propagate

RECORDED = ((1, 121), (2, 101), (4, 41))  # runs, values each
DRAWS, RUNS, STARTS, HORIZON, STRETCHES = 3_000, 1_500, 8, 60, 8
MOST_CELLS = 140  # finer grids take too long for a small benchmark
MOST_DISTANCE = 5.0  # laws that do not overlap are infinitely apart


def paths(problem: Problem, rng: np.random.Generator, starts: np.ndarray, steps: int) -> np.ndarray:
    """Return simulated paths, shape (steps + 1, m)."""
    x = starts[:, None]
    gradient, found = problem.noise.draw(rng, (steps, *x.shape)), [x]
    for t in range(steps):
        x = x - problem.step_size * gradient(t, x, problem.field(x))
        found.append(np.clip(x, -1e3, 1e3))
    return np.stack(found)[:, :, 0]


def draw(rng: np.random.Generator, runs: int, values: int) -> tuple[Problem, dc.Trajectories, np.ndarray]:
    """Draw a problem without momentum or hidden coordinates, its recorded runs and a grid for them."""
    while True:
        problem = random_problem(rng, DEVELOPMENT_FIELDS, 1)
        if problem.coordinates > 1 or problem.momentum:
            continue
        recorded = dc.Trajectories.from_arrays(list(paths(problem, rng, rng.uniform(-1, 1, runs), values - 1).T))
        edges = default_edges(recorded)[0]
        if len(edges) <= MOST_CELLS + 1 and np.abs(edges).max() < 4:
            return problem, recorded, edges


@dataclass(frozen=True, eq=False)
class Judged:
    """A problem, what was recorded of it, and the truth by simulation.

    Attributes:
        recorded: The runs.
        edges: A grid for them, shape (n + 1,).
        truth: True rows, mass that leaves the grid at both ends, shape (n, n + 2).
        regions: Which cells were visited, lie between visited ones, or outside their hull.
        starts: Starts of the landings, shape (m,).
        landed: Where simulated runs from each landed, by stretch of the grid, shape (m, STRETCHES + 2).
    """

    recorded: dc.Trajectories
    edges: np.ndarray
    truth: np.ndarray
    regions: list[np.ndarray]
    starts: np.ndarray
    landed: np.ndarray

    @staticmethod
    def of(number: int) -> "Judged":
        """Draw the problem of that number, and simulate it."""
        rng = np.random.default_rng(np.random.SeedSequence(20).spawn(number + 1)[number])
        problem, recorded, edges = draw(rng, *RECORDED[number % len(RECORDED)])
        n = len(edges) - 1
        inside = (edges[:-1, None] + np.diff(edges)[:, None] * rng.random((n, DRAWS))).ravel()
        after = np.searchsorted(edges, paths(problem, rng, inside, 1)[1], side="right").reshape(n, DRAWS)
        truth = np.stack([np.bincount(row, minlength=n + 2) for row in after]) / DRAWS
        starts = rng.uniform(0.95 * edges[0] + 0.05 * edges[-1], 0.05 * edges[0] + 0.95 * edges[-1], STARTS)
        ends = paths(problem, rng, np.repeat(starts, RUNS), HORIZON)[-1].reshape(STARTS, RUNS)
        at = np.searchsorted(np.linspace(edges[0], edges[-1], STRETCHES + 1), ends, side="right")
        landed = np.stack([np.bincount(row, minlength=STRETCHES + 2) for row in at]) / RUNS
        visited = np.histogram(np.concatenate(recorded.coordinate(0)), edges)[0] > 0
        hull = np.cumsum(visited).astype(bool) & np.cumsum(visited[::-1])[::-1].astype(bool)
        return Judged(recorded, edges, truth, [visited, hull & ~visited, ~hull], starts, landed)

    def judge(self, kernel: TransitionKernel) -> list[float]:
        """Return distances of rows by region, and the total variation of the landing."""
        rows = np.hstack([kernel.overflow[:, :1], kernel.matrix, kernel.overflow[:, 1:]])
        distance = np.minimum(dc.scoring.bhattacharyya(rows, self.truth), MOST_DISTANCE)
        density, overflow = propagate(kernel, np.eye(len(rows))[kernel.cell(self.starts)], HORIZON)
        stretch = np.linspace(kernel.edges[0], kernel.edges[-1], STRETCHES + 1)
        shares = np.diff(_below(kernel.edges, density[:, -1], stretch), axis=1)
        masses = np.hstack([overflow[:, -1, :1], shares, overflow[:, -1, 1:]])
        by_region = [float(distance[region].mean()) if region.any() else float("nan") for region in self.regions]
        return [*by_region, float(dc.scoring.total_variation(masses, self.landed).mean())]


def _below(edges: np.ndarray, density: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the mass on the grid below each place, uniform within cells, shape (m, k)."""
    cumulative = np.pad(np.cumsum(density, axis=1), ((0, 0), (1, 0)))
    return np.stack([np.interp(at, edges, row) for row in cumulative])
