"""Loss curves: fits recover what made a curve, baselines are right where their assumption holds."""

import numpy as np
import pytest
from benchmarks.suite.curves import CURVES, curve_of
from benchmarks.suite.losses import fit_power_law, last_value_laws, loss_scores, power_law, power_law_laws
from benchmarks.suite.measures import floored
from benchmarks.suite.one_step import RECALIBRATED, stretches

from descentcast import scoring


def test_a_power_law_is_found_again():
    true = np.array([np.log(0.2), np.log(1.5), np.log(0.6)])
    curve = power_law(true, np.arange(1, 121))
    assert curve[3] == pytest.approx(np.log(0.2 + 1.5 * 4**-0.6))
    np.testing.assert_allclose(
        power_law(fit_power_law(curve, None), np.arange(1, 200)), power_law(true, np.arange(1, 200)), atol=1e-4
    )


def score(law_list, scored, values) -> float:
    each = zip(law_list, scored, strict=True)
    found = [scoring.log_score(floored(law), s.edges, values[s.steps + 1]) for law, s in each]
    return float(np.concatenate(found).mean())


def test_each_baseline_is_best_on_what_it_assumes():
    rng = np.random.default_rng(0)
    steps, noise = np.arange(60, 199, 6), 0.05 * rng.standard_normal(200)
    decay = power_law(np.array([np.log(0.1), 0.0, 0.0]), np.arange(1, 201)) + noise
    walk = -np.cumsum(np.abs(noise[:1])) + np.cumsum(noise)
    for values, best in ((decay, "power"), (walk, "last")):
        scored = stretches(values, steps)
        found = {
            "power": score(power_law_laws(values, scored), scored, values),
            "last": score([last_value_laws(values, s) for s in scored], scored, values),
        }
        assert min(found, key=found.get) == best
        # The entropy of the noise is the least anyone expects.
        assert found[best] == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 0.05**2), abs=0.35)


@pytest.mark.parametrize("family", CURVES)
def test_curves_fall_and_differ_by_seed(family):
    first, again, other = curve_of(family, 0), curve_of(family, 0), curve_of(family, 1)
    assert first.shape == (200,)
    assert (first == again).all()
    assert not np.allclose(first, other)
    assert first[-40:].mean() < first[:5].mean() - 0.1


def test_scores_of_models_and_baselines_are_on_one_curve(fake_model):
    family = "linear, full loss"
    found = loss_scores(family, 0, None) | loss_scores(family, 0, fake_model)
    assert set(found) == {"last value", "power law", "AR(1)", "local-linear", "1 view", "4 views", RECALIBRATED}
    assert np.isfinite(list(found.values())).all()
    # Without the steps that only recalibration needs, all else stays.
    as_read = loss_scores(family, 0, fake_model, mend=False)
    assert as_read == {name: pytest.approx(found[name], abs=1e-9) for name in ("1 view", "4 views")}
