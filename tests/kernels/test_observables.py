"""The choice of an observable: closed forms of gain and memory, the right transform, stride and coordinate."""

import json

import numpy as np
import pytest
from scipy import stats

from descentcast.encoding import Log
from descentcast.errors import ArgumentError, DataError
from descentcast.kernels import choose_observable
from descentcast.kernels._observables import _marginal
from descentcast.trajectories import Trajectories


def autoregression(rng, steps, slope=0.8):
    x = np.zeros(steps)
    for t in range(steps - 1):
        x[t + 1] = slope * x[t] + rng.normal()
    return x


def momentum(rng, steps, decay=0.8):
    x, speed = np.zeros(steps), 0.0
    for t in range(steps - 1):
        speed = decay * speed - 0.05 * x[t] + rng.normal()
        x[t + 1] = x[t] + speed
    return x


def row(choice, **where):
    table = choice.table
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_the_gain_is_the_mutual_information_of_successive_values():
    x = autoregression(np.random.default_rng(0), 700)
    choice = choose_observable(Trajectories.from_arrays([x]), transforms=["identity"], strides=[1, 2])
    for stride in (1, 2):
        found = row(choice, stride=stride)
        assert found["gain"] == pytest.approx(-0.5 * np.log(1 - 0.8 ** (2 * stride)), abs=0.1)
        assert found["markov"]
    assert (choice.coordinate, choice.stride) == ("x", 1)
    assert "next to nothing" in choice.summary()


def test_log_scores_are_in_the_recorded_units():
    rng = np.random.default_rng(1)
    z = autoregression(rng, 500, slope=0.5)
    runs = Trajectories.from_arrays([1000 * np.exp(0.5 * z)], names=["loss"])
    choice = choose_observable(runs, transforms=["log", "identity"], strides=[1])
    assert choice.transform == Log()
    found = row(choice, transform="log")
    # The law of x' is log-normal around the present value: its expected log density, in closed form.
    truth = -np.log(0.5) - 0.5 * np.log(2 * np.pi) - 0.5 - np.log(1000) - 0.5 * z[2 + 10 :].mean()
    assert found["log_score"] == pytest.approx(truth, abs=0.06)
    # Units change log scores by their logarithm, and nothing else.
    rescaled = choose_observable(
        Trajectories.from_arrays([np.exp(0.5 * z)], names=["loss"]), transforms=["log", "identity"], strides=[1]
    )
    for which in ("log", "identity"):
        ours, theirs = row(choice, transform=which), row(rescaled, transform=which)
        assert ours["log_score"] == pytest.approx(theirs["log_score"] - np.log(1000), abs=1e-3)
        assert ours["gain"] == pytest.approx(theirs["gain"], abs=1e-3)
        assert ours["memory"] == pytest.approx(theirs["memory"], abs=1e-3)


def test_memory_of_momentum_is_told_and_a_markov_coordinate_preferred():
    rng = np.random.default_rng(2)
    both = np.column_stack([momentum(rng, 400), autoregression(rng, 400)])
    choice = choose_observable(Trajectories.from_arrays([both], names=["position", "other"]), strides=[1])
    assert choice.coordinate == "other"
    # The position alone tells more of its next value, but has memory: a partial correlation of 0.8 at lag 2.
    position = row(choice, coordinate="position", transform="identity")
    assert position["gain"] > row(choice, coordinate="other", transform="identity")["gain"]
    assert not position["markov"]
    assert position["memory"] == pytest.approx(-0.5 * np.log(1 - 0.64), abs=0.15)
    alone = choose_observable(
        Trajectories.from_arrays([both], names=["position", "other"]), ["position"], ["identity"], [1]
    )
    assert "no observable is without memory" in alone.summary()


def test_a_larger_stride_forgets():
    rng = np.random.default_rng(3)
    runs = Trajectories.from_arrays([momentum(rng, 600, decay=0.5) for _ in range(2)])
    choice = choose_observable(runs, transforms=["identity"], strides=[1, 10])
    assert choice.stride == 10
    assert row(choice, stride=10)["memory"] < 0.02 < 0.1 < row(choice, stride=1)["memory"]


def test_the_marginal_density_is_that_of_what_came_before():
    values = np.random.default_rng(4).normal(size=60)
    known = values[:40]
    low, high = np.quantile(known, [0.25, 0.75])
    h = 1.06 * min(known.std(), (high - low) / 1.349) * 40**-0.2
    inner = stats.norm.pdf(values[40], known, h).mean()
    outer = stats.cauchy.pdf(values[40], np.median(known), known.std())
    assert _marginal(values)[40] == pytest.approx(np.log(0.98 * inner + 0.02 * outer))
    changed = np.concatenate([values[:41], values[41:] + 5])
    assert _marginal(changed)[10:41] == pytest.approx(_marginal(values)[10:41])


def test_what_is_left_out_is_said_and_the_result_is_plain():
    x = autoregression(np.random.default_rng(5), 90)
    choice = choose_observable(Trajectories.from_arrays([x]), strides=[1, 10])
    assert set(choice.table["transform"]) == {"identity"}
    assert len(choice.left_out) == 3
    assert "no log" in choice.summary()
    assert "no stride of 10, which leaves 7 steps" in choice.summary()
    assert json.loads(json.dumps(choice.to_dict()))["transform"] == {"name": "identity"}


def test_what_never_changes_is_left_out():
    moving = np.column_stack([np.ones(60), autoregression(np.random.default_rng(6), 60)])
    choice = choose_observable(Trajectories.from_arrays([moving]), transforms=["identity"], strides=[1])
    assert choice.coordinate == "x1"
    assert choice.left_out == ("x0: always 1, which tells nothing.",)


def test_bad_input_is_named():
    runs = Trajectories.from_arrays([np.arange(60.0) % 7], names=["w"])
    for arguments, message in (
        ({"candidates": ["v"]}, "candidates == 'v', must be one of 'w'"),
        ({"candidates": [1]}, "candidates == 1"),
        ({"transforms": ["sqrt"]}, "transform == 'sqrt'"),
        ({"strides": [0]}, "strides == 0"),
        ({"strides": []}, "one each at least"),
    ):
        with pytest.raises(ArgumentError, match=message):
            choose_observable(runs, **arguments)
    with pytest.raises(DataError, match="nothing can be examined: w: no stride of 10"):
        choose_observable(runs, strides=[10], transforms=["identity"])
