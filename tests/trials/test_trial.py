"""Trials of whole runs: effects that are known, what is refused, what is told."""

import json

import numpy as np
import pytest
from scipy import stats

import descentcast as dc
from descentcast.errors import ArgumentError, DataError
from descentcast.trajectories import Trajectories, Trajectory
from descentcast.trials import next_run, plan

STEPS = 100


def arm(minimum=0.0, runs=2, seed=0, step=0.2):
    rng = np.random.default_rng(seed)
    problem = dc.problems.Quadratic(step_size=step, minimum=minimum)
    # Every arm starts from one law: what a run does from where others start, it shows by coming back there.
    return problem.simulate(0.5 + 0.3 * rng.standard_normal(runs), STEPS, rng)


def run(arms, **options):
    return dc.Trial(arms, estimator=dc.LocalLinearKernel(), **options).run(400)


@pytest.fixture(scope="module")
def result():
    arms = {"a": arm(0.0, 3, seed=1), "b": arm(1.0, 3, seed=2), "c - d": arm(0.0, 3, seed=3)}
    return run(arms, better="higher", rope=0.5)


def test_a_large_effect_is_found_with_its_sign_and_size(result):
    effects = result.effects.set_index("contrast")
    assert effects.loc["b - a", "verdict"] == "better"
    assert effects.loc["c - d - b", "verdict"] == "worse"
    assert effects.loc["c - d - a", "verdict"] in ("undecided", "equivalent")
    assert effects.loc["b - a", "low"] < 1.0 < effects.loc["b - a", "high"]
    assert effects.loc["b - a", "p_superior"] > 0.95
    assert (effects["p_adjusted"] >= effects["p_value"]).all()


def test_the_arms_table_describes_virtual_runs(result):
    row = result.arms.iloc[1]
    exact = np.sqrt(dc.problems.Quadratic(step_size=0.2).stationary_variance)
    assert row["sd"] == pytest.approx(exact, rel=0.35)
    assert row["q5"] < row["q25"] < row["q50"] < row["q75"] < row["q95"]
    assert row["low"] < row["mean"] < row["high"]
    assert result.virtual["b"][np.isfinite(result.virtual["b"])].mean() == pytest.approx(row["mean"])
    assert result.real["b"].shape == (3,)


def test_the_result_is_json_and_its_conclusion_says_what_it_rests_on(result):
    json.dumps(result.to_dict(), allow_nan=False)
    text = result.summary()
    assert "b is better than a: difference" in text
    assert "3 of a, 3 of b, 3 of c - d" in text
    assert "fifteen development families" in text


def test_the_same_seed_gives_the_same_result_and_names_do_not_matter():
    one, two = (run({names[0]: arm(seed=1), names[1]: arm(0.5, seed=2)}) for names in (("a", "b"), ("x", "y")))
    np.testing.assert_array_equal(one.effects["effect"], two.effects["effect"])
    np.testing.assert_array_equal(one.effects["low"], two.effects["low"])


def test_the_same_runs_as_both_arms_have_no_effect_at_all():
    found = run({"a": arm(seed=1), "b": arm(seed=1)}).effects.iloc[0]
    assert found["effect"] == 0.0
    assert found["p_value"] == 1.0
    assert found["p_superior"] == 0.5


def test_one_run_an_arm_decides_nothing_small():
    found = run({"a": arm(0.0, 1, seed=1), "b": arm(0.2, 1, seed=2)})
    assert found.effects.iloc[0]["verdict"] == "undecided"
    assert "A second run of each arm tells most" in found.summary()


