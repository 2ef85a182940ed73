import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import descentcast as dc
from descentcast import _checks
from descentcast.errors import ArgumentError, DataError, DescentcastError

low_high = st.tuples(st.integers(-50, 50), st.integers(-50, 50)).filter(lambda pair: pair[0] <= pair[1])


@given(value=st.integers(-100, 100), bounds=low_high)
def test_integer_and_real_pass_exactly_what_lies_within(value, bounds):
    low, high = bounds
    for check in (_checks.integer, _checks.real):
        if low <= value <= high:
            assert check("k", value, low=low, high=high) == value
        else:
            with pytest.raises(ArgumentError, match=rf"^k == {value}.*must be .*in \[{low}, {high}\]$"):
                check("k", value, low=low, high=high)


def test_integer_takes_whole_numbers_only():
    assert type(_checks.integer("k", np.int64(3))) is int
    for value in (3.0, True, "3", None):
        with pytest.raises(ArgumentError, match=r"^k == .*must be an integer$"):
            _checks.integer("k", value)
    with pytest.raises(ArgumentError, match=r"^k == 0, must be at least 1$"):
        _checks.integer("k", 0, low=1)


def test_real_takes_finite_numbers_only():
    assert type(_checks.real("x", np.float32(0.5))) is float
    for value in ("1", None, True, [1.0]):
        with pytest.raises(ArgumentError, match=r"^x == .*must be a number$"):
            _checks.real("x", value)
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(ArgumentError, match=r"^x == .*must be a finite number"):
            _checks.real("x", value)


def test_an_open_bound_excludes_itself():
    assert _checks.real("x", 0, low=0) == 0
    assert _checks.real("x", 1e-300, low=0, open_low=True) == 1e-300
    with pytest.raises(ArgumentError, match=r"^x == 0, must be a finite number greater than 0$"):
        _checks.real("x", 0, low=0, open_low=True)


def test_one_of_lists_what_is_allowed():
    assert _checks.one_of("rows", "probed", ("visited", "probed")) == "probed"
    with pytest.raises(ArgumentError, match=r"^rows == 'all', must be one of 'visited', 'probed'$"):
        _checks.one_of("rows", "all", ("visited", "probed"))


def test_vector_is_one_dimensional_finite_and_long_enough():
    assert _checks.vector("v", [1, 2]).dtype == np.float64
    for value in (3.0, [[1.0, 2.0]], []):
        with pytest.raises(ArgumentError, match=r"^v has shape .*one-dimensional with at least 1"):
            _checks.vector("v", value)
    with pytest.raises(ArgumentError, match=r"^v holds nan at \(1,\), must be finite$"):
        _checks.vector("v", [0.0, np.nan])
    with pytest.raises(ArgumentError, match=r"^v == .*must be numbers$"):
        _checks.vector("v", ["one"])


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=8))
def test_edges_are_exactly_the_strictly_increasing_vectors(values):
    if all(a < b for a, b in pairwise(values)):
        assert _checks.edges("edges", values).tolist() == values
    else:
        with pytest.raises(ArgumentError, match=r"^edges do not increase strictly at position"):
            _checks.edges("edges", values)


def test_edges_say_where_they_turn():
    with pytest.raises(ArgumentError, match=r"at position 3$"):
        _checks.edges("edges", [0, 1, 2, 2, 5])
    with pytest.raises(ArgumentError, match="at least 3"):
        _checks.edges("edges", [0, 1])


def test_interval_is_an_ordered_pair():
    assert _checks.interval("range", (0, 1)) == (0.0, 1.0)
    for value in [(1, 0), (0, 0), (0, 1, 2), (0, np.inf), (np.nan, 1)]:
        with pytest.raises(ArgumentError, match=r"^range == .*low < high$"):
            _checks.interval("range", value)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6))
def test_distributions_pass_once_they_sum_to_one(weights):
    probabilities = np.array(weights) / np.sum(weights)
    assert (_checks.distributions("P", [probabilities, probabilities]) == probabilities).all()
    with pytest.raises(ArgumentError, match=r"^P must sum to 1 over the last axis, off by 0\.25"):
        _checks.distributions("P", [probabilities, 1.25 * probabilities])


