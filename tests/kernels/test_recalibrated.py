"""Recalibrated kernels: closed forms, scikit-learn's Gaussian processes, and what must stay."""

import numpy as np
import pytest
from fixed_kernel import FixedKernel
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_chains import gaussian_kernel
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from descentcast import Trajectories, forecast, problems
from descentcast.errors import ArgumentError
from descentcast.kernels import (
    AutoregressiveKernel,
    InContextKernel,
    KernelDensityKernel,
    LocalLinearKernel,
    RecalibratedKernel,
    StackedKernel,
    TransitionKernel,
)
from descentcast.kernels._normal_scores import (
    LENGTHS,
    SCALE_WIDTH,
    SCALES,
    SHIFT_WIDTH,
    SHIFTS,
    Correction,
    Transitions,
)

EDGES = np.linspace(-4, 4, 81)
CENTRES = (EDGES[:-1] + EDGES[1:]) / 2


def gaussian(means: np.ndarray, sds: np.ndarray | float, edges: np.ndarray = EDGES) -> TransitionKernel:
    """Return the kernel whose rows are Gaussian laws, on the grid of this file."""
    return gaussian_kernel(means, sds, edges)


def fixed(kernel: TransitionKernel) -> FixedKernel:
    """Return an estimator that always says this."""
    return FixedKernel(kernel.matrix, kernel.overflow)


def chain(rng: np.random.Generator, mean, sd: float, steps: int, start: float = 0.0) -> np.ndarray:
    x = [start]
    for _ in range(steps):
        x.append(mean(x[-1]) + sd * rng.normal())
    return np.array(x)


def test_a_gaussian_row_becomes_the_gaussian_row_that_the_formula_says():
    kernel = gaussian(0.5 * CENTRES, 0.4)
    shift, scale = np.linspace(-1, 1, 80), np.linspace(0.7, 1.5, 80)
    expected = gaussian(0.5 * CENTRES + 0.4 * shift, 0.4 * scale)
    moved = Correction(shift, scale).apply(kernel)
    np.testing.assert_allclose(moved.matrix, expected.matrix, atol=1e-12)
    np.testing.assert_allclose(moved.overflow, expected.overflow, atol=1e-12)


def test_no_correction_changes_nothing_and_what_never_left_the_grid_still_does_not():
    rows = np.zeros((4, 4))
    rows[:, 1:3] = 0.5
    closed = TransitionKernel(np.arange(5.0), rows, np.zeros((4, 2)))
    same = Correction(np.zeros(4), np.ones(4)).apply(closed)
    np.testing.assert_allclose(same.matrix, rows, atol=1e-12)
    moved = Correction(np.full(4, 2.0), np.full(4, 3.0)).apply(closed)
    assert (moved.overflow == 0).all()
    assert moved.matrix[0, 2] > 0.5
    np.testing.assert_allclose(moved.matrix.sum(axis=1), 1, atol=1e-12)
    assert (moved.matrix[:, [0, 3]] == 0).all(), "cells that a row excludes stay excluded"


def test_scores_of_the_true_kernel_are_standard_normal_and_leave_it_as_it_is():
    rng = np.random.default_rng(0)
    # One law for every state of a cell, so that the cell's row is exactly that of its states.
    x = chain(rng, lambda s: 0.8 * CENTRES[np.searchsorted(EDGES, s) - 1], 0.5, 3000)
    truth = gaussian(0.8 * CENTRES, 0.5)
    seen = Transitions.of([x], EDGES)
    scores = seen.scores(truth)
    # The share within a cell is taken to be uniform, which moves a score by far less than this test can see.
    assert stats.kstest(scores, "norm").pvalue > 0.01
    assert abs(stats.pearsonr(scores[:-1], scores[1:]).statistic) < 0.05
    correction = seen.correction(truth)
    visited = np.bincount(seen.start, minlength=80) > 20
    assert np.abs(correction.shift[visited]).max() < 0.15
    assert np.abs(correction.scale[visited] - 1).max() < 0.15


