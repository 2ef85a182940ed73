"""Is it Markov: laws held against a direct computation, statistics against closed forms, the test's size and power."""

import json

import numpy as np
import pytest
from kernel_chains import kernel as kernel_of
from scipy import stats

from descentcast.errors import ArgumentError, DataError
from descentcast.kernels import CountKernel, LocalLinearKernel, markov_test
from descentcast.kernels._departures import chapman_kolmogorov, fitting, halves, memory, schedule
from descentcast.kernels._interpolation import rows_at, walk
from descentcast.kernels._local_lines import FIRST, Design, local_lines
from descentcast.kernels._markov import _table
from descentcast.kernels._neighbours import reference_bandwidth
from descentcast.trajectories import Trajectories


def waves(rng, steps, momentum=0.0, end=1.0, noise_end=1.0, noise=0.15):
    """A run of SGD on a wavy loss, with momentum, or with drift and noise that change linearly to `end` of theirs."""
    x, speed = np.empty(steps + 1), 0.0
    x[0] = rng.uniform(-2, 2)
    for t in range(steps):
        share = t / steps
        pull = (1 + (end - 1) * share) * 0.2 * np.sin(1.5 * x[t])
        speed = momentum * speed - pull + (1 + (noise_end - 1) * share) * noise * rng.normal()
        x[t + 1] = x[t] + speed
    return x


def weighted_line(x, y, at, known, extra=None):
    """Mean, scale and degrees of freedom at one state by the normal equations of the docstring, without tricks."""
    k = np.flatnonzero(known)
    h = max(reference_bandwidth(x[k], -1 / 5), np.sort(np.abs(x[k] - x[at]))[4])
    w = stats.norm.pdf(x[k], x[at], h)
    w /= w.sum()
    number = 1 / (w**2).sum()
    around = np.column_stack([x] if extra is None else [x, extra])
    line = np.linalg.lstsq(np.column_stack([np.ones(len(k)), around[k]]), y[k], rcond=None)[0][1:]
    centre = w @ around[k]
    moved = around[k] - centre
    ridge = np.diag([h**2, *((w @ moved**2)[1:])]) / number
    spread = (moved * w[:, None]).T @ moved + ridge
    slope = np.linalg.solve(spread, (moved * w[:, None]).T @ y[k] + ridge @ line)
    left = y[k] - w @ y[k] - moved @ slope
    dof = number - 1 - around.shape[1]
    away = around[at] - centre
    variance = (w @ left**2) * number / dof * (1 + (1 + away @ np.linalg.solve(spread, away)) / number)
    return w @ y[k] + slope @ away, np.sqrt(variance), dof


@pytest.mark.parametrize("known", ["past", "others", "labels"])
def test_local_lines_against_the_normal_equations(known):
    rng = np.random.default_rng(0)
    x, extra = rng.normal(size=(2, 60))
    y = np.sin(x) + 0.3 * extra + 0.1 * rng.normal(size=60)
    groups = np.arange(60) % 2
    plain, both = local_lines(x, [Design(y), Design(y, extra)], groups if known == "labels" else known)
    for t in (FIRST, 30, 59):
        mask = {"past": np.arange(60) < t, "others": np.arange(60) != t, "labels": groups != groups[t]}[known]
        if known != "past":
            # There the bandwidth is that of all transitions: the law of one is the same with or without its own.
            assert mask.sum() < 60
        for found, more in ((plain, None), (both, extra)):
            mean, scale, dof = weighted_line(x, y, t, mask, more)
            tolerance = 1e-6 if known == "past" and t == FIRST else 0.2 * scale
            assert found.mean[t] == pytest.approx(mean, abs=tolerance)
            if known == "past" and t == FIRST:
                assert (found.scale[t], found.dof[t]) == pytest.approx((scale, dof), rel=1e-6)


def test_sequential_laws_know_nothing_to_come():
    rng = np.random.default_rng(1)
    x = waves(rng, 80)
    changed = np.concatenate([x[:51], x[51:] + rng.normal(size=30)])
    for design in (lambda v: Design(v[2:]), lambda v: Design(v[2:], v[:-2])):
        ours, theirs = (local_lines(v[1:-1], [design(v)])[0] for v in (x, changed))
        # Transition t leads to value t + 2: up to t = 48 all is the same, and the law at t = 49 as well.
        assert ours.mean[FIRST:50] == pytest.approx(theirs.mean[FIRST:50], rel=1e-6)
        assert ours.losses[FIRST:49] == pytest.approx(theirs.losses[FIRST:49], rel=1e-6)
        assert abs(ours.losses[49] - theirs.losses[49]) > 1e-3
        assert np.isnan(ours.mean[:FIRST]).all()


