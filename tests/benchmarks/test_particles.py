"""The benchmark of two coordinates: landings by hand, chains that are what their densities say, comparable scores."""

import numpy as np
import pytest
from benchmarks.particles import CHAINS, apart, landings, log_score, recorded
from scipy import stats

import descentcast as dc
from descentcast.kernels import PrincipalKernel, fit_principal

CUTS = [np.array([0.0, 1.0, 2.0, 3.0])] * 2


def test_landings_by_hand():
    ends = np.array([[[0.5, 2.5], [0.5, 2.5], [2.5, 0.1], [3.5, 0.1], [np.nan, np.nan]]])
    both, (x, y) = landings(ends, CUTS)
    assert both.shape == (1, 10)
    assert both[0].tolist() == [0.4, 0, 0, 0.4, 0, 0, 0, 0.2, 0, 0]
    assert x[0].tolist() == [0.4, 0.4, 0, 0.2]
    assert y[0].tolist() == [0.4, 0.2, 0, 0.4]


@pytest.mark.parametrize("name", list(CHAINS))
def test_chains_step_as_their_density_says(name):
    """Probability transforms of steps are uniform in each coordinate."""
    chain = CHAINS[name]()
    rng = np.random.default_rng(0)
    before = rng.uniform(-1, 1, (400, 2))
    after = chain.paths(before, 1, rng)[:, 1]
    ranks = stats.norm.cdf(after, chain.mean(before), chain.noise)
    assert all(stats.kstest(column, "uniform").pvalue > 0.01 for column in ranks.T)
    direct = stats.multivariate_normal(cov=np.diag(chain.noise**2)).logpdf(after - chain.mean(before))
    np.testing.assert_allclose(chain.log_density(before, after), direct)


def test_coordinates_that_move_one_by_one_land_in_the_product_of_their_landings():
    kernels = dc.LocalLinearKernel().fit(recorded(CHAINS["drawn"](), np.random.default_rng(1))).kernel_
    assert isinstance(kernels, tuple)
    cuts = [np.linspace(kernel.edges[0], kernel.edges[-1], 4) for kernel in kernels]
    both, each = apart(kernels, np.array([[0.2, -0.1]]), cuts)
    paths = dc.forecast(kernels, [[0.2, -0.1]], 50).sample(4000, 0)
    sampled, one = landings(paths[:, :, -1], cuts)
    np.testing.assert_allclose(both, sampled, atol=0.03)
    for ours, theirs in zip(each, one, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.03)


def test_scores_are_in_the_units_of_the_coordinates():
    """Coordinates of equal chains in unlike units: however they are turned, the law and its score are the same."""
    rng = np.random.default_rng(2)
    z = np.zeros((300, 2))
    for t in range(299):
        z[t + 1] = 0.8 * z[t] + rng.normal(size=2)
    runs = dc.Trajectories.from_arrays([z * [5.0, 0.2]])
    plain = dc.AutoregressiveKernel().fit(runs).kernel_
    turned = fit_principal(dc.AutoregressiveKernel(), runs, None)
    assert isinstance(turned, PrincipalKernel)
    before, after = runs[0].values[:-1], runs[0].values[1:]
    assert log_score(turned, before, after) == pytest.approx(log_score(plain, before, after), abs=0.06)
    truth = stats.multivariate_normal(cov=np.diag([25, 0.04])).logpdf(after - 0.8 * before).mean()
    assert log_score(plain, before, after) == pytest.approx(truth, abs=0.05)
