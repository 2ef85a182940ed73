"""Rows smoothed along the state: closed forms, an independent regression, what must stay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_chains import gaussian_kernel
from numpy.testing import assert_allclose
from scipy import stats

from descentcast.kernels import TransitionKernel
from descentcast.kernels._smoothing import LEVELS, _local_lines, smoothed

EDGES = np.linspace(-4, 4, 161)
CENTRES = (EDGES[:-1] + EDGES[1:]) / 2
EVERY = np.ones(len(CENTRES))


def test_rows_whose_quantiles_are_lines_stay():
    kernel = gaussian_kernel(0.7 * CENTRES + 0.1, 0.3 + 0.02 * CENTRES, EDGES)
    same = smoothed(kernel, 0.5, EVERY)
    assert_allclose(same.matrix, kernel.matrix, atol=2e-3)
    assert_allclose(same.overflow, kernel.overflow, atol=2e-3)


def test_gaussian_rows_become_the_gaussian_rows_of_the_smoothed_mean_and_spread():
    """Quantiles of Gaussian laws are mean + spread * level: smoothing them smooths both, by numpy's weighted lines."""
    rng = np.random.default_rng(0)
    means, spreads = 0.8 * CENTRES + 0.2 * rng.normal(size=160), 0.4 * np.exp(0.2 * rng.normal(size=160))
    weights = rng.uniform(0.2, 1.0, size=160)
    window = 0.4

    def line(values: np.ndarray) -> np.ndarray:
        found = []
        for x in CENTRES:
            share = weights * np.exp(-((CENTRES - x) ** 2) / (2 * window**2))
            _, level = np.polyfit(CENTRES - x, values, 1, w=np.sqrt(share))
            found.append(level)
        return np.array(found)

    smooth = smoothed(gaussian_kernel(means, spreads, EDGES), window, weights)
    expected = gaussian_kernel(line(means - CENTRES) + CENTRES, line(spreads), EDGES)
    assert_allclose(smooth.matrix, expected.matrix, atol=3e-3)
    assert_allclose(smooth.overflow, expected.overflow, atol=3e-3)


def test_independent_errors_of_rows_average_out():
    """What is left of them has the variance of the weights' squares: 1 / (2 k sqrt(pi)) for a window of k cells."""
    rng = np.random.default_rng(1)
    left = []
    for _ in range(100):
        errors = 0.2 * rng.normal(size=160)
        smooth = smoothed(gaussian_kernel(CENTRES + errors, 0.4, EDGES), 10 * 0.05, EVERY)
        left += list((smooth.matrix @ CENTRES - CENTRES)[[60, 100]])  # four windows apart
    assert_allclose(np.std(left), 0.2 * np.sqrt(1 / (2 * 10 * np.sqrt(np.pi))), rtol=0.2)


def test_laws_with_atoms_keep_them():
    """Two next values for every state, each a line in the state: the mixture of laws would blur them."""
    drifts = np.array([-0.5, 0.35])
    rows = np.zeros((160, 160))
    for drift in drifts:
        at = np.searchsorted(EDGES, 0.6 * CENTRES + drift, side="right") - 1
        np.add.at(rows, (np.arange(160), at), 0.5)
    smooth = smoothed(TransitionKernel(EDGES, rows, np.zeros((160, 2))), 0.4, EVERY)
    for i in range(40, 120):
        near = np.abs(CENTRES - (0.6 * CENTRES[i] + drifts)[:, None]).min(axis=0) < 0.12
        assert smooth.matrix[i, near].sum() > 0.97


def test_rows_that_keep_to_the_grid_still_do_and_a_small_window_changes_nothing():
    rng = np.random.default_rng(2)
    rows = rng.dirichlet(np.ones(20), size=20)
    closed = TransitionKernel(np.arange(21.0), rows, np.zeros((20, 2)))
    smooth = smoothed(closed, 3.0, np.ones(20))
    assert (smooth.overflow == 0).all()
    assert_allclose(smooth.matrix.sum(axis=1), 1, atol=1e-12)
    assert smoothed(closed, 0.2, np.ones(20)) is closed


def test_rows_without_weight_follow_those_with():
    means = np.where(np.abs(CENTRES) < 1, 0.5 * CENTRES, 3.0)
    weights = np.where(np.abs(CENTRES) < 1, 1.0, 0.0)
    smooth = smoothed(gaussian_kernel(means, 0.4, EDGES), 0.3, weights)
    at = np.abs(CENTRES) < 1.5
    assert_allclose((smooth.matrix @ CENTRES)[at], 0.5 * CENTRES[at], atol=5e-3)


def test_lines_far_from_every_weight_and_through_one_point_are_finite():
    x = np.arange(100.0)
    one = _local_lines(x, 0.5, np.eye(100)[0])
    assert_allclose(one, np.broadcast_to(np.eye(100)[0], (100, 100)), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(2, 40),
    window=st.floats(0.01, 50.0),
    scale=st.floats(1e-6, 1e6),
    offset=st.floats(-100, 100),
    sparse=st.booleans(),
)
def test_rows_stay_probabilities_and_do_not_depend_on_units(seed, n, window, scale, offset, sparse):
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(n + 2, 0.05 if sparse else 1.0), size=n)
    edges = np.arange(n + 1.0)
    one = smoothed(TransitionKernel(edges, rows[:, 1:-1], rows[:, [0, -1]]), window, rng.uniform(0.01, 1, n))
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(n + 2, 0.05 if sparse else 1.0), size=n)
    other = smoothed(
        TransitionKernel(scale * (edges + offset), rows[:, 1:-1], rows[:, [0, -1]]),
        scale * window,
        rng.uniform(0.01, 1, n),
    )
    assert (one.matrix >= 0).all()
    assert (one.overflow >= 0).all()
    assert_allclose(one.matrix.sum(axis=1) + one.overflow.sum(axis=1), 1, atol=1e-9)
    assert_allclose(one.matrix, other.matrix, atol=1e-4)


def test_levels_reach_as_far_as_recalibration_looks():
    """Scores of transitions count up to one in a million: beyond the last level a row is continued, not cut off."""
    assert stats.norm.cdf(LEVELS[0]) < 1e-5
    kernel = gaussian_kernel(0.5 * CENTRES, 0.2, EDGES)
    smooth = smoothed(kernel, 0.3, EVERY)
    at = np.searchsorted(EDGES, 0.5 * CENTRES[80] + 6 * 0.2) - 1
    assert_allclose(np.log(smooth.matrix[80, at]), np.log(kernel.matrix[80, at]), atol=0.5)


@pytest.mark.parametrize("shift", [0.3, -0.7])
def test_adding_a_constant_to_every_step_commutes_with_smoothing(shift):
    means = 0.5 * CENTRES + 0.3 * np.sin(3 * CENTRES)
    one = smoothed(gaussian_kernel(means + shift, 0.3, EDGES), 0.4, EVERY)
    other = smoothed(gaussian_kernel(means, 0.3, EDGES), 0.4, EVERY)
    inside = slice(60, 100)
    assert_allclose((one.matrix @ CENTRES)[inside], (other.matrix @ CENTRES)[inside] + shift, atol=2e-3)
