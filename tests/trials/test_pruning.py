"""Early stopping by forecast, with the real Optuna."""

import numpy as np
import optuna
import pytest
from numpy.testing import assert_allclose

import descentcast as dc
from descentcast.errors import ArgumentError
from descentcast.trials._pruning import Reported, _past, chance_of_beating, hardly_beats

optuna.logging.set_verbosity(optuna.logging.ERROR)


def curve(floor, seed, steps=60, decay=0.92, noise=0.01):
    rng, t = np.random.default_rng(seed), np.arange(steps)
    return floor + decay**t + noise * rng.standard_normal(steps)


def reported(values, known=None, stride=1):
    values = values[:known]
    return Reported(stride * np.arange(len(values)), values)


def test_the_chance_goes_from_one_to_nothing_as_the_target_falls():
    run = reported(curve(0.4, 0), 25)
    others = [reported(curve(f, i)) for i, f in enumerate((0.2, 0.3, 0.5, 0.6))]
    chances = [chance_of_beating(run, others, 59, target) for target in (0.7, 0.5, 0.4, 0.3, 0.1)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.95
    assert chances[-1] < 0.05


def test_hardly_is_below_the_probability():
    others = [reported(curve(f, i)) for i, f in enumerate((0.2, 0.3, 0.5, 0.6))]
    for target in (0.1, 0.33, 0.4):
        for known in (10, 30):
            run = reported(curve(0.35, 5), known)
            chance = chance_of_beating(run, others, 59, target)
            for p in (0.1, 0.6):
                assert hardly_beats(run, others, 59, target, probability=p) == (chance < p)


def test_higher_is_the_complement_on_the_mirror():
    values = curve(0.4, 0)
    others = [curve(f, i) for i, f in enumerate((0.2, 0.6))]
    low = chance_of_beating(reported(values - 0.8, 30), [reported(o - 0.8) for o in others], 59, 0.35 - 0.8)
    high = chance_of_beating(reported(0.8 - values, 30), [reported(0.8 - o) for o in others], 59, 0.8 - 0.35, "higher")
    assert_allclose(low, high, atol=1e-9)


def test_strides_do_not_matter():
    run, other = curve(0.4, 0), [curve(f, i) for i, f in enumerate((0.2, 0.6))]
    a, b = (
        chance_of_beating(reported(run, 30, s), [reported(o, None, s) for o in other], 59 * s, 0.35) for s in (1, 50)
    )
    assert_allclose(a, b, atol=1e-9)


def test_the_chances_hold_what_they_say():
    """Of runs like those finished, the share that beats a target is the mean chance."""
    rng, found = np.random.default_rng(4), []
    for seed in range(16):
        floors = rng.uniform(0.2, 0.6, 8)
        runs = [curve(f, 1000 * seed + i) for i, f in enumerate(floors)]
        target = float(np.median([r[-1] for r in runs]))
        chance = chance_of_beating(reported(runs[0], 15), [reported(r) for r in runs[1:]], 59, target)
        found.append([chance, runs[0][-1] < target])
    chance, happened = np.array(found).T
    assert abs(chance.mean() - happened.mean()) < 0.15
    assert np.mean((chance - happened) ** 2) < 0.15  # a coin has 0.25


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_study_prunes_the_hopeless_and_keeps_the_best(direction):
    sign = 1 if direction == "minimize" else -1

    def signed(trial):
        floor = trial.suggest_float("floor", 0.1, 1.0)
        value = 0.0
        for step, value in enumerate(sign * curve(floor, trial.number)):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study = optuna.create_study(
        direction=direction, pruner=dc.ForecastPruner(interval_steps=3), sampler=optuna.samplers.RandomSampler(seed=1)
    )
    study.optimize(signed, n_trials=22)
    pruned = [t for t in study.trials if t.state == optuna.trial.TrialState.PRUNED]
    assert len(pruned) >= 9
    best = min(study.trials, key=lambda t: t.params["floor"])
    assert study.best_params["floor"] <= best.params["floor"] + 0.03
    assert np.mean([len(t.intermediate_values) for t in pruned]) < 30


def frozen(values, state, value=None):
    return optuna.trial.create_trial(
        state=state, value=value, intermediate_values={i: float(v) for i, v in enumerate(values)}
    )


def study_of(floors, **kwargs):
    study = optuna.create_study(**kwargs)
    for i, floor in enumerate(floors):
        values = curve(floor, i)
        study.add_trial(frozen(values, optuna.trial.TrialState.COMPLETE, float(values[-1])))
    return study


def test_when_it_does_not_prune():
    study, pruner = study_of([0.2, 0.3, 0.4, 0.5]), dc.ForecastPruner()
    running = optuna.trial.TrialState.RUNNING
    hopeless = curve(0.9, 7)
    assert pruner.prune(study, frozen(hopeless[:20], running))
    assert pruner.prune(study, frozen(hopeless[:4], running))  # finished trials say enough
    assert not pruner.prune(study, frozen(hopeless[:3], running))  # too few values
    early = dc.ForecastPruner(n_startup_trials=1)
    assert not early.prune(study_of([0.2]), frozen(hopeless[:7], running))  # its own past says too little
    assert not pruner.prune(study, frozen([], running))
    assert not pruner.prune(study, frozen(curve(0.1, 8)[:20], running))  # it may win
    assert not pruner.prune(study, frozen(hopeless, running))  # it is at the end
    assert not pruner.prune(study_of([0.2, 0.3, 0.4]), frozen(hopeless[:20], running))  # too few finished
    assert pruner.prune(study, frozen([*hopeless[:5], np.nan], running))
    every = dc.ForecastPruner(interval_steps=5)
    assert [every.prune(study, frozen(hopeless[:n], running)) for n in (8, 9, 14)] == [False, True, True]


def test_the_threshold_is_a_probability():
    study, trial = study_of([0.2, 0.3, 0.4, 0.5]), frozen(curve(0.25, 9)[:12], optuna.trial.TrialState.RUNNING)
    pruned = [dc.ForecastPruner(probability=p).prune(study, trial) for p in (0.001, 0.9999)]
    assert pruned == [False, True]


@pytest.mark.parametrize(
    ("name", "value"),
    [("probability", 0), ("probability", 1.5), ("n_startup_trials", 0), ("n_warmup_steps", 3), ("interval_steps", 0)],
)
def test_arguments(name, value):
    with pytest.raises(ArgumentError, match=name):
        dc.ForecastPruner(**{name: value})


def test_a_pruner_of_optuna():
    assert isinstance(dc.ForecastPruner(), optuna.pruners.BasePruner)


@pytest.mark.parametrize("last", [99, 100, 97])
def test_finished_runs_are_held_beside_whatever_the_last_step_is(last):
    steps = np.array([*range(0, 91, 10), last])
    whole = [Reported(steps, 0.1 * i + np.exp(-steps / 30)) for i in range(4)]
    for known in range(4, 10):
        past = _past(Reported(steps[:known], 0.15 + np.exp(-steps[:known] / 30)), whole, last)
        assert len(past.others) == 4
        assert_allclose(np.sort(past.others[:, -1]), sorted(run.values[-1] for run in whole))
