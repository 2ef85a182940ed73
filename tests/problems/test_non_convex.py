"""Wells, phase retrieval, deep linear, one neuron: what each promises about its basins."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA

from descentcast.problems import DoubleWell, OneNeuron, PhaseRetrieval, ScalarDeepLinear, TiltedTripleWell


@pytest.mark.parametrize("problem", [DoubleWell(step_size=0.2, noise=0.3), TiltedTripleWell(noise=0.2)])
def test_well_rows_equal_quadrature_within_the_stated_error(problem):
    edges = np.linspace(-1.5, 1.5, 13)
    kernel = problem.kernel(edges)
    scale = problem.step_size * problem.noise
    for i, j in ((0, 1), (5, 5), (6, 7), (11, 10)):
        left, right = edges[i], edges[i + 1]

        def inside(x, j=j):
            mean = x - problem.step_size * problem.gradient(x)
            return norm.cdf((edges[j + 1] - mean) / scale) - norm.cdf((edges[j] - mean) / scale)

        expected = quad(inside, left, right, limit=400)[0] / (right - left)
        stated = float(kernel.notes[0].split("within ")[1].split()[0])
        assert stated < 5e-3
        assert abs(kernel.matrix[i, j] - expected) <= stated


def test_double_well_is_symmetric():
    kernel = DoubleWell().kernel(np.linspace(-1.5, 1.5, 31))
    assert_allclose(kernel.matrix, kernel.matrix[::-1, ::-1], atol=1e-12)


def test_tilted_wells_have_different_depths():
    problem = TiltedTripleWell()
    assert len(problem.minima) == 3
    left, middle, right = problem.loss(problem.minima)
    assert middle < left < right


def test_phase_retrieval_uses_the_patients_as_they_are():
    table, progression = load_diabetes(return_X_y=True)
    problem = PhaseRetrieval()
    scores = PCA(2, whiten=True).fit_transform((table - table.mean(axis=0)) / table.std(axis=0))
    unit = scores / np.linalg.norm(scores, axis=1, keepdims=True)
    # Up to the sign of each component, which is a convention.
    assert_allclose(np.abs(problem.features), np.sqrt(2) * np.abs(unit), atol=1e-8)
    assert_allclose(problem.targets, progression / progression.mean())
    w = 0.37
    misfit = (problem.features[:, 0] * w + 0.5 * problem.features[:, 1]) ** 2 - problem.targets
    assert problem.loss(w) == pytest.approx((misfit**2).mean() / 4)


def test_plain_phase_retrieval_never_changes_sign_near_zero():
    plain = PhaseRetrieval(reference=0.0)
    assert_allclose(plain.minima, [-plain.minima[1], plain.minima[1]], atol=1e-9)
    assert plain.separatrix == pytest.approx(0.0, abs=1e-9)
    iterates = plain.paths([-0.05] * 2000 + [0.05] * 2000, 60)[:, :, 0]
    crossed = iterates[:, :-1] * iterates[:, 1:] < 0
    # w' / w = 1 - s (a^4 w^2 - a^2 y) with a^2 <= 2, which is above 1 - 0.3 * 4 * 0.81 > 0 for |w| < 0.9.
    assert not crossed[np.abs(iterates[:, :-1]) < 0.9].any()
    assert (np.sign(iterates[:, -1]) == np.sign(iterates[:, 0])).mean() > 0.995


def test_reference_makes_landing_near_the_separatrix_random_and_elsewhere_certain():
    problem = PhaseRetrieval()
    low, high = problem.minima
    starts = np.array([-0.9, low, problem.separatrix - 0.06, problem.separatrix, problem.separatrix + 0.06, high, 0.9])
    iterates = problem.paths(np.repeat(starts, 5000), 100)[:, :, 0].reshape(7, 5000, 101)
    right = (iterates > problem.separatrix).mean(axis=1)
    assert right[:2, 60].max() < 0.01
    assert right[-2:, 60].min() > 0.99
    assert (right[2:5, 60] > 0.1).all()
    assert (right[2:5, 60] < 0.9).all()
    assert (np.diff(right[:, 60]) > -0.01).all()
    # By then runs have settled: hardly any lies between the wells or changes sides in the 40 steps that follow.
    assert (np.abs(iterates[:, :, 60] - problem.separatrix) < 0.15).mean() < 0.01
    assert ((iterates[:, :, 60] > problem.separatrix) != (iterates[:, :, 100] > problem.separatrix)).mean() < 0.005
    # All stay on a grid of width 2.8, and one step spreads by more than 1.5 % of it everywhere.
    assert np.abs(iterates).max() < 1.4
    states = np.linspace(-1.0, 1.0, 21)
    spread = problem.paths(np.repeat(states, 4000), 1)[:, 1, 0].reshape(21, 4000).std(axis=1)
    assert spread.min() > 0.015 * 2.8


def test_deep_linear_minima_are_two_branches_of_a_hyperbola():
    problem = ScalarDeepLinear()
    minima = problem.minima
    assert_allclose(minima.prod(axis=1), problem.product)
    assert (minima[:31] < 0).all()
    assert (minima[31:] > 0).all()
    assert len(np.unique(problem.loss(minima).round(12))) == 1
    assert problem.loss(minima[0]) < problem.loss([0.0, 0.0])


def test_deep_linear_runs_reach_the_branch_of_their_side():
    problem = ScalarDeepLinear(label_noise=0.0)
    starts = [[0.5, 0.8], [-0.6, -0.3], [1.5, 0.2]]
    ends = problem.paths(np.repeat(starts, 100, axis=0), 800)[:, -1]
    assert_allclose(ends.prod(axis=1), 1.0, atol=1e-6)
    assert (np.sign(ends[:, 0]) == np.repeat([1, -1, 1], 100)).all()


def test_deep_linear_noise_vanishes_at_the_saddle_only():
    problem = ScalarDeepLinear()
    stay = problem.paths([[0.0, 0.0]] * 50, 20)
    assert (stay == 0).all()
    assert problem.paths(problem.minima, 1)[:, 1].std() > 0


def test_deep_linear_small_steps_keep_the_balance():
    """Gradient flow conserves w0^2 - w1^2; a step s changes it at second order in s."""
    problem = ScalarDeepLinear(step_size=1e-3)
    iterates = problem.paths([[1.2, 0.4]], 200)[0]
    balance = iterates[:, 0] ** 2 - iterates[:, 1] ** 2
    assert np.abs(balance - balance[0]).max() < 1e-3
    assert np.abs(iterates[-1] - iterates[0]).max() > 0.02


def test_one_neuron_has_a_sharp_and_a_flat_minimum():
    problem, h = OneNeuron(), 1e-5
    sharp, flat = (problem.gradient(problem.minima + h) - problem.gradient(problem.minima - h)) / (2 * h)
    assert sharp > 20 * flat > 0
    ends = problem.paths(np.repeat([-0.5, 0.6, 1.5], 2000), 100)[:, -1, 0].reshape(3, 2000)
    landing = (np.abs(ends - problem.minima[1]) < np.abs(ends - problem.minima[0])).mean(axis=1)
    assert landing[0] < 0.5
    assert 0.5 < landing[1] < 0.9
    assert landing[2] > 0.99
