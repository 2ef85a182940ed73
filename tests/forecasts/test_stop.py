"""Advice on stopping: probabilities of whole paths, held against closed forms and simulation."""

import json

import numpy as np
import pytest

import descentcast as dc
from descentcast.errors import ArgumentError


def walk(seed, steps=100):
    return dc.Trajectory(5 + np.cumsum(np.random.default_rng(seed).standard_normal(steps)), names=("loss",))


def test_a_walk_obeys_the_reflection_principle():
    """P(min of n steps <= -a) is nearly 2 P(the last <= -a); in discrete time -a lies 0.58 steps lower (Siegmund)."""
    found = []
    for seed in (1, 2, 3):
        run = walk(seed)
        advice = dc.stop_now(run, float(run.values[-1, 0]) - 8, steps=64)
        found.append([advice.probability, advice.at_end])
    some, end = np.mean(found, axis=0)
    assert 1.6 < some / end < 2.2
    assert 0.05 < end < 0.25  # Phi(-1) = 0.16, if it were known to be a walk


def test_higher_is_the_mirror_image_of_lower():
    """Of a run with values on both sides of zero: one above it is fitted in logarithms too, its mirror image not."""
    values = walk(2).values
    run = dc.Trajectory(values - values.mean(), names=("loss",))
    mirrored = dc.Trajectory(-run.values, names=("accuracy",))
    last = float(run.values[-1, 0])
    low, high = dc.stop_now(run, last - 8, 80), dc.stop_now(mirrored, -(last - 8), 80, better="higher")
    assert low.probability == pytest.approx(high.probability, abs=0.06)
    assert "at least" in high.words


def test_what_is_out_of_reach_and_what_is_certain():
    loss = 0.3 + 0.7 * 0.95 ** np.arange(120) + 0.01 * np.random.default_rng(0).standard_normal(120)
    far = dc.stop_now(dc.Trajectory(loss[:100]), -0.5, steps=50)
    near = dc.stop_now(dc.Trajectory(loss[:100]), 0.32, steps=50)
    assert far.stop
    assert far.sure
    assert "stop" in far.words
    assert not near.stop
    assert near.low > 0.8
    assert "go on" in near.words
    assert json.loads(json.dumps(near.to_dict()))["stop"] is False
    assert near.summary().startswith(near.words)


def test_stop_is_what_the_threshold_says():
    run = walk(3)
    target = float(run.values[-1, 0]) - 10
    advice = dc.stop_now(run, target, 50, threshold=0.05)
    again = dc.stop_now(run, target, 50, threshold=0.95)
    assert not advice.stop
    assert again.stop
    assert advice.low <= advice.probability <= advice.high


def test_the_number_of_steps_by_default():
    run, other = walk(4, 40), walk(5, 100)
    assert dc.stop_now(run, 0.0).rest.steps == 40
    assert dc.stop_now(run, 0.0, runs=dc.Trajectories((other,))).rest.steps == 60
    with pytest.raises(ArgumentError, match="as long as"):
        dc.stop_now(other, 0.0, runs=dc.Trajectories((run,)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": "low"}, "target"),
        ({"target": 0.0, "better": "more"}, "better == 'more'"),
        ({"target": 0.0, "threshold": 2}, "threshold == 2"),
        ({"target": 0.0, "steps": 0}, "steps == 0"),
    ],
)
def test_bad_input(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        dc.stop_now(walk(1), **arguments)


def test_a_run_must_be_one():
    with pytest.raises(ArgumentError, match="run is a list"):
        dc.stop_now([1.0, 2.0], 0.0)
