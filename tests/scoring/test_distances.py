"""Distances between laws: hand values, metric axioms, inequalities between them, independent implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from descentcast.errors import ArgumentError
from descentcast.scoring import bhattacharyya, hellinger, total_variation, wasserstein1

EDGES = np.array([-1.0, 0.0, 0.5, 2.0, 2.25, 5.0])
METRICS = {
    "hellinger": hellinger,
    "total variation": total_variation,
    "wasserstein": lambda p, q: wasserstein1(p, q, EDGES),
}


def laws(cells=5):
    weights = st.lists(st.floats(0, 1), min_size=cells, max_size=cells).filter(lambda w: sum(w) > 0.1)
    return weights.map(lambda w: np.array(w) / np.sum(w))


@pytest.mark.parametrize("distance", METRICS.values(), ids=METRICS.keys())
@settings(max_examples=60, deadline=None)
@given(p=laws(), q=laws(), r=laws())
def test_metric_axioms(distance, p, q, r):
    assert distance(p, p) == 0
    assert distance(p, q) == pytest.approx(distance(q, p), abs=1e-15)
    assert distance(p, r) <= distance(p, q) + distance(q, r) + 1e-9
    if np.abs(p - q).max() > 1e-6:
        assert distance(p, q) > 0


@settings(max_examples=60, deadline=None)
@given(p=laws(), q=laws())
def test_inequalities_between_them(p, q):
    h2, tv = hellinger(p, q, squared=True), total_variation(p, q)
    assert h2 - 1e-12 <= tv <= np.sqrt(2 * h2) + 1e-12
    assert hellinger(p, q) ** 2 == pytest.approx(h2, abs=1e-12)
    assert np.exp(-bhattacharyya(p, q)) == pytest.approx(1 - h2, abs=1e-9)
    # Moving mass tv costs at most the diameter; and at least the difference of the means.
    centres = (EDGES[:-1] + EDGES[1:]) / 2
    assert abs((p - q) @ centres) - 1e-9 <= wasserstein1(p, q, EDGES) <= tv * (EDGES[-1] - EDGES[0]) + 1e-9


def test_hand_values():
    p, q = [0.5, 0.5, 0.0], [0.5, 0.0, 0.5]
    assert bhattacharyya(p, q) == pytest.approx(np.log(2))
    assert hellinger(p, q) == pytest.approx(np.sqrt(0.5))
    assert total_variation(p, q) == pytest.approx(0.5)
    assert wasserstein1(p, q, [0, 1, 2, 3]) == pytest.approx(0.5)
    # F - G changes sign inside the middle cell, from +0.25 to -0.25: two triangles of 1/2 * 1/4 * 1/2 there.
    assert wasserstein1([0.25, 0.5, 0.25], [0.0, 1.0, 0.0], [0, 1, 2, 3]) == pytest.approx(0.125 + 0.125 + 0.125)
    assert bhattacharyya([1.0, 0.0], [0.0, 1.0]) == np.inf


def test_gaussian_closed_forms():
    edges = np.linspace(-12, 12, 4801)
    p, q = (np.diff(stats.norm(m, s).cdf(edges)) for m, s in ((0.0, 1.0), (0.5, 1.5)))
    p, q = p / p.sum(), q / q.sum()
    expected = 0.25 * 0.5**2 / (1 + 1.5**2) + 0.5 * np.log((1 + 1.5**2) / (2 * 1.5))
    assert bhattacharyya(p, q) == pytest.approx(expected, rel=1e-4)


def test_wasserstein_of_samples_agrees_with_scipy():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(5), size=2)
    x, y = ((EDGES[c] + np.diff(EDGES)[c] * rng.random(len(c))) for c in (rng.choice(5, 40_000, p=w) for w in (p, q)))
    assert wasserstein1(p, q, EDGES) == pytest.approx(stats.wasserstein_distance(x, y), abs=0.03)


def test_wasserstein_of_a_shift_is_the_shift():
    p = np.array([0.2, 0.5, 0.3, 0.0, 0.0])
    assert wasserstein1(p, np.roll(p, 2), np.arange(6) * 0.5) == pytest.approx(1.0)


def test_overflow_counts_in_wasserstein():
    below, above = np.eye(4)[0], np.eye(4)[3]
    assert wasserstein1(below, above, [0, 1, 2]) == pytest.approx(3.0)


def test_leading_axes_broadcast():
    rng = np.random.default_rng(2)
    p, q = rng.dirichlet(np.ones(5), size=(3, 1)), rng.dirichlet(np.ones(5), size=4)
    for distance in (*METRICS.values(), bhattacharyya):
        table = distance(p, q)
        assert table.shape == (3, 4)
        assert table[1, 2] == pytest.approx(distance(p[1, 0], q[2]))


def test_bad_arguments_are_named():
    with pytest.raises(ArgumentError, match="q has 3 cells, must have the 2 of p"):
        total_variation([0.5, 0.5], [0.2, 0.3, 0.5])
    with pytest.raises(ArgumentError, match="p must sum to 1"):
        hellinger([0.5, 0.4], [0.5, 0.5])
    with pytest.raises(ArgumentError, match="must broadcast"):
        bhattacharyya(np.full((2, 2), 0.5), np.full((3, 2), 0.5))
