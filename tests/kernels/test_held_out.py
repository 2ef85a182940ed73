"""Held-out scores: what is known comes before what is scored, and scores are what a hand computes."""

from itertools import pairwise

import numpy as np
import pytest
from fixed_kernel import FixedKernel
from hypothesis import given
from hypothesis import strategies as st

from descentcast.kernels import (
    AutoregressiveKernel,
    CountKernel,
    KernelDensityKernel,
    LocalLinearKernel,
    TransitionKernel,
)
from descentcast.kernels._beginnings import FOLDS, LEAST_KNOWN, Fold, beginning, forward_folds
from descentcast.kernels._held_out import covered, score
from descentcast.kernels._reading import iterated_score
from descentcast.problems import Quadratic
from descentcast.trajectories import Trajectories


@given(lengths=st.lists(st.integers(2, 60), min_size=1, max_size=6))
def test_blocks_follow_each_other_to_the_end(lengths):
    folds, total = forward_folds(lengths), sum(lengths)
    if total < LEAST_KNOWN + 2:
        assert folds == []
        return
    assert len(folds) <= FOLDS
    assert folds[0].known >= max(LEAST_KNOWN, total / 3 - 1)
    assert folds[-1].after == total
    assert all(a.after == b.known for a, b in pairwise(folds))
    assert all(fold.known < fold.after for fold in folds)


@given(lengths=st.lists(st.integers(2, 20), min_size=1, max_size=4), data=st.data())
def test_a_beginning_holds_the_first_values_and_no_other(lengths, data):
    offsets = np.cumsum([0, *lengths])
    runs = Trajectories.from_arrays([np.arange(a, b) for a, b in pairwise(offsets)])
    known = data.draw(st.integers(2, sum(lengths)))
    kept = beginning(runs, known)
    values = np.concatenate([run.values[:, 0] for run in kept])
    # A single value of a run makes no transition and is left out.
    assert set(np.arange(known)) - set(values) <= {float(known - 1)}
    assert values.max() < known
    assert all((run.steps == np.arange(len(run))).all() for run in kept)


def test_scores_by_hand():
    """Two runs on cells [0, 1), [1, 2); one transition leaves the grid, one crosses no run's end."""
    kernel = TransitionKernel([0, 1, 3], [[0.5, 0.25], [0.4, 0.6]], [[0.0, 0.25], [0.0, 0.0]])
    columns = [np.array([0.5, 0.5, 2.0, 0.5]), np.array([2.0, 2.0, 0.5, 4.0, 0.5])]
    found = score([kernel, kernel], [Fold(2, 5), Fold(5, 9)], columns, kernel.edges)
    # 0 -> 1 (width 2), 1 -> 0; then in the second run 1 -> 1, 1 -> 0, 0 -> above (over the last cell's width).
    # Its last step starts off the grid and its first value is not the end of a step.
    assert found.mass == pytest.approx([0.25, 0.4, 0.6, 0.4, 0.25])
    assert found.density == pytest.approx([0.125, 0.4, 0.3, 0.4, 0.125])
    assert found.position.tolist() == [2, 3, 5, 6, 7]
    # Known of the first block: 0.5 twice. 2 is outside that hull, and so is the step from it.
    assert found.inside.tolist() == [True, False, True, True, True]
    assert found.log_score == pytest.approx(np.log([0.125, 0.4, 0.3, 0.4, 0.125]).mean())
    blocks = [iterated_score(kernel, [np.array([0, 1, 0])]), iterated_score(kernel, [np.array([1, 1, 0])])]
    assert found.iterated == pytest.approx(np.average(blocks, weights=[2, 3]))


def test_the_upper_end_of_the_grid_is_in_the_last_cell():
    kernel = TransitionKernel([0, 1, 2], [[0.3, 0.7], [0.9, 0.1]], np.zeros((2, 2)))
    found = score([kernel], [Fold(1, 3)], [np.array([0.5, 2.0, 0.5])], kernel.edges)
    assert found.mass == pytest.approx([0.7, 0.9])


def test_what_a_kernel_calls_impossible_has_a_finite_score():
    kernel = TransitionKernel([0, 1, 2], np.eye(2), np.zeros((2, 2)))
    assert score([kernel], [Fold(1, 2)], [np.array([0.5, 1.5])], kernel.edges).mass == pytest.approx(1e-12)


def test_nothing_to_score_is_said():
    kernel = TransitionKernel([0, 1, 2], np.eye(2), np.zeros((2, 2)))
    found = score([], [], [np.array([0.5, 1.5])], kernel.edges)
    assert np.isnan(found.log_score)
    assert np.isnan(found.iterated)
    assert len(found.mass) == 0


def test_no_fold_is_fitted_to_what_it_is_scored_on():
    values = np.random.default_rng(0).permutation(60) / 60 * 2
    runs = Trajectories.from_arrays([values[:25], values[25:]])
    fits = []
    FixedKernel(np.full((2, 2), 0.5), given=fits).fit_forward(runs, [0, 1, 2.0], [20, 25, 30, 47])
    *known, whole = fits
    assert np.concatenate(whole).tolist() == values.tolist()
    assert [np.concatenate(columns).tolist() for columns in known] == [values[:k].tolist() for k in (20, 25, 30, 47)]


@pytest.mark.parametrize(
    "estimator", [LocalLinearKernel(), KernelDensityKernel(), CountKernel(), AutoregressiveKernel(order=2)], ids=str
)
def test_kernels_of_beginnings_ignore_what_comes_later(estimator):
    rng = np.random.default_rng(1)
    first, edges = [rng.normal(size=30), rng.normal(size=30)], np.linspace(-5, 5, 21)
    changed = [first[0], np.concatenate([first[1][:10], 4 * rng.uniform(-1, 1, size=20)])]
    one, two = (estimator.fit_forward(Trajectories.from_arrays(a), edges, [20, 40, 45]) for a in (first, changed))
    for a, b in zip(one[:2], two[:2], strict=True):
        np.testing.assert_array_equal(a.matrix, b.matrix)
    assert (one[2].matrix != two[2].matrix).any()


def test_coverage_of_held_out_values_by_hand():
    """Every row uniform on four cells: the central 50 % are [1, 3], whatever the lag."""
    edges = np.arange(5.0)
    flat = TransitionKernel(edges, np.full((4, 4), 0.25), np.zeros((4, 2)))
    columns = [np.array([0.5, 0.5, 1.5, 2.5, 3.5]), np.array([0.5, 1.5, 0.5])]
    folds = [Fold(2, 5), Fold(5, 8)]
    # One step ahead 1.5, 2.5 of three in the first run, 1.5 of two in the second: none goes from one run to the other.
    assert covered([flat, flat], folds, columns, 1, 0.5) == (pytest.approx(3 / 5), 5)
    # Two ahead: into 2.5 and 3.5 from the block's first values, into 0.5 in the second run.
    assert covered([flat, flat], folds, columns, 2, 0.5) == (pytest.approx(1 / 3), 3)
    share, steps = covered([flat, flat], folds, columns, 10, 0.5)
    assert np.isnan(share)
    assert steps == 0


def test_coverage_is_nominal_where_the_kernel_is_right():
    problem, edges = Quadratic(step_size=0.2, noise=0.5), np.linspace(-2, 2, 201)
    (run,) = problem.simulate([0.0], 4000, 0)
    folds = forward_folds([len(run)])
    kernel = problem.kernel(edges)
    for lag in (1, 10):
        share, steps = covered([kernel] * len(folds), folds, [run.values[:, 0]], lag, 0.9)
        assert steps > 2000
        assert share == pytest.approx(0.9, abs=0.03)