def test_a_setting_nobody_ran_takes_part():
    base = dc.problems.Quadratic(step_size=0.1)
    runs = base.simulate([0.0, 0.1], 200, 0)
    result = run({"step": runs, "3 x": dc.rescale(runs, step=3)}, outcome=lambda paths: base.loss(paths[:, -1]))
    exact = [dc.problems.Quadratic(step_size=s).stationary_variance / 2 for s in (0.1, 0.3)]
    assert result.arms["runs"].tolist() == [2, 0]
    assert result.arms["mean"].to_numpy() == pytest.approx(exact, rel=0.6)
    assert result.effects.iloc[0]["effect"] > 0
    assert any("nobody ran it" in note for note in result.notes)
    with pytest.raises(ArgumentError, match="must be 'identity'"):
        dc.Trial({"a": runs, "b": dc.rescale(runs, step=2)}, transform="log")


def test_losses_that_vary_by_factors_are_followed_as_logarithms():
    rng = np.random.default_rng(0)
    curves = 2 * np.exp(-np.cumsum(0.05 + 0.02 * rng.standard_normal((4, 80)), axis=1))
    arms = {name: Trajectories.from_arrays(list(curves[i : i + 2]), names=["loss"]) for name, i in (("a", 0), ("b", 2))}
    found = run(arms)
    assert "loss was followed as its log" in found.notes
    assert all(np.nanmin(values) > -0.1 for values in found.virtual.values())


def test_starts_that_have_no_logarithm_keep_values_as_they_are():
    rng = np.random.default_rng(0)
    walks = [Trajectories.from_arrays([np.exp(rng.normal(size=60).cumsum() * 0.3)]) for _ in range(2)]
    for starts in ([-0.2, 1.0], lambda rng, count: rng.normal(size=count)):
        result = run({"a": walks[0], "b": walks[1]}, starts=starts)
        assert not any("followed as its log" in note for note in result.notes)
    kept = run({"a": walks[0], "b": walks[1]}, starts=[0.2, 1.0])
    assert any("followed as its log" in note for note in kept.notes)


def test_diverged_and_short_runs_are_told_and_counted():
    whole = arm(seed=1, runs=2)
    values = np.concatenate([whole[0].values[:30], 2.0 ** np.arange(5)[:, None]])
    gone = Trajectory(values, whole.names, run="gone", diverged=35)
    short = Trajectory(whole[1].values[:40], whole.names, run="short")
    found = run({"a": Trajectories((*whole, gone, short)), "b": arm(0.0, seed=2)}, steps=STEPS)
    assert found.arms.loc[0, "p_diverged"] >= 0.25
    assert found.arms.loc[0, "diverged_low"] > 0
    assert any("gone diverged" in note for note in found.notes)
    assert any("short ended before step 100" in note for note in found.notes)
    assert len(found.real["a"]) == 2


def test_the_outcome_is_read_from_the_named_coordinate():
    both = [np.column_stack([np.zeros(STEPS + 1) + 0.01 * i, run.values[:, 0]]) for i, run in enumerate(arm(seed=1))]
    named = Trajectories.from_arrays(both, names=["flat", "x"])
    found = run({"a": named, "b": named}, coordinate="x")
    assert found.name == "x"
    assert any("projected" in note for note in found.notes)
    with pytest.raises(DataError, match="must have recorded 'y'"):
        dc.Trial({"a": named, "b": named}, coordinate="y")


def test_plans_agree_with_the_noncentral_t_and_with_each_other(result):
    found = plan(result, effect=0.4, contrast="b - a")
    assert found.real_runs > found.virtual_runs
    assert found.saved == found.real_runs - found.virtual_runs
    # The smallest effect of as many runs as there are needs as many runs.
    again = plan(result, effect=found.smallest_effect * 1.0001, contrast="b - a")
    assert again.virtual_runs <= found.runs
    assert plan(result, effect=0.4, power=0.95, contrast="b - a").real_runs > found.real_runs
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(ArgumentError, match="contrast == 'z'"):
        plan(result, contrast="z")
    with pytest.raises(ArgumentError, match="power == 1"):
        plan(result, power=1.0)


