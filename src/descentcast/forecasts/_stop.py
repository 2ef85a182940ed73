"""Is the rest of a run worth it?"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import RandomState
from descentcast.errors import ArgumentError
from descentcast.forecasts._extend import Extension, extend
from descentcast.forecasts._marginal import INTERVAL
from descentcast.kernels import KernelEstimator
from descentcast.trajectories import Trajectories, Trajectory

BETTER = ("lower", "higher")


@dataclass(frozen=True, eq=False, repr=False)
class StopAdvice(Shown):
    """Whether the rest of a run will reach a target, and what to do.

    Attributes:
        probability: That some value of the rest reaches the target.
        low: The 5 % quantile of that probability over draws of kernels and curves.
        high: The 95 % quantile.
        at_end: Probability that the last value reaches it.
        end_low: The 5 % quantile of that probability.
        end_high: The 95 % quantile.
        stop: Whether to stop: `probability < threshold`.
        sure: Whether that holds all over the interval.
        target: The target.
        better: "lower" or "higher".
        threshold: The probability below which the rest is not worth it.
        rest: The forecast that all this rests on.
    """

    probability: float
    low: float
    high: float
    at_end: float
    end_low: float
    end_high: float
    stop: bool
    sure: bool
    target: float
    better: str
    threshold: float
    rest: Extension

    @property
    def words(self) -> str:
        """The advice in plain words."""
        goal = f"{'at most' if self.better == 'lower' else 'at least'} {self.target:.4g}"
        known = f"{self.rest.names[0]} of {goal} within {self.rest.steps} more step{'s' * (self.rest.steps > 1)}"
        chance = f"{known}: probability {self.probability:.0%} ({self.low:.0%} to {self.high:.0%})"
        end = f"; at the end: {self.at_end:.0%} ({self.end_low:.0%} to {self.end_high:.0%})"
        if not self.sure:
            verdict = f"too little is known to be sure; {'stopping' if self.stop else 'going on'} is the better guess"
        else:
            verdict = "stop: the rest is not worth it" if self.stop else "go on"
        return f"{chance}{end}. At a threshold of {self.threshold:.0%}: {verdict}."

    def summary(self) -> str:
        """Return the advice and what it rests on, in plain words."""
        return "\n".join([self.words, *self.rest.notes])

    def to_dict(self) -> dict[str, Any]:
        """Return the advice as plain values, without the forecast."""
        names = ("probability", "low", "high", "at_end", "end_low", "end_high", "stop", "sure", "target", "better")
        return {
            **{name: getattr(self, name) for name in names},
            "threshold": self.threshold,
            "steps": self.rest.steps,
            "words": self.words,
            "notes": list(self.rest.notes),
        }


def stop_now(
    run: Trajectory | Trajectories,
    target: float,
    steps: int | None = None,
    runs: Trajectories | None = None,
    better: str = "lower",
    threshold: float = 0.1,
    estimator: KernelEstimator | None = None,
    coordinate: int | str | None = None,
    low: float | None = None,
    random_state: RandomState = 0,
) -> StopAdvice:
    """Say whether the rest of a run is worth its price: the probability that it reaches a target.

    `P(min over k of x_{T+k} <= target)`, k = 1, ..., `steps` (`max` and `>=` where higher is better), and
    `P(x_{T+steps} <= target)`, under the law of `extend`. What the recorded part reached does not count.

    Args:
        run: The recorded part.
        target: The value to be reached: the best of the runs that are finished, for example.
        steps: Rows to come; by default up to the end of the longest of `runs`, or as many as were recorded.
        runs: Other whole runs: see `extend`.
        better: "lower" or "higher".
        threshold: The probability below which the rest is not worth it, in [0, 1].
        estimator: The kernel member of `extend`.
        coordinate: The coordinate; by default the first that is no step size.
        low: A lower end that values never reach, such as 0 for a loss: see `extend`.
        random_state: Seed of the drawn paths.

    Returns:
        The advice: probabilities with intervals, and words.

    Raises:
        ArgumentError: A target that is no number, something else for `better`, no steps to come, and what `extend`
            raises.
        DataError: What `extend` raises.

    Examples:
        >>> loss = 0.3 + 0.7 * 0.95 ** np.arange(80) + 0.01 * np.random.default_rng(0).normal(size=80)
        >>> advice = stop_now(Trajectory(loss, names=("loss",)), target=0.1, steps=60)
        >>> advice.stop, advice.probability < 0.1
        (True, True)
    """
    target = _checks.real("target", target)
    better = _checks.one_of("better", better, BETTER)
    threshold = _checks.real("threshold", threshold, low=0, high=1)
    rest = extend(run, _rows_to_come(run, steps, runs), runs, estimator, coordinate, low, random_state)
    sign = 1.0 if better == "lower" else -1.0
    reaches = sign * rest.paths <= sign * target
    some, end = reaches.any(axis=2), reaches[:, :, -1]
    (least, most), (end_low, end_high) = (np.quantile(each.mean(axis=1), INTERVAL) for each in (some, end))
    probability = float(some.mean())
    stop = probability < threshold
    return StopAdvice(
        probability=probability,
        low=float(least),
        high=float(most),
        at_end=float(end.mean()),
        end_low=float(end_low),
        end_high=float(end_high),
        stop=stop,
        sure=bool(most < threshold if stop else least >= threshold),
        target=target,
        better=better,
        threshold=threshold,
        rest=rest,
    )


def _rows_to_come(run: Any, steps: int | None, runs: Any) -> int:
    if steps is not None:
        return _checks.integer("steps", steps, low=1)
    only = run[0] if isinstance(run, Trajectories) and len(run) == 1 else run
    if not isinstance(only, Trajectory):
        raise ArgumentError(f"run is a {type(run).__name__}, must be one Trajectory")
    if not isinstance(runs, Trajectories):
        return len(only)
    left = (max(int(r.steps[-1]) for r in runs) - int(only.steps[-1])) // (only.stride or 1)
    if left < 1:
        raise ArgumentError(
            "steps == None: the run is as long as the longest of runs, give the number of steps to come"
        )
    return left
