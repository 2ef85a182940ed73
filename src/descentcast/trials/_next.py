"""Which run to make next: the arm and the start that tell most of which arm is best."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from descentcast import _checks
from descentcast._types import RandomState
from descentcast.errors import ArgumentError
from descentcast.trials._arms import first_values
from descentcast.trials._result import TrialResult

RULES = ("value", "thompson")
# Starts are judged in so many groups of neighbours at most.
GROUPS = 8


@dataclass(frozen=True)
class NextRun:
    """A run that is worth making.

    Attributes:
        arm: Of which arm.
        start: From where: the middle of the starts from which its outcome is least certain.
        values: By arm, the expected gain in the mean outcome of the arm chosen in the end (rule "value"), or 1 for
            the arm that was drawn (rule "thompson").
    """

    arm: str
    start: float
    values: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return arm, start and values as plain values."""
        return dict(vars(self))


def next_run(result: TrialResult, rule: str = "value", random_state: RandomState = 0) -> NextRun:
    """Return the arm and start to run next.

    With the means of the arms `N(mu_a, V_a)` by the result and one more run of arm a seen with variance r_a (what its
    kernels predict of a run, times the posterior median of phi), the mean of a would move by a standard deviation
    `s_a = V_a / sqrt(V_a + r_a)`. "value" is the knowledge gradient, the expected gain of choosing the best arm after
    the run instead of before it,

        value_a = s_a f(-|mu_a - best of the others| / s_a),    f(z) = z Phi(z) + phi(z)

    "thompson" draws the means and runs the arm whose draw is best: the baseline.

    Args:
        result: A trial with a mean for every arm.
        rule: "value" or "thompson".
        random_state: Seed of the draw.

    Raises:
        ArgumentError: Not a result, another rule, an arm all of whose virtual runs diverge.

    References:
        Frazier, Powell, Dayanik (2008), A knowledge-gradient policy for sequential information collection, SIAM J.
        Control Optim. 47; Thompson (1933), Biometrika 25.
    """
    if not isinstance(result, TrialResult):
        raise ArgumentError(f"result is a {type(result).__name__}, must be a TrialResult")
    _checks.one_of("rule", rule, RULES)
    means = [mean for mean in result.means if mean is not None]
    if len(means) < len(result.names) or result.posterior is None:
        raise ArgumentError("result has an arm all of whose virtual runs diverge, must have a mean for every arm")
    sign = 1.0 if result.better == "higher" else -1.0
    mu = sign * np.array([mean.mean for mean in means])
    ends = result.arms[["low", "high"]].to_numpy(dtype=float)
    sd = (ends[:, 1] - ends[:, 0]) / 2 / stats.norm.ppf((1 + result.level) / 2)
    if rule == "thompson":
        drawn = int(np.argmax(mu + sd * _checks.generator(random_state).standard_normal(len(mu))))
        values = [float(i == drawn) for i in range(len(mu))]
    else:
        noise = np.array([result.posterior.median(i) * mean.predicted for i, mean in enumerate(means)])
        step = sd**2 / np.sqrt(np.maximum(sd**2 + noise, np.finfo(float).tiny))
        others = np.array([np.delete(mu, i).max() for i in range(len(mu))])
        z = -np.abs(mu - others) / np.maximum(step, np.finfo(float).tiny)
        values = (step * (z * stats.norm.cdf(z) + stats.norm.pdf(z))).tolist()
    chosen = int(np.argmax(values))
    return NextRun(result.names[chosen], _start(result, chosen), dict(zip(result.names, values, strict=True)))


def _start(result: TrialResult, arm: int) -> float:
    """The middle of the group of neighbouring starts from which virtual outcomes are most spread."""
    runs = [run.virtual for run in result.evidence[arm] if run.virtual.size]
    starts = np.concatenate([first_values(result.starts, *virtual.shape) for virtual in runs])
    outcomes = np.concatenate([virtual.ravel() for virtual in runs])
    starts, outcomes = starts[np.isfinite(outcomes)], outcomes[np.isfinite(outcomes)]
    groups = np.array_split(np.argsort(starts, kind="stable"), min(GROUPS, len(np.unique(result.starts))))
    spreads = [outcomes[group].std() if len(group) > 1 else 0.0 for group in groups]
    return float(np.median(starts[groups[int(np.argmax(spreads))]]))
