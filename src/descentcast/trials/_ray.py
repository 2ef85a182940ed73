"""A stopper for Ray Tune; the only module that imports it."""

from typing import Any

import numpy as np

from descentcast import _checks
from descentcast.trials._pruning import LEAST_KNOWN, Reported, hardly_beats

MODES = {"min": "lower", "max": "higher"}


class ForecastStopper:
    """Stop a trial of Ray Tune when it will hardly beat the best finished one: the rule of `ForecastPruner`.

    A `ray.tune.Stopper`, registered as one when the first is made, so that Ray is needed no sooner.

    Args:
        metric: The key of the results that is compared.
        mode: "min" or "max".
        max_t: The time at which trials end by themselves: those that got there are finished. At least 5.
        time_attr: The key that counts time.
        probability: The probability below which a trial is stopped, in (0, 1].
        grace_period: No trial is stopped before it has reported so many values, at least 4. Where
            fewer than two finished trials got to the end, it takes 8.
        startup_trials: Nothing is stopped before so many trials have finished, at least 1.

    Raises:
        ArgumentError: An argument out of range; at a result: one without the metric or the time.
        ImportError: Ray Tune is not installed.

    Examples:
        >>> stopper = ForecastStopper("loss", "min", max_t=100)  # for tune.RunConfig(stop=stopper)
        >>> stopper("trial 1", {"loss": 0.7, "training_iteration": 1})
        False
    """

    def __init__(
        self,
        metric: str,
        mode: str,
        max_t: int,
        time_attr: str = "training_iteration",
        probability: float = 0.1,
        grace_period: int = LEAST_KNOWN,
        startup_trials: int = 4,
    ) -> None:
        try:
            from ray.tune import Stopper  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError("ForecastStopper needs Ray Tune: pip install 'ray[tune]'") from error
        Stopper.register(ForecastStopper)
        self._metric, self._time = metric, time_attr
        self._better = MODES[_checks.one_of("mode", mode, tuple(MODES))]
        self._last = _checks.integer("max_t", max_t, low=LEAST_KNOWN + 1)
        self._probability = _checks.real("probability", probability, low=0, high=1, open_low=True)
        self._grace = _checks.integer("grace_period", grace_period, low=LEAST_KNOWN)
        self._startup = _checks.integer("startup_trials", startup_trials, low=1)
        self._reported: dict[str, dict[int, float]] = {}
        self._finished: dict[str, float] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether to stop a trial, as Ray Tune asks after each result."""
        time = _checks.integer(f"result[{self._time!r}]", result.get(self._time))
        value = result.get(self._metric)
        if not isinstance(value, (int, float, np.number)):
            value = _checks.real(f"result[{self._metric!r}]", value)
        points = self._reported.setdefault(trial_id, {})
        points[time] = float(value)
        if not np.isfinite(value):
            return True
        if time >= self._last or result.get("done", False):
            self._finished[trial_id] = float(value)
            return time >= self._last
        if len(points) < self._grace or len(self._finished) < self._startup:
            return False
        others = [Reported.of(self._reported[name]) for name in self._finished if name != trial_id]
        pick = min if self._better == "lower" else max
        best = pick(self._finished.values())
        known = Reported.of(points)
        return hardly_beats(known, others, self._last, best, self._better, self._probability)

    def stop_all(self) -> bool:
        """Return False: the rule never ends the experiment."""
        return False
