"""Testing as real runs come in: betting against no difference, with the forecast's help, and stopping at any time."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.trials._outcomes import DIRECTIONS
from descentcast.trials._result import TrialResult

# Fixed bets that share one half of the stake: shares of the wealth put on either arm.
FIXED_BETS = np.array([-0.8, -0.4, -0.2, 0.2, 0.4, 0.8])
MOST_BET = 0.9
BETS = np.linspace(-MOST_BET, MOST_BET, 181)
# Pairs of virtual runs that the forecast's bet is chosen by.
PAIRS = 4000


class SequentialTrial:
    """A trial of two arms on real runs as they come, valid whenever it is stopped.

    The k-th run of one arm is paired with the k-th of the other. Under the null, that the outcomes of both arms have
    one law, a bounded score that changes its sign when the arms are exchanged,

        g_k = clip(s (Y_k^b - Y_k^a) / scale_k, -1, 1),    s = 1 where higher is better, else -1,

    has mean zero given the earlier pairs, whatever `scale_k` and the bet were chosen by before. So the wealth of a
    gambler who bets the share beta_k of it on arm b, `W_k = W_{k-1} (1 + beta_k g_k)`, is a martingale from 1, and by
    Ville's inequality `P(sup_k W_k >= 1 / alpha) <= alpha`: the arms may be called different as soon as the wealth has
    reached 1 / alpha, and runs may be added or stopped for any reason. Half of the stake follows the bet that grows
    fastest under the forecast (Kelly), where one is given; the rest is spread over fixed bets on either side, so that a
    wrong forecast costs at most a factor of two, and never validity.

    Pairs are bet on in their order: which arm is run next, and when one stops, may depend on everything.

    Args:
        arms: The two names; the first is the control.
        better: "lower" or "higher".
        alpha: Probability of a false call, at most.
        forecast: A `TrialResult` with both arms, whose virtual runs choose scale and bet.

    Attributes:
        outcomes: The outcomes of each arm, in order; NaN for a run that diverged, which is worse than any.
        wealth: The wealth after each whole pair, beginning with 1.

    Raises:
        ArgumentError: Other than two different arms, arms that the forecast does not know, alpha off (0, 1).

    References:
        Waudby-Smith, Ramdas (2024), Estimating means of bounded random variables by betting, J. R. Stat. Soc. B 86;
        Shafer (2021), Testing by betting, J. R. Stat. Soc. A 184.

    Examples:
        >>> trial = SequentialTrial(["sgd", "adam"], better="lower", alpha=0.05)
        >>> for k in range(12):
        ...     _ = trial.add("sgd", 1.0 + 0.01 * k).add("adam", 0.5 + 0.01 * k)
        ...     if trial.winner:
        ...         break
        >>> trial
        SequentialTrial(sgd 8, adam 8: wealth 21.6, adam is better)
    """

    def __init__(
        self, arms: Sequence[str], better: str = "lower", alpha: float = 0.05, forecast: TrialResult | None = None
    ) -> None:
        names = _checks.several("arms", arms)
        if len(names) != 2 or names[0] == names[1]:
            raise ArgumentError(f"arms == {names!r:.80}, must be two different names")
        self.better = _checks.one_of("better", better, DIRECTIONS)
        self.alpha = _checks.real("alpha", alpha, low=0, high=1, open_low=True)
        if self.alpha == 1:
            raise ArgumentError("alpha == 1, must be below 1")
        self.arms = (str(names[0]), str(names[1]))
        self.outcomes: dict[str, list[float]] = {name: [] for name in self.arms}
        self.wealth: list[float] = [1.0]
        self._logs = np.zeros(len(FIXED_BETS) + (forecast is not None))
        self._sign = 1.0 if better == "higher" else -1.0
        self._scale, self._bet = self._chosen(forecast) if forecast is not None else (None, 0.0)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(values)}" for name, values in self.outcomes.items())
        state = f"{self.winner} is better" if self.winner else "undecided"
        return f"SequentialTrial({counts}: wealth {self.wealth[-1]:.3g}, {state})"

    def add(self, arm: str, outcome: float) -> "SequentialTrial":
        """Add the outcome of one real run; NaN or infinity for one that diverged.

        Returns:
            The trial itself.

        Raises:
            ArgumentError: No such arm, an outcome that is no number.
        """
        _checks.one_of("arm", arm, self.arms)
        if isinstance(outcome, bool) or not isinstance(outcome, int | float | np.integer | np.floating):
            raise ArgumentError(f"outcome == {outcome!r:.80}, must be a number, NaN or infinity where a run diverged")
        value = float(outcome)
        self.outcomes[arm].append(value if np.isfinite(value) else float("nan"))
        while len(self.wealth) <= min(map(len, self.outcomes.values())):
            self._settle(len(self.wealth) - 1)
        return self

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value, `min(1, 1 / max W)`."""
        return min(1.0, 1 / max(self.wealth))

    @property
    def winner(self) -> str | None:
        """The arm that is called better, None as long as none is: once called it stays."""
        called = np.flatnonzero(np.array(self.wealth) >= 1 / self.alpha)
        return None if not len(called) else self.arms[int(sum(self._scores(called[0])) > 0)]

    def to_dict(self) -> dict[str, Any]:
        """Return outcomes, wealth, p-value and winner as plain values."""
        return {
            "arms": list(self.arms),
            "better": self.better,
            "alpha": self.alpha,
            "outcomes": {k: [v if np.isfinite(v) else None for v in values] for k, values in self.outcomes.items()},
            "wealth": self.wealth,
            "p_value": self.p_value,
            "winner": self.winner,
        }

    def _settle(self, k: int) -> None:
        """Pay out pair k, whose bets knew the pairs before it only."""
        g = self._score(k)
        bets = np.append(FIXED_BETS, self._bet) if len(self._logs) > len(FIXED_BETS) else FIXED_BETS
        self._logs = self._logs + np.log1p(bets * g)
        shares = np.full(len(self._logs), 1 / len(FIXED_BETS))
        if len(shares) > len(FIXED_BETS):
            shares[:-1] /= 2
            shares[-1] = 0.5
        self.wealth.append(math.exp(float(np.asarray(logsumexp(self._logs, b=shares)))))

    def _score(self, k: int) -> float:
        """g_k, on the scale that the pairs before k say."""
        a, b = (self.outcomes[name][k] for name in self.arms)
        if np.isnan(a) or np.isnan(b):
            return float(np.isnan(a)) - float(np.isnan(b))
        difference = self._sign * (b - a)
        scale = self._scale if self._scale is not None else self._scale_before(k)
        return float(np.clip(difference / scale, -1, 1)) if scale > 0 else float(np.sign(difference))

    def _scores(self, pairs: int) -> list[float]:
        return [self._score(k) for k in range(pairs)]

    def _scale_before(self, k: int) -> float:
        """The median distance of the pairs before k; 0, for the sign alone, before there is one."""
        a, b = (np.array(self.outcomes[name][:k]) for name in self.arms)
        known = np.abs(b - a)[np.isfinite(b - a)]
        return float(np.median(known)) if len(known) else 0.0

    def _chosen(self, forecast: TrialResult) -> tuple[float | None, float]:
        """Scale and bet by pairs of virtual runs, moved by what the trial estimates of the means."""
        unknown = [name for name in self.arms if name not in forecast.names]
        if unknown:
            raise ArgumentError(f"forecast has the arms {', '.join(forecast.names)}, must have {unknown[0]!r}")
        rng = np.random.default_rng(0)
        drawn = []
        for name in self.arms:
            values = forecast.virtual[name]
            mean = forecast.means[forecast.names.index(name)]
            finite = values[np.isfinite(values)]
            if mean is None or not len(finite):
                return None, 0.0
            drawn.append(rng.choice(finite, PAIRS) + mean.mean - finite.mean())
        # The mean itself is not certain: it varies by as much as the trial says.
        row = forecast.arms.set_index("arm").loc[list(self.arms)]
        error = float(np.hypot(*((row["high"] - row["low"]) / 3.3)))
        difference = self._sign * (drawn[1] - drawn[0] + error * rng.standard_normal(PAIRS))
        scale = float(np.median(np.abs(difference)))
        if not scale > 0:
            return None, 0.0
        g = np.clip(difference / scale, -1, 1)
        growth = [np.log1p(beta * g).mean() for beta in BETS]
        return scale, float(BETS[int(np.argmax(growth))])
