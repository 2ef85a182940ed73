"""The law that noise has in common: against scikit-learn's density estimate, and what it must leave as it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.neighbors import KernelDensity

import descentcast as dc
from descentcast.kernels import TransitionKernel
from descentcast.kernels._residual_law import PRIOR_COUNTS, TABLE, WIDTHS, ResidualLaw, _centres, _weights

EDGES = np.linspace(-4, 4, 81)
CENTRES = (EDGES[:-1] + EDGES[1:]) / 2


def test_weights_are_those_of_scikit_learns_leave_one_out_densities():
    scores = stats.gamma(2).rvs(40, random_state=0) - 2
    logs = np.zeros((len(WIDTHS), len(PRIOR_COUNTS)))
    for i, width in enumerate(WIDTHS):
        centres = _centres(scores, width)
        for j, score in enumerate(scores):
            others = np.delete(centres, j)[:, None]
            estimate = np.exp(KernelDensity(bandwidth=width).fit(others).score_samples([[score]])[0])
            shrunk = (39 * estimate + PRIOR_COUNTS * stats.norm.pdf(score)) / (39 + PRIOR_COUNTS)
            logs[i] += np.log(shrunk)
    expected = np.exp(logs - logs.max())
    np.testing.assert_allclose(_weights(scores), expected / expected.sum(), atol=1e-12)


def test_an_estimate_has_the_variance_of_its_scores():
    scores = stats.gamma(2).rvs(200, random_state=1) - 2
    for width in WIDTHS:
        centres = _centres(scores, width)
        assert centres.mean() == pytest.approx(scores.mean())
        assert centres.var() + width**2 == pytest.approx(scores.var())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 60), twins=st.booleans())
def test_it_is_a_law(seed, count, twins):
    scores = np.random.default_rng(seed).standard_t(3, size=count).clip(-5, 5)
    law = ResidualLaw.of(np.repeat(scores, 2) if twins else scores)
    assert (np.diff(law.below) >= 0).all()
    np.testing.assert_allclose(law.below + law.above, 1, atol=1e-12)
    assert law.below[0] < 1e-6
    assert law.above[-1] < 1e-6


def test_normal_scores_leave_rows_nearly_as_they_are_and_few_quite():
    kernel = dc.problems.Quadratic(step_size=0.2, noise=0.5).kernel(EDGES)
    few = ResidualLaw.of(np.array([3.0, 2.0, 1.0, 2.5])).apply(kernel)
    np.testing.assert_allclose(few.matrix, kernel.matrix, atol=1e-4)
    many = ResidualLaw.of(np.random.default_rng(0).normal(size=400)).apply(kernel)
    assert 0.5 * np.abs(many.matrix - kernel.matrix).sum(axis=1).max() < 0.04


@pytest.mark.parametrize("count", [500, 5000])
def test_a_shape_is_learnt_whoever_made_the_rows(count):
    # Two atoms at -1 and 1: rows that say Gaussian become rows of two humps.
    rng = np.random.default_rng(2)
    scores = rng.choice([-1.0, 1.0], count) + 0.05 * rng.normal(size=count)
    law = ResidualLaw.of(scores)
    inside = np.interp(1.3, TABLE, law.below) - np.interp(0.7, TABLE, law.below)
    assert inside == pytest.approx(0.5, abs=0.06)
    assert np.interp(0.5, TABLE, law.below) - np.interp(-0.5, TABLE, law.below) < 0.03


def test_what_a_row_excludes_stays_excluded_and_rows_stay_laws():
    rows = np.random.default_rng(3).dirichlet(np.ones(4), size=4)
    rows[:, 2] = 0
    rows /= rows.sum(axis=1, keepdims=True)
    kernel = TransitionKernel(np.arange(5.0), rows, np.zeros((4, 2)))
    moved = ResidualLaw.of(np.random.default_rng(4).exponential(size=100) - 1).apply(kernel)
    assert (moved.matrix[:, 2] == 0).all()
    assert (moved.overflow == 0).all()
    np.testing.assert_allclose(moved.matrix.sum(axis=1), 1, atol=1e-12)


def test_skewed_noise_is_found_by_rows_that_say_gaussian():
    """The exact rows of a chain with Gamma noise are the oracle; three draws."""
    gained = []
    for seed in range(3):
        rng, x = np.random.default_rng(seed), [0.0]
        for _ in range(300):
            x.append(0.8 * x[-1] + 0.4 * (rng.gamma(2.0) - 2.0) / np.sqrt(2))
        fitted = dc.RecalibratedKernel(dc.AutoregressiveKernel()).fit(dc.Trajectories.from_arrays([x]), EDGES)
        law = stats.gamma(2, loc=0.8 * CENTRES[:, None] - 0.4 * np.sqrt(2), scale=0.4 / np.sqrt(2))
        truth = np.diff(law.cdf(EDGES), axis=1)
        seen = np.histogram(x, EDGES)[0] > 0
        raw, mended = (
            0.5 * np.abs(k.matrix - truth).sum(axis=1)[seen].mean() for k in (fitted.estimator_.kernel_, fitted.kernel_)
        )
        gained.append(mended / raw)
    assert np.mean(gained) < 0.7, gained
