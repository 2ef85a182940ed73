"""The variance between runs: conjugate formulas against integration, and laws against simulation."""

import numpy as np
import pytest
from scipy import integrate, stats

from descentcast.errors import ArgumentError
from descentcast.trials import CALIBRATED, VariancePrior
from descentcast.trials._variance import ErrorLaw, Seen, _gamma_rule

PRIOR = VariancePrior((0.6, 0.4), (0.0, -1.5), (0.0, 0.5), (5.0, 2.0), (1.0, 20.0), (0.0, 0.4), (0.2,), (1.0,))
ALONE = VariancePrior((1.0,), (0.0,), (0.0,), (9.0,), (1.0,), (0.0,), (0.0,), (1.0,))
ALL, HALF, NONE = Seen(1.0, 1.0), Seen(0.5, 0.8), Seen(0.0, 0.0)


def inverse_chi2(phi, dof, scale):
    """The density of a scaled inverse chi-square, from its definition `dof scale / phi ~ chi^2(dof)`."""
    return stats.chi2.pdf(dof * scale / phi, dof) * dof * scale / phi**2


@pytest.mark.parametrize(("S", "nu", "seen"), [(0.5, 1, NONE), (3.0, 1, ALL), (40.0, 3, HALF)])
def test_the_posterior_is_that_of_integration(S, nu, seen):
    """By the definition: phi of its component, S of `phi chi^2`, or of the first component where runs lie together."""
    posterior = PRIOR.posterior([S], [nu], seen)

    def evidence(k):
        def joint(log_phi):
            phi = np.exp(log_phi)
            return inverse_chi2(phi, PRIOR.dof[k], PRIOR.scales[k]) * stats.chi2.pdf(S / phi, nu) / phi * phi

        return integrate.quad(joint, -12, 18, limit=200)[0]

    first, second, q = evidence(0), evidence(1), 0.4**nu
    odds = 0.4 / 0.6 * np.exp(-1.5 * seen.recurrence + 0.5 * seen.passage)
    prior = np.array([1 / (1 + odds), odds / (1 + odds)])
    states = np.array([[0.0, first], [q * first, (1 - q) * second]])
    both = prior * states.sum(axis=1)
    np.testing.assert_allclose(posterior.components, both / both.sum(), rtol=1e-5)
    np.testing.assert_allclose(posterior.states[:, 0], states / states.sum(axis=1, keepdims=True), rtol=1e-5)
    # The density of phi in the first component, at a few places, up to a constant.
    phi = np.array([0.5, 2.0, 9.0])
    exact = inverse_chi2(phi, PRIOR.dof[0], PRIOR.scales[0]) * stats.chi2.pdf(S / phi, nu) / phi
    ours = inverse_chi2(phi, posterior.dof[0, 0, 1], posterior.scales[0, 0, 1])
    np.testing.assert_allclose(ours / ours[0], exact / exact[0], rtol=1e-9)
    # Runs that lie together tell nothing of phi.
    assert (posterior.dof[1, 0, 0], posterior.scales[1, 0, 0]) == (PRIOR.dof[1], PRIOR.scales[1])


def test_no_second_run_leaves_the_prior():
    posterior = PRIOR.posterior([0.0, 0.0], [0, 0], NONE)
    np.testing.assert_allclose(posterior.components, PRIOR.weights)
    np.testing.assert_allclose(posterior.dof, np.broadcast_to(np.array(PRIOR.dof)[:, None, None], (2, 2, 2)))
    np.testing.assert_allclose(posterior.scales, np.broadcast_to(np.array(PRIOR.scales)[:, None, None], (2, 2, 2)))


def test_quantiles_are_those_of_the_mixture():
    posterior = PRIOR.posterior([2.0, 7.0], [1, 2], HALF)
    rng = np.random.default_rng(0)
    k = rng.choice(2, p=posterior.components, size=400_000)
    state = (rng.random(len(k)) < posterior.states[k, 1, 1]).astype(int)
    dof, scale = posterior.dof[k, 1, state], posterior.scales[k, 1, state]
    phi = dof * scale / rng.chisquare(dof)
    for q in (0.1, 0.5, 0.9):
        assert (phi <= posterior.quantile(1, q)).mean() == pytest.approx(q, abs=0.004)
    assert posterior.median(1) == posterior.quantile(1, 0.5)


