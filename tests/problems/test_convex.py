"""Quadratic, linear regression, logistic regression: closed forms."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression as Reference

from descentcast.problems import LinearRegression, LogisticRegression, Quadratic


def stationary(kernel):
    balance = np.vstack([kernel.matrix.T - np.eye(len(kernel.matrix)), np.ones(len(kernel.matrix))])[1:]
    return np.linalg.solve(balance, np.eye(len(balance))[-1])


@settings(max_examples=8, deadline=None)
@given(st.floats(0.05, 1.5), st.floats(0.3, 2.0), st.floats(0.5, 1.2), st.floats(-1, 1))
def test_quadratic_rows_equal_quadrature(step, noise, curvature, minimum):
    edges = np.array([-2.0, -0.7, 0.1, 0.6, 2.5])
    kernel = Quadratic(step, noise, curvature, minimum).kernel(edges)

    def entry(low, high, left, right):
        def inside(x):
            mean = x - step * curvature * (x - minimum)
            return norm.cdf((high - mean) / (step * noise)) - norm.cdf((low - mean) / (step * noise))

        return quad(inside, left, right, limit=200)[0] / (right - left)

    for i, j in product(range(4), range(4)):
        expected = entry(edges[j], edges[j + 1], edges[i], edges[i + 1])
        assert kernel.matrix[i, j] == pytest.approx(expected, abs=1e-7)
    assert kernel.overflow[1, 0] == pytest.approx(entry(-np.inf, edges[0], edges[1], edges[2]), abs=1e-7)


def test_quadratic_stationary_law_is_the_known_gaussian():
    problem = Quadratic(step_size=0.4, noise=0.7, curvature=1.25, minimum=0.5)
    # a = 1 - 0.5 = 0.5, so the variance is 0.28^2 / 0.75.
    assert problem.stationary_variance == pytest.approx(0.0784 / 0.75)
    kernel = problem.kernel(np.linspace(-2, 3, 251))
    law, x = stationary(kernel), kernel.centres
    assert law @ x == pytest.approx(0.5, abs=1e-6)
    # Cells of 0.02 = 0.07 sigma inflate the variance by (0.02 / 0.28)^2 / 12 = 4e-4 of itself.
    assert law @ (x - 0.5) ** 2 == pytest.approx(problem.stationary_variance, rel=1e-3)


def test_quadratic_autocorrelation_is_its_slope():
    x = Quadratic(step_size=0.3).paths(np.zeros(20_000), 60)[:, :, 0]
    assert np.corrcoef(x[:, -1], x[:, -2])[0, 1] == pytest.approx(0.7, abs=0.02)


def test_too_large_a_step_has_no_stationary_law():
    assert Quadratic(step_size=2.0).stationary_variance == float("inf")
    assert LinearRegression(step_size=50.0).stationary_variance == float("inf")


def test_affine_batches_by_hand():
    # One example (1, 1/2) at step 1/2: x' = x / 2 + 1/4, so [0, 1] -> [1/4, 3/4], [1, 2] -> [3/4, 5/4].
    kernel = LinearRegression(step_size=0.5, data=([1.0], [0.5])).kernel([0.0, 1.0, 2.0, 3.0])
    assert_allclose(kernel.matrix, [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0]], atol=1e-12)
    # A second example (0, 0) leaves the iterate where it is, half of the time.
    kernel = LinearRegression(step_size=0.5, data=([1.0, 0.0], [0.5, 0.0])).kernel([0.0, 1.0, 2.0, 3.0])
    assert_allclose(kernel.matrix, [[1, 0, 0], [0.25, 0.75, 0], [0, 0.5, 0.5]], atol=1e-12)
    # At batch 2 the maps are x / 2 + 1/4, 3 x / 4 + 1/8 and x, with weights 1/4, 1/2, 1/4: [1, 2] -> [7/8, 13/8].
    kernel = LinearRegression(step_size=0.5, batch_size=2, data=([1.0, 0.0], [0.5, 0.0])).kernel([0.0, 1.0, 2.0, 3.0])
    assert_allclose(kernel.matrix[1], [1 / 8 + 1 / 12, 1 / 8 + 5 / 12 + 1 / 4, 0], atol=1e-12)


@pytest.mark.parametrize("batch", [1, 4])
def test_interpolating_regression_converges_to_a_dirac(batch):
    problem = LinearRegression(over_parametrised=True, batch_size=batch)
    assert problem.over_parametrised
    assert problem.stationary_variance == pytest.approx(0.0, abs=1e-25)
    ends = problem.paths(np.linspace(-3, 3, 200), 600)[:, -1, 0]
    assert np.abs(ends - problem.minima[0]).max() < 1e-6
    # The noise is gone at the minimum: every step from there leaves it there.
    stay = problem.paths(np.repeat(problem.minima, 100), 1)
    assert_allclose(stay[:, 1], stay[:, 0], atol=1e-12)


def test_interpolating_regression_keeps_all_mass_in_the_cell_of_the_minimum():
    problem = LinearRegression(over_parametrised=True)
    kernel = problem.kernel(np.linspace(0.05, 2.05, 21))
    end = np.linalg.matrix_power(kernel.matrix, 3000)
    assert_allclose(end[:, kernel.cell(problem.minima[0])], 1.0, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2])
def test_under_parametrised_variance_is_the_fixed_point_over_all_batches(batch):
    problem = LinearRegression(step_size=0.2, batch_size=batch)
    a, y, s = problem.features[:, 0], problem.targets, 0.2
    draws = np.array(list(product(range(24), repeat=batch)))
    slope = 1 - s * (a[draws] ** 2).mean(axis=1)
    shift = s * (a[draws] * y[draws]).mean(axis=1)
    mean = shift.mean() / (1 - slope.mean())
    second = (2 * (slope * shift).mean() * mean + (shift**2).mean()) / (1 - (slope**2).mean())
    assert problem.minima[0] == pytest.approx(mean)
    assert problem.stationary_variance == pytest.approx(second - mean**2, rel=1e-10)
    assert problem.stationary_variance > 0


def test_under_parametrised_variance_by_hand():
    # w* = 1/5; residual gradients 4/5 and -4/5; slopes 0.9 and 0.6: 0.01 * 0.64 / (1 - (0.81 + 0.36) / 2).
    problem = LinearRegression(step_size=0.1, data=([1.0, 2.0], [1.0, 0.0]))
    assert not problem.over_parametrised
    assert problem.stationary_variance == pytest.approx(0.0064 / 0.415)


@pytest.mark.parametrize("batch", [1, 6])
def test_under_parametrised_variance_is_what_simulation_and_kernel_give(batch):
    problem = LinearRegression(step_size=0.3, batch_size=batch)
    ends = problem.paths(np.repeat(problem.minima, 40_000), 60)[:, -1, 0]
    assert ends.var() == pytest.approx(problem.stationary_variance, rel=0.06)
    reach = 12 * np.sqrt(problem.stationary_variance)
    kernel = problem.kernel(np.linspace(problem.minima[0] - reach, problem.minima[0] + reach, 121))
    law = stationary(kernel)
    assert law @ (kernel.centres - law @ kernel.centres) ** 2 == pytest.approx(problem.stationary_variance, rel=0.02)


def test_two_coordinates_reach_the_least_squares_solution():
    problem = LinearRegression(over_parametrised=True, dimension=2)
    assert problem.minima.shape == (1, 2)
    assert_allclose(problem.minima[0], [1.0, -0.5])
    assert_allclose(problem.paths([[-1.0, 2.0]] * 50, 1500)[:, -1], problem.minima.repeat(50, axis=0), atol=1e-6)


def test_logistic_minimum_is_that_of_an_independent_fit():
    table, benign = load_breast_cancer(return_X_y=True)
    radius = (table[:, :1] - table[:, 0].mean()) / table[:, 0].std()
    fit = Reference(C=np.inf, fit_intercept=False, tol=1e-10).fit(radius, 1 - benign)
    assert LogisticRegression().minima[0] == pytest.approx(fit.coef_[0, 0], rel=1e-5)
