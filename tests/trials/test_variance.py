"""The variance between runs: conjugate formulas against integration, and laws against simulation."""

import numpy as np
import pytest
from scipy import integrate, stats

from descentcast.errors import ArgumentError
from descentcast.trials import CALIBRATED, VariancePrior
from descentcast.trials._variance import ErrorLaw

PRIOR = VariancePrior((0.6, 0.4), (5.0, 2.0), (1.0, 20.0), (0.2,), (1.0,))


def inverse_chi2(phi, dof, scale):
    """The density of a scaled inverse chi-square, from its definition `dof scale / phi ~ chi^2(dof)`."""
    return stats.chi2.pdf(dof * scale / phi, dof) * dof * scale / phi**2


@pytest.mark.parametrize(("S", "nu"), [(0.5, 1), (3.0, 1), (40.0, 3)])
def test_the_posterior_is_that_of_integration(S, nu):
    posterior = PRIOR.posterior([S], [nu])

    def joint(log_phi, k):
        phi = np.exp(log_phi)
        return inverse_chi2(phi, PRIOR.dof[k], PRIOR.scales[k]) * stats.chi2.pdf(S / phi, nu) / phi * phi

    evidence = np.array(
        [w * integrate.quad(joint, -12, 18, args=(k,), limit=200)[0] for k, w in enumerate(PRIOR.weights)]
    )
    np.testing.assert_allclose(posterior.components, evidence / evidence.sum(), rtol=1e-5)
    # The density of phi in a component, at a few places, up to a constant.
    phi = np.array([0.5, 2.0, 9.0])
    exact = inverse_chi2(phi, PRIOR.dof[0], PRIOR.scales[0]) * stats.chi2.pdf(S / phi, nu) / phi
    ours = inverse_chi2(phi, posterior.dof[0, 0], posterior.scales[0, 0])
    np.testing.assert_allclose(ours / ours[0], exact / exact[0], rtol=1e-9)


def test_no_second_run_leaves_the_prior():
    posterior = PRIOR.posterior([0.0, 0.0], [0, 0])
    np.testing.assert_allclose(posterior.components, PRIOR.weights)
    np.testing.assert_allclose(posterior.dof, np.repeat(np.array(PRIOR.dof)[:, None], 2, axis=1))
    np.testing.assert_allclose(posterior.scales, np.repeat(np.array(PRIOR.scales)[:, None], 2, axis=1))


def test_agreeing_runs_believe_their_kernels_and_others_do_not():
    scattered = [CALIBRATED.posterior([S, S], [1, 1]).components[-1] for S in (1.0, 30.0, 1000.0, 1e5)]
    assert np.all(np.diff(scattered) > 0)
    assert scattered[0] < 0.02
    assert scattered[-1] > 0.9


def test_one_component_and_no_bias_give_the_t_interval():
    # dof 9 about phi = 1, one arm: error / sqrt(q) is Student-t with 9 degrees of freedom.
    prior = VariancePrior((1.0,), (9.0,), (1.0,), (0.0,), (1.0,))
    law = ErrorLaw.of(prior.posterior([0.0], [0]), [(0, 4.0)], 0.0)
    assert law.halfwidth(0.9) == pytest.approx(2 * stats.t.ppf(0.95, 9), rel=0.02)
    assert law.above(3.0) == pytest.approx(stats.t.sf(1.5, 9), rel=0.03)
    assert law.above(-3.0) == pytest.approx(1 - law.above(3.0))


def test_a_fixed_variance_alone_gives_the_normal_interval():
    prior = VariancePrior((1.0,), (5.0,), (1.0,), (0.0,), (1.0,))
    law = ErrorLaw.of(prior.posterior([0.0, 0.0], [0, 0]), [(0, 0.0), (1, 0.0)], 9.0)
    assert law.halfwidth(0.95) == pytest.approx(3 * stats.norm.ppf(0.975))


def test_two_arms_have_the_law_of_two_independent_variances():
    rng = np.random.default_rng(0)
    posterior = PRIOR.posterior([2.0, 5.0], [1, 2])
    law = ErrorLaw.of(posterior, [(0, 1.0), (1, 0.5)], 0.3)
    k = rng.choice(2, p=posterior.components, size=400_000)
    phi = posterior.dof[k] * posterior.scales[k] / rng.chisquare(posterior.dof[k])
    error = rng.standard_normal(len(k)) * np.sqrt(0.3 + phi[:, 0] + 0.5 * phi[:, 1])
    assert (np.abs(error) <= law.halfwidth(0.9)).mean() == pytest.approx(0.9, abs=0.005)
    assert (error > 2.0).mean() == pytest.approx(law.above(2.0), abs=0.005)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": (0.5, 0.6)}, "sum to 1"),
        ({"dof": (1.0,)}, "must have as many"),
        ({"scales": (1.0, 0.0)}, "scales == 0"),
        ({"bias": (-1.0,)}, "bias == -1"),
        ({"bias": (1.0, 2.0)}, "must have as many"),
    ],
)
def test_a_wrong_prior_is_refused(changes, message):
    given = {
        "weights": (0.5, 0.5),
        "dof": (1.0, 1.0),
        "scales": (1.0, 1.0),
        "bias": (0.1,),
        "bias_weights": (1.0,),
    } | changes
    with pytest.raises(ArgumentError, match=message):
        VariancePrior(**given | changes)
