"""Counted transitions with a Dirichlet prior."""

import numpy as np

from descentcast import _checks
from descentcast._types import Edges, Probabilities
from descentcast.kernels._classical import ClassicalKernel
from descentcast.scoring._cells import cells_of


class CountKernel(ClassicalKernel):
    """Transition counts, smoothed by a Dirichlet prior.

    With `C_ij` the number of transitions from cell i to j, the row is the posterior mean
    `(C_ij + prior w_j) / (sum_j C_ij + prior)`, w_j the share of cell j in the grid's length (nothing beyond the grid).
    The row of a cell that was never visited is therefore uniform: it abstains. Exact in the limit on finite state
    spaces; on a fine grid it needs many visits a cell.

    Args:
        prior: Pseudo-transitions a row, greater than 0.

    Raises:
        ArgumentError: A prior that is not positive, at `fit`.

    References:
        Anderson, Goodman (1957), Statistical inference about Markov chains, Ann. Math. Stat. 28.

    Examples:
        >>> from descentcast.trajectories import Trajectories
        >>> runs = Trajectories.from_arrays([[0.5, 1.5, 0.5, 1.5, 1.5]])
        >>> CountKernel(prior=2.0).fit(runs, edges=[0, 1, 2]).kernel_.matrix
        array([[0.25, 0.75],
               [0.5 , 0.5 ]])
    """

    def __init__(self, prior: float = 1.0) -> None:
        self.prior = prior

    def _check_parameters(self) -> None:
        _checks.real("prior", self.prior, low=0, open_low=True)

    def _law(self, x: np.ndarray, y: np.ndarray, queries: np.ndarray, edges: Edges) -> Probabilities:
        n = len(edges) - 1
        base = np.concatenate([[0.0], np.diff(edges) / (edges[-1] - edges[0]), [0.0]])
        # Cells 1 to n of the grid between the two overflow cells, 0 and n + 1.
        start, end, asked = (cells_of(v, edges) + 1 for v in (x, y, queries))
        counts = np.zeros((n + 2, n + 2))
        np.add.at(counts, (start, end), 1.0)
        rows = counts[asked]
        return (rows + self.prior * base) / (rows.sum(axis=1, keepdims=True) + self.prior)

    def _own_share(self, x: np.ndarray, edges: Edges, visits: np.ndarray) -> np.ndarray:
        return visits / (visits + self.prior)