def test_the_next_run_is_of_the_arm_whose_mean_is_open(result):
    chosen = next_run(result)
    assert chosen.arm == max(chosen.values, key=chosen.values.__getitem__)
    assert min(result.starts) <= chosen.start <= max(result.starts)
    # b is best by far: little can be gained by running one of the others, by the formula of the knowledge gradient.
    means = result.arms["mean"].to_numpy()
    sd = (result.arms["high"] - result.arms["low"]).to_numpy() / 2 / stats.norm.ppf(0.95)
    noise = np.array([result.posterior.median(i) * result.means[i].predicted for i in range(3)])
    step = sd**2 / np.sqrt(sd**2 + noise)
    rng = np.random.default_rng(0)
    draws = means[0] + step[0] * rng.standard_normal(200_000)
    gain = np.maximum(draws, means[1]).mean() - means[1]
    assert chosen.values["a"] == pytest.approx(gain, abs=0.01 * step[0])
    assert set(next_run(result, rule="thompson").values.values()) == {0.0, 1.0}
    with pytest.raises(ArgumentError, match="rule == 'best'"):
        next_run(result, rule="best")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outcome": "last"}, "outcome == 'last'"),
        ({"better": "up"}, "better == 'up'"),
        ({"steps": 0}, "steps == 0"),
        ({"level": 1.0}, "level == 1"),
        ({"contrasts": "all"}, "contrasts == 'all'"),
        ({"rope": -1.0}, "rope == -1"),
        ({"estimator": "local"}, "estimator is a str"),
        ({"prior": 1}, "prior is a int"),
    ],
)
def test_wrong_designs_are_refused_before_anything_is_fitted(options, message):
    with pytest.raises(ArgumentError, match=message):
        dc.Trial({"a": arm(), "b": arm()}, **options)


def test_wrong_arms_are_refused():
    with pytest.raises(ArgumentError, match="at least two"):
        dc.Trial({"a": arm()})
    with pytest.raises(ArgumentError, match=r"arms\['b'\] is a list"):
        dc.Trial({"a": arm(), "b": [1.0]})
    slow = Trajectories((Trajectory(np.arange(30.0), steps=np.arange(30) * 10),))
    with pytest.raises(DataError, match="different strides"):
        dc.Trial({"a": arm(), "b": slow})
    with pytest.raises(DataError, match="no run has the 9 recorded steps"):
        run({"a": arm(), "b": Trajectories.from_arrays([[1.0, 2.0, 3.0]])}, steps=2)


def test_starts_far_from_all_that_a_run_has_seen_are_told():
    arms = {"a": arm(0.0, seed=1), "b": arm(1.0, seed=2)}
    told = [note for note in run(arms, starts=[9.0]).notes if "far from the start 9" in note]
    assert [note[0] for note in told] == ["a", "b"]
    assert not any("far from" in note for note in run(arms).notes)


def test_names_of_arms_are_strings():
    with pytest.raises(ArgumentError, match="arms are named 1 among others, names must be strings"):
        run({1: arm(), 2: arm()})


def test_outcomes_are_carried_to_the_starts_that_are_given():
    """Runs that decay from 2 tell what runs from 0.5 do: the mean from there is 0.5 (1 - s)^20."""
    make = dc.problems.Quadratic
    arms = {
        f"{s}": make(step_size=s, noise=0.5).simulate([2.0] * 8, 200, random_state=i)
        for i, s in enumerate((0.02, 0.03))
    }
    found = run(arms, starts=[0.5], steps=20)
    truth = [0.5 * 0.98**20, 0.5 * 0.97**20]
    for row, mean in zip(found.arms.to_dict(orient="records"), truth, strict=True):
        assert row["low"] < mean < row["high"]
    assert abs(found.effects["effect"][0] - (truth[1] - truth[0])) < 0.03
    assert any("carried to these starts" in note for note in found.notes)
    apart = {"a": arms["0.02"], "b": make(step_size=0.02, noise=0.5).simulate([0.5] * 8, 200, random_state=5)}
    same = run(apart, steps=20)
    assert abs(same.effects["effect"][0]) < 0.5 * (2.0 - 0.5) * 0.98**20, "one law, extrapolated from 0.5 to 2"
    assert any("carried" in note for note in same.notes)
    assert not any("carried" in note for note in run({"a": arms["0.02"], "b": arms["0.03"]}, steps=20).notes)


