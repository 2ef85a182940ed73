"""What the classical estimators share: rows as cell averages of a conditional law, sequential densities, evidence."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import Edges, Probabilities
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._grid import as_trajectories, grids_of
from descentcast.kernels._kernel import Evidence, TransitionKernel
from descentcast.kernels._resampling import REPLICATES, redrawn
from descentcast.scoring._cells import cells_of
from descentcast.trajectories import Trajectories

# Gauss-Legendre nodes a cell: a row averaged with 4 is exact to 1e-7 where the noise is at least as wide as a cell.
NODES = 4
# Replicates are for their spread: with 2 nodes mean and variance of a row are still right, at half the cost.
NODES_OF_REPLICATES = 2
# Weights of queries times transitions held at once: 16 MB an array.
BLOCK = 2_000_000


class ClassicalKernel(KernelEstimator):
    """An estimator that is one conditional law: of x_{t+1} at x_t, given the transitions known so far.

    The kernel's rows are the law with all transitions known, averaged over each cell by Gauss-Legendre quadrature;
    the sequential density of x_{t+1} is the law at x_t with the transitions known that came before.
    """

    def fit(self, trajectories: Trajectories, edges: ArrayLike | Sequence[ArrayLike] | None = None) -> Self:
        """Estimate the kernel of each coordinate from recorded runs: see `KernelEstimator.fit`."""
        super().fit(trajectories, edges)
        vars(self).pop("replicates_", None)
        self._fitted_to = [run.values for run in trajectories]
        return self

    @cached_property
    def replicates_(self) -> list[TransitionKernel] | list[tuple[TransitionKernel, ...]]:
        """Kernels of 40 resamples of the runs the fit was on, in the form of `kernel_`; made when first asked for.

        Runs are drawn with replacement where there are at least five, else blocks of about sqrt(T) transitions within
        runs of T. Their seed is fixed, so that two estimators of the same runs see the same resamples. They hold what
        chance in the runs does to the kernel, not the estimator's bias.

        Raises:
            AttributeError: The estimator is not fitted.
        """
        if not hasattr(self, "kernel_"):
            raise AttributeError(f"{type(self).__name__} has no replicates_ before fit")
        grids = self.edges_ if isinstance(self.edges_, tuple) else (self.edges_,)
        found = []
        for rng in np.random.default_rng(0).spawn(REPLICATES):
            drawn = redrawn(self._fitted_to, rng)
            rows = [self._rows([v[:, i] for v in drawn], e, NODES_OF_REPLICATES) for i, e in enumerate(grids)]
            found.append(
                tuple(TransitionKernel(e, r[:, 1:-1], r[:, [0, -1]]) for e, r in zip(grids, rows, strict=True))
            )
        return [kernels[0] for kernels in found] if len(grids) == 1 else found

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
        rows = self._rows(columns, edges, NODES)
        present = np.concatenate([c[:-1] for c in columns])
        cells = cells_of(present, edges) + 1
        visits = np.bincount(cells, minlength=len(edges) + 1)[1 : len(edges)].astype(np.float64)
        evidence = Evidence(visits, source_of(visits), np.clip(self._own_share(present, edges, visits), 0, 1))
        return TransitionKernel(edges=edges, matrix=rows[:, 1:-1], overflow=rows[:, [0, -1]], evidence=evidence)

    def _rows(self, columns: Sequence[np.ndarray], edges: Edges, count: int) -> Probabilities:
        """Return all rows as cell averages by `count` nodes a cell, shape (n, n + 2)."""
        nodes, weights = np.polynomial.legendre.leggauss(count)
        centres, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
        points = centres[:, None] + widths[:, None] * nodes / 2
        x, y = self._pairs(columns)
        blocks = np.array_split(points.ravel(), 1 + points.size * len(y) // BLOCK)
        laws = np.concatenate([self._law(x, y, block, edges) for block in blocks])
        return np.einsum("k,ikj->ij", weights / 2, laws.reshape(*points.shape, -1))

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
