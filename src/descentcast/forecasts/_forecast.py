"""From a kernel and starting points to where runs are after each step, and where they land."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.forecasts._basins import Basins, named
from descentcast.forecasts._marginal import Marginal, from_starts, marginal, start_laws
from descentcast.forecasts._particles import forecast_particles
from descentcast.forecasts._phased import phased_marginal
from descentcast.forecasts._result import Forecast, extrapolated, landing_table
from descentcast.forecasts._starting import fits_in_memory, start_points
from descentcast.kernels import CoupledKernel, JointKernel, PhasedKernel, PrincipalKernel, TransitionKernel


def forecast(
    fitted_or_kernel: Any, starts: ArrayLike, steps: int, basins: Basins | Iterable[Any] | None = None
) -> Forecast:
    """Forecast where runs go from starting points that nobody ran.

    From a start in cell i the law after t steps is row i of `P^t`; the probability of landing in a basin is the mass
    of that law on it at `t = steps`; a cell that is partly in an interval counts by its share. The first step from a
    start between two cell centres interpolates between their rows. Several coordinates move independently of each
    other, unless a `CoupledKernel` says how they drive each other, or the estimator was fitted with coordinates "pca"
    or "joint": then particles move in all of them together (see `forecast_particles`).

    Args:
        fitted_or_kernel: A `TransitionKernel`, a tuple of them, a `CoupledKernel`, a `PhasedKernel` (whose basins are
            those of the kernel that makes the last step), or a fitted estimator. Where it has `replicates_`,
            kernels fitted to resampled runs, the landing gets intervals; they hold what chance in the runs does to the
            kernel, not what is wrong with the estimator.
        starts: Starting states, shape (m,), or (m, D) for D coordinates.
        steps: Number of steps of the kernel, at least 1.
        basins: `Basins`, positions of minima, or intervals (lower, upper), and None for `minima(kernel)`; with several
            coordinates a sequence with one such entry a coordinate.

    Raises:
        ArgumentError: An estimator that is not fitted, a start outside the grid, starts that do not fit the
            coordinates, fewer than one step, densities of more than 4 GB (8 bytes for each start, step and cell),
            basins that overlap or are not there, a kernel whose spreads over- or underflow when squared.

    Examples:
        >>> import numpy as np
        >>> rows = [[0.6, 0.39, 0.01, 0], [0.4, 0.6, 0, 0], [0, 0, 0.5, 0.5], [0, 0.01, 0.49, 0.5]]
        >>> kernel = TransitionKernel([0, 1, 2, 3, 4], rows, np.zeros((4, 2)))
        >>> forecast(kernel, [0.5], steps=1).landing[["start", "basin", "probability"]]
           start         basin  probability
        0    0.5       basin 0         0.99
        1    0.5       basin 1         0.01
        2    0.5  nowhere seen         0.00
        3    0.5      diverged         0.00
    """
    coupled = fitted_or_kernel if isinstance(fitted_or_kernel, CoupledKernel) else None
    steps = _checks.integer("steps", steps, low=1)
    model = getattr(fitted_or_kernel, "kernel_", fitted_or_kernel)
    if isinstance(model, (JointKernel, PrincipalKernel)):
        return forecast_particles(fitted_or_kernel, starts, steps, basins=basins)
    chain = model if isinstance(model, PhasedKernel) else None
    kernels = coupled.kernels if coupled else (chain.at(steps - 1),) if chain else _kernels(model)
    resampled: list[Any] = list(getattr(fitted_or_kernel, "replicates_", None) or ())
    replicates = [] if chain else [_kernels(r) for r in resampled]
    points = start_points(starts, len(kernels))
    fits_in_memory(len(points), steps, sum(len(k.matrix) for k in kernels))
    wanted = [basins] if len(kernels) == 1 else [None] * len(kernels) if basins is None else list(basins)
    if len(wanted) != len(kernels):
        raise ArgumentError(f"basins have {len(wanted)} entries, must have one for each of {len(kernels)} coordinates")
    if chain:
        marginals = (phased_marginal(chain, points[:, 0], steps, named(kernels[0], wanted[0]), resampled),)
    else:
        marginals = tuple(
            marginal(kernel, points[:, d], steps, named(kernel, wanted[d]), [r[d] for r in replicates])
            for d, kernel in enumerate(kernels)
        )
    if coupled:
        laws = coupled.propagate([start_laws(k, points[:, d]) for d, k in enumerate(kernels)], steps)
        marginals = tuple(
            replace(m, density=from_starts(m.kernel, m.starts, density), overflow=overflow)
            for m, density, overflow in zip(marginals, *laws, strict=True)
        )
    return Forecast(
        marginals=marginals,
        starts=points[:, 0] if len(kernels) == 1 else points,
        steps=steps,
        landing=landing_table(marginals, points),
        notes=_notes(marginals, bool(resampled), coupled is not None),
    )


def _kernels(value: Any) -> tuple[TransitionKernel, ...]:
    kernels = (value,) if isinstance(value, TransitionKernel) else value
    if isinstance(kernels, (tuple, list)) and kernels and all(isinstance(k, TransitionKernel) for k in kernels):
        return tuple(kernels)
    hint = " that is not fitted: call fit first" if hasattr(value, "fit") else ""
    raise ArgumentError(
        f"fitted_or_kernel is a {type(value).__name__}{hint}"
        + ("" if hint else ", must be a TransitionKernel, a tuple of them or a fitted estimator")
    )


def _notes(marginals: tuple[Marginal, ...], intervals: bool, coupled: bool) -> tuple[str, ...]:
    notes = []
    if not intervals:
        notes.append("no intervals (low, high): one kernel was given, none from resampled runs")
    if coupled:
        notes.append(
            "hitting times and samples move each coordinate by its own kernel: the coupling is in the laws only"
        )
    elif len(marginals) > 1:
        notes.append("coordinates are forecast as if they moved independently of each other")
    for m in marginals:
        name = m.kernel.name
        if m.kernel.projected:
            notes.append(f"{name}: not a Markov chain by itself, its kernel is an approximation")
        told = (note.removeprefix(f"{name}: ") for note in (*m.kernel.notes, *m.basins.notes))
        notes += [f"{name}: {note}" for note in told]
    return tuple(notes + extrapolated(marginals))
