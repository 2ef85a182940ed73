"""Hitting probabilities, times and committors against fractions, elimination-free references and other libraries."""

import json

import numpy as np
import pytest
from deeptime.markov.msm import MarkovStateModel
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_chains import CYCLE, TRANSIENT, dense, kernel, kernels, nearly_disconnected
from numpy.testing import assert_allclose, assert_array_equal
from pydtmc import MarkovChain

from descentcast.errors import ArgumentError
from descentcast.kernels import committor, hitting, propagate


def mask(n, *cells):
    return np.isin(np.arange(n), cells)


def test_leaving_the_transient_class_by_hand():
    # t0 = 1 + t0/2 + t1/2, t1 = 1 + t0/4 + t1/4: t1 = 3, t0 = 5.
    times = hitting(TRANSIENT, mask(4, 2, 3), horizon=3)
    assert_allclose(times.mean_time, [5, 3, 0, 0])
    assert_allclose(times.probability, 1)
    assert_allclose(times.law[1], [0, 1 / 2, 1 / 8, 1 / 4 * 1 / 4 + 1 / 32])


def test_a_closed_class_is_never_left():
    times = hitting(TRANSIENT, mask(4, 0))
    assert_allclose(times.probability, [1, 1 / 3, 0, 0])
    # From 1, given that 0 is hit: geometric with chance 3/4, so 4/3 steps.
    assert_allclose(times.mean_time, [0, 4 / 3, np.nan, np.nan])


def test_the_cycle_is_quicker_one_way_round():
    # Gambler's ruin on a circle of 4 with 3/4 up, 1/4 down, from k to {0, 4}: closed form with ratio 1/3.
    k = np.arange(1, 4)
    ruin = (1 - (1 / 3) ** k) / (1 - (1 / 3) ** 4)
    assert_allclose(hitting(CYCLE, mask(4, 0)).mean_time[1:], (4 * ruin - k) / (3 / 4 - 1 / 4))


def test_committor_of_the_cycle_by_hand():
    # From 1 and 3, neither of which leads to the other, the next step decides.
    assert_allclose(committor(CYCLE, mask(4, 0), mask(4, 2)), [0, 3 / 4, 1, 1 / 4])


@pytest.mark.parametrize("scale", [1e-3, 1e-14, 1e-17, 1e-60])
def test_crossing_between_nearly_disconnected_wells(scale):
    # t1 = (1 + 1/2 t0 + (1/2 - scale) t1), t0 = 2 + t1: t1 = 2 / scale.
    times = hitting(nearly_disconnected(scale, scale), mask(4, 2), horizon=1)
    assert_allclose(times.mean_time[:2], [2 / scale + 2, 2 / scale], rtol=1e-12)
    assert_allclose(times.probability, 1, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1e-17, 1e-60])
def test_a_race_between_rare_escapes(scale):
    # From a well that leaks to the target with `scale` and off the grid with `3 scale`: 1/4 arrive, however late.
    chain = kernel([[1 / 2, 1 / 2, 0], [1 / 2, 1 / 2 - 4 * scale, scale], [0, 0, 1]], [[0, 0], [3 * scale, 0], [0, 0]])
    times = hitting(chain, mask(3, 2))
    assert_allclose(times.probability, [1 / 4, 1 / 4, 1], rtol=1e-12)
    assert_allclose(times.mean_time[1], 1 / (2 * scale), rtol=1e-12)


def test_a_committor_between_two_rare_events():
    chain = kernel([[1, 0, 0], [3e-20, 1 - 4e-20, 1e-20], [0, 0, 1]])
    assert_allclose(committor(chain, mask(3, 0), mask(3, 2)), [0, 1 / 4, 1], rtol=1e-12)


def test_overflow_is_a_loss_for_the_committor():
    chain = kernel([[1, 0, 0], [1 / 4, 1 / 4, 1 / 4], [0, 0, 1]], [[0, 0], [0, 1 / 4], [0, 0]])
    assert_allclose(committor(chain, mask(3, 0), mask(3, 2)), [0, 1 / 3, 1])


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_deeptime_and_pydtmc(seed):
    matrix = dense(10, seed)
    chain, model = kernel(matrix), MarkovStateModel(matrix)
    source, target = [0, 3], [7, 8]
    assert_allclose(
        committor(chain, mask(10, *source), mask(10, *target)), model.committor_forward(source, target), atol=1e-10
    )
    times = hitting(chain, mask(10, *target))
    for cell in source:
        assert_allclose(times.mean_time[cell], model.mfpt([cell], target), rtol=1e-8)
    oracle = MarkovChain(matrix, [str(i) for i in range(10)])
    assert_allclose(times.mean_time, oracle.hitting_times([str(i) for i in target]), rtol=1e-8)


@given(kernels(), st.data())
@settings(max_examples=100, deadline=None)
def test_hitting_is_absorption(chain, data):
    n = len(chain.matrix)
    target = mask(n, *data.draw(st.sets(st.integers(0, n - 1), min_size=1)))
    times = hitting(chain, target, horizon=30)
    stopped = kernel(np.where(target[:, None], np.eye(n), chain.matrix), np.where(target[:, None], 0.0, chain.overflow))
    density, _ = propagate(stopped, np.eye(n), 30)
    assert_allclose(times.law.cumsum(axis=1), density[:, :, target].sum(axis=2), atol=1e-12)
    moves = stopped.matrix[stopped.matrix > 0]
    if moves.min() > 1e-6:  # powers lose what moves more seldom to rounding
        assert_allclose(times.probability, stopped.power(2**60).matrix[:, target].sum(axis=1), atol=1e-6)
    assert_array_equal(np.isnan(times.mean_time), times.probability == 0)
    ahead = chain.matrix @ np.where(target, 1, times.probability)
    assert_allclose(times.probability[~target], ahead[~target], atol=1e-12)


@given(kernels(low=3), st.data())
@settings(max_examples=100, deadline=None)
def test_committors_are_harmonic_and_add_up_to_arriving_anywhere(chain, data):
    n = len(chain.matrix)
    source = mask(n, data.draw(st.integers(0, n - 2)))
    target = mask(n, n - 1)
    there, back = committor(chain, source, target), committor(chain, target, source)
    inside = ~(source | target)
    assert_allclose(there[inside], (chain.matrix @ there)[inside], atol=1e-12)
    assert_allclose(there + back, hitting(chain, source | target).probability, atol=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hitting(TRANSIENT, [0, 1]), "target is of int64"),
        (lambda: hitting(TRANSIENT, mask(3, 0)), "must be a mask of 4 cells"),
        (lambda: hitting(TRANSIENT, mask(4)), "target holds no cell"),
        (lambda: hitting(TRANSIENT, mask(4, 0), horizon=-1), "horizon == -1"),
        (lambda: committor(TRANSIENT, mask(4, 0, 1), mask(4, 1)), "share cell 1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_plain_values_are_json():
    values = json.loads(json.dumps(hitting(TRANSIENT, mask(4, 0), horizon=2).to_dict(), allow_nan=False))
    assert values["mean_time"][2] is None
    assert len(values["law"][0]) == 3