def test_an_arm_of_which_all_runs_diverged_is_not_called_better():
    gone = tuple(Trajectory(r.values[:40], run=r.run, diverged=40) for r in arm(0.0, 4, seed=1))
    found = run({"gone": Trajectories(gone), "whole": arm(1.0, 4, seed=2)})
    effect = found.effects.iloc[0]
    assert effect["p_value"] < 0.05, "by those that do not diverge it is"
    assert (effect["verdict"], effect["p_superior"]) == ("undecided", 1.0)
    assert "4 of 4 recorded runs of gone diverged" in found.summary()
    some = Trajectories((*gone[:1], *arm(0.0, 3, seed=3)))
    share = run({"some": some, "whole": arm(1.0, 4, seed=2)}).effects["p_superior"][0]
    assert 0.25 <= share < 0.4, "one of four is worse than any"


def test_a_run_that_has_hardly_begun_does_not_speak_louder_than_those_that_ended():
    def loss(steps, seed, floor):
        rng, t = np.random.default_rng(seed), np.arange(steps)
        return (floor + 2 * np.exp(-t / 15)) * np.exp(0.15 * rng.normal(size=steps))

    whole = {name: [loss(61, s + 50 * i, 0.3 * (i + 1)) for s in range(4)] for i, name in enumerate("ab")}
    more = {"a": [*whole["a"], loss(61, 2, 0.3)[:10]], "b": whole["b"]}
    first, second = (run({k: Trajectories.from_arrays(v) for k, v in w.items()}, steps=60) for w in (whole, more))
    assert second.arms["equivalent_runs"][0] < 1.5 * first.arms["equivalent_runs"][0]
    assert 4 < second.means[0].real < 4.5


def test_what_is_foretold_stays_where_the_transform_says():
    def accuracy(top, seed):
        t, rng = np.arange(12), np.random.default_rng(seed)
        return np.clip(top * (1 - np.exp(-t / 8)) + 0.01 + 0.01 * rng.normal(size=12), 0.001, 0.99)

    arms = {n: Trajectories.from_arrays([accuracy(top, s) for s in range(2)]) for n, top in (("a", 0.95), ("b", 0.8))}
    found = run(arms, better="higher", transform="logit", steps=59)
    assert all(0 < one.real < 1 for own in found.evidence for one in own)


def test_a_plan_for_small_and_for_large_effects(result):
    for effect in (0.01, 0.003):
        found = plan(result, effect=effect, contrast="c - d - a")
        assert found.real_runs is None or found.real_runs > 400
    sd = float(np.mean([mean.outcome_sd for mean in result.means]))
    assert plan(result, effect=12 * sd).real_runs == 2
    smallest = [plan(result, effect=e * sd).smallest_effect_real for e in (0.5, 2.0, 12.0, 30.0)]
    np.testing.assert_allclose(smallest, smallest[0], rtol=1e-6)
    with pytest.raises(ArgumentError, match=r"power == 0\.05, must be greater than alpha, 0\.05"):
        plan(result, effect=1.0, power=0.05)


def test_units_do_not_matter():
    arms = {"a": arm(0.0, 3, seed=1), "b": arm(1.0, 3, seed=2)}
    found = []
    for unit in (1.0, 1e-13, 1e9):
        own = {k: Trajectories.from_arrays([r.values[:, 0] * unit for r in v]) for k, v in arms.items()}
        found.append(run(own, transform="identity").effects[["effect", "low", "high"]].to_numpy() / unit)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5)


def test_starts_without_a_logarithm_are_named():
    arms = {n: Trajectories.from_arrays([np.exp(np.random.default_rng(s).normal(size=40))]) for s, n in enumerate("ab")}
    with pytest.raises(ArgumentError, match="starts hold -1, of which there is no log"):
        run(arms, transform="log", starts=[1.0, -1.0])
