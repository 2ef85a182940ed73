"""Power laws: exact ones come back, counting falls as its theory says, intervals hold as often as they claim."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress

from descentcast import scoring
from descentcast.errors import ArgumentError
from descentcast.forecasts import ScalingLaw, scaling_law

LENGTHS = np.round(10 ** np.linspace(1, 3, 9))


@given(st.floats(-3, 1), st.floats(-5, 5))
def test_an_exact_power_law_comes_back(exponent, log_coefficient):
    law = scaling_law(LENGTHS, np.exp(log_coefficient) * LENGTHS**exponent)
    assert law.exponent == pytest.approx(exponent, abs=1e-9)
    assert law.coefficient == pytest.approx(np.exp(log_coefficient), rel=1e-8)
    assert law.misfit < 1e-9
    assert law.floor == 0
    np.testing.assert_allclose(law.predict([[1.0, 4.0]]), np.exp(log_coefficient) * np.array([[1.0, 4.0**exponent]]))


@given(st.floats(-1.5, -0.3), st.floats(0.1, 10), st.floats(0.05, 5))
def test_an_exact_law_with_a_floor_comes_back(exponent, coefficient, share):
    # The floor from a twentieth to five times of what falls, at the middle length.
    floor = share * coefficient * 100**exponent
    law = scaling_law(LENGTHS, coefficient * LENGTHS**exponent + floor, floor=True)
    assert law.exponent == pytest.approx(exponent, abs=1e-3)
    assert law.floor == pytest.approx(floor, rel=1e-2)
    assert law.misfit < 1e-5


def test_a_floor_that_is_not_fitted_makes_the_exponent_too_small():
    distances = LENGTHS**-1.0 + 0.02
    assert scaling_law(LENGTHS, distances).exponent > -0.75
    assert scaling_law(LENGTHS, distances, floor=True).exponent == pytest.approx(-1, abs=1e-3)


def test_a_floor_is_never_negative():
    # Falls faster and faster: a negative floor would fit best.
    law = scaling_law(LENGTHS, LENGTHS**-0.5 - 0.5 * 1000**-0.5, floor=True)
    assert law.floor == pytest.approx(0, abs=1e-6)
    assert any("no floor" in note for note in law.notes)


def test_without_a_floor_it_is_the_regression_of_logarithms():
    rng = np.random.default_rng(0)
    distances = rng.gamma(3, size=(6, len(LENGTHS))) / LENGTHS
    law, other = scaling_law(LENGTHS, distances), linregress(np.log(LENGTHS), np.log(distances.mean(axis=0)))
    assert law.exponent == pytest.approx(other.slope)
    assert np.log(law.coefficient) == pytest.approx(other.intercept)
    assert law.seeds == 6


def test_the_unit_of_distances_and_the_order_of_lengths_do_not_matter():
    rng = np.random.default_rng(1)
    distances = rng.gamma(3, size=(5, len(LENGTHS))) / np.sqrt(LENGTHS) + 0.1
    order = rng.permutation(len(LENGTHS))
    for floor in (False, True):
        law = scaling_law(LENGTHS, distances, floor=floor)
        other = scaling_law(LENGTHS[order], 1000 * distances[:, order], floor=floor)
        assert other.exponent == pytest.approx(law.exponent, abs=1e-4)
        assert other.floor == pytest.approx(1000 * law.floor, rel=1e-3)


def test_the_interval_is_the_t_interval_where_the_fit_is_linear():
    # Seeds that differ by little: the logarithm is linear, and the exponent the mean of the seeds' exponents.
    rng = np.random.default_rng(2)
    distances = np.exp(1e-3 * rng.standard_normal((8, len(LENGTHS)))) / LENGTHS
    law = scaling_law(LENGTHS, distances)
    slopes = np.array([scaling_law(LENGTHS, row).exponent for row in distances])
    reach = 1.8946 * slopes.std(ddof=1) / np.sqrt(8)  # Student, 7 degrees of freedom
    assert law.exponent == pytest.approx(slopes.mean(), abs=1e-6)
    # 400 resamples know a standard deviation to 3.5 %.
    assert np.ptp(law.interval) / 2 == pytest.approx(reach, rel=0.12)


def test_intervals_hold_as_often_as_they_claim():
    rng = np.random.default_rng(3)
    held = 0
    for repeat in range(400):
        # Errors that persist from length to length, as those of one run do.
        errors = 0.3 * rng.standard_normal((5, len(LENGTHS))) + 0.3 * rng.standard_normal((5, 1)) * np.log(
            LENGTHS / 100
        )
        low, high = scaling_law(LENGTHS, np.exp(errors) / LENGTHS, random_state=repeat).interval
        held += low <= -1 <= high
    # Nominally 360; the logarithm of a mean over so noisy seeds costs a little.
    assert 330 <= held <= 385


def counting(states: int, lengths: np.ndarray, seeds: int) -> np.ndarray:
    """Distances of counted rows of a random chain, weighted by its stationary law: shape (seeds, L)."""
    rng = np.random.default_rng(states)
    matrix = rng.dirichlet(5 * np.ones(states), size=states)
    stationary = np.linalg.matrix_power(matrix, 200)[0]
    found = []
    for _ in range(seeds):
        u, state, path = rng.random(int(lengths.max()) + 1), 0, []
        below = matrix.cumsum(axis=1)
        for x in u:
            state = min(int(np.searchsorted(below[state], x)), states - 1)
            path.append(state)
        path = np.array(path)
        row = []
        for n in lengths.astype(int):
            counts = np.zeros((states, states))
            np.add.at(counts, (path[:n], path[1 : n + 1]), 1)
            row.append(stationary @ scoring.bhattacharyya(counts / counts.sum(axis=1, keepdims=True), matrix))
        found.append(row)
    return np.array(found)


def test_counting_falls_as_its_theory_says():
    states, lengths = 4, np.array([1000, 2000, 4000, 8000])
    law = scaling_law(lengths, counting(states, lengths, seeds=40))
    low, high = law.interval
    assert low <= -1 <= high
    assert high - low < 0.2
    # k (k - 1) / (8 n), to first order in 1 / n; 40 seeds of chi-squared with 12 degrees of freedom.
    np.testing.assert_allclose(law.distances * lengths, states * (states - 1) / 8, rtol=0.2)


def test_one_seed_has_no_interval_and_says_so():
    law = scaling_law(LENGTHS, 1 / LENGTHS)
    assert np.isnan(law.interval).all()
    assert law.to_dict()["interval"] is None
    assert any("one seed" in note for note in law.notes)


def test_what_is_no_power_law_is_said_to_be_none():
    law = scaling_law(LENGTHS, 2 + np.sin(3 * np.log(LENGTHS)))
    assert any("off the law" in note for note in law.notes)


def test_the_same_seed_gives_the_same_law_and_it_is_json():
    rng = np.random.default_rng(4)
    distances = rng.gamma(3, size=(4, len(LENGTHS))) / LENGTHS
    first, again = (scaling_law(LENGTHS, distances, floor=True, random_state=7) for _ in range(2))
    assert isinstance(first, ScalingLaw)
    assert json.dumps(first.to_dict()) == json.dumps(again.to_dict())
    assert first.floor_interval[0] >= 0


@pytest.mark.parametrize(
    ("lengths", "distances", "said"),
    [
        ([1, 2], [1, 1], "lengths"),
        ([1, 2, 2], [1, 1, 1], "different"),
        ([0, 1, 2], [1, 1, 1], "positive"),
        ([1, 2, 3], [1, 1], "distances"),
        ([1, 2, 3], [1, -1, 1], "distances"),
        ([1, 2, 3], [1, 0, 1], "distances"),
        ([1, 2, 3], [1, np.inf, 1], "distances"),
        ([1, 2, 3], np.ones((2, 2, 3)), "distances"),
    ],
)
def test_bad_input_is_named(lengths, distances, said):
    with pytest.raises(ArgumentError, match=said):
        scaling_law(lengths, distances)


def test_a_floor_needs_a_length_more():
    with pytest.raises(ArgumentError, match="at least 4"):
        scaling_law([1, 2, 3], [3, 2, 1], floor=True)


def test_seeds_whose_means_have_no_logarithm_leave_no_interval():
    found = scaling_law([10, 20, 40], [[0, 1, 0.5], [1, 0, 0.4]])
    assert np.isnan(found.interval).all()
    assert any("of resampled seeds have a mean of zero" in note for note in found.notes)
