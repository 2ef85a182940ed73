"""Kernels that change with time: one a phase of the training, or one carried along a schedule of step sizes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import Edges
from descentcast.errors import ArgumentError, DataError
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._classical import ClassicalKernel
from descentcast.kernels._grid import default_edges
from descentcast.kernels._interpolation import between
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._local_linear import LocalLinearKernel
from descentcast.kernels._phased_kernel import PhasedKernel
from descentcast.kernels._phases import Phases, as_runs, coordinate_of, phases, rates_of
from descentcast.scoring import crps
from descentcast.trajectories import Trajectories, Trajectory

EACH, RESCALED, ONE, AUTO = "each", "rescaled", "one", "auto"
# Runs that are held out at most to choose among these, and from how many of their rows each is forecast.
HELD_OUT, ORIGINS = 4, 4
LEAST_MASS = 1e-12  # that is left on the grid
OUTSIDE = "extrapolated"
# Kernels along a schedule are made for step sizes this factor apart, and serve those nearest.
FINENESS = 1.03
SAME = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class PhasedFit(Shown):
    """Kernels of phases, fitted to runs: what `forecast` takes.

    Attributes:
        kernel_: The chain of the schedule that was asked for.
        phases: The phases of the runs.
        how: "each", "rescaled" or "one".
        scores: Mean CRPS of the ends of held-out runs by each way that was compared; empty where none was.
        fits: The fitted estimators, one a phase or one for all.
    """

    kernel_: PhasedKernel
    phases: Phases
    how: str
    scores: dict[str, float]
    fits: tuple[KernelEstimator, ...] = field(repr=False)
    _plan: tuple[tuple[int, float], ...] = field(repr=False)
    _whole: TransitionKernel | None = field(repr=False)

    @cached_property
    def replicates_(self) -> list[PhasedKernel]:
        """Chains of kernels of resampled runs; empty where an estimator has none. Made when first asked for."""
        resampled = [list(getattr(fit, "replicates_", None) or ()) for fit in self.fits]
        return [
            PhasedKernel(
                tuple(_filled(own[p][i], self.fits[p], self._whole).rescaled(step=r) for p, r in self._plan),
                self.kernel_.schedule,
            )
            for own in [resampled]
            for i in range(min(len(r) for r in resampled))
        ]


def phased(
    runs: Trajectories | Trajectory,
    ahead: ArrayLike | None = None,
    estimator: KernelEstimator | None = None,
    how: str = AUTO,
    rates: ArrayLike | None = None,
    edges: ArrayLike | None = None,
    coordinate: int | str | None = None,
) -> PhasedFit:
    """Fit kernels to the phases of runs, for forecasts through the phases to come.

    With `how="each"` an estimator is fitted to the transitions of each phase, and where no run was in that phase the
    rows are those of a kernel of all transitions; a step size to come is made by the kernel of the phase whose step
    size is nearest, carried over by `TransitionKernel.rescaled` where it is another. With
    "rescaled" one estimator is fitted to all transitions, each brought to one step size s by the rule of plain SGD,
    `(x, x + (s / s_t) (x' - x))`, and its kernel carried to every step size of the schedule: exact for a coordinate
    that plain SGD moves, and no more than a guess for a loss, for momentum and for adaptive methods. With "one" a
    kernel is fitted to all transitions as they are: what the schedule does must then show in the state, as in a loss
    that tells the time.

    "auto" holds out each of up to four runs, forecasts its end by kernels of the others, from the row that is as far
    from it as the forecast is to go (and the three after), and takes the way of the least mean CRPS ("one" only where
    the steps to come are those of the runs, "rescaled" only for estimators that take transitions one by one). Of a
    single run it takes "each".

    Args:
        runs: One run or several of one schedule.
        ahead: The step sizes of the steps to be forecast, one each; by default those of the runs from their first step
            on (the phases themselves, where step sizes are not known).
        estimator: What is fitted; `LocalLinearKernel()` by default. "rescaled" needs one that takes transitions one by
            one, a classical estimator.
        how: "auto", "each", "rescaled" or "one".
        rates: The step size of every recorded transition: see `phases`.
        edges: Cell edges; by default those of `default_edges`.
        coordinate: The coordinate; by default the first that is no step size.

    Returns:
        The fit: `kernel_`, `replicates_`, `phases`, and how it was made.

    Raises:
        ArgumentError: Step sizes ahead, or "rescaled", for runs of which no step size is known; an unknown coordinate.
        DataError: A phase of fewer than two transitions in every run.

    Examples:
        >>> import descentcast as dc
        >>> fast, slow = (dc.problems.Quadratic(step_size=s) for s in (0.5, 0.05))
        >>> first = fast.paths([3.0, -3.0, 1.0], 100, random_state=0)[..., 0]
        >>> then = slow.paths(first[:, -1], 100, random_state=1)[:, 1:, 0]
        >>> rates = [0.5] * 100 + [0.05] * 100
        >>> runs = dc.Trajectories.from_arrays(np.hstack([first, then]), setting={"schedule": rates})
        >>> fit = phased(runs, how="each")
        >>> fit.phases.table
           begin  end  step_size
        0      0  100       0.50
        1    100  200       0.05
        >>> spread = np.diff(dc.forecast(fit, [2.0], steps=200).quantiles([0.16, 0.84]), axis=-1)[0, :, 0] / 2
        >>> [round(float(s), 1) for s in spread[[100, 200]]]
        [0.6, 0.2]
    """
    runs, how = as_runs(runs), _checks.one_of("how", how, (AUTO, EACH, RESCALED, ONE))
    own = LocalLinearKernel() if estimator is None else estimator
    if not isinstance(own, KernelEstimator):
        raise ArgumentError(f"estimator is a {type(own).__name__}, must be one such as LocalLinearKernel()")
    index = coordinate_of(runs, coordinate)
    found = phases(runs, rates, index)
    known = rates_of(runs, rates, found.steps)[0]
    grid = default_edges(runs, index)[0] if edges is None else _checks.edges("edges", edges)
    if known is None and (ahead is not None or how == RESCALED):
        wanted = "ahead" if ahead is not None else f"how == {how!r}"
        raise ArgumentError(f"{wanted}: no step size is known of the runs: give rates, or runs that recorded them")
    coming = known if ahead is None else _ahead(ahead)
    scores = _scores(own, runs, found, known, coming, index, grid) if how == AUTO else {}
    chosen = min(scores, key=lambda name: scores[name]) if scores else EACH if how == AUTO else how
    fits, plan, schedule, whole = _fitted(chosen, own, runs, found, known, coming, index, grid)
    chain = _chain(fits, plan, schedule, whole)
    notes = _notes(found, plan, chosen, len(runs), scores)
    told = tuple(replace(kernel, notes=(*notes, *kernel.notes)) for kernel in chain.kernels)
    return PhasedFit(PhasedKernel(told, schedule), found, chosen, scores, fits, tuple(plan), whole)


def _chain(
    fits: Sequence[KernelEstimator],
    plan: Sequence[tuple[int, float]],
    schedule: np.ndarray,
    whole: TransitionKernel | None,
) -> PhasedKernel:
    moved = []
    for p, ratio in plan:
        kernel = fits[p].kernel_
        assert isinstance(kernel, TransitionKernel)
        moved.append(_filled(kernel, fits[p], whole).rescaled(step=ratio))
    return PhasedKernel(tuple(moved), schedule)


def _filled(kernel: TransitionKernel, fit: KernelEstimator, whole: TransitionKernel | None) -> TransitionKernel:
    """Return a phase's kernel with the rows of the whole runs' where it would extrapolate and that does not."""
    own = fit.kernel_
    if whole is None or not isinstance(own, TransitionKernel):
        return kernel
    taken = (own.evidence.source == OUTSIDE) & (whole.evidence.source != OUTSIDE)
    return replace(
        kernel,
        matrix=np.where(taken[:, None], whole.matrix, kernel.matrix),
        overflow=np.where(taken[:, None], whole.overflow, kernel.overflow),
    )


def _fitted(
    how: str,
    own: KernelEstimator,
    runs: Trajectories,
    found: Phases,
    known: np.ndarray | None,
    coming: np.ndarray | None,
    index: int,
    grid: Edges,
) -> tuple[tuple[KernelEstimator, ...], list[tuple[int, float]], np.ndarray, TransitionKernel | None]:
    """Return the fits, which of them at which ratio makes each kernel, the kernel of each step, and one of all."""
    columns = [run.values[:, index] for run in runs]
    all_of_them = Trajectories.from_arrays(columns, names=[runs.names[index]], setting=runs.setting)
    if how == ONE:
        pieces = [all_of_them]
        plan, schedule = [(0, 1.0)], np.zeros(found.steps if coming is None else len(coming), dtype=np.int64)
    elif known is None or coming is None:
        pieces = _of_each_phase(runs, found, index)
        plan, schedule = [(p, 1.0) for p in range(len(found))], found.of
    else:
        keys, schedule = _levels(coming)
        if how == EACH:
            pieces = _of_each_phase(runs, found, index)
            nearest = [int(np.abs(np.log(found.step_sizes / key)).argmin()) for key in keys]
            plan = [(p, _ratio(key / found.step_sizes[p])) for p, key in zip(nearest, keys, strict=True)]
        else:
            reference = float(np.exp(np.median(np.log(known))))
            pieces = [_brought_to(reference, runs, known, index)]
            plan = [(0, _ratio(key / reference)) for key in keys]
    fits = tuple(_fresh(own).fit(piece, grid) for piece in pieces)
    whole = _fresh(own).fit(all_of_them, grid).kernel_ if how == EACH and len(pieces) > 1 else None
    assert whole is None or isinstance(whole, TransitionKernel)
    return fits, plan, schedule, whole


def _fresh(estimator: KernelEstimator) -> KernelEstimator:
    return type(estimator)(**estimator.get_params(deep=False))


def _scores(
    own: KernelEstimator,
    runs: Trajectories,
    found: Phases,
    known: np.ndarray | None,
    coming: np.ndarray | None,
    index: int,
    grid: Edges,
) -> dict[str, float]:
    """Return the mean CRPS of the ends of held-out runs by each way of taking the schedule; none for one run."""
    whole = [run for run in runs if len(run) == found.steps + 1]
    if len(whole) < 2:
        return {}
    hows = [EACH]
    if known is None or coming is None or (len(coming) <= len(known) and _is_part(coming, known)):
        hows.append(ONE)
    if known is not None and isinstance(own, ClassicalKernel):
        hows.append(RESCALED)
    scores: dict[str, list[float]] = {how: [] for how in hows}
    for run in whole[:HELD_OUT]:
        others = Trajectories(tuple(r for r in runs if r is not run))
        for how in hows:
            chain = _chain(*_fitted(how, own, others, found, known, known, index, grid))
            scores[how].append(_score(chain, run.values[:, index], found.steps if coming is None else len(coming)))
    return {how: float(np.mean(each)) for how, each in scores.items()}


def _score(chain: PhasedKernel, values: np.ndarray, ahead: int) -> float:
    """Return the mean CRPS of the end of a run, from the row that is `ahead` steps before it and a few after."""
    kernel, last, found = chain.kernels[0], len(values) - 1, []
    first = max(last - ahead, 0)
    for origin in range(first, min(first + ORIGINS, last)):
        cell, share = between(kernel, values[origin : origin + 1])
        start = np.zeros((1, len(kernel.matrix)))
        start[0, cell], start[0, cell + 1] = 1 - share, share
        law = chain.after(origin).propagate(start, last - origin)[0][0, -1]
        found.append(crps(law[None] / max(law.sum(), LEAST_MASS), kernel.edges, values[-1:]).item())
    return float(np.mean(found))


def _is_part(coming: np.ndarray, known: np.ndarray) -> bool:
    """Return whether the step sizes to come are those at the end, or the beginning, of the recorded ones."""
    n = len(coming)
    return bool(any(np.allclose(coming, part, atol=0) for part in (known[len(known) - n :], known[:n])))


def _of_each_phase(runs: Trajectories, found: Phases, index: int) -> list[Trajectories]:
    pieces = []
    for number, (begin, end) in enumerate(pairwise([*found.begins.tolist(), found.steps])):
        kept = [run.values[begin : end + 1, index] for run in runs if len(run) > begin + 1]
        if sum(len(k) - 1 for k in kept) < 2:
            raise DataError(f"phase {number} has fewer than two transitions: record more of it, or use how='rescaled'")
        pieces.append(Trajectories.from_arrays(kept, names=[runs.names[index]], setting=runs.setting))
    return pieces


def _brought_to(reference: float, runs: Trajectories, rates: np.ndarray, index: int) -> Trajectories:
    """Return every transition as a run of two values, at the step size `reference`."""
    pairs = [
        np.array([x, x + reference / rate * (y - x)])
        for column in runs.coordinate(index)
        for x, y, rate in zip(column[:-1], column[1:], rates, strict=False)
    ]
    return Trajectories.from_arrays(pairs, names=[runs.names[index]], setting={**runs.setting, "step": reference})


def _levels(rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the step sizes that kernels are made for, and which of them makes each step."""
    exact, inverse = np.unique(rates, return_inverse=True)
    if len(exact) <= 32:
        return exact, inverse.astype(np.int64)
    bins = np.rint(np.log(rates) / np.log(FINENESS))
    _, inverse = np.unique(bins, return_inverse=True)
    means = np.bincount(inverse, np.log(rates)) / np.bincount(inverse)
    return np.exp(means), inverse.astype(np.int64)


