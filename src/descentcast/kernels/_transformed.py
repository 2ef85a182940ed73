"""Any estimator of kernels in another scale: fitted to logarithms or logits, its kernel in the recorded units."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import Edges
from descentcast.encoding import Transform, transform
from descentcast.errors import ArgumentError
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._grid import as_trajectories, grids_of
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._one_each import several, single
from descentcast.kernels._transforms import CANDIDATES, TransformChoice, choose_transform
from descentcast.trajectories import Trajectories

AUTO = "auto"


class TransformedKernel(KernelEstimator):
    """An estimator fitted to a transform `z(x)` of each coordinate, its kernel given in x.

    A strictly increasing transform moves no mass between cells: the kernel of z on edges e is, with the same matrix,
    the kernel of x on edges `z^{-1}(e)`. So losses that fall by factors, and accuracies near their ends, are read on
    cells of even ratios or odds, and everything that takes a kernel takes this one.

    Args:
        estimator: What is fitted, such as `InContextKernel()` or a `StackedKernel`.
        transform: "identity", "log", "logit", a transform of your own ends, one of these a coordinate, or "auto": the
            best prequential log score of a local-linear law on the runs of the fit (`choose_transform`).

    Attributes:
        kernel_: The kernel in the recorded units, or a tuple of them, one a coordinate.
        replicates_: Those of the estimator, in the recorded units.
        transforms_: The transform of each coordinate.
        choice_: How they were chosen; None where they were named.
        estimator_: The fitted estimator, in the transformed scale.

    Raises:
        ArgumentError: No estimator of kernels, an unknown transform, values or edges that it does not hold, at `fit`.
        DataError: As `choose_transform`, where it is to choose.

    Examples:
        >>> from descentcast.kernels import AutoregressiveKernel
        >>> rng, x = np.random.default_rng(0), [1.0]
        >>> for _ in range(300):
        ...     x.append(x[-1] ** 0.9 * np.exp(0.2 * rng.normal()))
        >>> fitted = TransformedKernel(AutoregressiveKernel()).fit(Trajectories.from_arrays([x]))
        >>> fitted.transforms_, bool(fitted.kernel_.edges[0] > 0)
        ((Log(low=0.0),), True)
    """

    def __init__(
        self, estimator: KernelEstimator, transform: str | Transform | Sequence[str | Transform] = AUTO
    ) -> None:
        self.estimator = estimator
        self.transform = transform

    def fit(self, trajectories: Trajectories, edges: ArrayLike | Sequence[ArrayLike] | None = None) -> Self:
        """Transform the runs, fit the estimator, and give its kernel the edges in the recorded units.

        Args:
            trajectories: The runs.
            edges: Cell edges in the recorded units, as in `KernelEstimator.fit`; by default the grid rule of
                `default_edges` in the transformed scale.

        Returns:
            The estimator itself.

        Raises:
            ArgumentError: As the class says; an estimator whose kernel is of all coordinates together.
        """
        runs = as_trajectories(trajectories)
        self._check_parameters()
        choice = choose_transform(runs) if self.transform == AUTO else None
        maps = choice.transforms if choice else _one_each(self.transform, runs.names)
        inner = copy.copy(self.estimator).fit(_moved(runs, maps), _moved_edges(runs, edges, maps))
        kernels = inner.kernel_ if isinstance(inner.kernel_, tuple) else (inner.kernel_,)
        if not all(isinstance(kernel, TransitionKernel) for kernel in kernels):
            raise ArgumentError(f"estimator {inner.label} has no kernel a coordinate, must have one to be transformed")
        self.n_features_in_ = len(maps)
        self.choice_: TransformChoice | None = choice
        self.transforms_ = maps
        self.estimator_ = inner
        self.kernel_ = single([_back(kernel, which, True) for kernel, which in zip(kernels, maps, strict=True)])
        self.edges_ = single([kernel.edges for kernel in several(self.kernel_)])
        return self

    @property
    def replicates_(self) -> list[TransitionKernel] | list[tuple[TransitionKernel, ...]]:
        """The estimator's kernels of resampled runs, in the recorded units; none where it has none.

        Raises:
            AttributeError: The estimator is not fitted.
        """
        if not hasattr(self, "estimator_"):
            raise AttributeError("TransformedKernel has no replicates_ before fit")
        drawn = getattr(self.estimator_, "replicates_", None) or []
        found = [
            tuple(_back(k, which, False) for k, which in zip(several(one), self.transforms_, strict=True))
            for one in drawn
        ]
        return [kernels[0] for kernels in found] if len(self.transforms_) == 1 else found

    @property
    def label(self) -> str:
        """The estimator, and that it was transformed."""
        return f"TransformedKernel({self.estimator.label})"

    def _fit_coordinate(self, index: int, columns: list[np.ndarray], edges: Edges) -> TransitionKernel:
        named = self.transform
        one = TransformedKernel(self.estimator, named if isinstance(named, (str, Transform)) else named[index])
        return several(one.fit(Trajectories.from_arrays(columns), edges).kernel_)[0]

    def _check_parameters(self) -> None:
        if not isinstance(self.estimator, KernelEstimator):
            kind = type(self.estimator).__name__
            raise ArgumentError(f"estimator is a {kind}, must be an estimator of kernels such as LocalLinearKernel()")
        self.estimator._check_parameters()
        if self.transform != AUTO:
            _one_each(self.transform, ())


def _one_each(given: Any, names: Sequence[str]) -> tuple[Transform, ...]:
    """Return one transform a coordinate; as many as were given where `names` is empty."""
    if isinstance(given, (str, Transform)):
        if isinstance(given, str):
            _checks.one_of("transform", given, (AUTO, *CANDIDATES))
        return (transform(given),) * max(len(names), 1)
    maps = tuple(transform(which) for which in given)
    if names and len(maps) != len(names):
        raise ArgumentError(f"transform holds {len(maps)}, must hold one for each of {len(names)} coordinate(s)")
    return maps


def _moved(runs: Trajectories, maps: Sequence[Transform]) -> Trajectories:
    """Return the runs with every coordinate transformed."""
    for index, which in enumerate(maps):
        values = np.concatenate(runs.coordinate(index))
        if not which.holds(values).all():
            low, high = which.domain
            raise ArgumentError(
                f"transform == {which.name!r}: {runs.names[index]} holds {values[~which.holds(values)][0]:g}, must lie "
                f"strictly in ({low:g}, {high:g})"
            )
    columns = [[which.forward(run.values[:, i]) for i, which in enumerate(maps)] for run in runs]
    moved = [replace(run, values=np.column_stack(c)) for run, c in zip(runs, columns, strict=True)]
    return Trajectories(tuple(moved), runs.notes)


def _moved_edges(runs: Trajectories, edges: Any, maps: Sequence[Transform]) -> list[Edges] | None:
    if edges is None:
        return None
    grids = grids_of(runs, edges)[0]
    for grid, which in zip(grids, maps, strict=True):
        if not which.holds(grid).all():
            low, high = which.domain
            raise ArgumentError(
                f"edges span [{grid[0]:g}, {grid[-1]:g}], must lie strictly in ({low:g}, {high:g}) for the "
                f"{which.name}: leave them out, and put the transform around a stack rather than into it"
            )
    return [which.forward(grid) for grid, which in zip(grids, maps, strict=True)]


def _back(kernel: TransitionKernel, which: Transform, noted: bool) -> TransitionKernel:
    """Return the kernel with its edges in the recorded units."""
    edges = which.inverse(kernel.edges)
    if not (np.isfinite(edges).all() and (np.diff(edges) > 0).all()):
        low, high = which.domain
        raise ArgumentError(
            f"transform == {which.name!r}: {kernel.name} comes too near an end of ({low:g}, {high:g}) for cells beyond "
            "it to be told apart: choose other ends, or another transform"
        )
    if not noted or which.name == "identity":
        return replace(kernel, edges=edges)
    # What an estimator says of the runs is in the scale that it saw.
    told = tuple(f"in its {which.name}: {note}" for note in kernel.notes)
    return replace(kernel, edges=edges, notes=(*told, f"cells are even in the {which.name}"))
