"""Betting as runs come: Ville's inequality exactly on enumerated outcomes, error rates under optional stopping."""

import copy
from itertools import product

import numpy as np
import pytest

from descentcast.errors import ArgumentError
from descentcast.trials import SequentialTrial

VALUES, LAW = (0.0, 1.0, 3.0), (0.5, 0.3, 0.2)


class FixedForecast:
    """What a sequential trial reads of a result: virtual runs of two arms, their means and intervals."""

    def __init__(self, a, b):
        import pandas as pd

        self.names = ["a", "b"]
        self.virtual = {"a": np.asarray(a, float), "b": np.asarray(b, float)}
        self.means = tuple(type("Mean", (), {"mean": float(np.mean(v))})() for v in (a, b))
        self.arms = pd.DataFrame({"arm": ["a", "b"], "low": [0.0, 0.0], "high": [0.1, 0.1]})


@pytest.mark.parametrize("forecast", [None, FixedForecast([0, 1, 3, 0], [3, 3, 1, 3])])
def test_wealth_is_a_martingale_and_villes_inequality_holds_exactly(forecast):
    """All outcomes of three pairs under the null, each with its probability."""
    alpha, mean, crossing = 0.6, np.zeros(4), 0.0
    fresh = SequentialTrial(["a", "b"], alpha=alpha, forecast=forecast)
    for outcome in product(range(3), repeat=6):
        probability = float(np.prod([LAW[i] for i in outcome]))
        trial = copy.deepcopy(fresh)
        for a, b in zip(outcome[::2], outcome[1::2], strict=True):
            trial.add("a", VALUES[a]).add("b", VALUES[b])
        mean += probability * np.array(trial.wealth)
        crossing += probability * (trial.winner is not None)
    np.testing.assert_allclose(mean, 1.0, rtol=1e-12)
    assert 0 < crossing <= alpha


def test_the_null_is_seldom_called_although_one_stops_at_the_first_chance():
    rng, calls, trials = np.random.default_rng(0), 0, 200
    for _ in range(trials):
        trial = SequentialTrial(["a", "b"], alpha=0.1)
        for a, b in rng.standard_t(3, size=(40, 2)):
            # Which arm comes first depends on what was seen, and one stops when it suits.
            order = [("a", a), ("b", b)] if trial.wealth[-1] > 1 else [("b", b), ("a", a)]
            for arm, value in order:
                trial.add(arm, value)
            if trial.winner:
                calls += 1
                break
    assert calls / trials <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / trials)


def test_a_right_forecast_finds_an_effect_sooner_and_a_wrong_one_is_survived():
    rng = np.random.default_rng(1)
    right = FixedForecast(rng.normal(1, 0.5, 500), rng.normal(0, 0.5, 500))
    wrong = FixedForecast(rng.normal(0, 0.5, 500), rng.normal(1, 0.5, 500))
    pairs = rng.normal([1.0, 0.0], 0.5, size=(60, 2))
    found = {}
    for name, forecast in (("right", right), ("none", None), ("wrong", wrong)):
        trial = SequentialTrial(["a", "b"], alpha=0.01, forecast=forecast)
        for k, (a, b) in enumerate(pairs):
            trial.add("a", a).add("b", b)
            if trial.winner:
                found[name] = (k, trial.winner)
                break
    assert found["right"][0] < found["none"][0] <= found["wrong"][0]
    assert {winner for _, winner in found.values()} == {"b"}


def test_only_whole_pairs_are_bet_on_and_in_their_order():
    one, two = SequentialTrial(["a", "b"]), SequentialTrial(["a", "b"])
    for value in (1.0, 2.0, 3.0):
        one.add("a", value)
    assert one.wealth == [1.0]
    for value in (0.5, 0.4):
        one.add("b", value)
    for a, b in ((1.0, 0.5), (2.0, 0.4)):
        two.add("b", b).add("a", a)
    np.testing.assert_allclose(one.wealth, two.wealth)
    assert len(one.wealth) == 3


def test_a_diverged_run_is_worse_than_any():
    trial = SequentialTrial(["a", "b"], better="higher", alpha=0.2)
    for _ in range(8):
        trial.add("a", float("nan")).add("b", -1e9)
    assert trial.winner == "b"
    even = SequentialTrial(["a", "b"]).add("a", np.inf).add("b", np.nan)
    np.testing.assert_allclose(even.wealth, [1.0, 1.0])


def test_exchanging_the_arms_mirrors_the_trial():
    rng = np.random.default_rng(2)
    one, two = SequentialTrial(["a", "b"], better="lower"), SequentialTrial(["b", "a"], better="lower")
    for a, b in rng.normal(size=(10, 2)):
        one.add("a", a).add("b", b)
        two.add("a", a).add("b", b)
    np.testing.assert_allclose(one.wealth, two.wealth)
    assert one.to_dict()["p_value"] == pytest.approx(min(1, 1 / max(one.wealth)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arms": ["a"]}, "two different names"),
        ({"arms": ["a", "a"]}, "two different names"),
        ({"arms": ["a", "b"], "alpha": 1.0}, "alpha == 1"),
        ({"arms": ["a", "b"], "better": "up"}, "better == 'up'"),
        ({"arms": ["a", "c"], "forecast": FixedForecast([1, 2], [1, 2])}, "must have 'c'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        SequentialTrial(**arguments)
    with pytest.raises(ArgumentError, match="arm == 'z'"):
        SequentialTrial(["a", "b"]).add("z", 1.0)


@pytest.mark.parametrize("outcome", [None, True, "1", [1.0], np.array([1.0])])
def test_an_outcome_is_a_number(outcome):
    with pytest.raises(ArgumentError, match=r"outcome == .*, must be a number"):
        SequentialTrial(["a", "b"]).add("a", outcome)