@pytest.mark.parametrize("length", [0, 3])
def test_the_posterior_is_that_of_scikit_learns_gaussian_process(length):
    """Means, variances, differences of log marginal likelihoods: from all transitions, not averages of cells."""
    rng = np.random.default_rng(1)
    x = chain(rng, lambda s: 0.7 * s, 0.6, 60)
    kernel = gaussian(0.5 * CENTRES + 0.2, 0.7)
    seen = Transitions.of([x], EDGES)
    scores = seen.scores(kernel)
    posterior = seen._posterior(scores)
    block, span = len(SCALES) * len(SHIFTS), EDGES[-1] - EDGES[0]
    at = CENTRES[seen.start][:, None]
    ours, theirs = [], []
    for i, scale in enumerate(SCALES[::4]):
        for j, size in ((2, SHIFTS[2]), (5, SHIFTS[5])):
            prior = ConstantKernel(size**2) * RBF(LENGTHS[length] * span)
            process = GaussianProcessRegressor(prior, alpha=scale**2, optimizer=None).fit(at, scores)
            mean, sd = process.predict(CENTRES[:, None], return_std=True)
            which = length * block + 4 * i * len(SHIFTS) + j
            np.testing.assert_allclose(posterior.means[which], mean, atol=1e-6)
            np.testing.assert_allclose(posterior.variances[which], sd**2, atol=1e-6)
            prior_log = -((size / SHIFT_WIDTH) ** 2 + (np.log(scale) / SCALE_WIDTH) ** 2) / 2
            ours.append(np.log(posterior.weights[which]))
            theirs.append(process.log_marginal_likelihood_value_ + prior_log)
    np.testing.assert_allclose(np.diff(ours), np.diff(theirs), atol=1e-6)


def test_draws_have_the_posterior_mean_and_variance():
    """Matheron's rule, for one length, size and scale, against the closed form."""
    rng = np.random.default_rng(2)
    x = chain(rng, lambda s: 0.7 * s, 0.6, 40)
    seen = Transitions.of([x], EDGES)
    process, size, scale = seen._processes[2], SHIFTS[4], SCALES[4]
    draws = np.stack([process.departure(size, scale, rng) for _ in range(4000)])
    known = size**2 * process.values + scale**2
    variance = size**2 - size**4 * (process.across**2 @ (1 / known))
    assert np.abs(draws.mean(axis=0) / np.sqrt(variance / 4000)).max() < 4.5
    np.testing.assert_allclose(draws.var(axis=0), variance, rtol=0.12)


def test_rows_that_are_off_are_put_right_where_runs_were_and_widened_where_not():
    rng = np.random.default_rng(3)
    edges = np.linspace(-3, 9, 121)
    centres = (edges[:-1] + edges[1:]) / 2
    truth = gaussian(0.8 * centres, 0.5, edges)
    wrong = gaussian(0.8 * centres + 0.4 * np.sin(centres), 0.8, edges)
    x = chain(rng, lambda s: 0.8 * s, 0.5, 600)
    fitted = RecalibratedKernel(fixed(wrong)).fit(Trajectories.from_arrays([x]), edges)
    at = np.abs(centres) < 1
    before = np.abs(wrong.matrix - truth.matrix).sum(axis=1)[at].mean()
    after = np.abs(fitted.kernel_.matrix - truth.matrix).sum(axis=1)[at].mean()
    assert after < 0.35 * before
    # Eight units, two thirds of the span, from the last visit: what the shift may be there is in the scale.
    near, far = np.abs(centres).argmin(), 115
    assert fitted.scale_[near] < 0.75
    assert fitted.scale_[far] > 1.0
    assert abs(fitted.shift_[far]) < 0.5


def test_more_data_make_replicates_agree():
    rng = np.random.default_rng(4)
    x = chain(rng, lambda s: 0.8 * s, 0.5, 1600)
    spreads = []
    for steps in (100, 1600):
        fitted = RecalibratedKernel(fixed(gaussian(0.5 * CENTRES, 0.5))).fit(
            Trajectories.from_arrays([x[: steps + 1]]), EDGES
        )
        means = np.stack([k.matrix @ CENTRES for k in fitted.replicates_])
        assert len(means) == 40
        at = np.abs(CENTRES) < 0.5
        spreads.append(means.std(axis=0)[at].mean())
        assert np.abs(means.mean(axis=0) - fitted.kernel_.matrix @ CENTRES)[at].max() < 3 * spreads[-1]
    assert spreads[1] < 0.6 * spreads[0]


def test_a_beginning_knows_nothing_of_what_comes_after():
    rng = np.random.default_rng(5)
    x = np.clip(chain(rng, lambda s: 0.8 * s, 0.4, 120), -3.9, 3.9)
    other = x.copy()
    other[61:] = np.clip(other[61:] + 0.7, -3.9, 3.9)
    kernels = [
        RecalibratedKernel(KernelDensityKernel()).fit_forward(Trajectories.from_arrays([v]), EDGES, [60])[0]
        for v in (x, other)
    ]
    np.testing.assert_array_equal(kernels[0].matrix, kernels[1].matrix)
    alone = RecalibratedKernel(KernelDensityKernel()).fit(Trajectories.from_arrays([x[:60]]), EDGES).kernel_
    np.testing.assert_allclose(kernels[0].matrix, alone.matrix, atol=1e-12)


