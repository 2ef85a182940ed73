"""A virtual randomized trial: arms, outcome and contrasts, and what running it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import RandomState
from descentcast.encoding import Identity, Log, Transform, transform
from descentcast.errors import ArgumentError, DataError
from descentcast.kernels import (
    KernelDensityKernel,
    KernelEstimator,
    LocalLinearKernel,
    RescaledRuns,
    StackedKernel,
)
from descentcast.trajectories import Trajectories
from descentcast.trials._arms import EXTEND, KERNELS, Arm, arms_of
from descentcast.trials._calibrated import CALIBRATED
from descentcast.trials._contrasts import pairs
from descentcast.trials._outcomes import Outcome, outcome_of
from descentcast.trials._result import TrialResult, concluded
from descentcast.trials._variance import VariancePrior

CONTRASTS, ADJUSTMENTS = ("pairs", "control"), ("holm", "fdr")
# Starts are taken in turn, so many of those that a function draws.
DRAWN_STARTS = 256
# What varies by more than this factor and is positive is followed in logarithms.
WIDE = 5.0


@dataclass(frozen=True, eq=False, repr=False)
class Trial(Shown):
    """A randomized trial over seeds, run on kernels of recorded runs.

    The estimand is the mean outcome of an arm over seeds, `mu_a = E f(x_0, ..., x_T)`, starts drawn from one law for
    all arms, and effects are its differences, `mu_b - mu_a`. The unit of replication is the run. Each recorded run gets
    a kernel of its own, and with it resampled kernels (its blocks, the weights of a stack); virtual runs from all of
    them say what the outcome would be under other seeds. What no step of one run shows, how much runs differ beyond
    their kernels, is a variance component with a prior, updated by how far the recorded runs of an arm agree.

    Args:
        arms: The runs of each arm by name: `Trajectories`, or `rescale(runs, ...)` for a setting nobody ran. The first
            is the control.
        outcome: "final", "best", "area", "time_to(x)", or a function from paths, shape (R, T + 1), to (R,).
        better: "lower" or "higher".
        starts: Where virtual runs start: None for the first values of all recorded runs, of every arm alike; an array;
            or a function of a generator and a number that draws so many.
        steps: T, in recorded steps; by default as many as every run has that did not diverge.
        contrasts: "pairs" for every pair of arms, "control" for each against the first.
        estimator: An estimator of kernels; by default a stack of a local-linear and a conditional-density kernel.
        coordinate: Name of the coordinate the outcome is read from; the first by default.
        rope: Half-width of the region of practical equivalence; None for no test of it.
        level: Of the intervals.
        alpha: Of the tests.
        adjust: "holm" or "fdr": how p-values are adjusted for the number of contrasts.
        unfinished: What runs say that ended before the horizon and did not diverge: "extend" foretells the outcome of
            each by the rest of its own curve (`extend`), and counts it for what is known of it; "kernels" uses them for
            kernels alone.
        transform: How values are followed: "auto" (logarithms where all of them and all starts are positive, and they
            vary by more than 5 times), "identity", "log", "logit".
        prior: Prior of the variance between runs; by default the calibrated one.

    Raises:
        ArgumentError: Fewer than two arms, an argument out of range.
        DataError: Arms that did not record the coordinate, or at different strides; no run long enough.

    Examples:
        >>> import descentcast as dc
        >>> runs = {
        ...     f"step {s}": dc.problems.Quadratic(step_size=s, minimum=m).simulate([0.0, 0.1], 150, random_state=1)
        ...     for s, m in ((0.1, 0.0), (0.2, 2.0))
        ... }
        >>> trial = Trial(arms=runs, outcome="final", better="lower", estimator=dc.LocalLinearKernel())
        >>> result = trial.run(replicates=400)
        >>> effect = result.effects.iloc[0]
        >>> effect["contrast"], bool(effect["low"] < 2.0 < effect["high"]), effect["verdict"]
        ('step 0.2 - step 0.1', True, 'worse')
    """

    arms: Mapping[str, Trajectories | RescaledRuns]
    outcome: str | Callable[[np.ndarray], np.ndarray] = "final"
    better: str = "lower"
    starts: ArrayLike | Callable[[np.random.Generator, int], ArrayLike] | None = None
    steps: int | None = None
    contrasts: str = "pairs"
    estimator: KernelEstimator | None = None
    coordinate: str | None = None
    rope: float | None = None
    level: float = 0.9
    alpha: float = 0.05
    adjust: str = "holm"
    unfinished: str = EXTEND
    transform: str | Transform = "auto"
    prior: VariancePrior = field(default=CALIBRATED)

    def __post_init__(self) -> None:
        _checks_arms(self.arms)
        self._outcome  # noqa: B018 - checked now, so that a wrong one is known before anything is fitted
        _checks.one_of("contrasts", self.contrasts, CONTRASTS)
        _checks.one_of("adjust", self.adjust, ADJUSTMENTS)
        _checks.one_of("unfinished", self.unfinished, (EXTEND, KERNELS))
        for name in ("level", "alpha"):
            value = _checks.real(name, getattr(self, name), low=0, high=1, open_low=True)
            if value == 1:
                raise ArgumentError(f"{name} == 1, must be below 1")
        if self.rope is not None:
            _checks.real("rope", self.rope, low=0, open_low=True)
        if self.steps is not None:
            _checks.integer("steps", self.steps, low=1)
        if self.estimator is not None and not isinstance(self.estimator, KernelEstimator):
            raise ArgumentError(
                f"estimator is a {type(self.estimator).__name__}, must be an estimator such as LocalLinearKernel()"
            )
        if not isinstance(self.prior, VariancePrior):
            raise ArgumentError(f"prior is a {type(self.prior).__name__}, must be a VariancePrior")
        self._parts  # noqa: B018
        self._horizon  # noqa: B018

    def run(self, replicates: int = 1000, random_state: RandomState = 0) -> TrialResult:
        """Simulate virtual runs of every arm and compare.

        Arms share starts and random numbers, which makes their difference the more certain the more alike they are.

        Args:
            replicates: Virtual runs an arm, at least; they are divided among its recorded runs and their kernels.
            random_state: The same seed gives the same result.

        Returns:
            The result: `.arms`, `.effects`, `.summary()`.

        Raises:
            ArgumentError: Fewer than 40 replicates.
            DataError: No run of an arm is long enough for a kernel.
        """
        replicates = _checks.integer("replicates", replicates, low=40)
        rng = _checks.generator(random_state)
        arms, name = self._parts
        starts = self._starts(rng)
        seed = int(rng.integers(2**63))
        evidence, notes = [], list(self._notes(name))
        carried = self.starts is not None or _apart(arms)
        if carried:
            notes.append(
                "recorded outcomes are carried to these starts, off virtual ones by as much as they are at their own"
            )
        for arm in arms:
            notes += arm.far_from(starts, self._transform)
            said, told = arm.evidence(
                self._estimator, self._outcome, self._transform, starts, self._horizon, replicates, seed,
                self.unfinished, carried,
            )  # fmt: skip
            if not any(run.virtual.size for run in said):
                raise DataError(f"arm {arm.name!r}: no run has the 9 recorded steps that a kernel needs")
            notes += [f"{arm.name}: {note}" for note in told]
            evidence.append(said)
        return concluded(
            self._outcome,
            name=name,
            arms=arms,
            evidence=evidence,
            prior=self.prior,
            pairs=pairs([arm.name for arm in arms], self.contrasts),
            horizon=self._horizon,
            starts=self._transform.inverse(starts),
            level=self.level,
            alpha=self.alpha,
            adjust=self.adjust,
            rope=self.rope,
            estimator=self._estimator.label,
            notes=tuple(dict.fromkeys(notes)),
        )

    @cached_property
    def _outcome(self) -> Outcome:
        return outcome_of(self.outcome, self.better)

    @cached_property
    def _estimator(self) -> KernelEstimator:
        return self.estimator or StackedKernel([LocalLinearKernel(), KernelDensityKernel()])

    @cached_property
    def _transform(self) -> Transform:
        arms, _ = arms_of(self.arms, self.coordinate)
        if self.transform != "auto":
            chosen = transform(self.transform)
            if chosen != Identity() and any(arm.rescaled for arm in arms):
                raise ArgumentError(
                    f"transform == {self.transform!r}, must be 'identity' where an arm is rescaled: steps of SGD are "
                    "stretched in the values themselves"
                )
            return chosen
        values = np.concatenate([run.values for arm in arms for run in arm.runs])
        starts = self._given_starts(np.random.default_rng(0))
        positive = bool((values > 0).all() and (starts > 0).all()) and bool(values.max() > WIDE * values.min())
        return Log() if positive and not any(arm.rescaled for arm in arms) else Identity()

    @cached_property
    def _parts(self) -> tuple[list[Arm], str]:
        arms, name = arms_of(self.arms, self.coordinate)
        return [arm.transformed(self._transform) for arm in arms], name

    @cached_property
    def _horizon(self) -> int:
        arms, _ = self._parts
        if self.steps is not None:
            return self.steps
        whole = [len(run) - 1 for arm in arms for run in arm.runs if run.diverged is None]
        if not whole:
            raise DataError("every run diverged: say by steps how long runs were meant to be")
        return min(whole)

    def _starts(self, rng: np.random.Generator) -> np.ndarray:
        arms, _ = self._parts
        if self.starts is None:
            return np.array([run.values[0, 0] for arm in arms for run in arm.runs])
        given = self._given_starts(rng)
        if not (there := self._transform.holds(given)).all():
            raise ArgumentError(f"starts hold {given[~there][0]:g}, of which there is no {self._transform.name}")
        return self._transform.forward(given)

    def _given_starts(self, rng: np.random.Generator) -> np.ndarray:
        """Return the starts that were given, as recorded; none where they are those of the runs."""
        given = self.starts(rng, DRAWN_STARTS) if callable(self.starts) else self.starts
        return np.empty(0) if given is None else _checks.vector("starts", given)

    def _notes(self, name: str) -> list[str]:
        notes = []
        if self._transform != Identity():
            notes.append(f"{name} was followed as its {self._transform.name}")
        several = [label for label, runs in self.arms.items() if len(runs.names) > 1]
        if several:
            notes.append(f"{name} was followed by itself, without the other coordinates: a projected kernel")
        return notes


def _apart(arms: list[Arm]) -> bool:
    """Return whether two arms began in different places: the first values of one all beyond those of the other."""
    first = [[run.values[0, 0] for run in arm.runs] for arm in arms if not arm.rescaled]
    return len(first) > 1 and max(map(min, first)) > min(map(max, first))


def _checks_arms(arms: Any) -> None:
    if not isinstance(arms, Mapping) or len(arms) < 2:
        found = f"{len(arms)} of them" if isinstance(arms, Mapping) else f"a {type(arms).__name__}"
        raise ArgumentError(f"arms are {found}, must be a dictionary of at least two: name to Trajectories")
    for name, runs in arms.items():
        if not isinstance(name, str):
            raise ArgumentError(f"arms are named {name!r} among others, names must be strings")
        if not isinstance(runs, Trajectories | RescaledRuns):
            raise ArgumentError(
                f"arms[{name!r}] is a {type(runs).__name__}, must be Trajectories, or what rescale makes of them"
            )
