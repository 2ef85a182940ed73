"""Kernels moved for what no resample shows: by how much, how alike neighbours are, and that mass stays where it may."""

import numpy as np
import pytest

from descentcast.kernels import Evidence, TransitionKernel
from descentcast.kernels._discrepancy import Discrepancy, learnt, moved, sizes
from descentcast.problems import Quadratic

EDGES = np.linspace(-2, 2, 101)
SIZE = Discrepancy(visited=0.5, hull=1.0, outside=2.0, length=0.3, share=0.5, margin=0.0)


def ar_kernel():
    return Quadratic(step_size=0.2, noise=0.5).kernel(EDGES)  # standard deviation of a step 0.1


def test_a_row_moves_by_the_field_and_keeps_its_shape():
    kernel, rng = ar_kernel(), np.random.default_rng(0)
    again = moved(kernel, np.full(100, 0.1), 0.3, rng)
    middle = slice(30, 70)
    before, after = (k.matrix[middle] @ k.centres for k in (kernel, again))
    spread = [np.sqrt(k.matrix[middle] @ k.centres**2 - m**2) for k, m in ((kernel, before), (again, after))]
    assert np.abs(after - before).max() > 0.02
    np.testing.assert_allclose(spread[1], spread[0], rtol=0.02)
    # Neighbouring rows move together.
    assert np.abs(np.diff(after - before)).max() < 0.02


def test_the_field_has_the_size_asked_for():
    kernel, rng = ar_kernel(), np.random.default_rng(1)
    shifts = [
        (moved(kernel, np.full(100, 0.05), 0.3, rng).matrix - kernel.matrix)[50] @ kernel.centres for _ in range(400)
    ]
    assert np.std(shifts) == pytest.approx(0.05, rel=0.12)
    assert np.mean(shifts) == pytest.approx(0, abs=0.01)


def test_nothing_leaves_the_grid_that_did_not_leave_it_before():
    kernel = TransitionKernel([0, 1, 2], [[0.2, 0.5], [0.5, 0.4]], [[0.3, 0.0], [0.0, 0.1]])
    for seed in range(20):
        again = moved(kernel, np.full(2, 3.0), 0.3, np.random.default_rng(seed))
        np.testing.assert_array_equal(again.overflow, kernel.overflow)
        np.testing.assert_allclose(again.matrix.sum(axis=1), kernel.matrix.sum(axis=1))
        assert (again.matrix >= 0).all()
    unmoved = moved(kernel, np.zeros(2), 0.3, np.random.default_rng(0))
    np.testing.assert_allclose(unmoved.matrix, kernel.matrix)


def test_sizes_by_hand():
    """Rows uniform on four unit cells: quartiles one and three, so a standard deviation of 2 / 1.349."""
    rows = np.full((4, 4), 0.25)
    evidence = Evidence(np.array([0.0, 2.0, 0.0, 1.0]), np.full(4, "estimated"), np.ones(4))
    kernel = TransitionKernel(np.arange(5.0), rows, np.zeros((4, 2)), evidence)
    share = sizes(kernel, np.array([1.0, 0.0, 0.0, 0.0]), SIZE) / (2 / 1.349)
    # One step outside the hull half way from 1 to 2.
    assert share == pytest.approx([1.5, 0.5, 1.0, 0.5])
    assert sizes(kernel, np.array([np.inf, 0, 0, 0]), SIZE)[0] == pytest.approx(2 * 2 / 1.349)


def test_a_row_without_noise_is_half_a_cell_wide():
    evidence = Evidence(np.ones(2), np.full(2, "estimated"), np.ones(2))
    kernel = TransitionKernel([0.0, 0.2, 0.4], np.eye(2), np.zeros((2, 2)), evidence)
    assert sizes(kernel, np.zeros(2), SIZE) == pytest.approx([0.05, 0.05], rel=0.6)


def test_what_was_learnt_grows_with_what_is_unknown():
    size = learnt()
    assert 0 < size.visited <= size.hull <= size.outside
    assert 0 < size.length <= 1
    assert 0 < size.share < 1
