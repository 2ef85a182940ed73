"""Outcomes read off paths, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from descentcast.errors import ArgumentError
from descentcast.trials import outcome_of

PATHS = np.array([[4.0, 2.0, 1.0, 3.0], [0.0, 1.0, 2.0, 2.0]])


@pytest.mark.parametrize(
    ("outcome", "better", "expected"),
    [
        ("final", "lower", [3.0, 2.0]),
        ("best", "lower", [1.0, 0.0]),
        ("best", "higher", [4.0, 2.0]),
        ("area", "lower", [(2 + 2 + 1 + 1.5) / 3, (0 + 1 + 2 + 1) / 3]),
        ("time_to(1.5)", "lower", [2.0, 2.0]),
        ("time_to(2)", "lower", [1.0, 2.0]),
        ("time_to(-1)", "lower", [3.0, 3.0]),
        ("time_to(4)", "lower", [0.0, 3.0]),
    ],
)
def test_outcomes_by_hand(outcome, better, expected):
    np.testing.assert_allclose(outcome_of(outcome, better)(PATHS), expected)


def test_a_path_that_left_the_numbers_has_no_outcome():
    paths = np.array([[1.0, 2.0], [1.0, np.nan]])
    np.testing.assert_array_equal(outcome_of("final", "lower")(paths), [2.0, np.nan])


def test_a_function_of_paths_sees_only_whole_ones():
    seen = []

    def spread(paths):
        seen.append(paths.shape)
        return np.ptp(paths, axis=1)

    np.testing.assert_array_equal(outcome_of(spread, "lower")(np.array([[1.0, 4.0], [np.nan, 0.0]])), [3.0, np.nan])
    assert seen == [(1, 2)]
    assert outcome_of(spread, "lower").name == "spread"


@pytest.mark.parametrize("outcome", ["last", "time_to", "time_to()", "time_to(x)", "time_to(nan)", 3, None])
def test_other_outcomes_are_refused(outcome):
    with pytest.raises(ArgumentError, match=r"outcome == .* must be 'final'"):
        outcome_of(outcome, "lower")


@pytest.mark.parametrize("wrong", [lambda p: p, lambda p: np.full(len(p), np.inf), lambda p: 1.0])
def test_a_function_must_give_one_finite_number_a_path(wrong):
    with pytest.raises(ArgumentError, match="must give one finite number"):
        outcome_of(wrong, "lower")(PATHS)


@given(arrays(float, (3, 5), elements=st.floats(-100, 100)), st.floats(-50, 50), st.floats(0.1, 10))
def test_outcomes_follow_shifts_and_scales(paths, shift, scale):
    for name in ("final", "best", "area"):
        measure = outcome_of(name, "lower")
        np.testing.assert_allclose(measure(shift + scale * paths), shift + scale * measure(paths), atol=1e-6)
