"""Estimates, intervals and p-values from what runs say: closed forms, invariants, error rates by simulation."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from descentcast.errors import DataError
from descentcast.trials import CALIBRATED, RunEvidence, VariancePrior, compare
from descentcast.trials._contrasts import (
    adjusted,
    arm_means,
    bias_between,
    equivalent_runs,
    fieller,
    pairs,
    predicted,
    superiority,
    weight_of,
)

ONE_BIAS = VariancePrior((1.0,), (0.0,), (0.0,), (6.0,), (1.0,), (0.0,), (0.5,), (1.0,))


def said(m, Y=np.nan, within=1.0, sampling=0.09, late=(0.05, 0.95), unknown=0.0):
    return SimpleNamespace(
        mean=m, real=Y, carried=Y, within=within, sampling=sampling, late=late, whole=(0.0, 1.0), unknown=unknown
    )


def test_the_estimate_is_debiased_by_the_prior_weight():
    mean, other = arm_means([[said(1.0, 2.0), said(3.0, 2.0)], [said(5.0)]], ONE_BIAS)
    w = 2 * 0.25 / (1 + 2 * 0.25)
    assert mean.weight == pytest.approx(w)
    np.testing.assert_allclose(mean.z, [(1 - w) * 1 + w * 2, (1 - w) * 3 + w * 2])
    assert (other.weight, other.mean) == (0.0, 5.0)
    # Without real outcomes nothing is known of the bias but the prior.
    assert other.bias == pytest.approx([0.25])


def test_far_real_outcomes_are_believed_rather_than_kernels_and_by_both_arms_alike():
    near = arm_means([[said(0.0, 0.3)] * 2, [said(1.0, 1.2)] * 2], CALIBRATED)
    far = arm_means([[said(0.0, 8.0)] * 2, [said(1.0, 1.2)] * 2], CALIBRATED)
    assert near[0].weight < 0.2
    assert far[0].weight > 0.9
    assert far[0].weight == far[1].weight


def test_from_eight_runs_on_the_weight_is_estimated():
    rng = np.random.default_rng(0)
    Y = rng.normal(size=10)
    useless = [said(float(m), float(y)) for m, y in zip(5 * rng.normal(size=10), Y, strict=True)]
    sharp = [said(float(m), float(y)) for m, y in zip(0.01 * rng.normal(size=10), Y - Y.mean(), strict=True)]
    assert arm_means([useless], CALIBRATED)[0].weight > 0.8
    assert arm_means([sharp], CALIBRATED)[0].weight < 0.4


def test_the_predicted_variance_is_that_of_an_efficient_and_any_other_estimate():
    rng = np.random.default_rng(1)
    m = 0.3 * rng.standard_normal(200_000)
    Y = m + np.sqrt(1 - 0.09) * rng.standard_normal(200_000)
    for w in (0.0, 0.3, 1.0):
        assert ((1 - w) * m + w * Y).var() == pytest.approx(predicted(w, 1.0, 0.09), rel=0.02)


def test_without_prior_knowledge_it_is_students_interval():
    """A prior of almost no degrees of freedom, and kernels that say nothing beyond the outcomes themselves."""
    prior = VariancePrior((1.0,), (0.0,), (0.0,), (1e-6,), (1.0,), (0.0,), (0.0,), (1.0,))
    z = np.array([1.0, 2.0, 4.0, 4.5])
    mean = arm_means([[said(float(v), float(v)) for v in z]], prior)[0]
    posterior = prior.posterior([mean.squares], [mean.runs - 1], mean.seen)
    # The scale of one arm: dof 3 and the sample variance over what was predicted.
    assert posterior.dof[0, 0, 1] == pytest.approx(3.0, abs=1e-5)
    assert posterior.scales[0, 0, 1] * mean.predicted == pytest.approx(z.var(ddof=1), rel=1e-4)


def simulated(rng, n, phi=1.0, effect=0.0, s=0.3, late=(0.05, 0.95)):
    """Two arms whose runs are what their kernels say (phi = 1)."""
    arms = []
    for a in (0, 1):
        m = effect * a + s * np.sqrt(phi) * rng.standard_normal(n)
        Y = m + np.sqrt(1 - s**2) * rng.standard_normal(n)
        spread = s**2 * rng.chisquare(15, n) / 15
        arms.append([said(*(float(v) for v in row), 1.0, float(k), late) for *row, k in zip(m, Y, spread, strict=True)])
    return arms


@pytest.mark.parametrize(("n", "phi"), [(1, 1.0), (2, 1.0), (4, 2.0)])
def test_nulls_of_runs_that_kernels_describe_are_seldom_called(n, phi):
    rng = np.random.default_rng(n)
    p = np.array([compare(*simulated(rng, n, phi), CALIBRATED).p_value for _ in range(100)])
    assert (p <= 0.05).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)


def test_runs_that_come_back_to_the_starts_are_worth_more():
    """One run of an arm is worth little where it left its start for good; two that agree are worth more."""
    rng = np.random.default_rng(5)

    def worth(n, late):
        found = [compare(*simulated(rng, n, late=late), CALIBRATED).equivalent_runs for _ in range(30)]
        return np.median(found)

    back, gone = (0.0, 1.0), (0.0, 0.0)
    assert worth(1, gone) < 2 < 5 < worth(1, back) < worth(2, back)
    assert worth(1, gone) < worth(2, gone) < worth(2, back)


@settings(deadline=None, max_examples=10)
@given(st.floats(-5, 5), st.floats(0.01, 100))
def test_comparisons_follow_shifts_and_scales_and_mirror(shift, scale):
    a, b = [said(0.1, 0.3), said(0.4, -0.2)], [said(1.0, 1.1), said(0.8, 1.9)]

    def moved(runs):
        return [said(shift + scale * r.mean, shift + scale * r.real, scale**2, 0.09 * scale**2) for r in runs]

    plain, other = compare(b, a, CALIBRATED), compare(moved(b), moved(a), CALIBRATED)
    np.testing.assert_allclose(
        [other.effect, other.halfwidth], [scale * plain.effect, scale * plain.halfwidth], rtol=1e-6
    )
    assert other.p_value == pytest.approx(plain.p_value, rel=1e-6)
    mirrored = compare(a, b, CALIBRATED)
    assert (mirrored.effect, mirrored.p_value) == pytest.approx((-plain.effect, plain.p_value))


def test_equivalent_runs_are_those_of_students_interval():
    for n in (2, 5, 30):
        half = stats.t.ppf(0.95, 2 * (n - 1)) * np.sqrt((1.5**2 + 0.5**2) / n)
        assert equivalent_runs(half, [1.5, 0.5], 0.9) == pytest.approx(n, rel=1e-6)
    assert equivalent_runs(1e9, [1.0], 0.9) == 1.0


def test_adjusted_p_values_agree_with_scipy_and_keep_missing_ones():
    p = np.array([0.2, 0.01, np.nan, 0.04, 0.03])
    known = np.isfinite(p)
    np.testing.assert_allclose(adjusted(p, "fdr")[known], stats.false_discovery_control(p[known]))
    np.testing.assert_allclose(adjusted(p, "holm"), [0.2, 0.04, np.nan, 0.09, 0.09])


def test_superiority_counts_pairs_and_puts_diverged_runs_last():
    ours, theirs = np.array([1.0, 2.0, np.nan]), np.array([2.0, 3.0])
    # Lower is better: 1 beats both, 2 ties once and beats once, the diverged one loses to both.
    assert superiority(ours, theirs, -1) == pytest.approx((2 + 1.5 + 0) / 6)
    assert superiority(ours, theirs, 1) == pytest.approx((0 + 0.5 + 0) / 6)
    assert superiority(ours, ours, 1) == 0.5


def test_contrasts():
    assert pairs(["a", "b", "c"], "pairs") == [(1, 0), (2, 0), (2, 1)]
    assert pairs(["a", "b", "c"], "control") == [(1, 0), (2, 0)]
    assert float(weight_of(4, np.array(0.5))) == 0.5


def test_a_run_splits_the_variance_of_its_virtual_runs():
    rng = np.random.default_rng(3)
    kernels = 0.5 * rng.standard_normal((4000, 1))
    run = RunEvidence("r", 0.0, False, 2 + kernels + rng.standard_normal((4000, 10)))
    assert run.mean == pytest.approx(2, abs=0.03)
    assert run.within == pytest.approx(1.0, rel=0.02)
    assert run.sampling == pytest.approx(0.25, rel=0.1)
    alone = RunEvidence("r", 0.0, False, rng.standard_normal((1, 500)))
    assert alone.sampling == alone.within


def test_arms_that_diverge_cannot_be_compared():
    with pytest.raises(DataError, match="diverge"):
        compare([said(float("nan"))], [said(1.0)], CALIBRATED)


def test_a_foretold_outcome_counts_for_what_is_known_of_it():
    """As uncertain again as chance within a run: it is worth half an outcome, and its uncertainty is in p."""
    (mean,) = arm_means([[said(1.0, 2.0, unknown=1.0), said(3.0, 2.0, unknown=1.0)]], ONE_BIAS)
    (whole,) = arm_means([[said(2.0, 2.0)]], ONE_BIAS)
    assert mean.real == pytest.approx(1.0)
    assert mean.weight == pytest.approx(whole.weight)
    assert mean.predicted == pytest.approx(predicted(mean.weight, 1.0, 0.09) + mean.weight**2)


def test_biases_that_arms_share_cancel():
    arms = [[said(0.0, 0.4)] * 2, [said(1.0, 1.4)] * 2]
    own, shared = (
        VariancePrior((1.0,), (0.0,), (0.0,), (6.0,), (1.0,), (0.0,), (0.5,), (1.0,), shared=r) for r in (0.0, 0.9)
    )
    halves = [compare(*arms, prior).halfwidth for prior in (own, shared)]
    assert halves[1] < halves[0]
    # Against each other they are seen through both arms' outcomes: theta^2 t^2 = 0.25 * 2 * 0.1, noise 2 / 2.
    a, b = arm_means(arms, shared)
    weight = 0.05 / 1.05
    assert bias_between(a, b, shared) == pytest.approx([(1 - a.weight) ** 2 * (1 - weight) * 0.05])


def test_fiellers_interval_holds_the_ratio_as_often_as_it_says():
    """Two Gaussian means with known errors, a near 0: the ratio of what they estimate is held in 90 % of draws."""
    rng, z, true_a, true_b, sd_a, sd_b = np.random.default_rng(0), stats.norm.ppf(0.95), 1.0, 2.5, 0.25, 0.6
    held = []
    for a, b in zip(rng.normal(true_a, sd_a, 4000), rng.normal(true_b, sd_b, 4000), strict=True):
        low, high = fieller(b, z * sd_b, a, z * sd_a)
        if np.isfinite(low):  # else the set has no end; it is not an interval
            held.append(low <= true_b / true_a <= high)
            for end in (low, high):
                assert (b - end * a) ** 2 == pytest.approx((z * sd_b) ** 2 + (end * z * sd_a) ** 2)
    assert len(held) > 3900
    assert np.mean(held) == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 4000))


def test_a_ratio_to_what_may_be_nothing_has_no_interval():
    assert np.isnan(fieller(1.0, 0.1, 0.2, 0.3)).all()
