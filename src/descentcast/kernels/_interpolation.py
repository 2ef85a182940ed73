"""Rows at states between cell centres."""

import numpy as np

from descentcast._types import Probabilities
from descentcast.kernels import _chains
from descentcast.kernels._kernel import TransitionKernel


def between(kernel: TransitionKernel, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each state the cell whose centre is next below it, and the share of the next cell.

    A row is the average over its cell; the row of a state is interpolated linearly between those of the two nearest
    centres, and is that of the outermost cell beyond its centre.
    """
    centres = kernel.centres
    left = np.clip(np.searchsorted(centres, states) - 1, 0, len(centres) - 2)
    return left, np.clip((states - centres[left]) / (centres[left + 1] - centres[left]), 0.0, 1.0)


def rows_at(kernel: TransitionKernel, states: np.ndarray) -> Probabilities:
    """Return the law after one step of the kernel from each state: below the grid, the cells, above, (m, n + 2)."""
    left, share = between(kernel, states)
    matrix, overflow = _chains.proper(kernel.matrix, kernel.overflow)
    rows = np.column_stack([overflow[:, 0], matrix, overflow[:, 1]])
    return rows[left] * (1 - share)[:, None] + rows[left + 1] * share[:, None]


def walk(kernel: TransitionKernel, starts: np.ndarray, steps: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` paths from each start that stay on the grid, shape (count, m, steps + 1).

    Each step draws one of the two rows next to the state with its share, a cell from that row, given that the path
    stays on the grid, and a state uniformly within the cell.
    """
    n = len(kernel.matrix)
    rows = _chains.proper(kernel.matrix, kernel.overflow)[0]
    below = rows.cumsum(axis=1)
    below /= below[:, -1:]
    # One sorted array for all rows, row i within [i, i + 1], so that one search draws from every row at once.
    ladder = (below + np.arange(n)[:, None]).ravel()
    paths = np.empty((count, len(starts), steps + 1))
    paths[..., 0] = starts
    for t in range(steps):
        left, share = between(kernel, paths[..., t])
        row = left + (rng.random(left.shape) < share)
        cell = np.minimum(np.searchsorted(ladder, row + rng.random(row.shape), side="right") - row * n, n - 1)
        paths[..., t + 1] = kernel.edges[cell] + rng.random(cell.shape) * kernel.widths[cell]
    return paths