def test_it_puts_a_density_estimate_and_a_line_nearer_to_a_double_wells_rows():
    """The exact kernel of a shipped problem is the oracle; three draws, both estimators better on average."""
    problem = problems.DoubleWell()
    gained = {}
    for seed in range(3):
        runs = problem.simulate([-1.0, 1.0], 100, random_state=seed)
        for estimator in (AutoregressiveKernel(), KernelDensityKernel()):
            fitted = RecalibratedKernel(estimator).fit(runs)
            truth = problem.kernel(fitted.edges_).matrix
            seen = fitted.kernel_.evidence.visits > 0
            raw, mended = (
                np.abs(k.matrix - truth).sum(axis=1)[seen].mean() for k in (fitted.estimator_.kernel_, fitted.kernel_)
            )
            gained.setdefault(type(estimator).__name__, []).append(np.log(mended / raw))
    assert all(np.mean(gains) < -0.1 for gains in gained.values()), gained


def test_coordinates_are_corrected_one_by_one_and_a_stack_takes_it_as_a_member():
    rng = np.random.default_rng(6)
    values = np.column_stack([chain(rng, lambda s: 0.8 * s, 0.4, 60), chain(rng, lambda s: 0.5 * s, 0.8, 60)])
    runs = Trajectories.from_arrays([values])
    both = RecalibratedKernel(LocalLinearKernel()).fit(runs)
    second = RecalibratedKernel(LocalLinearKernel()).fit(Trajectories.from_arrays([values[:, 1]]), both.edges_[1])
    np.testing.assert_allclose(both.kernel_[1].matrix, second.kernel_.matrix, atol=1e-12)
    assert both.kernel_[1].projected
    assert len(both.replicates_[0]) == 2
    stack = StackedKernel([RecalibratedKernel(LocalLinearKernel()), KernelDensityKernel()]).fit(runs)
    assert stack.held_out_scores_["member"][0] == "recalibrated LocalLinearKernel"
    assert len(stack.replicates_) == 40


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), steps=st.integers(2, 60), scale=st.floats(1e-6, 1e6), offset=st.floats(-1e3, 1e3))
def test_rows_stay_probabilities_and_do_not_depend_on_units(seed, steps, scale, offset):
    rng = np.random.default_rng(seed)
    x = chain(rng, lambda s: 0.9 * s, 1.0, steps)
    edges = np.linspace(x.min() - 1, x.max() + 1, 31)
    one = RecalibratedKernel(LocalLinearKernel()).fit(Trajectories.from_arrays([x]), edges)
    other = RecalibratedKernel(LocalLinearKernel()).fit(
        Trajectories.from_arrays([scale * (x + offset)]), scale * (edges + offset)
    )
    assert (one.kernel_.matrix >= 0).all()
    np.testing.assert_allclose(one.kernel_.matrix, other.kernel_.matrix, atol=1e-4)


def test_runs_off_the_grid_leave_the_rows_as_wide_as_the_prior_makes_them():
    fitted = RecalibratedKernel(fixed(gaussian(CENTRES, 0.5))).fit(
        Trajectories.from_arrays([[10.0, 11.0, 12.0]]), EDGES
    )
    assert (fitted.shift_ == 0).all()
    assert (fitted.scale_ > 1).all()


@pytest.mark.parametrize("estimator", ["LocalLinearKernel", None, 3])
def test_anything_but_an_estimator_is_refused(estimator):
    with pytest.raises(ArgumentError, match="estimator is a"):
        RecalibratedKernel(estimator).fit(Trajectories.from_arrays([[0.0, 1.0, 0.5]]))


def test_kernels_of_all_coordinates_together_are_refused_before_anything_is_read():
    with pytest.raises(ArgumentError, match="coordinates == 'pca'"):
        RecalibratedKernel(InContextKernel("no such model", coordinates="pca")).fit(
            Trajectories.from_arrays([np.zeros((5, 2))])
        )


def test_it_has_no_replicates_before_fit():
    with pytest.raises(AttributeError, match="before fit"):
        _ = RecalibratedKernel(LocalLinearKernel()).replicates_


@pytest.mark.parametrize("inner", [LocalLinearKernel(), KernelDensityKernel()])
def test_a_coordinate_that_never_moves_says_nothing_of_its_rows(inner):
    fitted = RecalibratedKernel(inner).fit(Trajectories.from_arrays([np.ones(60), np.ones(9)]))
    own = fitted.estimator_
    np.testing.assert_array_equal(fitted.kernel_.matrix, own.kernel_.matrix)
    assert (fitted.shift_ == 0).all()
    assert (fitted.scale_ == 1).all()
    for mine, theirs in zip(fitted.replicates_, own.replicates_ or [own.kernel_] * 40, strict=True):
        np.testing.assert_array_equal(mine.matrix, theirs.matrix)
    landing = forecast(fitted, [1.0], 60).landing
    assert landing["position"][0] == pytest.approx(1.0, abs=1 / 400)
    assert landing["probability"][0] == pytest.approx(1.0)
