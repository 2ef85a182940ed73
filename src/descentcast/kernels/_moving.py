"""Rows moved along the grid, their shape and their mass on it kept."""

import numpy as np
from jaxtyping import Float

from descentcast.kernels._kernel import TransitionKernel


def moved_rows(kernel: TransitionKernel, shift: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n n"]:
    """Return the rows moved by `shift`, in units of the coordinate, shape (n, n).

    What would be moved off the grid lies in its last cell: of divergence a shift says nothing.

    Examples:
        >>> kernel = TransitionKernel([0, 1, 2, 3], np.eye(3), np.zeros((3, 2)))
        >>> moved_rows(kernel, np.array([0.5, 0.0, 9.0]))
        array([[0.5, 0.5, 0. ],
               [0. , 1. , 0. ],
               [0. , 0. , 1. ]])
    """
    edges = kernel.edges
    below = np.pad(np.cumsum(kernel.matrix, axis=1), ((0, 0), (1, 0)))
    rows = np.empty_like(kernel.matrix)
    for i, (known, by) in enumerate(zip(below, shift, strict=True)):
        there = np.interp(edges - by, edges, known)
        there[0], there[-1] = 0.0, known[-1]
        rows[i] = np.diff(there)
    return np.maximum(rows, 0.0)


def quantiles_of(kernel: TransitionKernel, q: float) -> Float[np.ndarray, "n"]:
    """Return a quantile of each row's law on the grid, uniform within cells, shape (n,).

    A row without mass on the grid has none: the last edge stands for it.

    Examples:
        >>> quantiles_of(TransitionKernel([0, 1, 2], np.eye(2), np.zeros((2, 2))), 0.5)
        array([0.5, 1.5])
    """
    below = np.pad(np.cumsum(kernel.matrix, axis=1), ((0, 0), (1, 0)))
    return np.array([np.interp(q * row[-1], row, kernel.edges) for row in below])
