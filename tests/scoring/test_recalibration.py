"""Recalibration: the identity on calibrated forecasts, coverage restored on forecasts too narrow, wide or shifted."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from descentcast.errors import ArgumentError
from descentcast.scoring import RecalibrationMap, coverage, pit, recalibrate

EDGES = np.linspace(-6, 6, 121)


def normal(mean, sd):
    return np.diff(stats.norm.cdf(EDGES, mean, sd)) / np.ptp(stats.norm.cdf(EDGES[[0, -1]], mean, sd))


@pytest.mark.parametrize(("mean", "sd"), [(0.0, np.sqrt(0.5)), (0.0, 1.6), (0.4, 0.8)])
def test_coverage_is_restored_on_values_not_used_for_the_map(mean, sd):
    rng = np.random.default_rng(0)
    seen, unseen = rng.normal(size=(2, 4000))
    wrong = normal(mean, sd)
    mended = recalibrate(wrong, pit(wrong, EDGES, seen))
    for level in (0.5, 0.8, 0.9):
        assert abs(coverage(wrong, EDGES, unseen, level) - level) > 0.02
        assert coverage(mended, EDGES, unseen, level) == pytest.approx(level, abs=0.02)
    # What is mended is nearer to the truth in every sense, not in coverage alone.
    truth = normal(0, 1)
    assert np.abs(mended - truth).sum() < 0.4 * np.abs(wrong - truth).sum()


def test_calibrated_forecasts_are_left_alone():
    drawn = np.random.default_rng(1).random(4000)
    learnt = RecalibrationMap.fit(drawn)
    assert (learnt.a, learnt.b) == pytest.approx((1, 1), abs=0.08)
    assert recalibrate(normal(0, 1), drawn) == pytest.approx(normal(0, 1), abs=0.003)


def test_the_map_is_the_distribution_function_of_the_transforms():
    drawn = np.random.default_rng(2).beta(0.6, 2.0, size=5000)
    learnt = RecalibrationMap.fit(drawn)
    assert (learnt.a, learnt.b, learnt.steps) == (pytest.approx(0.6, abs=0.05), pytest.approx(2.0, abs=0.15), 5000)
    assert learnt([0, 0.2, 1]) == pytest.approx([0, stats.beta.cdf(0.2, 0.6, 2.0), 1], abs=0.02)
    assert json.loads(json.dumps(learnt.to_dict()))["steps"] == 5000


@settings(max_examples=50, deadline=None)
@given(
    a=st.floats(0.2, 5),
    b=st.floats(0.2, 5),
    weights=arrays(np.float64, (3, 6), elements=st.floats(0, 1)).filter(lambda w: (w.sum(axis=1) > 0.1).all()),
)
def test_what_is_mapped_are_distributions_and_the_transform_commutes(a, b, weights):
    probs = weights / weights.sum(axis=1, keepdims=True)
    mended = RecalibrationMap(a, b, 100).apply(probs)
    assert mended.sum(axis=1) == pytest.approx(np.ones(3))
    assert (mended >= 0).all()
    edges = np.arange(7.0)
    at = np.array([[1.0], [3.0], [5.0]])
    assert pit(mended, edges, at) == pytest.approx(stats.beta.cdf(pit(probs, edges, at), a, b), abs=1e-9)


def test_values_off_the_grid_and_bad_input():
    assert RecalibrationMap.fit([0.0, 1.0] * 10).a < 0.5
    for bad, message in (
        ([0.5] * 19, "at least 20 entries"),
        ([0.5] * 20, "do not vary"),
        ([1.5] * 20, "pit holds 1.5"),
    ):
        with pytest.raises(ArgumentError, match=message):
            RecalibrationMap.fit(bad)
    with pytest.raises(ArgumentError, match="a == 0"):
        RecalibrationMap(0.0, 1.0, 5)
    with pytest.raises(ArgumentError, match="probs must sum to 1"):
        RecalibrationMap(1.0, 1.0, 5).apply([0.5, 0.6])
