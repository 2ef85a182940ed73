"""Projected kernels: one coordinate of a coupled problem, the others drawn from a stated law."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import RandomState
from descentcast.errors import ArgumentError
from descentcast.kernels import Evidence, TransitionKernel
from descentcast.problems._problem import Problem

STARTS = 256


def grids(edges: Any, coordinates: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Return the edges of each coordinate, checked."""
    if not isinstance(edges, Sequence) or len(edges) != len(coordinates):
        raise ArgumentError(f"edges must be {len(coordinates)} arrays of cell edges, one a coordinate {coordinates}")
    return tuple(_checks.edges(f"edges[{k}]", e) for k, e in enumerate(edges))


def projected(
    problem: Problem,
    edges: Any,
    *,
    starts: ArrayLike | None = None,
    steps: int = 100,
    draws: int = 4096,
    random_state: RandomState = 0,
) -> tuple[TransitionKernel, ...]:
    """Return one projected kernel a coordinate, by counted simulation.

    Row i of coordinate k is the law of its next value when it is uniform in cell i and the other coordinates follow
    their occupation law there: that of the states of simulated runs whose coordinate k is in cell i.

    Args:
        problem: The problem.
        edges: Cell edges, one array a coordinate.
        starts: Starts of the runs whose occupation law is taken, shape (m, D); 256 uniform ones within the grid if
            None.
        steps: Their optimizer steps.
        draws: Transitions counted a row; the first coordinate is stratified within the cell.
        random_state: The same seed gives the same bytes.

    Returns:
        The kernels. A cell that no run visited borrows the others from the nearest visited cell, and has weight 0.

    Raises:
        ArgumentError: Edges that do not fit, or runs that never were within the grid.
    """
    edges = grids(edges, problem.coordinates)
    steps, draws = _checks.integer("steps", steps, low=1), _checks.integer("draws", draws, low=100)
    generator = _checks.generator(random_state)
    low, high = np.array([e[0] for e in edges]), np.array([e[-1] for e in edges])
    if starts is None:
        starts = generator.uniform(low, high, size=(STARTS, len(edges)))
        law = f"{STARTS} runs of {steps} steps from starts uniform on the grid"
    else:
        law = f"{len(np.asarray(starts))} runs of {steps} steps from the given starts"
    states = problem.paths(starts, steps, generator).reshape(-1, len(edges))
    states = states[((states >= low) & (states < high)).all(axis=1)]
    if not len(states):
        raise ArgumentError("starts lead nowhere within edges: no state of any run lies in every coordinate's grid")
    return tuple(_kernel(problem, k, edges[k], states, draws, law, generator) for k in range(len(edges)))


def _kernel(
    problem: Problem,
    k: int,
    edges: np.ndarray,
    states: np.ndarray,
    draws: int,
    law: str,
    generator: np.random.Generator,
) -> TransitionKernel:
    n = len(edges) - 1
    cells = np.searchsorted(edges, states[:, k], side="right") - 1
    states = states[np.argsort(cells, kind="stable")]
    visits = np.bincount(cells, minlength=n)
    visited = np.flatnonzero(visits)
    lender = visited[np.abs(np.arange(n)[:, None] - visited).argmin(axis=1)]
    first = (np.cumsum(visits) - visits)[lender]
    chosen = first[:, None] + (generator.random((n, draws)) * visits[lender][:, None]).astype(np.int64)
    points = states[chosen]
    within = (np.arange(draws) + generator.random((n, draws))) / draws
    points[:, :, k] = edges[:-1, None] + np.diff(edges)[:, None] * within
    moved = problem.advance(points.reshape(n * draws, -1), generator)[:, k]
    slots = np.searchsorted(edges, moved, side="right") + (n + 2) * np.repeat(np.arange(n), draws)
    masses = np.bincount(slots, minlength=n * (n + 2)).reshape(n, n + 2) / draws
    return TransitionKernel(
        edges=edges,
        matrix=masses[:, 1:-1],
        overflow=masses[:, [0, -1]],
        evidence=Evidence(visits.astype(np.float64), np.full(n, "simulated", dtype="<U12"), (visits > 0).astype(float)),
        name=problem.coordinates[k],
        setting=problem.setting,
        projected=True,
        notes=(
            f"Projected: the other coordinates follow the occupation law of {law}, given the cell.",
            f"{draws} counted transitions a row: standard error at most {0.5 / np.sqrt(draws):.1g} an entry.",
            f"{n - len(visited)} of {n} cells were visited by no run and borrow that law from the nearest visited one.",
        ),
    )
