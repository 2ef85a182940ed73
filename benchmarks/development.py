"""Development problems in the form of the benchmark's: what the stack and its intervals are chosen on.

Chains in one coordinate of the development families of `training/fields.py`, with every kind of noise; no reported
figure uses them. Grids, places and truth are as in `descentcast bench kernels`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from descentcast.benchmark import BenchmarkProblem
from descentcast.forecasts import minima
from descentcast.kernels import Evidence, TransitionKernel, default_edges
from descentcast.trajectories import Trajectories

sys.path.insert(0, str(Path(__file__).parents[1]))

from training.fields import DEVELOPMENT_FIELDS
from training.noise import NOISES, random_noise
from training.problems import Problem, random_problem

CELLS, DRAWS, REACH = 100, 3_000, 1e3
SEED = 20
# Several basins count as such where each is the end of so large a share of the runs.
LEAST_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class Drawn:
    """A drawn chain with what the benchmark asks of a problem: paths and a counted kernel."""

    chain: Problem
    coordinates: tuple[str, ...] = ("x",)

    @property
    def setting(self) -> dict[str, Any]:
        """The step size."""
        return {"step": self.chain.step_size}

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return simulated paths, shape (m, steps + 1, 1); what heavy tails throw far out is cut as in training."""
        x = np.asarray(starts, dtype=float).reshape(-1, 1)
        gradient, found = self.chain.noise.draw(rng, (steps, *x.shape)), [x]
        for t in range(steps):
            x = np.clip(x - self.chain.step_size * gradient(t, x, self.chain.field(x)), -REACH, REACH)
            found.append(x)
        return np.stack(found, axis=1)

    def kernel(self, edges: np.ndarray) -> TransitionKernel:
        """Return the kernel as shares of simulated steps from states spread evenly over each cell."""
        rng, n = np.random.default_rng(0), len(edges) - 1
        points = edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(DRAWS) + 0.5) / DRAWS
        after = np.searchsorted(edges, self.paths(points.ravel(), 1, rng)[:, 1, 0], side="right").reshape(n, DRAWS)
        rows = np.stack([np.bincount(row, minlength=n + 2) for row in after]) / DRAWS
        return TransitionKernel(edges, rows[:, 1:-1], rows[:, [0, -1]], Evidence.uniform("simulated", n))


def development_problems(count: int, seed: int = SEED) -> list[BenchmarkProblem]:
    """Return drawn problems, kinds of noise in turn; every second one has several basins that runs end in."""
    found: list[BenchmarkProblem] = []
    streams = np.random.SeedSequence(seed).spawn(count)
    for number, stream in enumerate(streams):
        rng = np.random.default_rng(stream)
        kind = list(NOISES)[number % len(NOISES)]
        while True:
            problem = _problem(random_problem(rng, DEVELOPMENT_FIELDS, 1), kind, rng, number)
            if problem is not None and (problem.basins or number // len(NOISES) % 2 == 0):
                found.append(problem)
                break
    return found


def _problem(chain: Problem, kind: str, rng: np.random.Generator, number: int) -> BenchmarkProblem | None:
    """Return the chain as a problem of the benchmark if it moves, and 100 cells resolve its noise."""
    if chain.coordinates > 1 or chain.momentum:
        return None
    noise = random_noise(rng, kind, 1, chain.jump / chain.step_size)
    drawn = Drawn(Problem(chain.field, noise, chain.step_size, 0.0, 1, chain.jump))
    paths = drawn.paths(rng.uniform(-1, 1, 400), 75, rng)[..., 0]
    low, high = np.quantile(paths, [0.001, 0.999])
    margin = 0.1 * (high - low)
    low, high = low - margin, high + margin
    moved = np.std(paths[:, 60] - paths[:, 0]) / (high - low)
    few = Trajectories.from_arrays(list(np.clip(paths[:8], low, high)))
    if max(-low, high) > 4 or moved < 0.05 or default_edges(few, 0, CELLS)[1] is not None:
        return None
    edges = np.linspace(low, high, CELLS + 1)
    wells = minima(drawn.kernel(edges))
    ends = np.searchsorted(wells.upper[:-1], paths[:, 60])
    several = len(wells) > 1 and np.bincount(ends, minlength=len(wells)).min() >= LEAST_SHARE * len(paths)
    cuts = wells.upper[:-1] if several else np.unique(np.quantile(paths[:, 60], np.arange(1, 6) / 6))
    return BenchmarkProblem(
        name=f"development {number} {kind}",
        problem=drawn,  # pyright: ignore[reportArgumentType]
        starts=np.array([[-0.95, 0.95]]),
        edges=(edges,),
        cuts=(cuts,),
        basins=several,
    )
