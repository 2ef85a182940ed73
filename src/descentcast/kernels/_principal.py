"""Kernels of principal components: several coordinates turned so that, as recorded, none tells of another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast._shown import Shown
from descentcast._types import Edges
from descentcast.encoding import PrincipalComponents
from descentcast.errors import ArgumentError
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._grid import grids_of
from descentcast.kernels._joint import in_box, marginal_kernels
from descentcast.kernels._kernel import TransitionKernel
from descentcast.trajectories import Trajectories


@dataclass(frozen=True, eq=False, repr=False)
class PrincipalKernel(Shown):
    """Kernel of coordinates whose principal components move independently, `p(x' | x) = prod_k p_k(z'_k | z_k)`.

    z are components of the states that the fit was given, and of no others; what a start has beside them stays as it
    is. They are uncorrelated over those states, which is less than independent: what their next values have in common,
    given the present ones, is not in the kernel.

    Attributes:
        components: The map of coordinates to components.
        kernels: The kernel of each component, named pc0, pc1, ...
        marginals: A local-linear kernel of each coordinate by itself on the same runs: its grid is the range of the
            coordinate, its drift tells basins, its visits where runs have been. It is not iterated.
        notes: Numerical outcomes worth knowing, in words.

    References:
        Benechehab et al. (2024), arXiv 2410.11711 (DICL).
    """

    components: PrincipalComponents
    kernels: tuple[TransitionKernel, ...]
    marginals: tuple[TransitionKernel, ...]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coordinates."""
        return tuple(kernel.name for kernel in self.marginals)

    def to_dict(self) -> dict[str, Any]:
        """Return components, kernels and notes as plain values."""
        return {
            "components": self.components.to_dict(),
            "kernels": [kernel.to_dict() for kernel in self.kernels],
            "marginals": [kernel.to_dict() for kernel in self.marginals],
            "notes": list(self.notes),
        }


def fit_principal(
    estimator: KernelEstimator, runs: Trajectories, edges: ArrayLike | Sequence[ArrayLike] | None
) -> PrincipalKernel:
    """Fit an estimator to the principal components of the runs' values.

    Args:
        estimator: Fits one kernel a coordinate; it is fitted in place, to the components.
        runs: The runs.
        edges: Cell edges of each coordinate, as in `KernelEstimator.fit`: the components' grids then cover the box that
            they span. By default the grid rule, for components and coordinates alike.

    Returns:
        The kernel.

    Raises:
        ArgumentError: Edges that do not fit, values outside them.
    """
    grids = grids_of(runs, edges)[0]
    marginals = marginal_kernels(runs, grids)
    for run in runs:
        in_box(f"{run.run}: value", run.values, marginals)
    components = PrincipalComponents.of(np.concatenate([run.values for run in runs]))
    names = tuple(f"pc{k}" for k in range(len(components)))
    moved = Trajectories(
        tuple(replace(run, values=components.forward(run.values), names=names) for run in runs), runs.notes
    )
    estimator.fit(moved, None if edges is None else _covering(components, grids))
    found = estimator.kernel_ if isinstance(estimator.kernel_, tuple) else (estimator.kernel_,)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(names, components.shares, strict=True))
    notes = [f"components move as if independent of each other; shares of variance: {shares}"]
    notes += [f"{kernel.name}: {note}" for kernel in found for note in kernel.notes]
    return PrincipalKernel(components, found, marginals, tuple(notes))


def _covering(components: PrincipalComponents, grids: Sequence[Edges]) -> list[Edges]:
    """Return grids of the components that cover the box of the coordinates' grids, with the most cells of any."""
    low, high = components.box([grid[0] for grid in grids], [grid[-1] for grid in grids])
    if not (high > low).all():
        raise ArgumentError("edges span a box without width along a principal component, must be wider")
    cells = max(len(grid) for grid in grids) - 1
    return [np.linspace(a, b, cells + 1) for a, b in zip(low, high, strict=True)]
