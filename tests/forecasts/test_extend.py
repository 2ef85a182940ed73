"""The rest of partial runs: calibration and skill on drawn curves, what may be known when, and the surface."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import descentcast as dc
from descentcast.errors import ArgumentError, DataError
from descentcast.forecasts._extend import gather
from descentcast.forecasts._rest import TOGETHER, Past, alone, curves, lags_up_to, mean_curve, origins, together
from descentcast.forecasts._steps import StepFit

STUDIES = Path(__file__).parents[2] / "benchmarks" / "data" / "studies"


def decaying(seed, steps=160, floor=0.3, noise=0.02, drop=None, level=0.0):
    rng, t = np.random.default_rng(seed), np.arange(steps)
    curve = floor + 0.7 * (1 + t / 8) ** -0.8
    if drop:
        curve = np.where(t >= drop, 0.6 * curve, curve)
    return curve * np.exp(noise * rng.standard_normal(steps) + level * rng.standard_normal())


def sampled(fits, past, seed=0):
    rng = np.random.default_rng(seed)
    counts = np.rint(fits.weights * 400).astype(int)
    drawn = [c.draw(n, 5, past.ahead, rng)[..., -1].ravel() for c, n in zip(fits.candidates, counts, strict=True) if n]
    return np.sort(np.concatenate(drawn))


def crps(sample, y):
    n = len(sample)
    return np.abs(sample - y).mean() - ((2 * np.arange(1, n + 1) - n - 1) * sample).sum() / n**2


def test_better_than_last_value_and_power_law_and_calibrated():
    """On curves of a power law to a floor, an exponential to a floor, and a walk."""
    rng, losses, inside = np.random.default_rng(0), [], []
    for i in range(24):
        t, steps = np.arange(150), 150
        shape = [0.2 + (1 + t / 5) ** -0.7, 0.2 + np.exp(-t / 40), np.exp(0.03 * np.cumsum(rng.standard_normal(steps)))]
        y = shape[i % 3] * np.exp(0.04 * rng.standard_normal(steps))
        past, *_ = gather(dc.Trajectory(y[:60]), 90, None, None)
        z = sampled(curves(past), past, i)
        x, known = np.log(np.arange(1, 61)), np.log(y[:60])
        slope, level = np.polyfit(x, known, 1)
        power = np.exp(level + slope * np.log(150))
        losses.append([crps(z, y[-1]), abs(y[59] - y[-1]), abs(power - y[-1])])
        inside.append(np.mean(z < y[-1]))
    ours, last, power = np.mean(losses, axis=0)
    assert ours < 0.75 * last
    assert ours < 0.75 * power
    inside = np.array(inside)
    assert np.mean((inside > 0.05) & (inside < 0.95)) >= 0.8
    assert 0.3 < inside.mean() < 0.7


def test_other_runs_tell_what_the_past_cannot():
    """A drop of the step size after what is known."""
    runs = dc.Trajectories.from_arrays([decaying(s, drop=110, level=0.03) for s in range(1, 5)])
    gains = []
    for seed in range(10, 14):
        y = decaying(seed, drop=110, level=0.03)
        beside, *_ = gather(dc.Trajectory(y[:60]), 100, runs, None)
        without, *_ = gather(dc.Trajectory(y[:60]), 100, None, None)
        fits = curves(beside)
        assert sum(w for w, c in zip(fits.weights, fits.candidates, strict=True) if c.name == TOGETHER) > 0.8
        laws = [sampled(fits, beside), sampled(curves(without), without)]
        gains.append([crps(law, y[-1]) for law in laws])
    own, alone_ = np.mean(gains, axis=0)
    assert own < 0.5 * alone_


def test_deviations_of_other_runs_set_the_spread():
    """Runs that differ by a level that stays: the rest of a run keeps its own level, with the noise of one value."""
    runs = np.stack([decaying(s, level=0.5) for s in range(8)])
    past, *_ = gather(dc.Trajectory(runs[0, :80]), 80, dc.Trajectories.from_arrays(runs[1:]), None)
    fit = together(np.log(past.values), np.log(past.others))[0]
    rng = np.random.default_rng(1)
    paths = fit.draw(400, 5, 80, rng)[..., -1].ravel()
    truth = np.log(runs[0, -1])
    assert abs(np.median(paths) - truth) < 0.06
    assert 0.02 < paths.std() < 0.12  # the noise is 0.02, the levels differ by 0.5


def test_nothing_later_is_used():
    y = decaying(3)
    past, *_ = gather(dc.Trajectory(y[:80]), 60, None, None)
    other = Past(np.where(np.arange(80) < 44, past.values, 7.0), past.others, past.times)
    a, b = (alone(p.until(44).values, p.until(44).times, True) for p in (past, other))
    assert_array_equal(a.weights, b.weights)
    assert past.until(44).ahead == 36
    assert origins(80) == [32, 44, 56, 68]
    scores = [dict(curves(p).rehearsed)[32] for p in (past, other)]
    lags = lags_up_to(48)
    # The same forecasts, whose weights alone know what came later.
    assert_allclose(*(s[lags <= 12] for s in scores), atol=1.0)


def test_the_mean_curve_goes_on_where_a_run_ends():
    runs = np.array([[0.0, 1.0, 2.0, 3.0], [10.0, 11.0, np.nan, np.nan]])
    assert_allclose(mean_curve(runs), [5, 6, 7, 8])
    assert_allclose(mean_curve(runs[:1]), runs[0])


def test_logarithms_where_they_help():
    t, rng = np.arange(120), np.random.default_rng(0)
    multiplied = np.exp(-t / 30 + 0.1 * rng.standard_normal(120))
    added = 5 + rng.standard_normal(120) * 0.1 - 0.01 * t
    one, two, three = (curves(Past(v, np.empty((0, 150)), np.arange(150.0))) for v in (multiplied, added, added - 6))
    assert isinstance(one.transform, dc.Log)
    assert len(two.candidates) == 2
    assert len(three.candidates) == 1


def test_the_distribution_function_of_a_mixture_of_coordinates():
    past = Past(decaying(1)[:60], np.empty((0, 80)), np.arange(80.0))
    found = curves(past)
    at, lag = np.array([-1.0, 0.0, 0.4, 0.5, 3.0]), np.array([20])
    below = found.below(lag, at)[0]
    drawn = np.concatenate([c.draw(4000, 1, 20, np.random.default_rng(0))[:, 0, -1] for c in found.candidates])
    weights = np.repeat(found.weights, 4000) / 4000
    assert_allclose(below, [(weights * (drawn < x)).sum() for x in at], atol=0.02)
    numeric = (found.below(lag, at + 1e-5) - found.below(lag, at - 1e-5))[0, 2:] / 2e-5
    exact = [
        sum(
            w * np.exp(c.log_density(lag, np.array([x]))[0])
            for w, c in zip(found.weights, found.candidates, strict=True)
        )
        for x in at[2:]
    ]
    assert_allclose(numeric, exact, rtol=1e-3, atol=1e-6)


def test_runs_that_come_together_are_told_step_by_step():
    """Deviations that die out: the spread at the end is that of the others there, not that of now."""

    def run(seed):
        rng, t = np.random.default_rng(seed), np.arange(120)
        return 1 + np.exp(-t / 20) * (2 + rng.standard_normal()) + 0.003 * rng.standard_normal(120)

    others = np.stack([run(s) for s in range(6)])
    fit = together(run(99)[:30], others)[1]
    law = fit.law(np.array([1, 90]))
    assert law.scale[0, 1] < 0.01 < law.scale[0, 0]
    assert abs(law.mean[0, 1] - run(99)[-1]) < 0.02
    paths = fit.draw(4000, 2, 90, np.random.default_rng(0)).reshape(-1, 90)
    for lag in (1, 90):
        levels = np.array([0.1, 0.5, 0.9])
        assert_allclose(fit.law(np.array([lag])).below(np.quantile(paths[:, lag - 1], levels))[0], levels, atol=0.02)
    found = curves(Past(run(99)[:30], others, np.arange(120.0)))
    assert np.diff(found.below(np.array([90]), run(99)[-1] + np.array([-0.05, 0.05]))[0])[0] > 0.8
    assert sum(isinstance(c.fit, StepFit) for c in found.candidates) == 2


@pytest.mark.parametrize("seed", range(4))
def test_a_loss_is_never_forecast_below_zero_without_being_told(seed):
    """Left to itself: a loss that decays by factors towards zero, of which only the fast part is known."""
    rng, t = np.random.default_rng(seed), np.arange(150)
    loss = (0.002 + (1 + t / 4) ** -1.2) * np.exp(0.1 * rng.standard_normal(150))
    rest = dc.extend(dc.Trajectory(loss[:45], names=("loss",)), 105)
    assert isinstance(rest.transform, dc.Log)
    assert (rest.paths > 0).all()
    assert rest.edges[0] > 0
    assert any("followed in logarithms" in note for note in rest.notes)
    assert rest.quantiles([0.02])[0, -1, 0] < loss[-1] < rest.quantiles([0.98])[0, -1, 0]


def test_what_passes_zero_is_followed_as_it_is():
    """A weight on its way from 2 to -1, known while it is positive."""
    w = -1 + 3 * 0.97 ** np.arange(60) + 0.01 * np.random.default_rng(1).standard_normal(60)
    rest = dc.extend(dc.Trajectory(w[:25], names=("w",)), 35)
    assert rest.transform == dc.Identity()
    assert any("below zero" in note for note in rest.notes)
    low, high = rest.quantiles([0.05, 0.95])[0, -1]
    assert low < w[-1] < high
    told = dc.extend(dc.Trajectory(decaying(1)[:40]), 20, low=-np.inf)
    assert told.transform == dc.Identity()
    assert not any("zero" in note for note in told.notes)


def test_one_scale_keeps_the_weights_within_it():
    found = curves(Past(decaying(1)[:60], np.empty((0, 80)), np.arange(80.0)))
    one = found.in_one_scale()
    assert one.logarithms == pytest.approx(1)
    assert one.in_one_scale() is one
    kept = [w for w, c in zip(found.weights, found.candidates, strict=True) if isinstance(c.transform, dc.Log)]
    assert_allclose(one.weights, np.array(kept) / sum(kept))
    rows, mixed = one.rehearsed[0]
    assert mixed == pytest.approx(np.log(np.exp(dict(one.scores)[rows]).T @ one.weights))


def test_a_lower_end_is_never_passed():
    t = np.arange(60)
    values = 0.5 * np.exp(-t / 15) + 0.01 * np.random.default_rng(0).random(60)
    rest = dc.extend(dc.Trajectory(values[:40]), 40, low=0.0)
    assert (rest.paths > 0).all()
    assert rest.edges[0] > 0
    with pytest.raises(ArgumentError, match="low == 1"):
        dc.extend(dc.Trajectory(values[:40]), 40, low=1.0)
    with pytest.raises(ArgumentError, match="low == 'a', must be a number"):
        dc.extend(dc.Trajectory(values[:40]), 40, low="a")  # pyright: ignore[reportArgumentType]


def test_the_grid_holds_where_the_kernel_goes():
    """A loss that its kernel carries below all that is known and that curves foretell: 1.1 % on the first grid."""
    runs = dc.read(STUDIES / "digits_mlp.parquet", ["validation:0"], arm="arm")[:3]
    assert [run.run for run in runs] == ["development 0", "development 1", "development 2"]
    rest = dc.extend(dc.Trajectory(runs[0].values[:19], names=runs.names), 42, _every_row(runs[1:]))
    assert rest.overflow[0, -1].sum() < 1e-3
    assert np.isfinite(rest.quantiles([0.005, 0.995])[0]).all()


def _every_row(runs):
    return dc.Trajectories.from_arrays([run.values for run in runs], names=runs.names)


@pytest.fixture(scope="module")
def rest():
    return dc.extend(dc.Trajectory(decaying(1)[:80], names=("loss",)), 80)


def test_it_is_a_forecast(rest):
    assert isinstance(rest, dc.Forecast)
    assert rest.density.shape == (1, 81, 120)
    assert_allclose(rest.density.sum(axis=2) + rest.overflow.sum(axis=2), 1, atol=1e-9)
    assert rest.names == ("loss",)
    assert rest.starts[0] == pytest.approx(decaying(1)[79])
    quantiles = rest.quantiles([0.05, 0.5, 0.95])[0, 1:]
    assert (np.diff(quantiles, axis=1) > 0).all()
    spread = quantiles[:, 2] - quantiles[:, 0]
    assert spread[-1] > spread[0]
    assert rest.members["weight"].sum() == pytest.approx(1)
    assert rest.sample(10).shape == (1, 10, 81)
    assert json.loads(json.dumps(rest.to_dict()))["final"][0]["q"] == 0.05
    assert rest.to_xarray().sizes["step"] == 81
    assert "the rest by" in rest.notes[0]
    assert dc.plot(rest).figure is not None


def test_densities_and_paths_agree(rest):
    for step in (1, 40, 80):
        found = np.quantile(rest.paths[:, :, step - 1], [0.1, 0.5, 0.9])
        width = np.diff(rest.quantiles([0.1, 0.9])[0, step])[0]
        assert_allclose(rest.quantiles([0.1, 0.5, 0.9])[0, step], found, atol=0.12 * width)


def test_intervals_hold_the_estimate_and_hitting_times_those_of_paths(rest):
    assert ((rest.final["low"] <= rest.final["value"]) & (rest.final["value"] <= rest.final["high"])).all()
    target = float(rest.final["value"][1])
    table = rest.hitting_time((-1.0, target))
    reached = (rest.paths < target).any(axis=2).mean()
    assert table["probability"][0] == pytest.approx(reached)
    assert table["low"][0] <= reached <= table["high"][0]
    assert 1 <= table["median"][0] <= 80


def test_the_same_seed_gives_the_same_bytes(rest):
    again = dc.extend(dc.Trajectory(decaying(1)[:80], names=("loss",)), 80)
    assert_array_equal(again.paths, rest.paths)
    assert_array_equal(again.density, rest.density)


def test_a_chain_that_settles_has_its_stationary_law():
    problem = dc.problems.Quadratic(step_size=0.3)
    path = problem.paths([0.0], 400, random_state=2)[0, :, 0]
    rest = dc.extend(dc.Trajectory(path), 100)
    low, high = rest.quantiles([0.16, 0.84])[0, -1]
    assert abs((high - low) / 2 / np.sqrt(problem.stationary_variance) - 1) < 0.2


def test_a_run_that_chooses_between_minima_is_told_by_its_kernel():
    runs = dc.problems.DoubleWell(step_size=0.15, noise=0.9).simulate([0.5, -0.5, 0.2], 250, random_state=4)
    rest = dc.extend(replace(runs[0], values=runs[0].values[:120], steps=runs[0].steps[:120]), 100, runs[1:])
    assert len(rest.basins) == 2
    weights = rest.members.set_index("member")["weight"]
    assert weights["kernel"] > 0.3
    assert_allclose(rest.landing["probability"].sum(), 1)


def test_steps_and_strides_are_kept():
    run = dc.Trajectory(decaying(1)[:40], steps=10 * np.arange(40) + 5)
    other = dc.Trajectory(decaying(2)[:160:2], steps=20 * np.arange(80) + 5)
    past, _, stride, last = gather(run, 30, dc.Trajectories((other,)), None)
    assert (stride, last) == (10, 395)
    assert_allclose(past.others[0][::2], decaying(2)[:70:2])


@pytest.mark.parametrize(
    ("run", "arguments", "error", "words"),
    [
        (dc.Trajectory(np.arange(5.0)), {"steps": 3}, DataError, "at least 8"),
        (dc.Trajectory(np.arange(9.0), steps=[*range(8), 20]), {"steps": 3}, DataError, "uneven"),
        (dc.Trajectory(np.arange(9.0)), {"steps": 0}, ArgumentError, "steps == 0"),
        ([1.0] * 9, {"steps": 3}, ArgumentError, "run is a list"),
        (dc.Trajectory(np.arange(9.0)), {"steps": 3, "runs": [1]}, ArgumentError, "runs"),
        (dc.Trajectory(np.arange(9.0)), {"steps": 3, "coordinate": "y"}, ArgumentError, "coordinate"),
        (dc.Trajectory(np.arange(9.0)), {"steps": 3, "estimator": 1}, ArgumentError, "estimator"),
    ],
)
def test_bad_input(run, arguments, error, words):
    with pytest.raises(error, match=words):
        dc.extend(run, **arguments)


@pytest.mark.parametrize(
    "values", [np.full(20, 3.0), np.arange(20.0), np.repeat([1.0, 2.0], 10), np.linspace(-1, 1, 8)]
)
@pytest.mark.parametrize("beside", [0, 2])
@pytest.mark.filterwarnings("error")
def test_runs_without_noise(values, beside):
    others = dc.Trajectories.from_arrays([np.append(values, np.full(5, values[-1]))] * beside) if beside else None
    rest = dc.extend(dc.Trajectory(values), 5, others)
    assert np.isfinite(rest.final.to_numpy(dtype=float)).all()
    if np.ptp(values) == 0:
        assert_allclose(rest.final["value"], values[0], rtol=1e-4)


@pytest.mark.filterwarnings("error")
def test_other_runs_that_begin_later_are_left_out_and_said_to_be():
    late = dc.Trajectory(decaying(2), steps=np.arange(10, 170))
    whole = dc.Trajectory(decaying(3))
    rest = dc.extend(dc.Trajectory(decaying(1)[:40]), 60, dc.Trajectories((late, whole)))
    assert any("1 other run(s) left out" in note for note in rest.notes)
    assert any(note.startswith("1 other run(s)") for note in rest.notes)
    alone_ = dc.extend(dc.Trajectory(decaying(1)[:40]), 60, dc.Trajectories((late,)))
    assert_array_equal(alone_.paths, dc.extend(dc.Trajectory(decaying(1)[:40]), 60).paths)


@pytest.mark.filterwarnings("error")
def test_one_step_and_few_values():
    rest = dc.extend(dc.Trajectory(decaying(1)[:8]), 1)
    assert rest.density.shape[1] == 2
    low, high = rest.quantiles([0.05, 0.95])[0, -1]
    assert low < decaying(1)[8] < high
    assert dc.stop_now(dc.Trajectory(decaying(1)[:8]), 0.0, 1).words.startswith("x of at most 0 within 1 more step:")


@pytest.mark.parametrize(("scale", "rule"), [(1e160, "within 1e150"), (1e-200, "reach 1e-150")])
@pytest.mark.filterwarnings("error")
def test_values_whose_variance_float64_cannot_hold_are_refused(scale, rule):
    values = scale * np.random.default_rng(0).normal(size=40)
    with pytest.raises(DataError, match=f"x: values go from .*{rule}"):
        dc.extend(dc.trajectories.Trajectory(values), steps=5)
