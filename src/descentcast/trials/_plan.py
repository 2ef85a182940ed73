"""How many runs a trial needs, real or virtual, and what it can detect."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import ndtr

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.trials import _words
from descentcast.trials._contrasts import ArmMean, bias_between, predicted, weight_of
from descentcast.trials._result import TrialResult
from descentcast.trials._variance import ErrorLaw, root

MOST = 100_000


@dataclass(frozen=True)
class Plan:
    """What it takes to tell two arms apart.

    Attributes:
        contrast: The contrast.
        effect: Difference of means to be found, its absolute value.
        power: Probability of finding it.
        alpha: Of the two-sided test.
        real_runs: Real runs an arm that a t-test needs; None where more than 100,000.
        virtual_runs: Recorded runs an arm that a virtual trial needs; None where no number suffices, since the bias of
            kernels does not shrink with it.
        runs: Recorded runs an arm there are (the fewer of both).
        smallest_effect: Smallest effect that a virtual trial of that many runs finds with that power.
        smallest_effect_real: Smallest effect that a t-test on them finds; infinite for a single run an arm.
    """

    contrast: str
    effect: float
    power: float
    alpha: float
    real_runs: int | None
    virtual_runs: int | None
    runs: int
    smallest_effect: float
    smallest_effect_real: float

    @property
    def saved(self) -> int | None:
        """Real runs an arm that the virtual trial saves; None where either number is not known."""
        if self.real_runs is None or self.virtual_runs is None:
            return None
        return self.real_runs - self.virtual_runs

    def summary(self) -> str:
        """Return the plan in plain words."""
        real = f"{self.real_runs} real runs an arm" if self.real_runs else f"more than {MOST:,} real runs an arm"
        virtual = f"{self.virtual_runs} recorded runs an arm" if self.virtual_runs else "no number of recorded runs"
        return (
            f"{self.contrast}: a difference of {_words.number(self.effect)} is found with probability "
            f"{self.power:.0%} (at {self.alpha:.0%}) by a t-test of {real}, by a virtual trial of {virtual}. With "
            f"{self.runs} recorded the smallest difference found so is {_words.number(self.smallest_effect)}; by a "
            f"t-test {_words.number(self.smallest_effect_real)}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        found = {**vars(self), "saved": self.saved}
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in found.items()}


def plan(
    result: TrialResult,
    effect: float | None = None,
    power: float = 0.8,
    alpha: float | None = None,
    contrast: str | None = None,
) -> Plan:
    """Return how many runs would find an effect, in a real trial and in a virtual one.

    The real trial is a two-sided t-test on n runs an arm at the spread of outcomes that the result knows (power by the
    noncentral t). The virtual one has n recorded runs an arm as long as those at hand, which agree as they are
    expected to: its error has variance `sum over arms of phi_a p_a / n + bias`, phi at its posterior median, and it
    calls an effect that is larger than the half-width of its own interval at 1 - alpha.

    Args:
        result: A trial of at least one recorded run an arm.
        effect: Difference of means to be found; by default the one that the trial estimates.
        power: Probability of finding it.
        alpha: Of the tests; by default that of the trial.
        contrast: Which, by its label; by default the first.

    Raises:
        ArgumentError: Not a result, a contrast that is not there, an effect of zero, powers or levels off (0, 1).

    Examples:
        >>> import descentcast as dc
        >>> runs = {
        ...     name: dc.problems.Quadratic(step_size=0.2, minimum=m).simulate([0.0, 0.1], 200, random_state=1)
        ...     for name, m in (("a", 0.0), ("b", 0.5))
        ... }
        >>> result = dc.Trial(runs, estimator=dc.LocalLinearKernel()).run(400)
        >>> found = plan(result, effect=0.5)
        >>> found.virtual_runs < found.real_runs
        True
    """
    if not isinstance(result, TrialResult):
        raise ArgumentError(f"result is a {type(result).__name__}, must be a TrialResult")
    labels = result.effects["contrast"].tolist()
    label = _checks.one_of("contrast", labels[0] if contrast is None else contrast, labels)
    power = _open("power", power)
    alpha = result.alpha if alpha is None else _open("alpha", alpha)
    if power <= alpha:
        raise ArgumentError(
            f"power == {power:g}, must be greater than alpha, {alpha:g}: a coin that comes up so often has that"
        )
    row = result.effects.iloc[labels.index(label)]
    sought = abs(_checks.real("effect", float(row["effect"]) if effect is None else effect))
    ours, theirs = _words.contrast(result, label)
    indices = result.names.index(ours), result.names.index(theirs)
    arms = [mean for mean in (result.means[i] for i in indices) if mean is not None]
    if sought == 0 or len(arms) < 2:
        raise ArgumentError(f"effect == {sought:g}, must be a difference other than 0 of arms that do not all diverge")
    phi = [_phi(result, i) for i in indices]
    runs = min(mean.runs for mean in arms)

    def virtual(n: int, delta: float) -> float:
        return _virtual_power(result, arms, phi, n, delta, alpha)

    def real(n: int, delta: float) -> float:
        return _real_power([mean.outcome_sd for mean in arms], n, delta, alpha)

    return Plan(
        contrast=label,
        effect=sought,
        power=power,
        alpha=alpha,
        real_runs=_fewest(lambda n: real(n, sought) >= power, 2),
        virtual_runs=_fewest(lambda n: virtual(n, sought) >= power, 1),
        runs=runs,
        smallest_effect=_smallest(lambda delta: virtual(runs, delta) - power, sought),
        smallest_effect_real=_smallest(lambda delta: real(runs, delta) - power, sought) if runs > 1 else float("inf"),
    )


def _phi(result: TrialResult, arm: int) -> float:
    known = [i for i, mean in enumerate(result.means) if mean is not None]
    assert result.posterior is not None
    return result.posterior.median(known.index(arm))


def _virtual_power(
    result: TrialResult, arms: list[ArmMean], phi: list[float], n: int, delta: float, alpha: float
) -> float:
    # Weights and what is left of the bias as `arm_means` expects them, when real outcomes are as far from the virtual
    # ones as those at hand.
    prior = result.prior
    w = float(arms[0].shares @ weight_of(n, np.array(prior.bias)))
    ours, theirs = (replace(mean, weight=w, real=float(n)) for mean in arms)
    left = bias_between(ours, theirs, prior)
    variances = [predicted(w, mean.within, mean.sampling) for mean in arms]
    assert result.posterior is not None
    posterior = prior.posterior([(n - 1) * f for f in phi], [n - 1] * len(arms), result.posterior.seen)
    law = ErrorLaw.of(posterior, [(a, v / n) for a, v in enumerate(variances)], left, arms[0].shares)
    half = law.halfwidth(1 - alpha)
    sd = np.sqrt(sum(f * v / n for f, v in zip(phi, variances, strict=True)) + float(arms[0].shares @ left))
    return float(ndtr((delta - half) / sd) + ndtr((-delta - half) / sd))


def _real_power(sds: list[float], n: int, delta: float, alpha: float) -> float:
    dof = 2 * (n - 1)
    shift = delta / np.sqrt(sum(sd**2 for sd in sds) / n)
    t = stats.t.ppf(1 - alpha / 2, dof)
    # SciPy has NaN for the far tail of the other side, where next to nothing is left.
    return float(stats.nct.sf(t, dof, shift) + np.nan_to_num(stats.nct.cdf(-t, dof, shift)))


def _fewest(enough: Any, least: int) -> int | None:
    """Return the fewest runs that suffice: doubled until they do, then by bisection."""
    low, high = least - 1, least
    while not enough(high):
        if high == MOST:
            return None
        low, high = high, min(2 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _smallest(lacking: Any, guess: float) -> float:
    high = guess
    while lacking(high) < 0:
        high *= 2
        if high > 1e9 * guess:
            return float("inf")
    return root(lacking, 0.0, high)


def _open(name: str, value: Any) -> float:
    found = _checks.real(name, value, low=0, high=1, open_low=True)
    if found == 1:
        raise ArgumentError(f"{name} == 1, must be below 1")
    return found
