"""The log score and the CRPS against closed forms, quadrature and scoringrules."""

from itertools import pairwise

import numpy as np
import pytest
import scoringrules
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from descentcast.errors import ArgumentError
from descentcast.scoring import crps, log_score, prequential_log_score

FINE = np.linspace(-9, 9, 3601)


def laws(cells):
    """Probabilities of `cells` cells, zeros among them."""
    weights = st.lists(st.floats(0, 1), min_size=cells, max_size=cells).filter(lambda w: sum(w) > 0.1)
    return weights.map(lambda w: np.array(w) / np.sum(w))


def on_grid(law, edges):
    mass = np.diff(law.cdf(edges))
    return mass / mass.sum()


@pytest.mark.parametrize("y", [-3.2025, -0.0075, 0.4025, 2.5025])  # centres of cells
def test_fine_grids_reach_the_normal_closed_forms(y):
    p = on_grid(stats.norm(0.3, 1.2), FINE)
    assert crps(p, FINE, y) == pytest.approx(scoringrules.crps_normal(y, 0.3, 1.2), abs=1e-6)
    assert log_score(p, FINE, y) == pytest.approx(scoringrules.logs_normal(y, 0.3, 1.2), abs=1e-5)


@pytest.mark.parametrize("y", [-1.0, 0.0, 0.3, 1.0, 4.0])
def test_one_uniform_cell_is_the_uniform_law(y):
    expected = scoringrules.crps_uniform(y, 0.0, 1.0)
    assert crps([0.0, 1.0, 0.0], [-2, 0, 1, 5], y) == pytest.approx(expected, abs=1e-12)


def test_crps_is_the_score_of_a_large_ensemble_from_the_law():
    rng, edges, p = np.random.default_rng(0), np.array([0.0, 0.5, 2.0, 2.5]), np.array([0.2, 0.5, 0.3])
    cells = rng.choice(3, size=20_000, p=p)
    ensemble = edges[cells] + np.diff(edges)[cells] * rng.random(20_000)
    for y in (-0.5, 0.2, 1.7, 3.0):
        assert crps(p, edges, y) == pytest.approx(scoringrules.crps_ensemble(y, ensemble), abs=0.01)


@settings(max_examples=40, deadline=None)
@given(p=laws(4), y=st.floats(-2, 6))
def test_crps_is_its_defining_integral(p, y):
    edges = np.array([-1.0, 0.0, 0.3, 2.0, 5.0])
    grid = np.unique(np.concatenate([edges, [y, -2.0, 6.0]]))
    cdf = np.concatenate([[0.0], np.cumsum(p)])

    def integrand(x):
        return (np.interp(x, edges, cdf) - (x >= y)) ** 2

    expected = sum(integrate.fixed_quad(integrand, a, b, n=3)[0] for a, b in pairwise(grid))
    assert crps(p, edges, y) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(p=laws(4), q=laws(4))
def test_scores_are_proper(p, q):
    """The expected loss under p is least for p, for the cells' laws (observations within a cell at its quarters)."""
    edges = np.array([0.0, 1.0, 1.5, 4.0, 6.0])
    places = (np.arange(200) + 0.5) / 200
    y = edges[:-1, None] + np.diff(edges)[:, None] * places
    weight = np.repeat(p[:, None] / 200, 200, axis=1)

    def expected(score, law):
        with np.errstate(invalid="ignore"):
            return np.nansum(np.where(weight > 0, weight * score(law, edges, y), 0.0))

    assert expected(crps, p) <= expected(crps, q) + 1e-4
    assert expected(log_score, p) <= expected(log_score, q) + 1e-9


def test_log_score_by_hand_and_its_sign():
    assert log_score([0.5, 0.5], [0, 2, 3], 1.0) == pytest.approx(np.log(4))
    assert log_score([0.5, 0.5], [0, 2, 3], 2.0) == pytest.approx(np.log(2))
    assert log_score([0.5, 0.5], [0, 2, 3], 3.0) == pytest.approx(np.log(2))
    assert np.isinf(log_score([0.5, 0.5], [0, 2, 3], [3.001, -0.001])).all()
    assert np.isinf(log_score([0.0, 1.0], [0, 2, 3], 1.0))


def test_overflow_is_one_more_cell_on_each_side():
    p, edges = [0.1, 0.3, 0.4, 0.2], [0, 2, 3]
    assert log_score(p, edges, [-50.0, 1.0, 50.0]) == pytest.approx(-np.log([0.1 / 2, 0.3 / 2, 0.2 / 1]))
    assert crps(p, edges, 1.0) == pytest.approx(crps(p, [-2, 0, 2, 3, 4], 1.0))


def test_leading_axes_broadcast():
    p = np.random.default_rng(1).dirichlet(np.ones(4), size=(3, 1))
    y = np.linspace(0.1, 3.9, 5)
    for score in (log_score, crps):
        table = score(p, np.arange(5.0), y)
        assert table.shape == (3, 5)
        assert table[2, 3] == pytest.approx(score(p[2, 0], np.arange(5.0), y[3]))


def test_prequential_score_scores_the_next_value():
    rows = [np.array([[0.25, 0.75]]), np.array([[0.5, 0.5], [0.1, 0.9]])]
    columns = [np.array([0.5, 1.5]), np.array([1.5, 0.5, 0.5])]
    losses = prequential_log_score(rows, [0, 1, 2], columns)
    assert losses == pytest.approx(-np.log([0.75, 0.5, 0.1]))
    with pytest.raises(ArgumentError, match="one row a step"):
        prequential_log_score(rows[:1], [0, 1, 2], columns[1:])


@pytest.mark.parametrize(
    ("p", "edges", "y", "message"),
    [
        ([0.5, 0.6], [0, 1, 2], 0.5, "probs must sum to 1"),
        ([0.5, 0.5], [0, 1, 1], 0.5, "edges do not increase"),
        ([0.5, 0.5], [0, 1, 2, 3], 0.5, "probs has 2 entries"),
        ([[0.5, 0.5]] * 2, [0, 1, 2], [0.1, 0.2, 0.3], "observed has shape"),
        ([0.5, 0.5], [0, 1, 2], np.nan, "observed holds nan"),
    ],
)
def test_bad_arguments_are_named(p, edges, y, message):
    for score in (log_score, crps):
        with pytest.raises(ArgumentError, match=message):
            score(p, edges, y)
