"""Rescaled kernels against the closed form of x' = x - step (a x + s xi) under the new setting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_chains import kernel, kernels
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad_vec
from scipy.stats import norm

from descentcast.errors import ArgumentError
from descentcast.kernels import Evidence, TransitionKernel

RATIOS = [(0.5, 1), (1, 4), (2, 1), (1.5, 0.5), (3, 9), (1.01, 1)]


def autoregressive(edges, step, batch=1.0, slope=1.0, noise=1.0):
    """Cell averages of the Gaussian kernel with mean x - step slope x and spread step noise / sqrt(batch)."""
    low, width = edges[:-1, None], np.diff(edges)[:, None]

    def below(u):
        x = low + u * width
        return norm.cdf((edges - (1 - step * slope) * x) / (step * noise / np.sqrt(batch)))

    cumulative = quad_vec(below, 0, 1, epsabs=1e-10)[0]
    overflow = np.column_stack([cumulative[:, 0], 1 - cumulative[:, -1]])
    return TransitionKernel(edges, np.diff(cumulative, axis=1), overflow, setting={"step": step, "batch": 8})


def moments(chain):
    mean = chain.matrix @ chain.centres
    return mean, (chain.matrix * (chain.centres - mean[:, None]) ** 2).sum(axis=1)


def distance(a, b):
    return (np.abs(a.matrix - b.matrix).sum(axis=1) + np.abs(a.overflow - b.overflow).sum(axis=1)) / 2


@pytest.mark.parametrize("slope", [1.0, 0.1])
@pytest.mark.parametrize(("step", "batch"), RATIOS)
def test_agrees_with_the_kernel_of_the_new_setting(step, batch, slope):
    eta = 0.2
    edges = np.arange(-50, 51) * eta / 1.3  # a one-step spread of 1.3 cells, the coarsest of the grid rule
    there = autoregressive(edges, eta, slope=slope).rescaled(step=step, batch=batch)
    truth = autoregressive(edges, eta * step, batch, slope=slope)
    assert distance(there, truth).max() < 0.03
    (mean, variance), (true_mean, true_variance) = moments(there), moments(truth)
    whole = truth.overflow.sum(axis=1) < 1e-12
    assert_allclose(mean[whole], true_mean[whole], atol=0.02 * eta)
    assert_allclose(variance[whole], true_variance[whole], rtol=0.03)


@pytest.mark.parametrize(("step", "batch"), RATIOS)
def test_the_error_falls_with_the_cells(step, batch):
    errors = []
    for cells in (1.3, 4.0):
        edges = np.arange(-40, 41) * 0.2 / cells
        there = autoregressive(edges, 0.2).rescaled(step=step, batch=batch)
        errors.append(distance(there, autoregressive(edges, 0.2 * step, batch))[20:60].mean())
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.004


def test_uneven_cells():
    edges = np.sort(np.concatenate([np.linspace(-8, 8, 81), np.linspace(-1, 1, 20)[1:-1] + 0.013]))
    there = autoregressive(edges, 0.4).rescaled(step=0.75)
    assert distance(there, autoregressive(edges, 0.3)).max() < 0.04


def test_ratios_of_one_change_nothing():
    chain = autoregressive(np.linspace(-3, 3, 31), 0.3)
    same = chain.rescaled(1, 1.0)
    assert_array_equal(same.matrix, chain.matrix)
    assert_array_equal(same.overflow, chain.overflow)
    assert same.setting == chain.setting


def test_a_ratio_near_one_changes_little():
    chain = autoregressive(np.linspace(-6, 6, 61), 0.3)
    assert distance(chain, chain.rescaled(step=1 + 1e-9)).max() < 1e-6


def test_a_jump_without_noise_is_moved_whole():
    chain = kernel(np.roll(np.eye(8), 4, axis=1)[:4].repeat(2, axis=0)[:8])
    halves = kernel(np.eye(8)[[4, 4, 4, 4, 4, 4, 4, 4]]).rescaled(step=0.5)
    assert_array_equal(halves.matrix[0], np.eye(8)[2])
    assert_array_equal(halves.matrix[6], np.eye(8)[5])
    assert_allclose(chain.rescaled(batch=4).matrix, chain.matrix, atol=1e-12)


def test_a_larger_batch_keeps_the_drift_and_shrinks_the_rest():
    edges = np.linspace(-10, 10, 201)
    chain = autoregressive(edges, 0.5)
    mean, variance = moments(chain)
    there_mean, there_variance = moments(chain.rescaled(batch=4))
    inner = slice(60, 140)
    assert_allclose(there_mean[inner], mean[inner], atol=1e-3)
    assert_allclose(np.sqrt(there_variance / variance)[inner], 1 / 2, rtol=0.03)


def test_mass_beyond_the_grid_stays_beyond_or_comes_back():
    chain = kernel([[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 0.5]], [[0, 0], [0, 0], [0, 0.5]])
    assert chain.rescaled(step=3).overflow[2, 1] > 0.5
    assert chain.rescaled(step=0.1).overflow[2, 1] < 0.25


def test_setting_evidence_and_notes_travel():
    chain = kernel(
        np.eye(3),
        setting={"step": 0.1, "batch": 8, "data": "digits"},
        evidence=Evidence.uniform("probed", 3, visits=np.arange(3)),
    )
    there = chain.rescaled(step=2, batch=0.5)
    assert dict(there.setting) == {"step": 0.2, "batch": 4.0, "data": "digits"}
    assert_array_equal(there.evidence.visits, [0, 1, 2])
    assert there.notes == ()
    adam = kernel(np.eye(3), setting={"optimizer": "Adam"})
    assert "Adam" in adam.rescaled(step=2).notes[0]
    assert "3 steps" in chain.power(3).rescaled(step=2).notes[0]
    assert "step" not in adam.rescaled(step=2).setting
    assert kernel(np.eye(3), setting={"schedule": "constant"}).rescaled(step=2).notes == ()
    assert "followed a schedule (cosine)" in kernel(np.eye(3), setting={"schedule": "cosine"}).rescaled(step=2).notes[0]


@given(kernels(), st.floats(1e-3, 50), st.floats(1e-3, 1e3))
@settings(max_examples=80, deadline=None)
def test_rows_stay_distributions(chain, step, batch):
    there = chain.rescaled(step, batch)
    assert (there.matrix >= 0).all()
    assert (there.overflow >= 0).all()
    assert_allclose(there.matrix.sum(axis=1) + there.overflow.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("ratio", [0, -1, np.nan, np.inf, "2"])
def test_ratios_must_be_positive(ratio):
    with pytest.raises(ArgumentError, match="step == "):
        kernel(np.eye(3)).rescaled(step=ratio)
    with pytest.raises(ArgumentError, match="batch == "):
        kernel(np.eye(3)).rescaled(batch=ratio)