def test_losses_are_those_of_student_laws():
    rng = np.random.default_rng(2)
    x = rng.normal(size=40)
    laws = local_lines(x[:-1], [Design(x[1:])])[0]
    expected = -stats.t.logpdf(x[1:], laws.dof, laws.mean, laws.scale)
    assert laws.losses[FIRST:] == pytest.approx(expected[FIRST:])


def test_rows_between_centres_are_interpolated():
    kernel = kernel_of([[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    assert rows_at(kernel, np.array([0.5, 0.75, 0.1]))[:, 1:-1] == pytest.approx(
        np.array([[0.5, 0.5, 0], [0.375, 0.625, 0], [0.5, 0.5, 0]])
    )


def test_walks_follow_the_kernel_and_keep_to_the_grid():
    leaking = kernel_of([[0.3, 0.3, 0], [0.25, 0.5, 0.25], [0, 0.2, 0.6]], [[0.4, 0], [0, 0], [0, 0.2]])
    paths = walk(leaking, np.array([0.5, 2.5]), 1, 20_000, np.random.default_rng(0))
    shares = [np.bincount(p.astype(int), minlength=3) / 20_000 for p in paths[:, :, 1].T]
    assert shares == pytest.approx(np.array([[0.5, 0.5, 0], [0, 0.25, 0.75]]), abs=0.02)
    assert (paths[..., 0] == [0.5, 2.5]).all()


def test_powers_of_a_markov_chain_forecast_k_steps_and_of_a_hidden_one_do_not():
    # A chain of period 2 in pairs: a, a, b, b, ... looks like a fair coin at one step and is certain at two.
    pairs = np.tile([0.5, 0.5, 1.5, 1.5], 100)
    coin = np.random.default_rng(0).integers(0, 2, 400) + 0.5
    gap = {}
    for name, values in (("pairs", pairs), ("coin", coin)):
        fit = fitting(CountKernel(), np.array([0.0, 1.0, 2.0]))
        gap[name] = chapman_kolmogorov(fit, fit([values]), [values], 2)
    assert gap["pairs"] == pytest.approx(np.log(2), abs=0.02)
    assert abs(gap["coin"]) < 0.02


def test_memory_of_an_autoregression_of_order_two_in_nats():
    # x_{t+1} = a x_t + b x_{t-1} + e: the partial correlation at lag 2 is b, so memory is worth -log(1 - b^2) / 2.
    rng, b = np.random.default_rng(3), 0.6
    runs = []
    for _ in range(3):
        x = np.zeros(400)
        for t in range(1, 399):
            x[t + 1] = 0.2 * x[t] + b * x[t - 1] + rng.normal()
        runs.append(x)
    assert memory(runs) == pytest.approx(-np.log(1 - b**2) / 2, abs=0.05)
    assert -0.05 < memory([rng.normal(size=400)]) < 0.0


def test_schedules_are_found_with_their_ratios():
    rng = np.random.default_rng(4)
    steady = [waves(rng, 300) for _ in range(6)]
    quieter = [waves(rng, 300, noise_end=0.25) for _ in range(6)]
    weaker = [waves(rng, 300, end=0.1, noise=0.3) for _ in range(6)]
    clocks = [np.arange(301)] * 6
    plain, noise, drift = (schedule(runs, clocks) for runs in (steady, quieter, weaker))
    assert plain.drift < 0.005
    assert plain.noise < 0.005
    assert plain.noise_ratio == pytest.approx(1, abs=0.25)
    assert noise.noise > 0.05
    # Linear from 1 to a quarter, fitted by an exponential: between that and the square of it.
    assert 0.15 < noise.noise_ratio < 0.35
    assert noise.drift < 0.01
    assert drift.drift > 2 * plain.drift
    assert 0 <= drift.drift_ratio < 0.5
    assert halves(quieter) > 0.05 > abs(halves(steady))


def test_time_is_the_optimizer_step_not_the_row():
    rng = np.random.default_rng(5)
    runs = [waves(rng, 200, noise_end=0.3) for _ in range(4)]
    rows = [np.arange(201)] * 4
    assert schedule(runs, rows) == schedule(runs, [10 * r + 1000 for r in rows])


CHEAP = {"lags": [4], "replicates": 29}


def verdicts(make, seeds, **options):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        yield markov_test(Trajectories.from_arrays([make(rng)]), random_state=seed, **{**CHEAP, **options})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gaussian noise", "noise of two values"])
def test_false_alarms_are_as_rare_as_said(name):
    make = {"gaussian noise": waves, "noise of two values": jumps}[name]
    tests = list(verdicts(lambda rng: make(rng, 100), range(20), replicates=19))
    # 20 tests at 5 %: more than 5 false alarms have probability 0.03 %.
    assert sum(not test.markov for test in tests) <= 5
    p = np.concatenate([test.table["p"] for test in tests])
    assert 0.35 < p.mean() < 0.65


def jumps(rng, steps):
    """A Markov chain whose noise has two values only, as a minibatch of two examples makes it."""
    x = np.zeros(steps + 1)
    for t in range(steps):
        x[t + 1] = 0.8 * x[t] + 0.1 * rng.choice([-1.5, 0.6], p=[2 / 7, 5 / 7])
    return x


def test_momentum_is_found_as_memory():
    for test in verdicts(lambda rng: waves(rng, 120, momentum=0.7), range(2)):
        rows = test.table.set_index("question")
        assert rows.loc["memory", "departs"]
        # Heavy-ball momentum of 0.7 has a partial correlation of 0.7 at lag 2, but for the drift.
        assert rows.loc["memory", "effect"] == pytest.approx(-np.log(1 - 0.49) / 2, abs=0.25)
        assert "larger stride" in test.summary()


def test_a_schedule_is_found_and_named():
    for test in verdicts(lambda rng: waves(rng, 150, noise_end=0.15), range(2)):
        rows = test.table.set_index("question")
        assert rows.loc["noise over time", "departs"]
        assert test.noise_ratio < 0.5
        assert "Fit the phases apart" in test.summary()


def test_a_test_is_a_plain_result_that_repeats():
    runs = Trajectories.from_arrays([waves(np.random.default_rng(7), 60)], names=["w"])
    first, second = (markov_test(runs, LocalLinearKernel(), lags=[2, 50], replicates=19) for _ in range(2))
    assert first.to_dict() == second.to_dict()
    assert json.loads(json.dumps(first.to_dict()))["name"] == "w"
    assert first.table["lag"].tolist()[:2] == [2, 2]
    assert "Lags 50 were left out" in first.summary()
    assert ((first.table["p"] >= 0.05) & (first.table["p_adjusted"] <= 1)).all()
    assert (first.table["statistic"] - first.table["expected"]).to_numpy() == pytest.approx(first.table["effect"])


def test_bad_input_is_named():
    runs = Trajectories.from_arrays([np.arange(60.0) % 7])
    for arguments, message in (
        ({"lags": [1]}, "lags == 1"),
        ({"coordinate": 1}, "coordinate == 1"),
        ({"replicates": 5}, "replicates == 5"),
    ):
        with pytest.raises(ArgumentError, match=message):
            markov_test(runs, **arguments)
    with pytest.raises(ArgumentError, match="must be Trajectories"):
        markov_test([1.0, 2.0])  # pyright: ignore[reportArgumentType]
    for arrays, message in (
        ([np.arange(10.0)], "x: 9 transitions in runs of 5 values or more, at least 40"),
        ([np.arange(3.0)] * 50, "x: 2 transitions"),
        ([np.full(60, 2.0)], "x: always 2: there is nothing to test"),
    ):
        with pytest.raises(DataError, match=message):
            markov_test(Trajectories.from_arrays(arrays))


def test_short_runs_are_left_out_and_noiseless_ones_do_not_break_it():
    rng = np.random.default_rng(8)
    runs = Trajectories.from_arrays([*(waves(rng, 4) for _ in range(11)), [0.0, 1.0]])
    test = markov_test(runs, lags=[2], replicates=19)
    assert "1 run(s) of fewer than 5 values were left out" in test.summary()
    noiseless = Trajectories.from_arrays([3 * 0.9 ** np.arange(50)])
    for found in (test, markov_test(noiseless, lags=[2], replicates=19)):
        assert np.isfinite(found.table.drop(columns=["question", "lag"]).to_numpy(dtype=float)).all()


@pytest.mark.parametrize("replicates", [19, 39])
def test_adjusted_values_are_exact_where_the_run_is_one_of_the_simulated(replicates):
    rng, trials = np.random.default_rng(0), 4000
    questions = [("forecast", k) for k in range(5)]
    drawn = rng.chisquare(2, size=(trials, replicates + 1, 5))
    alarms = [(_table(questions, d[0], d[1:])["p_adjusted"] <= 0.05).any() for d in drawn]
    assert abs(np.mean(alarms) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / trials)