def _ahead(ahead: ArrayLike) -> np.ndarray:
    rates = _checks.vector("ahead", ahead)
    if (rates <= 0).any():
        raise ArgumentError(f"ahead holds {rates.min():g}, must be step sizes above 0")
    return rates


def _ratio(value: float) -> float:
    return 1.0 if abs(value - 1) < SAME else float(value)


def _notes(
    found: Phases, plan: Sequence[tuple[int, float]], how: str, runs: int, scores: dict[str, float]
) -> tuple[str, ...]:
    notes = [f"{len(found)} phase(s), {found.source}, of {runs} run(s)"]
    if scores:
        told = ", ".join(f"{name} {score:.3g}" for name, score in scores.items())
        notes.append(f"how={how!r} by the CRPS of the ends of held-out runs: {told}")
    if how == ONE:
        notes.append("one kernel for all phases: the schedule is told by the state alone")
    elif how == RESCALED:
        notes.append("one kernel, carried along the schedule by the rule of plain SGD")
    elif any(ratio != 1 for _, ratio in plan):
        moved = [f"{found.step_sizes[p] * r:.3g}" for p, r in plan if r != 1]
        shown = ", ".join(moved[:3]) + (", ..." if len(moved) > 3 else "")
        notes.append(f"step sizes that no phase had ({shown}) by the rule of plain SGD from the nearest")
    return tuple(notes)
