"""Curves with correlated noise, against dense Gaussian algebra and multivariate t laws."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_t

from descentcast.forecasts._curves import (
    LEVEL_SCALE,
    NOISES,
    PRIOR_DEGREES,
    SHAPE_SCALE,
    SURPRISE_SHARE,
    blocks,
    fit_curve,
)
from descentcast.forecasts._shapes import Shapes, library

T, H = 45, 12
NOISE, UNIT = 0.1, 0.4


@pytest.fixture(scope="module")
def curve():
    t = np.arange(T)
    return np.exp(-t / 15) + 0.1 * np.random.default_rng(3).standard_normal(T)


@pytest.fixture(scope="module")
def shapes():
    return library(np.arange(T) * 1.0, T + np.arange(H) * 1.0, logarithmic=False)


def covariance(noise, rows):
    lags = np.abs(np.subtract.outer(np.arange(rows), np.arange(rows)))
    # A random walk by its definition, the sum of independent innovations from the first row on.
    k = (
        noise.innovation * np.minimum.outer(np.arange(rows), np.arange(rows))
        if noise.phi == 1
        else noise.innovation / (1 - noise.phi**2) * noise.phi**lags
    )
    return k + noise.white * np.eye(rows)


def averaging(rows):
    ends = blocks(rows)
    matrix = np.zeros((len(ends) - 1, rows))
    for i, (a, b) in enumerate(pairwise(ends)):
        matrix[i, a:b] = 1 / (b - a)
    return matrix


def dense(curve, shapes, j, s, level_scale=LEVEL_SCALE):
    """The joint law of block means and of the rows to come, under the prior: its scale matrix over that of noise."""
    whole = np.concatenate([shapes.known[:, s], shapes.ahead[:, s]])
    design = np.column_stack([np.ones(T + H), whole])
    prior = np.diag((np.array([level_scale, SHAPE_SCALE]) * UNIT / NOISE) ** 2)
    joint = covariance(NOISES[j], T + H) + design @ prior @ design.T
    pick = np.vstack([np.hstack([averaging(T), np.zeros((len(blocks(T)) - 1, H))]), np.eye(T + H)[T:]])
    return pick @ joint @ pick.T


@pytest.mark.parametrize("j", [j for j, noise in enumerate(NOISES) if noise.phi < 1])
@pytest.mark.parametrize("s", [0, 3, 25])
def test_the_evidence_is_the_density_of_a_multivariate_t(curve, shapes, j, s):
    means = averaging(T) @ curve
    fit = fit_curve(curve, shapes, NOISE, UNIT)
    n = len(means)
    # The level's prior is centred on the last value.
    law = multivariate_t(np.full(n, means[-1]), NOISE**2 * dense(curve, shapes, j, s)[:n, :n], df=PRIOR_DEGREES)
    assert_allclose(fit.evidence[j, s], law.logpdf(means), rtol=1e-5)


@pytest.mark.parametrize("j", range(len(NOISES)))
@pytest.mark.parametrize("s", [0, 25])
def test_what_comes_has_the_conditional_law(curve, shapes, j, s):
    only = np.full((len(NOISES), len(shapes.names)), -np.inf)
    only[j, s] = 0.0
    fit = fit_curve(curve, shapes, NOISE, UNIT, (1e3, SHAPE_SCALE), prior=only)
    law = fit.law(np.arange(1, H + 1))
    joint, n = dense(curve, shapes, j, s, level_scale=1e3), len(blocks(T)) - 1
    means = averaging(T) @ curve
    known, across, ahead = joint[:n, :n], joint[n:, :n], joint[n:, n:]
    gap = np.linalg.solve(known, means - means[-1])
    dof = PRIOR_DEGREES + n
    share = (PRIOR_DEGREES * NOISE**2 + (means - means[-1]) @ gap) / dof
    variance = share * np.diag(ahead - across @ np.linalg.solve(known, across.T))
    assert law.dof == dof
    assert_allclose(law.mean[0], means[-1] + across @ gap, atol=2e-4)
    assert_allclose(law.scale[0], np.sqrt(variance), rtol=2e-3)


def test_drawn_paths_have_the_law(curve, shapes):
    for surprise in (0.0, UNIT):
        fit = fit_curve(curve, shapes, NOISE, UNIT, surprise=surprise)
        paths = fit.draw(6000, 4, H, np.random.default_rng(0)).reshape(-1, H)
        for lag in (1, H):
            levels = np.array([0.05, 0.5, 0.95])
            quantiles = np.quantile(paths[:, lag - 1], levels)
            assert_allclose(fit.law(np.array([lag])).below(quantiles)[0], levels, atol=0.015)


def test_the_density_is_the_derivative_of_the_distribution_function(curve, shapes):
    law = fit_curve(curve, shapes, NOISE, UNIT, surprise=UNIT).law(np.array([5]))
    z = np.linspace(-0.5, 1.0, 7)
    numeric = (law.below(z + 1e-5) - law.below(z - 1e-5))[0] / 2e-5
    found = [np.exp(law.log_density(np.array([x])))[0] for x in z]
    assert_allclose(found, numeric, rtol=1e-5)


def test_a_surprise_widens_and_keeps_the_middle(curve, shapes):
    lags = np.array([1, H])
    plain, wider = (fit_curve(curve, shapes, NOISE, UNIT, surprise=s).law(lags) for s in (0.0, 2.0))
    assert_allclose(wider.weights[: len(plain.weights)], (1 - SURPRISE_SHARE) * plain.weights)
    middle = plain.weights @ plain.mean
    assert_allclose(wider.weights @ wider.mean, middle)
    assert (wider.weights @ wider.scale > plain.weights @ plain.scale).all()


def test_an_offset_is_added(curve, shapes):
    plain, moved = (fit_curve(curve, shapes, NOISE, UNIT, offset=o) for o in (np.zeros(H), np.arange(H) * 1.0))
    lags = np.array([2, 9])
    assert_allclose(
        moved.law(lags).mean - plain.law(lags).mean, np.broadcast_to([1.0, 8.0], moved.law(lags).mean.shape)
    )
    a, b = (f.draw(3, 2, H, np.random.default_rng(1)) for f in (plain, moved))
    assert_allclose(b - a, np.broadcast_to(np.arange(H), a.shape))


@pytest.mark.parametrize(("kind", "make"), [
    ("level", lambda t, rng: rng.standard_normal(len(t))),
    ("last value", lambda t, rng: np.cumsum(rng.standard_normal(len(t)))),
    ("power law", lambda t, rng: 20 * (1 + t / 2) ** -0.5 + 0.1 * rng.standard_normal(len(t))),
    ("exponential", lambda t, rng: 20 * np.exp(-t / 40) + 0.1 * rng.standard_normal(len(t))),
])  # fmt: skip
def test_each_kind_of_curve_is_told_apart(kind, make):
    t = np.arange(120.0)
    right = 0
    for seed in range(6):
        z = make(t, np.random.default_rng(seed))
        fit = fit_curve(z, library(t, t[-1:] + 1, False), float(np.median(np.abs(np.diff(z)))), float(z.std()))
        assert sum(fit.groups.values()) == pytest.approx(1)
        right += max(fit.groups, key=fit.groups.__getitem__) == kind
    assert right >= 5


@given(st.integers(1, 5000))
@settings(max_examples=60, deadline=None)
def test_blocks_cover_all_rows_and_are_few(rows):
    ends = blocks(rows)
    assert ends[0] == 0
    assert ends[-1] == rows
    assert (np.diff(ends) > 0).all()
    assert (np.diff(ends)[-min(rows, 10) :] == 1).all()
    assert len(ends) <= 21 + 11 * np.log(max(rows / 10, 1))


def test_units_do_not_matter(curve, shapes):
    a, b = (fit_curve(c * curve, shapes, c * NOISE, c * UNIT) for c in (1.0, 1e4))
    assert_allclose(a.weights, b.weights, atol=1e-9)
    lags = np.array([4])
    assert_allclose(b.law(lags).mean, 1e4 * a.law(lags).mean)


def test_shapes_span_one_over_what_is_known():
    shapes = library(np.arange(30.0), 30 + np.arange(10.0), logarithmic=True)
    assert_array_equal(shapes.known[:, 0], 0)
    assert_allclose(np.ptp(shapes.known[:, 1:], axis=0), 1)
    assert_allclose(shapes.known[-1], 0, atol=1e-12)
    assert isinstance(shapes, Shapes)