def test_distributions_have_no_negative_entries():
    with pytest.raises(ArgumentError, match=r"^P must hold probabilities, got a smallest entry of -0\.5$"):
        _checks.distributions("P", [1.5, -0.5])
    with pytest.raises(ArgumentError, match=r"^P must hold probabilities"):
        _checks.distributions("P", 1.0)


def test_a_seed_gives_the_same_bytes_and_a_generator_is_used_as_it_is():
    assert _checks.generator(7).bytes(16) == _checks.generator(7).bytes(16)
    assert _checks.generator(np.int64(7)).bytes(16) == _checks.generator(np.random.SeedSequence(7)).bytes(16)
    assert _checks.generator(7).bytes(16) != _checks.generator(8).bytes(16)
    assert _checks.generator(None).bytes(16) != _checks.generator(None).bytes(16)
    given_ = np.random.default_rng(0)
    assert _checks.generator(given_) is given_
    sequence = np.random.SeedSequence(7).spawn(2)[1]
    first, second = (_checks.generator(sequence).spawn(2)[1].bytes(16) for _ in range(2))
    assert first == second == np.random.default_rng(np.random.SeedSequence(7).spawn(2)[1]).spawn(2)[1].bytes(16)
    for bad in (-1, np.int64(-1), 0.5, "seed"):
        with pytest.raises(ArgumentError, match=r"^random_state == "):
            _checks.generator(bad)


def test_errors_can_be_caught_as_one_kind_or_as_built_in_ones():
    for kind in (DescentcastError, ValueError):
        with pytest.raises(kind):
            _checks.integer("k", "x")


def test_values_whose_variance_float64_cannot_hold_are_refused():
    for fine in ([0.0, 0.0], [1e-200, 1e-200], [-1e150, 1e150], [0.0, 1e-150]):
        _checks.squarable("x", np.array(fine))
    for values, rule in (([0.0, 1.1e150], "within 1e150"), ([0.0, 1e-151], "reach 1e-150")):
        with pytest.raises(DataError, match=f"^x: values go from .*{rule}"):
            _checks.squarable("x", np.array(values))


def test_a_kind_is_asked_for_by_name():
    assert _checks.instance("x", 3, int, "a whole number") == 3
    with pytest.raises(ArgumentError, match=r"^x is a str, must be a whole number$"):
        _checks.instance("x", "3", int, "a whole number")


def test_a_range_that_is_open_below_is_told_so():
    with pytest.raises(ArgumentError, match=r"alpha == 0, must be a finite number in \(0, 1\]"):
        _checks.real("alpha", 0, low=0, high=1, open_low=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda runs: dc.markov_test(runs, lags=2), "lags == 2, must be a list"),
        (lambda runs: dc.markov_test(runs, estimator=3), "estimator is a int, must be an estimator"),
        (lambda runs: dc.choose_observable(runs, strides=2), "strides == 2, must be a list"),
        (lambda runs: dc.calibration(dc.LocalLinearKernel(), runs, lags=5), "lags == 5, must be a list"),
        (lambda runs: dc.calibration(dc.LocalLinearKernel(), runs, levels=0.9), "levels == 0.9, must be a list"),
        (lambda runs: dc.forecast_settings(runs, [1.0], 9, step_factors=3.0), "step_factors == 3.0, must be a list"),
        (lambda _: dc.Trajectory([1.0, 2.0], names=3), "names == 3, must be a list"),
        (lambda _: dc.Trajectory([1.0, 2.0], setting=3), "setting is a int, must be a dictionary"),
        (lambda _: dc.trials.SequentialTrial(5), "arms == 5, must be a list"),
    ],
)
def test_one_where_several_are_meant_is_named(call, message):
    runs = dc.Trajectories.from_arrays([np.random.default_rng(0).normal(size=200)])
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}"):
        call(runs)
