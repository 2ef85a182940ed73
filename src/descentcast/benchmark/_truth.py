"""What forecasts of a problem are held against: its kernel on the grid, and fresh runs of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from descentcast.benchmark._suite import BenchmarkProblem
from descentcast.kernels import TransitionKernel

# Every figure of every seed is held against the same simulated truth.
SEED = 0


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth about a problem; tuples hold one entry a coordinate.

    Attributes:
        problem: The problem.
        kernels: Its kernels on the grid; of several coordinates projected ones.
        weights: Share of the steps of runs from uniform starts that each cell sees up to the horizon, shape (n,).
        starts: Unseen starts, shape (m, D).
        landing: Share of runs from each of them in each place after the horizon, shape (m, places): below the grid,
            between the cuts, above the grid.
        states: States in which fresh runs from uniform starts are at a uniform step before the horizon, shape (N, D).
        after: Where these runs are k steps later, by lag k, shape (N, D) each.
        simulated: Runs a start.
    """

    problem: BenchmarkProblem
    kernels: tuple[TransitionKernel, ...]
    weights: tuple[np.ndarray, ...]
    starts: np.ndarray
    landing: tuple[np.ndarray, ...]
    states: np.ndarray
    after: dict[int, np.ndarray]
    simulated: int


def truth_of(problem: BenchmarkProblem, judging: dict[str, Any]) -> Truth:
    """Return the truth about a problem, by the rules of a suite."""
    horizon, simulated, lags = judging["horizon"], judging["simulated"], judging["lags"]
    rng = problem.generator("truth", SEED)
    low, high = problem.starts.T
    fresh = low + (high - low) * rng.random((judging["pairs"], len(low)))
    paths = problem.problem.paths(fresh, horizon + max(lags), rng)
    at, runs = rng.integers(0, horizon, len(paths)), np.arange(len(paths))
    states, after = paths[runs, at], {lag: paths[runs, at + lag] for lag in lags}
    kept = problem.inside(states)
    kernels: Any = (
        problem.problem.kernel(problem.edges[0])
        if len(low) == 1
        else problem.problem.kernel(problem.edges, starts=fresh, steps=horizon)  # pyright: ignore[reportCallIssue]
    )
    starts = problem.unseen(judging["starts"])
    ends = problem.problem.paths(np.repeat(starts, simulated, axis=0), horizon, rng)[:, -1]
    ends = ends.reshape(len(starts), simulated, -1)
    return Truth(
        problem=problem,
        kernels=kernels if isinstance(kernels, tuple) else (kernels,),
        weights=tuple(_shares(paths[:, :horizon, d].ravel(), e) for d, e in enumerate(problem.edges)),
        starts=starts,
        landing=tuple(
            np.stack([_shares(row, places(problem, d), closed=False) for row in ends[..., d]]) for d in range(len(low))
        ),
        states=states[kept],
        after={lag: values[kept] for lag, values in after.items()},
        simulated=simulated,
    )


def places(problem: BenchmarkProblem, coordinate: int) -> np.ndarray:
    """Return the ends of the places of a coordinate: the grid's own, and the cuts between."""
    edges = problem.edges[coordinate]
    return np.concatenate([edges[:1], problem.cuts[coordinate], edges[-1:]])


def _shares(values: np.ndarray, ends: np.ndarray, closed: bool = True) -> np.ndarray:
    """Return the share of values between each pair of ends; with those beyond first and last where not closed."""
    slots = np.searchsorted(ends, values, side="right")
    shares = np.bincount(slots, minlength=len(ends) + 1) / len(values)
    return shares[1:-1] / max(shares[1:-1].sum(), 1e-12) if closed else shares
