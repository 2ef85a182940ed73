"""Measures by hand and by invariants: the truth is at distance zero and covers what it says."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from descentcast.benchmark import load_suite
from descentcast.benchmark._estimators import baseline, nearest_landing
from descentcast.benchmark._measures import (
    _covered,
    _rows,
    _spread,
    judged_landing,
    law_measures,
    predictive_coverage,
    row_distances,
)
from descentcast.benchmark._names import BASELINES, FLOOR, LAST, MARGINAL
from descentcast.benchmark._truth import places, truth_of
from descentcast.forecasts import forecast
from descentcast.kernels import TransitionKernel

JUDGING = {"horizon": 20, "starts": 5, "simulated": 1500, "pairs": 1500, "lags": [1, 5], "certain": 0.8}
PROBLEMS = {p.name: p for p in load_suite().problems}


@pytest.fixture(scope="module")
def wells():
    return truth_of(PROBLEMS["double_well_gaussian"], JUDGING)


@pytest.fixture(scope="module")
def deep():
    return truth_of(PROBLEMS["deep_linear_2d"], JUDGING)


def test_the_true_kernel_is_at_distance_zero_and_covers_what_it_says(wells):
    recorded = wells.problem.record(2, 50, 0)
    found = row_distances(wells.kernels, wells, recorded)
    assert found["bhattacharyya"] < 1e-5
    assert found["w1"] == pytest.approx(0, abs=1e-9)
    assert all(found[f"{place}_hellinger2"] < 1e-5 for place in ("visited", "inside", "outside"))
    ahead = forecast(wells.kernels, wells.states[:, 0], 5)
    for lag in (1, 5):
        assert predictive_coverage(ahead, wells, lag, 0.9) == pytest.approx(0.9, abs=0.03)
        assert predictive_coverage(ahead, wells, lag, 0.5) == pytest.approx(0.5, abs=0.05)
    landing = judged_landing(wells.kernels, wells, 20, 0.8)
    assert landing["landing"] < 0.03
    assert landing["right_basin"] == 1
    assert np.isnan(landing["landing_covered"])


def test_a_shifted_law_is_as_far_as_it_was_shifted():
    """Unit cells; every row a point mass at the middle cell, the kernel's two cells to the right."""
    edges, n = np.arange(8.0), 7
    at = lambda j: TransitionKernel(edges, np.eye(n)[np.full(n, j)], np.zeros((n, 2)))  # noqa: E731
    weights = np.full(n, 1 / n)
    truth = SimpleNamespace(kernels=(at(3),), weights=(weights,))
    recorded = SimpleNamespace(coordinate=lambda d: [np.array([1.5, 2.5, 4.5, 4.5])])
    found = row_distances((at(5),), truth, recorded)
    assert found["w1"] == pytest.approx(2 / np.sqrt(1 / 12))
    assert found["hellinger2"] == pytest.approx(1, abs=1e-2)
    # Transitions start in cells 1, 2 and 4: hull 1 to 4, so one cell is inside it, and three are outside.
    assert {k for k, v in found.items() if np.isnan(v)} == set()
    assert found["bhattacharyya"] == pytest.approx(-np.log(np.sqrt(1e-6 / 9)), abs=1e-3)


def test_the_spread_of_a_row_is_its_standard_deviation():
    edges = np.array([0.0, 1.0, 2.0])
    assert _spread(np.array([[0, 0.5, 0.5, 0]]), edges) == pytest.approx([np.sqrt(1 / 3)])  # uniform on [0, 2]
    assert _spread(np.array([[0.5, 0, 0, 0.5]]), edges) == pytest.approx([np.sqrt(1.5**2 + 1 / 12)])


def test_places_hold_all_runs(wells, deep):
    for truth in (wells, deep):
        for d, law in enumerate(truth.landing):
            assert law.shape == (len(truth.starts), len(places(truth.problem, d)) + 1)
            assert law.sum(axis=1) == pytest.approx(np.ones(len(law)))
        assert all(w.sum() == pytest.approx(1) for w in truth.weights)
    # By symmetry both branches are as probable from mirrored starts.
    assert deep.landing[0][:, 1].mean() == pytest.approx(0.5, abs=0.03)


def test_landings_of_laws_by_hand(wells):
    true = np.array([[0, 1, 0, 0], [0, 0.5, 0.5, 0.0], [0, 0, 1, 0]])
    truth = replace(wells, landing=(true,), starts=np.zeros((3, 1)))
    law = np.array([[0, 0.8, 0.2, 0], [0, 0.5, 0.5, 0], [0, 0.6, 0.4, 0]])
    found = law_measures([law], truth, 0.8)
    assert found["landing"] == pytest.approx((0.2 + 0 + 0.6) / 3)
    assert found["right_basin"] == pytest.approx(1 / 2)  # of the first and the last; the second is not sure


def test_intervals_are_counted_where_something_is_open():
    def row(basin, probability, low, high):
        return {"basin": basin, "probability": probability, "low": low, "high": high}

    true = np.array([[0, 0.3, 0.7, 0.0], [0, 1.0, 0.0, 0.0]])
    truth = SimpleNamespace(simulated=10**8)
    rows = [
        row("basin 0", 0.4, 0.35, 0.5), row("basin 1", 0.6, 0.5, 0.8), row("diverged", 0.0, 0.0, 0.0),
        row("basin 0", 0.995, 0.99, 1.0), row("basin 1", 0.005, 0.0, 0.01), row("diverged", 0.0, 0.0, 0.0),
    ]  # fmt: skip
    # The second start is settled on both sides; of the first one interval misses, one holds.
    assert _covered(rows, true, truth) == pytest.approx((0.5, 0.225))
    # A basin that no run has seen is judged with all such: here 0.7, which the interval holds.
    unseen = [row("basin 0", 0.4, 0.35, 0.5), row("nowhere seen", 0.6, 0.5, 0.8)]
    assert _covered(unseen, true[:1], truth) == pytest.approx((0.5, 0.225))


def test_baselines(wells):
    recorded = wells.problem.record(2, 50, 0)
    assert baseline(FLOOR, wells, recorded) is wells.kernels
    (stay,) = baseline(LAST, wells, recorded)
    np.testing.assert_array_equal(stay.matrix, np.eye(100))
    (flat,) = baseline(MARGINAL, wells, recorded)
    counts = np.histogram(np.concatenate([run.values[1:, 0] for run in recorded]), wells.problem.edges[0])[0]
    np.testing.assert_allclose(flat.matrix[17], counts / 98)
    (nearest,) = nearest_landing(wells)
    assert nearest.argmax(axis=1).tolist() == [1, 1, 1, 2, 2] or nearest.argmax(axis=1).tolist() == [1, 1, 2, 2, 2]
    assert nearest_landing(truth_of(PROBLEMS["interpolating_regression"], JUDGING | {"simulated": 10})) is None
    assert len(BASELINES) == 4


def test_rows_hold_the_overflow_on_its_sides():
    kernel = TransitionKernel([0, 1, 2], [[0.5, 0.2], [0, 1]], [[0.1, 0.2], [0, 0]])
    np.testing.assert_allclose(_rows(kernel)[0], [0.1, 0.5, 0.2, 0.2])


def test_in_two_coordinates_measures_are_averages(deep):
    recorded = deep.problem.record(2, 50, 0)
    found = row_distances(deep.kernels, deep, recorded)
    assert found["bhattacharyya"] < 1e-5
    landing = judged_landing(deep.kernels, deep, 20, 0.8)
    assert 0 < landing["landing"] < 0.4
