"""The stopper, with the real Ray Tune."""

import numpy as np
import pytest
import ray
from ray import tune

import descentcast as dc
from descentcast.errors import ArgumentError


def curve(floor, seed=0, steps=40):
    rng, t = np.random.default_rng(seed), np.arange(steps)
    return floor + 0.85**t + 0.005 * rng.standard_normal(steps)


def fed(stopper, name, values, done=False):
    """Report values as Tune does, until the stopper says stop: return how many were reported."""
    for t, value in enumerate(values, 1):
        if stopper(name, {"loss": float(value), "training_iteration": t, "done": done and t == len(values)}):
            return t
    return len(values)


def test_hopeless_trials_stop_and_good_ones_go_on():
    stopper = dc.ForecastStopper("loss", "min", max_t=40)
    assert isinstance(stopper, tune.Stopper)
    assert [fed(stopper, f"start {i}", curve(0.3 + 0.1 * i, i)) for i in range(4)] == [40] * 4
    assert fed(stopper, "hopeless", curve(1.0)) < 25
    assert fed(stopper, "good", curve(0.1)) == 40
    assert not stopper.stop_all()


def test_higher_is_better_too():
    stopper = dc.ForecastStopper("loss", "max", max_t=40, startup_trials=2)
    for i in range(2):
        fed(stopper, f"start {i}", -curve(0.3 + 0.1 * i, i))
    assert fed(stopper, "hopeless", -curve(1.0)) < 25
    assert fed(stopper, "good", -curve(0.1)) == 40


def test_a_trial_that_ended_by_itself_counts_as_finished():
    stopper = dc.ForecastStopper("loss", "min", max_t=60, startup_trials=1)
    fed(stopper, "short", curve(0.3), done=True)
    assert fed(stopper, "hopeless", curve(1.0, steps=60)) < 40


def test_a_value_that_is_not_finite_stops():
    stopper = dc.ForecastStopper("loss", "min", max_t=40)
    assert fed(stopper, "diverged", [1.0, np.nan, 0.5]) == 2


def test_bad_input():
    for arguments, words in (
        ({"mode": "lower"}, "mode"),
        ({"max_t": 3}, "max_t"),
        ({"probability": 0}, "probability"),
        ({"grace_period": 2}, "grace_period"),
    ):
        with pytest.raises(ArgumentError, match=words):
            dc.ForecastStopper(**{"metric": "loss", "mode": "min", "max_t": 40, **arguments})
    stopper = dc.ForecastStopper("loss", "min", max_t=40)
    with pytest.raises(ArgumentError, match="loss"):
        stopper("a", {"training_iteration": 1})
    with pytest.raises(ArgumentError, match="training_iteration"):
        stopper("a", {"loss": 1.0})


@pytest.mark.slow
def test_an_experiment_of_tune(tmp_path):
    def trainable(config):
        for value in curve(config["floor"], steps=30):
            tune.report({"loss": float(value)})

    ray.init(num_cpus=1, include_dashboard=False, configure_logging=False, object_store_memory=100_000_000)
    try:
        tuner = tune.Tuner(
            trainable,
            param_space={"floor": tune.grid_search([0.3, 0.4, 1.5, 0.2])},
            tune_config=tune.TuneConfig(max_concurrent_trials=1),
            run_config=tune.RunConfig(
                stop=dc.ForecastStopper("loss", "min", max_t=30, startup_trials=2),
                storage_path=str(tmp_path),
                verbose=0,
            ),
        )
        results = tuner.fit()
    finally:
        ray.shutdown()
    lasted = {r.config["floor"]: r.metrics["training_iteration"] for r in results}
    assert lasted[0.3] == lasted[0.4] == lasted[0.2] == 30
    assert lasted[1.5] < 30
