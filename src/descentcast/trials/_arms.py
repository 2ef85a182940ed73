"""What recorded runs of one arm say of runs that nobody made: a kernel a run, virtual runs from each, real outcomes."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import chdtri, ndtr

from descentcast._shown import Shown
from descentcast.encoding import Transform
from descentcast.errors import DataError
from descentcast.kernels import KernelEstimator, RescaledRuns, TransitionKernel, default_edges, rescaled_edges
from descentcast.kernels._grid import one_step_spread
from descentcast.trajectories import Trajectories, Trajectory
from descentcast.trials._outcomes import Outcome
from descentcast.trials._particles import walk
from descentcast.trials._unfinished import Foretold, foretold

LEAST_TRANSITIONS = 8
CELLS_PER_SPREAD, FEWEST_CELLS, MOST_CELLS = 1.3, 40, 120
# Beyond the default grid on either side: a share of it, or so many spreads of a step, whichever is less.
MARGIN, MARGIN_SPREADS = 0.25, 8.0
# Virtual runs a recorded run and kernel at least, however many recorded runs share the replicates.
LEAST_PATHS = 6
TINY = 1e-9
# Starts that lie farther outside than this share of what a run has seen are said to be.
FAR = 0.5
EXTEND, KERNELS = "extend", "kernels"


@dataclass(frozen=True, eq=False, repr=False)
class RunEvidence(Shown):
    """What one recorded run says.

    Attributes:
        run: Its name.
        real: Its own outcome; NaN where it diverged, was too short, or is of another setting.
        diverged: Whether it did.
        virtual: Outcomes of virtual runs, shape (K, R): K resampled kernels of the run, R paths each; NaN for paths
            that diverged. Empty where the run is too short for a kernel.
        late: Which of the starts lie where the run is in its second half: from which share of them, lowest first, up to
            which.
        whole: The same for the whole run.
        unknown: Variance of `real` where the run is not finished and it was foretold, else 0.
        expected: Mean outcome of its virtual runs from its own start, by the median kernel; NaN where the trial's
            starts are those of its runs.
    """

    run: str
    real: float
    diverged: bool
    virtual: Float[np.ndarray, "K R"]
    late: tuple[float, float] = (0.0, 0.0)
    whole: tuple[float, float] = (0.0, 0.0)
    unknown: float = 0.0
    expected: float = float("nan")

    @cached_property
    def mean(self) -> float:
        """Mean outcome of the virtual runs that did not diverge, by the median kernel: a few of them may be wild."""
        means, _, _ = self._of_kernels
        return float(np.median(means)) if len(means) else float("nan")

    @property
    def carried(self) -> float:
        """Its own outcome, carried to the starts of the trial: as far from the virtual ones there as from its own."""
        return self.real if np.isnan(self.expected) else self.mean + self.real - self.expected

    @cached_property
    def within(self) -> float:
        """Variance of outcomes under the median kernel, v^2: what chance within a run, starts included, does."""
        _, variances, _ = self._of_kernels
        known = variances[np.isfinite(variances)]
        return float(np.median(known)) if len(known) else float("nan")

    @cached_property
    def sampling(self) -> float:
        """Variance of the mean outcome over kernels, s^2: what a run of this length leaves open.

        The squared half distance of the 16 % and 84 % quantiles of the kernels' means, less what R paths each add to
        it, and no less than the standard error of that. A single kernel says nothing of it: then the run counts for no
        more than its own outcome, `s^2 = v^2`.
        """
        means, _, counts = self._of_kernels
        if len(means) < 2:
            return self.within
        noise = self.within * float((1 / counts).mean())
        low, high = np.quantile(means, [ndtr(-1), ndtr(1)])
        return max(float((high - low) / 2) ** 2 - noise, noise * float(np.sqrt(2 / (len(means) - 1))))

    @cached_property
    def _of_kernels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, variance (right in the median, NaN for a single one) and number of the outcomes under each kernel."""
        rows = [row[np.isfinite(row)] for row in self.virtual]
        rows = [row for row in rows if len(row)]
        counts = np.array([len(row) for row in rows])
        variances = np.array([row.var(ddof=1) if len(row) > 1 else np.nan for row in rows])
        # The median of a chi-square is below its mean: of few paths by much.
        dof = np.maximum(counts - 1, 1)
        return np.array([row.mean() for row in rows]), variances * dof / chdtri(dof, 0.5), counts


