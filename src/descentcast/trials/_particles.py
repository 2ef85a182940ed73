"""Virtual runs: particles that move by many kernels of one grid at once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from descentcast.kernels import TransitionKernel


def walk(
    kernels: Sequence[TransitionKernel],
    which: Int[np.ndarray, "R"],
    starts: Float[np.ndarray, "R"],
    steps: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "R T"]:
    """Return R paths; path r moves by `kernels[which[r]]` from `starts[r]`.

    States are uniform within their cell; a path is NaN from where it has left the grid. The row of the first step is
    that of one of the two cells around the start, drawn by how near their centres are. A path's numbers depend on its
    place r and on the generator only, and rows are inverted in the order of the cells: walks of different kernels by
    generators of one seed share their luck (common random numbers).

    Args:
        kernels: Kernels with the same edges.
        which: The kernel of each path.
        starts: The first states; those off the grid are moved to its end.
        steps: Steps, at least 1.
        rng: The generator.

    Examples:
        >>> swap = TransitionKernel([0, 1, 2], [[0.0, 1.0], [1.0, 0.0]], np.zeros((2, 2)))
        >>> path = walk([swap], np.array([0]), np.array([0.5]), 3, np.random.default_rng(0))
        >>> path.astype(int).tolist()
        [[0, 1, 0, 1]]
    """
    edges, widths = kernels[0].edges, kernels[0].widths
    n, R = len(widths), len(starts)
    rows = np.stack([np.column_stack([k.overflow[:, 0], k.matrix, k.overflow[:, 1]]) for k in kernels])
    below = np.maximum(rows, 0.0).cumsum(axis=2).reshape(-1, n + 2)
    below /= below[:, -1:]
    # One sorted array for the rows of all kernels, row i within [i, i + 1]: one search draws from every row at once.
    ladder = (below + np.arange(len(below))[:, None]).ravel()
    first = which * n
    paths = np.full((R, steps + 1), np.nan)
    paths[:, 0] = starts
    cell = _first_cells(kernels[0].centres, starts, rng.random(R))
    alive = np.ones(R, dtype=bool)
    for t in range(1, steps + 1):
        row = first + cell
        draw = np.searchsorted(ladder, row + rng.random(R), side="right") - row * (n + 2)
        alive &= (draw > 0) & (draw <= n)
        cell = np.where(alive, draw - 1, cell)
        paths[:, t] = np.where(alive, edges[cell] + rng.random(R) * widths[cell], np.nan)
    return paths


def _first_cells(centres: np.ndarray, starts: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """The cell whose row the first step is taken from: a start between two centres belongs to both by distance."""
    place = np.interp(starts, centres, np.arange(len(centres)))
    left = np.minimum(np.floor(place).astype(int), len(centres) - 1)
    return np.minimum(left + (uniform < place - left), len(centres) - 1)
