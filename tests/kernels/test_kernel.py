"""Powers, propagation, plain values."""

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_chains import PERIODIC, TRANSIENT, kernel, kernels
from numpy.testing import assert_allclose, assert_array_equal

from descentcast.errors import ArgumentError
from descentcast.kernels import CountKernel, propagate
from descentcast.trajectories import Trajectories, Trajectory


def test_power_of_a_periodic_chain_by_hand():
    assert_allclose(
        PERIODIC.power(2).matrix,
        [
            [1 / 6 + 1 / 2, 0, 1 / 3, 0],
            [0, 1 / 6 + 1 / 2, 0, 1 / 6 + 1 / 6],
            [1 / 4 + 1 / 4, 0, 1 / 2, 0],
            [0, 1 / 2, 0, 1 / 2],
        ],
        atol=1e-15,
    )


def test_power_gathers_the_overflow_of_every_step_on_its_own_side():
    chain = kernel([[1 / 2, 1 / 4], [0, 1 / 2]], [[1 / 4, 0], [0, 1 / 2]])
    assert_allclose(chain.power(2).overflow, [[3 / 8, 1 / 8], [0, 3 / 4]])
    assert_allclose(chain.power(10_000).overflow, [[1 / 2, 1 / 2], [0, 1]])


def test_power_goes_to_the_limit():
    assert_allclose(TRANSIENT.power(2**80).matrix, [[0, 0, 3 / 5, 2 / 5]] * 4, atol=1e-12)


def test_power_says_how_many_steps_its_rows_are():
    assert TRANSIENT.power(3).power(2).setting["stride"] == 6
    assert_array_equal(TRANSIENT.power(0).matrix, np.eye(4))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda chain: pickle.loads(pickle.dumps(chain))])
def test_kernels_survive_copying_and_pickling(copied):
    chain = TRANSIENT.power(3)
    assert chain.setting == {"stride": 3}
    assert copied(chain).to_dict() == chain.to_dict()


@pytest.mark.parametrize(
    ("steps", "setting", "note"),
    [
        ([range(4), range(5, 9)], {}, None),
        ([range(0, 200, 50)] * 2, {"stride": 50}, None),
        ([range(4), range(0, 200, 50)], {}, "recorded every 1 and every 50 steps: one kernel mixes"),
        ([[0, 1, 3, 10]], {}, "recorded every 1 to every 7 steps: one kernel mixes"),
    ],
)
def test_kernels_say_the_stride_of_their_runs(steps, setting, note):
    runs = Trajectories(tuple(Trajectory([0.5, 1.5, 0.5, 1.5], steps=list(s)) for s in steps))
    chain = CountKernel().fit(runs, edges=[0, 1, 2]).kernel_
    assert chain.setting == setting
    assert [n.startswith(note or "never") for n in chain.notes if n.startswith("recorded")] == [True] * bool(note)


def test_rows_that_are_off_within_tolerance_do_not_drift_apart_when_iterated():
    off = kernel(TRANSIENT.matrix * (1 - 9e-7))
    assert_allclose(off.power(1_000_000).matrix.sum(axis=1), 1, atol=1e-9)


@given(kernels(), st.integers(0, 12), st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_steps_compose(chain, a, b):
    first, whole = chain.power(a), chain.power(a + b)
    assert_allclose(first.matrix @ chain.power(b).matrix, whole.matrix, atol=1e-12)
    assert_allclose(first.overflow + first.matrix @ chain.power(b).overflow, whole.overflow, atol=1e-12)
    assert_allclose(whole.matrix.sum(axis=1) + whole.overflow.sum(axis=1), 1, atol=1e-12)


@given(kernels(), st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_a_power_of_a_power_is_the_power_of_the_product(chain, a, b):
    assert_allclose(chain.power(a).power(b).matrix, chain.power(a * b).matrix, atol=1e-12)


@given(kernels(), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_propagation_is_the_power_at_every_step(chain, steps):
    n = len(chain.matrix)
    density, overflow = propagate(chain, np.eye(n), steps)
    assert density.shape == (n, steps + 1, n)
    assert_allclose(density.sum(axis=2) + overflow.sum(axis=2), 1, atol=1e-12)
    for t in (0, steps // 2, steps):
        assert_allclose(density[:, t], chain.power(t).matrix, atol=1e-12)
        assert_allclose(overflow[:, t], chain.power(t).overflow, atol=1e-12)


def test_propagation_of_a_mixture_is_the_mixture():
    density, _ = propagate(TRANSIENT, [[1, 0, 0, 0], [0, 1, 0, 0], [1 / 3, 2 / 3, 0, 0]], 5)
    assert_allclose(density[2], density[0] / 3 + density[1] * 2 / 3, atol=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TRANSIENT.power(-1), "k == -1"),
        (lambda: TRANSIENT.power(1.5), r"k == 1\.5"),
        (lambda: propagate(TRANSIENT, [1.0, 0, 0, 0], 1), r"initial has shape \(4,\)"),
        (lambda: propagate(TRANSIENT, [[0.5, 0.5]], 1), r"initial has shape \(1, 2\)"),
        (lambda: propagate(TRANSIENT, [[1.0, 1, 0, 0]], 1), "initial must sum to 1"),
        (lambda: propagate(TRANSIENT, np.eye(4), -2), "steps == -2"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_plain_values_are_json():
    chain = kernel(PERIODIC.matrix, name="w", setting={"step": np.float64(0.5), "batch": np.int64(8)})
    values = json.loads(json.dumps(chain.to_dict(), allow_nan=False))
    assert values["setting"] == {"step": 0.5, "batch": 8}
    assert_array_equal(values["matrix"], PERIODIC.matrix)
    assert len(values["evidence"]["source"]) == 4