@dataclass(frozen=True, eq=False)
class Arm:
    """The runs of one arm, as they take part in a trial.

    Attributes:
        name: The arm.
        runs: The recorded runs.
        rescaled: The ratios of step and batch size where nobody ran the arm: its runs are of another setting.
    """

    name: str
    runs: Trajectories
    rescaled: RescaledRuns | None = None

    @property
    def recorded(self) -> int:
        """How many runs of the arm's own setting there are."""
        return 0 if self.rescaled else len(self.runs)

    def transformed(self, transform: Transform) -> "Arm":
        """Return the arm with its values transformed."""
        if transform.name == "identity":
            return self
        runs = tuple(replace(run, values=transform.forward(run.values)) for run in self.runs)
        return replace(self, runs=Trajectories(runs))

    def grid(self, starts: Float[np.ndarray, "m"]) -> Float[np.ndarray, "n+1"]:
        """Return one grid for all runs of the arm, out to the starts.

        Cells are narrow beside the noise of one step (1.3 to a typical spread), 40 to 120 of them: coarser than
        `default_edges` where that costs nothing, since many kernels are fitted on it.
        """
        if self.rescaled:
            edges = rescaled_edges(self.runs, 0, self.rescaled.step, self.rescaled.batch)
            if edges[0] <= starts.min() and starts.max() <= edges[-1]:
                return edges
            spread = one_step_spread(*self.runs.transitions(0))
            hull = min(edges[0], starts.min() - 3 * spread), max(edges[-1], starts.max() + 3 * spread)
            return rescaled_edges(self.runs, 0, self.rescaled.step, self.rescaled.batch, hull)
        edges, _ = default_edges(self.runs)
        spread = one_step_spread(*self.runs.transitions(0))
        # Paths that leave the grid count as diverged: it reaches far beyond where runs have been.
        margin = min(MARGIN * (edges[-1] - edges[0]), MARGIN_SPREADS * spread)
        low, high = (
            min(edges[0] - margin, starts.min() - 3 * spread),
            max(edges[-1] + margin, starts.max() + 3 * spread),
        )
        needed = (high - low) * CELLS_PER_SPREAD / max(spread, TINY * (high - low))
        return np.linspace(low, high, int(np.clip(np.ceil(needed), FEWEST_CELLS, MOST_CELLS)) + 1)

    def far_from(self, starts: Float[np.ndarray, "m"], transform: Transform) -> tuple[str, ...]:
        """Say that starts lie farther from what the arm's runs have seen than half as far as that reaches, if so."""
        seen = np.concatenate(self.runs.coordinate(0))
        low, high = float(seen.min()), float(seen.max())
        away = np.maximum(low - starts, starts - high)
        if away.max(initial=0.0) <= FAR * (high - low):
            return ()
        ends = ", ".join(f"{x:.4g}" for x in transform.inverse(np.array([low, high])))
        start = float(transform.inverse(starts[[away.argmax()]])[0])
        return (f"{self.name}: runs saw [{ends}], far from the start {start:.4g}: what they do there is extrapolated",)

    def evidence(
        self,
        estimator: KernelEstimator,
        outcome: Outcome,
        transform: Transform,
        starts: Float[np.ndarray, "m"],
        steps: int,
        replicates: int,
        seed: int,
        unfinished: str,
        carried: bool,
    ) -> tuple[tuple[RunEvidence, ...], tuple[str, ...]]:
        """Fit a kernel to each run alone, simulate virtual runs by its resampled kernels, and read their outcomes.

        Args:
            estimator: Whose kernels; fresh copies are fitted.
            outcome: The outcome, of values as they were recorded.
            transform: From recorded values to those of the runs here.
            starts: Where runs start; the paths of every kernel take evenly from them, in turn.
            steps: The horizon.
            replicates: Virtual runs of the arm, at least.
            seed: Of the generator: arms that share it share their luck.
            unfinished: "extend" to foretell the outcomes of runs that ended before the horizon, or "kernels".
            carried: Whether starts are others than the runs' own, so that their outcomes have to be carried there.

        Returns:
            What each run says, and the notes of the fits.
        """

        def outcomes(kernels: list[TransitionKernel], first: Float[np.ndarray, "R"]) -> Float[np.ndarray, "K P"]:
            which = np.repeat(np.arange(len(kernels)), len(first) // len(kernels))
            walked = walk(kernels, which, first, steps, np.random.default_rng(seed))
            return outcome(transform.inverse(walked)).reshape(len(kernels), -1)

        edges = self.grid(starts)
        usable = sum(len(run) > LEAST_TRANSITIONS for run in self.runs)
        found, notes = [], []
        for run in self.runs:
            virtual, expected = np.empty((0, 0)), float("nan")
            if len(run) > LEAST_TRANSITIONS:
                own, told = self._kernels(run, estimator, edges)
                notes += told
                paths = max(int(np.ceil(replicates / usable / len(own))), LEAST_PATHS)
                virtual = outcomes(own, first_values(starts, len(own), paths))
                if carried and not self.rescaled:
                    again = outcomes(own, np.full(virtual.size, run.values[0, 0]))
                    expected = RunEvidence(run.run, 0.0, False, again).mean
            else:
                notes.append(f"{run.run}: {len(run) - 1} steps are too few for a kernel")
            gone = run.diverged is not None and len(run) <= steps and not self.rescaled
            own = Foretold(float("nan"), 0.0)
            if not self.rescaled and len(run) > steps:
                own = Foretold(float(outcome(transform.inverse(run.values[None, : steps + 1, 0]))[0]), 0.0)
            elif not self.rescaled and not gone and unfinished == EXTEND:
                own = foretold(run, outcome, transform, steps, seed)
                notes += own.notes
            values = run.values[:, 0]
            late, whole = reached(values[len(values) // 2 :], starts), reached(values, starts)
            found.append(RunEvidence(run.run, own.mean, gone, virtual, late, whole, own.variance, expected))
        return tuple(found), tuple(dict.fromkeys(notes))

    def _kernels(
        self, run: Trajectory, estimator: KernelEstimator, edges: Float[np.ndarray, "n+1"]
    ) -> tuple[list[TransitionKernel], tuple[str, ...]]:
        """Return the resampled kernels of one run, or its one kernel where the estimator resamples none, and notes."""
        own = Trajectories((run,))
        carried = RescaledRuns(own) if self.rescaled is None else replace(self.rescaled, runs=own)
        fitted = carried.fit(estimator, edges)
        kernel, resampled = fitted.kernel_, fitted.replicates_
        assert isinstance(kernel, TransitionKernel)  # there is one coordinate
        return [k for k in resampled if isinstance(k, TransitionKernel)] or [kernel], kernel.notes


def reached(values: Float[np.ndarray, "T"], starts: Float[np.ndarray, "m"]) -> tuple[float, float]:
    """Return which of the starts lie between the least and the largest value: from which share of them up to which.

    A run that comes back to where others start shows what they do from there; one that left for good, down a slope or
    into one basin of several, shows it once.

    Examples:
        >>> reached(np.array([0.0, 1.0]), np.array([3.0, 0.5, 2.5, 0.9]))
        (0.0, 0.5)
    """
    low, high = (starts < values.min()).mean(), (starts <= values.max()).mean()
    return float(low), float(high)


def first_values(starts: Float[np.ndarray, "m"], kernels: int, paths: int) -> Float[np.ndarray, "R"]:
    """Return where the paths of the kernels start: those of each all over the starts, whatever their order."""
    return starts[(np.arange(kernels * paths) * _stride(len(starts))) % len(starts)]


def _stride(m: int) -> int:
    """A stride that visits all of m places, far ones one after another: the golden section, made prime to m."""
    stride = max(round(0.618 * m), 1)
    while np.gcd(stride, m) != 1:
        stride += 1
    return stride


def arms_of(arms: Any, coordinate: str | None) -> tuple[list[Arm], str]:
    """Return the arms with the one coordinate that the outcome is read from, and its name.

    Raises:
        DataError: The arms lack the coordinate, or were recorded at different strides.
    """
    found = []
    name = coordinate
    for label, value in arms.items():
        runs = value.runs if isinstance(value, RescaledRuns) else value
        name = runs.names[0] if name is None else name
        if name not in runs.names:
            raise DataError(f"arm {label!r} recorded {', '.join(runs.names)}, must have recorded {name!r}")
        i = runs.names.index(name)
        own = Trajectories(tuple(replace(run, values=run.values[:, i], names=(name,)) for run in runs))
        found.append(Arm(label, own, replace(value, runs=own) if isinstance(value, RescaledRuns) else None))
    strides = {arm.name: sorted({int(gap) for run in arm.runs for gap in np.diff(run.steps)}) for arm in found}
    if len({tuple(gaps) for gaps in strides.values()}) > 1 and any(len(gaps) == 1 for gaps in strides.values()):
        told = "; ".join(f"{label!r} every {', '.join(map(str, gaps[:3]))} steps" for label, gaps in strides.items())
        raise DataError(f"arms were recorded at different strides ({told}), must be recorded at the same")
    assert name is not None
    return found, name
