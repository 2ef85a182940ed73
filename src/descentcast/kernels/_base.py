"""What every estimator of transition kernels shares: the checks, the grids, and one kernel a coordinate."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from descentcast._types import Edges
from descentcast.kernels._beginnings import beginning
from descentcast.kernels._grid import as_trajectories, grids_of
from descentcast.kernels._kernel import TransitionKernel
from descentcast.trajectories import Trajectories


class KernelEstimator(BaseEstimator, ABC):
    """Base of the estimators: `fit` checks, chooses the grids and estimates one kernel a coordinate.

    A subclass stores its parameters in `__init__`, checks them in `_check_parameters`, and estimates the kernel of one
    coordinate in `_fit_coordinate`; the base adds name, setting, `projected` and the notes on the grid.

    Attributes:
        kernel_: The fitted `TransitionKernel`, or a tuple of them, one a coordinate, where there are several: then
            each is of one coordinate by itself and `projected`.
        edges_: The grid of the fit, shape (n + 1,), or a tuple of grids.
        n_features_in_: The number of coordinates.
        unevenness: Over what share of the grid's span rows should be averaged before runs correct them, since each
            errs on its own; 0 for estimators whose rows change evenly along the state.
    """

    unevenness = 0.0

    kernel_: TransitionKernel | tuple[TransitionKernel, ...]
    edges_: Edges | tuple[Edges, ...]
    n_features_in_: int

    def fit(self, trajectories: Trajectories, edges: ArrayLike | Sequence[ArrayLike] | None = None) -> Self:
        """Estimate the kernel of each coordinate from recorded runs.

        Args:
            trajectories: The runs; only transitions within a run are used.
            edges: Cell edges, shape (n + 1,): one array, or a sequence with one array a coordinate. By default the
                grid rule of `default_edges`.

        Returns:
            The estimator itself, with `kernel_`, `edges_` and `n_features_in_`.

        Raises:
            ArgumentError: Something other than `Trajectories`, edges that do not fit, a parameter out of range.
        """
        runs = as_trajectories(trajectories)
        self._check_parameters()
        grids, notes = grids_of(runs, edges)
        kernels = tuple(
            self._finished(self._fit_coordinate(i, runs.coordinate(i), grid), runs, i, notes[i])
            for i, grid in enumerate(grids)
        )
        self.n_features_in_ = len(grids)
        self.edges_ = grids[0] if len(grids) == 1 else grids
        self.kernel_ = kernels[0] if len(kernels) == 1 else kernels
        return self

    @property
    def label(self) -> str:
        """What the estimator is called in tables: its class, and the language model where there is one."""
        return type(self).__name__

    def fit_forward(
        self, trajectories: Trajectories, edges: ArrayLike | Sequence[ArrayLike], known: Sequence[int]
    ) -> list[TransitionKernel | tuple[TransitionKernel, ...]]:
        """Fit to all the runs, and return the kernels of their beginnings: as fitted when no more was known.

        Args:
            trajectories: The runs, in the order in which they become known.
            edges: Cell edges, as in `fit`.
            known: How many values each beginning holds, counted through the runs in their order.

        Returns:
            One `kernel_` a beginning; none of them depends on a value after it.
        """
        found = [copy.copy(self).fit(beginning(trajectories, count), edges).kernel_ for count in known]
        self.fit(trajectories, edges)
        return found

    @abstractmethod
    def _fit_coordinate(self, index: int, columns: list[np.ndarray], edges: Edges) -> TransitionKernel:
        """Return the kernel of coordinate `index` from its values, one array of shape (T,) a run."""

    def _check_parameters(self) -> None:
        """Raise `ArgumentError` where a parameter that `__init__` stored is out of range."""

    @staticmethod
    def _finished(kernel: TransitionKernel, runs: Trajectories, index: int, note: str | None) -> TransitionKernel:
        gaps = sorted({int(gap) for run in runs for gap in np.diff(run.steps)})
        stride = {"stride": gaps[0]} if len(gaps) == 1 and gaps[0] != 1 else {}
        notes = (note, _mixed_strides(gaps), *kernel.notes)
        return replace(
            kernel,
            name=runs.names[index],
            setting={**runs.setting, **stride, **kernel.setting},
            projected=kernel.projected or len(runs.names) > 1,
            notes=tuple(n for n in notes if n),
        )


def _mixed_strides(gaps: list[int]) -> str | None:
    if len(gaps) == 1:
        return None
    joint = "and every" if len(gaps) == 2 else "to every"
    return (
        f"recorded every {gaps[0]} {joint} {gaps[-1]} steps: one kernel mixes different time steps; "
        "resample to one stride"
    )