def test_agreeing_runs_believe_their_kernels_and_others_do_not():
    medians = [CALIBRATED.posterior([S, S], [1, 1], HALF).median(0) for S in (1.0, 30.0, 1000.0, 1e5)]
    assert np.all(np.diff(medians) > 0)
    assert medians[0] < 3


def test_runs_that_come_back_are_believed_more():
    """The more so the fewer agreeing runs there are to say it."""
    medians = [
        [CALIBRATED.posterior([nu], [nu], seen).quantile(0, 0.9) for seen in (NONE, HALF, ALL)] for nu in (0, 1, 3)
    ]
    assert np.all(np.diff(medians, axis=1) < 0)
    assert np.all(np.diff(medians, axis=0) < 0)


def test_one_component_and_no_bias_give_the_t_interval():
    # dof 9 about phi = 1, one arm: error / sqrt(q) is Student-t with 9 degrees of freedom.
    law = ErrorLaw.of(ALONE.posterior([0.0], [0], ALL), [(0, 4.0)], [0.0], [1.0])
    assert law.halfwidth(0.9) == pytest.approx(2 * stats.t.ppf(0.95, 9), rel=1e-4)
    assert law.above(3.0) == pytest.approx(stats.t.sf(1.5, 9), rel=1e-4)
    assert law.above(-3.0) == pytest.approx(1 - law.above(3.0))


def test_a_fixed_variance_alone_gives_the_normal_interval():
    law = ErrorLaw.of(ALONE.posterior([0.0, 0.0], [0, 0], ALL), [(0, 0.0), (1, 0.0)], [9.0], [1.0])
    assert law.halfwidth(0.95) == pytest.approx(3 * stats.norm.ppf(0.975))


def test_two_arms_have_the_law_of_two_independent_variances():
    rng = np.random.default_rng(0)
    posterior = PRIOR.posterior([2.0, 5.0], [1, 2], HALF)
    law = ErrorLaw.of(posterior, [(0, 1.0), (1, 0.5)], [0.3, 4.0], [0.75, 0.25])
    k = rng.choice(2, p=posterior.components, size=400_000)
    phi = []
    for arm in (0, 1):
        state = (rng.random(len(k)) < posterior.states[k, arm, 1]).astype(int)
        dof, scale = posterior.dof[k, arm, state], posterior.scales[k, arm, state]
        phi.append(dof * scale / rng.chisquare(dof))
    error = rng.standard_normal(len(k)) * np.sqrt(
        rng.choice([0.3, 4.0], len(k), p=[0.75, 0.25]) + phi[0] + 0.5 * phi[1]
    )
    assert (np.abs(error) <= law.halfwidth(0.9)).mean() == pytest.approx(0.9, abs=0.004)
    assert (error > 2.0).mean() == pytest.approx(law.above(2.0), abs=0.004)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": (0.5, 0.6)}, "sum to 1"),
        ({"passage": (1.0, np.inf)}, "passage"),
        ({"dof": (1.0,)}, "must have as many"),
        ({"together": (0.0, 1.5)}, "together == 1.5"),
        ({"shared": 1.0}, "shared == 1"),
        ({"scales": (1.0, 0.0)}, "scales == 0"),
        ({"bias": (-1.0,)}, "bias == -1"),
        ({"bias": (1.0, 2.0)}, "must have as many"),
    ],
)
def test_a_wrong_prior_is_refused(changes, message):
    given = {
        "weights": (0.5, 0.5),
        "recurrence": (0.0, -1.0),
        "passage": (0.0, 1.0),
        "dof": (1.0, 1.0),
        "scales": (1.0, 1.0),
        "together": (0.0, 0.5),
        "bias": (0.1,),
        "bias_weights": (1.0,),
    } | changes
    with pytest.raises(ArgumentError, match=message):
        VariancePrior(**given | changes)


@pytest.mark.parametrize("dof", [1.0, 7.5, 342.0, 20_000.0])
def test_the_gauss_rule_has_the_moments_of_half_a_chi_square(dof):
    places, weights = _gamma_rule(dof)
    assert weights.sum() == pytest.approx(1)
    assert weights @ places == pytest.approx(dof / 2)
    assert weights @ (places - dof / 2) ** 2 == pytest.approx(dof / 2)
