"""Virtual runs against the laws of their kernels."""

import numpy as np

from descentcast.kernels import TransitionKernel, propagate
from descentcast.trials._particles import walk

KERNEL = TransitionKernel(
    [0.0, 1.0, 2.0, 4.0],
    [[0.5, 0.3, 0.1], [0.2, 0.4, 0.4], [0.1, 0.2, 0.6]],
    [[0.1, 0.0], [0.0, 0.0], [0.0, 0.1]],
)


def test_the_law_after_steps_is_that_of_the_power():
    R, steps = 200_000, 4
    paths = walk([KERNEL], np.zeros(R, dtype=int), np.full(R, 1.5), steps, np.random.default_rng(0))
    density, overflow = propagate(KERNEL, [[0.0, 1.0, 0.0]], steps)
    for t in range(1, steps + 1):
        cells = np.bincount(KERNEL.cell(paths[np.isfinite(paths[:, t]), t]), minlength=3) / R
        np.testing.assert_allclose(cells, density[0, t], atol=4 * np.sqrt(0.25 / R))
        np.testing.assert_allclose(np.isnan(paths[:, t]).mean(), overflow[0, t].sum(), atol=4 * np.sqrt(0.25 / R))


def test_states_are_uniform_in_their_cell_and_nothing_comes_back():
    paths = walk([KERNEL], np.zeros(50_000, dtype=int), np.full(50_000, 3.0), 3, np.random.default_rng(1))
    last = paths[(paths[:, 3] >= 2), 3]
    np.testing.assert_allclose([last.mean(), last.var()], [3.0, 4 / 12], atol=0.02)
    gone = np.isnan(paths)
    assert (gone[:, 1:] >= gone[:, :-1]).all()
    assert gone.any()


def test_each_path_moves_by_its_own_kernel():
    stay = TransitionKernel([0, 1, 2], np.eye(2), np.zeros((2, 2)))
    swap = TransitionKernel([0, 1, 2], np.eye(2)[::-1], np.zeros((2, 2)))
    paths = walk([stay, swap], np.array([0, 1, 0]), np.full(3, 0.5), 3, np.random.default_rng(0))
    np.testing.assert_array_equal(paths.astype(int), [[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]])


def test_a_start_between_two_centres_moves_by_either_row():
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    kernel = TransitionKernel([0, 1, 2], rows, np.zeros((2, 2)))
    paths = walk([kernel], np.zeros(40_000, dtype=int), np.full(40_000, 1.25), 1, np.random.default_rng(2))
    np.testing.assert_allclose((paths[:, 1] > 1).mean(), 0.75, atol=0.01)


def test_walks_of_one_seed_share_their_luck():
    close = TransitionKernel([0, 1, 2], [[0.5, 0.5], [0.5, 0.5]], np.zeros((2, 2)))
    other = TransitionKernel([0, 1, 2], [[0.45, 0.55], [0.45, 0.55]], np.zeros((2, 2)))
    one, two = (
        walk([k], np.zeros(2000, dtype=int), np.full(2000, 0.5), 5, np.random.default_rng(3)) for k in (close, other)
    )
    assert (one.astype(int) == two.astype(int))[:, -1].mean() > 0.9
