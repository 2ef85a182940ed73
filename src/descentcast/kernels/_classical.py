"""What the classical estimators share: rows as cell averages of a conditional law, sequential densities, evidence."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import Edges, Probabilities
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._grid import as_trajectories, grids_of
from descentcast.kernels._kernel import Evidence, TransitionKernel
from descentcast.trajectories import Trajectories

# Gauss-Legendre nodes a cell: a row averaged with 4 is exact to 1e-7 where the noise is at least as wide as a cell.
NODES = 4
# Weights of queries times transitions held at once: 16 MB an array.
BLOCK = 2_000_000


class ClassicalKernel(KernelEstimator):
    """An estimator that is one conditional law: of x_{t+1} at x_t, given the transitions known so far.

    The kernel's rows are the law with all transitions known, averaged over each cell by Gauss-Legendre quadrature;
    the sequential density of x_{t+1} is the law at x_t with the transitions known that came before.
    """

    @abstractmethod
    def _law(self, x: np.ndarray, y: np.ndarray, queries: np.ndarray, edges: Edges) -> Probabilities:
        """Return the law of the next value at each query, given known transitions x -> y.

        Args:
            x: Present values of the known transitions, shape (N,), N >= 0, or whatever `_pairs` makes of them.
            y: Following values, shape (N,).
            queries: States, shape (Q,), or rows of what `_pairs` makes of them.
            edges: Cell edges, shape (n + 1,).

        Returns:
            Mass below the grid, of each cell, and above the grid, shape (Q, n + 2).
        """

    def _pairs(self, columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the transitions of all runs, in order: by default the values x_t and x_{t+1}, shape (N,) each."""
        return np.concatenate([c[:-1] for c in columns]), np.concatenate([c[1:] for c in columns])

    def _own_share(self, x: np.ndarray, edges: Edges, visits: np.ndarray) -> np.ndarray:
        """Return the share of each row that rests on the visits of its own cell: by default all visits count alike."""
        return visits / max(visits.sum(), 1.0)

    def _fit_coordinate(self, index: int, columns: list[np.ndarray], edges: Edges) -> TransitionKernel:
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        centres, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
        points = centres[:, None] + widths[:, None] * nodes / 2
        x, y = self._pairs(columns)
        blocks = np.array_split(points.ravel(), 1 + points.size * len(y) // BLOCK)
        laws = np.concatenate([self._law(x, y, block, edges) for block in blocks])
        rows = np.einsum("k,ikj->ij", weights / 2, laws.reshape(*points.shape, -1))
        present = np.concatenate([c[:-1] for c in columns])
        cells = np.searchsorted(edges, present, side="right")
        visits = np.bincount(cells, minlength=len(edges) + 1)[1 : len(edges)].astype(np.float64)
        evidence = Evidence(visits, source_of(visits), np.clip(self._own_share(present, edges, visits), 0, 1))
        return TransitionKernel(edges=edges, matrix=rows[:, 1:-1], overflow=rows[:, [0, -1]], evidence=evidence)

    def prequential(
        self,
        trajectories: Trajectories,
        edges: ArrayLike | Sequence[ArrayLike] | None = None,
        coordinate: int = 0,
    ) -> list[np.ndarray]:
        """Return for every step the law of the next value, given only what came before.

        Row t of a run is the law of its value at t + 1, given its values up to t and all earlier runs: bandwidths,
        scales and coefficients use nothing else. With too few transitions known, the law is wide around the present
        value. Only the grid, the cells on which laws are told apart, may come from all the values.

        Args:
            trajectories: The runs, in the order in which they become known.
            edges: Cell edges, as in `fit`; by default those of the fit, or the grid rule where there was none.
            coordinate: Index of the coordinate.

        Returns:
            One array a run, shape (T - 1, n + 2): mass below the grid, of each cell, and above the grid.

        Raises:
            ArgumentError: Something other than `Trajectories`, edges that do not fit, a parameter out of range.
        """
        runs = as_trajectories(trajectories)
        self._check_parameters()
        index = _checks.integer("coordinate", coordinate, low=0, high=len(runs.names) - 1)
        grid = grids_of(runs, getattr(self, "edges_", None) if edges is None else edges)[0][index]
        columns = runs.coordinate(index)
        x, y = self._pairs(columns)
        rows = np.concatenate([self._law(x[:k], y[:k], x[k : k + 1], grid) for k in range(len(y))])
        return np.split(rows, np.cumsum([len(c) - 1 for c in columns])[:-1])


def source_of(visits: np.ndarray) -> np.ndarray:
    """Return what each row is: of a visited cell, completed between visited cells, or extrapolated outside them."""
    seen = np.flatnonzero(visits)
    cells = np.arange(len(visits))
    first, last = (seen[0], seen[-1]) if len(seen) else (len(visits), -1)
    hull = (cells >= first) & (cells <= last)
    return np.where(visits > 0, "visited", np.where(hull, "completed", "extrapolated")).astype("<U12")
