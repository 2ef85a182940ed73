"""Rows that fade: to one law about their own state, the more the farther from every visit, never where runs were."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

import descentcast as dc
from descentcast.kernels import TransitionKernel
from descentcast.kernels._fading import faded
from descentcast.kernels._grid import hull_distance
from descentcast.kernels._moving import moved_rows, quantiles_of

EDGES = np.linspace(-5, 5, 201)
CENTRES = (EDGES[:-1] + EDGES[1:]) / 2


def gaussian(mean: np.ndarray, deviation: float) -> TransitionKernel:
    below = norm.cdf(EDGES, loc=mean[:, None], scale=deviation)
    matrix = np.diff(below)
    return TransitionKernel(EDGES, matrix, np.column_stack([below[:, 0], 1 - below[:, -1]]))


def test_a_faded_gaussian_stays_where_it_is():
    # Of mean 0.5 x and deviation 0.3 a fully faded row is that of a random walk of the same deviation.
    kernel, walk = gaussian(0.5 * CENTRES, 0.3), gaussian(CENTRES, 0.3)
    inner = np.abs(CENTRES) < 3
    still = faded(kernel, np.ones(200))
    np.testing.assert_allclose(still.matrix[inner], walk.matrix[inner], atol=2e-4)
    np.testing.assert_allclose(quantiles_of(still, 0.5)[inner], CENTRES[inner], atol=2e-4)
    half = faded(kernel, np.full(200, 0.5))
    np.testing.assert_allclose(half.matrix, (kernel.matrix + still.matrix) / 2, atol=1e-12)
    np.testing.assert_array_equal(faded(kernel, np.zeros(200)).matrix, kernel.matrix)


@given(st.integers(0, 1000), st.floats(-20, 20))
def test_moved_rows_keep_their_mass(seed, by):
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(8, 0.3), size=6)
    kernel = TransitionKernel(np.sort(rng.normal(size=7)), rows[:, 1:-1], rows[:, [0, -1]])
    moved = moved_rows(kernel, np.full(6, by))
    assert (moved >= 0).all()
    np.testing.assert_allclose(moved.sum(axis=1), kernel.matrix.sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(moved_rows(kernel, np.zeros(6)), kernel.matrix, atol=1e-12)


def test_moving_by_whole_cells_shifts_them():
    kernel = TransitionKernel(np.arange(6.0), np.eye(5), np.zeros((5, 2)))
    np.testing.assert_allclose(moved_rows(kernel, np.array([2.0, 1, 0, -1, -2])), np.eye(5)[[2, 2, 2, 2, 2]])


def test_quantiles_are_those_of_the_law_on_the_grid():
    kernel = gaussian(0.2 * CENTRES, 0.7)
    for q in (0.25, 0.5, 0.75):
        np.testing.assert_allclose(quantiles_of(kernel, q), 0.2 * CENTRES + 0.7 * norm.ppf(q), atol=2e-3)


def test_a_stack_forgets_drifts_outside_the_hull_and_nowhere_else():
    rng, x = np.random.default_rng(3), [2.0]
    for _ in range(80):
        x.append(0.8 * x[-1] + 0.2 * rng.normal())
    runs, edges = dc.Trajectories.from_arrays([x]), np.linspace(-6, 6, 61)
    member = dc.AutoregressiveKernel().fit(runs, edges).kernel_
    stack = dc.StackedKernel([dc.AutoregressiveKernel(), dc.AutoregressiveKernel()]).fit(runs, edges).kernel_
    distance = hull_distance([np.array(x)], edges)
    np.testing.assert_allclose(stack.matrix[distance == 0], member.matrix[distance == 0])
    np.testing.assert_allclose(stack.overflow, member.overflow)
    # Rows about 0.8 x and about x mix by d / (d + 2): so do their means, where both lie on the grid.
    means = [kernel.matrix @ kernel.centres for kernel in (member, stack)]
    inner = np.abs(stack.centres) < 4.5
    share = distance / (2 + distance)
    expected = (1 - share) * means[0] + share * stack.centres
    np.testing.assert_allclose(means[1][inner], expected[inner], atol=0.01)


@pytest.mark.parametrize("extra", [0.0, 0.1])
def test_landing_intervals_go_a_margin_beyond_their_kernels(monkeypatch, extra):
    from dataclasses import replace

    from descentcast.forecasts import _marginal

    runs = dc.problems.DoubleWell(step_size=0.1, noise=0.8).simulate([-1.2, 1.2], 60, random_state=0)
    fitted = dc.LocalLinearKernel().fit(runs)
    shown = {}
    for margin in (0.0, extra):
        size = replace(_marginal.learnt(), margin=margin)
        with monkeypatch.context() as patch:
            patch.setattr(_marginal, "learnt", lambda size=size: size)
            shown[margin] = dc.forecast(fitted, [-0.3, 0.3], 30).landing
    plain, wide = shown[0.0], shown[extra]
    np.testing.assert_allclose(wide["low"], np.maximum(plain["low"] - extra, 0))
    np.testing.assert_allclose(wide["high"], np.minimum(plain["high"] + extra, 1))
    np.testing.assert_array_equal(wide["probability"], plain["probability"])
