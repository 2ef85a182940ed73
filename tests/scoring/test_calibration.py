"""PIT, quantiles, intervals and the calibration table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from descentcast.errors import ArgumentError
from descentcast.scoring import calibration, central_interval, coverage, log_score, pit, quantiles

EDGES = np.array([0.0, 1.0, 1.5, 4.0, 6.0])


def laws(cells=4):
    weights = st.lists(st.integers(0, 10), min_size=cells, max_size=cells).filter(any)
    return weights.map(lambda w: np.array(w) / np.sum(w))


def draws(p, edges, size, rng):
    cells = rng.choice(len(p), size=size, p=p)
    return edges[cells] + np.diff(edges)[cells] * rng.random(size)


def test_pit_of_the_true_law_is_uniform_and_of_a_shifted_one_is_not():
    rng = np.random.default_rng(0)
    p = np.array([0.1, 0.5, 0.3, 0.1])
    y = draws(p, EDGES, 4000, rng)
    for seed in (None, 1):
        assert stats.kstest(pit(p, EDGES, y, seed), "uniform").pvalue > 0.01
        assert stats.kstest(pit(p, EDGES + 0.3, y, seed), "uniform").pvalue < 1e-6


def test_randomised_pit_is_uniform_where_values_are_known_by_cell_only():
    rng = np.random.default_rng(3)
    p = np.array([0.1, 0.5, 0.3, 0.1])
    centres = ((EDGES[:-1] + EDGES[1:]) / 2)[rng.choice(4, size=4000, p=p)]
    assert stats.kstest(pit(p, EDGES, centres, random_state=0), "uniform").pvalue > 0.01
    assert stats.kstest(pit(p, EDGES, centres), "uniform").pvalue < 1e-6


def test_pit_by_hand():
    p = [0.2, 0.3, 0.5, 0.0]
    assert pit(p, EDGES, [-1.0, 0.0, 0.5, 1.25, 4.0, 5.0, 9.0]) == pytest.approx([0, 0, 0.1, 0.35, 1, 1, 1])
    drawn = pit(p, EDGES, np.full(1000, 1.25), random_state=5)
    assert 0.2 <= drawn.min() < 0.21
    assert 0.49 < drawn.max() <= 0.5
    assert (drawn == pit(p, EDGES, np.full(1000, 1.25), random_state=5)).all()
    assert pit(p, EDGES, [-1.0, 9.0], random_state=0) == pytest.approx([0, 1])


@settings(max_examples=60, deadline=None)
@given(p=laws(), q=st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_quantiles_invert_the_distribution_function(p, q):
    x = quantiles(p, EDGES, q)
    assert pit(p, EDGES, x) == pytest.approx(q, abs=1e-9)
    # Nothing lower reaches the level: x is the infimum.
    levels = np.asarray(q)
    assert (pit(p, EDGES, x - 1e-6)[levels > 1e-6] < levels[levels > 1e-6]).all()
    assert (np.diff(quantiles(p, EDGES, np.sort(q))) >= 0).all()


def test_quantiles_by_hand_with_gaps():
    p = [0.0, 0.5, 0.0, 0.5]
    assert quantiles(p, EDGES, [0.0, 0.25, 0.5, 0.75, 1.0]) == pytest.approx([1.0, 1.25, 1.5, 5.0, 6.0])
    assert quantiles([p, p], EDGES, 0.25).shape == (2,)
    assert quantiles([p, p], EDGES, [[0.1, 0.2, 0.3]]).shape == (2, 1, 3)


def test_quantiles_of_a_fine_grid_are_the_normal_ones():
    edges = np.linspace(-8, 8, 1601)
    p = np.diff(stats.norm.cdf(edges))
    low, high = central_interval(p / p.sum(), edges, 0.9)
    assert (low, high) == pytest.approx((-1.644854, 1.644854), abs=1e-4)


def test_coverage_of_the_true_law_is_nominal():
    rng = np.random.default_rng(1)
    p = np.array([0.3, 0.2, 0.4, 0.1])
    y = draws(p, EDGES, 10_000, rng)
    for level in (0.5, 0.9):
        assert coverage(p, EDGES, y, level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 10_000))
    assert coverage(p, EDGES, y, 1.0) == 1.0


def test_calibration_table_and_its_error_over_runs():
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.full(4, 5.0), size=600)
    y = np.array([draws(row, EDGES, 1, rng)[0] for row in p])
    table = calibration(p, EDGES, y, levels=(0.5, 0.9))
    assert list(table.columns) == ["level", "coverage", "standard_error", "width", "steps", "runs"]
    assert table["coverage"].tolist() == [coverage(p, EDGES, y, 0.5), coverage(p, EDGES, y, 0.9)]
    c = table["coverage"].to_numpy()
    assert table["standard_error"].to_numpy() == pytest.approx(np.sqrt(c * (1 - c) / 599), rel=1e-9)
    assert (np.diff(table["width"]) > 0).all()
    # Every step recorded twice, as two steps of one run: no new information, the same error.
    twice = calibration(np.repeat(p, 2, axis=0), EDGES, np.repeat(y, 2), (0.5, 0.9), runs=np.repeat(np.arange(600), 2))
    assert twice["standard_error"].to_numpy() == pytest.approx(table["standard_error"].to_numpy())
    assert np.isnan(calibration(p, EDGES, y, [0.5], runs=np.zeros(600))["standard_error"][0])


def test_bad_arguments_are_named():
    p = [0.25] * 4
    with pytest.raises(ArgumentError, match=r"q holds 1.5, must be in \[0, 1\]"):
        quantiles(p, EDGES, [0.5, 1.5])
    with pytest.raises(ArgumentError, match="level == 0"):
        central_interval(p, EDGES, 0)
    with pytest.raises(ArgumentError, match="runs has shape"):
        calibration([p], EDGES, [1.0], runs=[1, 2])
    with pytest.raises(ArgumentError, match="one-dimensional"):
        calibration([[p, p]], EDGES, [1.0, 2.0])


def test_the_upper_end_of_the_grid_is_in_its_last_cell_with_overflow_and_without():
    for law in ([0.5, 0.5], [0.0, 0.5, 0.5, 0.0]):
        assert log_score(law, [0, 1, 2], 2.0) == pytest.approx(np.log(2))
        assert pit(law, [0, 1, 2], 2.0) == pytest.approx(1)


def test_runs_that_leave_the_grid_as_often_as_foretold_are_covered():
    # 85 % uniform on the grid, the rest far beyond its upper end: the central 90 % end in the overflow.
    observed = np.concatenate([np.linspace(0, 2, 850, endpoint=False), np.full(150, 1e3)])
    law = [0.0, 0.425, 0.425, 0.15]
    assert coverage([law] * 1000, [0, 1, 2], observed, 0.9) == pytest.approx(0.95, abs=2e-3)
    assert coverage([law] * 1000, [0, 1, 2], -observed - 1, 0.9) < 0.01


def test_the_drawn_transform_is_uniform_beyond_the_grid_too():
    edges = np.linspace(-1.5, 1.5, 31)
    cdf = stats.norm.cdf(edges)
    law = np.concatenate([cdf[:1], np.diff(cdf), 1 - cdf[-1:]])
    drawn = pit(law, edges, np.random.default_rng(0).normal(size=20_000), random_state=1)
    assert stats.kstest(drawn, "uniform").pvalue > 0.01
    assert ((drawn > 0) & (drawn < 1)).all()
