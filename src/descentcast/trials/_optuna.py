"""A pruner for Optuna; the only module that imports it."""

try:
    import optuna
except ImportError as error:  # pragma: no cover
    raise ImportError("ForecastPruner needs Optuna: pip install optuna") from error

import numpy as np
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from descentcast import _checks
from descentcast.trials._pruning import LEAST_KNOWN, Reported, hardly_beats

MOST_REMEMBERED = 100


class ForecastPruner(BasePruner):
    """Prune a trial when it will hardly beat the best finished one.

    A trial is pruned where `P(its last value beats the best finished value) < probability`, forecast from its
    intermediate values and from those of finished trials: see `chance_of_beating`. The objective is taken to return
    what it reports last. A trial whose value is NaN is pruned; where trials of one study end at different steps, the
    horizon is the last step that a finished one reported.

    Args:
        probability: The probability below which a trial is pruned, in (0, 1).
        n_startup_trials: Nothing is pruned before so many trials have finished, at least 1.
        n_warmup_steps: No trial is pruned before it has reported so many values, at least 4. Where fewer than two
            finished trials got to the end, it takes 8.
        interval_steps: A trial is looked at whenever so many more values are there, at least 1.

    Raises:
        ArgumentError: An argument out of range.

    Examples:
        >>> import optuna
        >>> optuna.logging.set_verbosity(optuna.logging.ERROR)
        >>> def objective(trial):
        ...     rate = trial.suggest_float("rate", 0.01, 0.3)
        ...     for step in range(40):
        ...         loss = rate + 0.9 ** step
        ...         trial.report(loss, step)
        ...         if trial.should_prune():
        ...             raise optuna.TrialPruned()
        ...     return loss
        >>> sampler, pruner = optuna.samplers.RandomSampler(seed=0), ForecastPruner(interval_steps=6)
        >>> study = optuna.create_study(sampler=sampler, pruner=pruner)
        >>> study.optimize(objective, n_trials=12)
        >>> sum(trial.state.name == "PRUNED" for trial in study.trials) > 3
        True
    """

    def __init__(
        self,
        probability: float = 0.1,
        n_startup_trials: int = 4,
        n_warmup_steps: int = LEAST_KNOWN,
        interval_steps: int = 1,
    ) -> None:
        self._probability = _checks.real("probability", probability, low=0, high=1, open_low=True)
        self._startup = _checks.integer("n_startup_trials", n_startup_trials, low=1)
        self._warmup = _checks.integer("n_warmup_steps", n_warmup_steps, low=LEAST_KNOWN)
        self._interval = _checks.integer("interval_steps", interval_steps, low=1)

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Return whether to prune a trial, as Optuna asks after each report."""
        step, count = trial.last_step, len(trial.intermediate_values)
        if step is None:
            return False
        if np.isnan(trial.intermediate_values[step]):
            return True
        if count < self._warmup or (count - self._warmup) % self._interval:
            return False
        finished = [
            t
            for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if t.value is not None and np.isfinite(t.value) and t.last_step is not None
        ]
        if len(finished) < self._startup:
            return False
        known = Reported.of(trial.intermediate_values)
        last = max(t.last_step for t in finished if t.last_step is not None)
        if step >= last or len(known.steps) < LEAST_KNOWN:
            return False
        lower = study.direction == optuna.study.StudyDirection.MINIMIZE
        values = [t.value for t in finished if t.value is not None]
        others = [Reported.of(t.intermediate_values) for t in finished[-MOST_REMEMBERED:]]
        best = min(values) if lower else max(values)
        return hardly_beats(known, others, last, best, "lower" if lower else "higher", self._probability)
