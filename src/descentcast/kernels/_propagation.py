"""Where runs are after each number of steps, from many starts at once."""

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.kernels import _chains
from descentcast.kernels._kernel import TransitionKernel


def propagate(kernel: TransitionKernel, initial: ArrayLike, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the law over the cells, and the mass that has left the grid, after 0, 1, ..., `steps` steps.

    `density[:, t] = initial P^t` and `overflow[:, t] = sum over s < t of density[:, s] O`, by products of vectors and
    the matrix: no power of the matrix is formed.

    Args:
        kernel: Kernel of n cells.
        initial: Law of each start over the cells, shape (m, n).
        steps: Number of steps, at least 0.

    Returns:
        Density, shape (m, steps + 1, n), and overflow below and above the grid, shape (m, steps + 1, 2): together they
        sum to 1 at each step.

    Raises:
        ArgumentError: `initial` is not of shape (m, n) or its rows are not laws; `steps` is negative.

    Examples:
        >>> kernel = TransitionKernel([0, 1, 2], [[0.5, 0.25], [0.0, 1.0]], [[0.25, 0.0], [0.0, 0.0]])
        >>> density, overflow = propagate(kernel, [[1.0, 0.0]], steps=2)
        >>> density[0]
        array([[1.   , 0.   ],
               [0.5  , 0.25 ],
               [0.25 , 0.375]])
        >>> overflow[0, :, 0]
        array([0.   , 0.25 , 0.375])
    """
    starts = _checks.distributions("initial", initial)
    steps = _checks.integer("steps", steps, low=0)
    matrix, leaving = _chains.proper(kernel.matrix, kernel.overflow)
    if starts.ndim != 2 or starts.shape[1] != len(matrix):
        raise ArgumentError(f"initial has shape {starts.shape}, must be (starts, {len(matrix)})")
    density = np.empty((len(starts), steps + 1, len(matrix)))
    density[:, 0] = starts
    for t in range(steps):
        np.matmul(density[:, t], matrix, out=density[:, t + 1])
    overflow = np.zeros((len(starts), steps + 1, 2))
    np.cumsum(density[:, :-1] @ leaving, axis=1, out=overflow[:, 1:])
    return density, overflow
