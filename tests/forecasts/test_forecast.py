"""Forecasts against fractions by hand, closed forms and direct simulation."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from descentcast.errors import ArgumentError
from descentcast.forecasts import _marginal, forecast
from descentcast.kernels import CoupledKernel, Evidence, TransitionKernel

TWO_PAIRS = [[0.6, 0.39, 0.01, 0], [0.4, 0.6, 0, 0], [0, 0, 0.5, 0.5], [0, 0.01, 0.49, 0.5]]
LEAKY = TransitionKernel([0, 1, 2], [[0.5, 0.25], [0.0, 0.9]], [[0.25, 0.0], [0.0, 0.1]])


def chain(rows, overflow=None, **rest):
    n = len(rows)
    return TransitionKernel(np.arange(n + 1.0), rows, np.zeros((n, 2)) if overflow is None else overflow, **rest)


def random_kernel(rng, n):
    rows = rng.dirichlet(np.full(n + 2, 0.4), size=n)
    evidence = replace(Evidence.uniform("probed", n), visits=rng.integers(0, 2, n).astype(float))
    return TransitionKernel(np.cumsum(rng.uniform(0.2, 1, n + 1)), rows[:, 1:-1], rows[:, [0, -1]], evidence)


def probabilities(landing, start):
    rows = landing[landing["start"] == start]
    return dict(zip(rows["basin"], rows["probability"], strict=True))


def test_two_states_by_hand():
    ahead = forecast(LEAKY, [0.5, 1.5], steps=2, basins=[(0, 1), (1, 2)])
    assert_allclose(ahead.density[0], [[1, 0], [0.5, 0.25], [0.25, 0.35]])
    assert_allclose(ahead.overflow[0], [[0, 0], [0.25, 0], [0.375, 0.025]])
    left = probabilities(ahead.landing, 0.5)
    assert left == pytest.approx({"basin 0": 0.25, "basin 1": 0.35, "nowhere seen": 0, "diverged": 0.4})
    right = probabilities(ahead.landing, 1.5)
    assert right == pytest.approx({"basin 0": 0, "basin 1": 0.81, "nowhere seen": 0, "diverged": 0.19})


def test_four_states_by_hand():
    ahead = forecast(chain(TWO_PAIRS), [0.5, 3.5], steps=2)
    # From state 0: after two steps state 2 holds 0.6 * 0.01 + 0.01 * 0.5 and state 3 holds 0.01 * 0.5.
    assert probabilities(ahead.landing, 0.5)["basin 1"] == pytest.approx(0.016)
    # From state 3: state 1 holds 0.01 * 0.6 + 0.5 * 0.01, state 0 holds 0.01 * 0.4.
    assert probabilities(ahead.landing, 3.5)["basin 0"] == pytest.approx(0.015)


def test_linear_drift_keeps_the_moments_of_an_autoregressive_chain(gaussian_kernel):
    a, noise, steps, h = 0.8, 0.3, 30, 0.04
    kernel = gaussian_kernel(np.linspace(-3, 3, 151), lambda x: (a - 1) * x, noise)
    ahead = forecast(kernel, [-1.5, 0.38], steps)
    mean = ahead.density @ kernel.centres
    second = ahead.density @ kernel.centres**2 - mean**2
    t = np.arange(steps + 1)
    start = kernel.centres[kernel.cell([-1.5, 0.38])][:, None]
    assert_allclose(mean, start * a**t, atol=1e-4)
    variance = noise**2 * (1 - a ** (2 * t)) / (1 - a**2)
    # Each step the grid adds at most h^2 / 12 of averaging over a cell and forgets it at the rate a^2.
    floor = h**2 / 12 * 2 / (1 - a**2)
    assert (second >= variance - 1e-6).all()
    assert (second <= variance + floor).all()
    median = ahead.quantiles([0.5])[:, 5:, 0]
    assert_allclose(median, (start * a**t)[:, 5:], atol=1e-3)
    spread = np.diff(ahead.quantiles([0.05, 0.95])[:, 5:], axis=-1)[..., 0]
    assert_allclose(spread, 2 * 1.6449 * np.sqrt(variance[5:]) * np.ones((2, 1)), rtol=5e-3)


def test_double_well_lands_where_simulated_runs_do(double_well):
    step, noise, steps, runs = 0.15, 0.15, 60, 40_000
    kernel = double_well(step, noise, np.linspace(-1.8, 1.8, 201))
    starts = kernel.centres[[44, 94, 99, 108, 155]]
    ahead = forecast(kernel, starts, steps)
    rng = np.random.default_rng(5)
    x = np.repeat(starts[:, None], runs, axis=1)
    for _ in range(steps):
        x = x - step * (x**3 - x) + noise * rng.standard_normal(x.shape)
    right = ahead.landing[ahead.landing["basin"] == "basin 1"]["probability"]
    # Five binomial standard errors, and the grid's own: cells of 0.018 widen a step of 0.15 by a thousandth.
    assert_allclose(right, (x > 0).mean(axis=1), atol=5 * 0.5 / np.sqrt(runs) + 0.003)


def test_hitting_time_by_hand():
    # From state 1: hit at 1 with 1/4, at 2 with 1/8, at 3 with 3/32 (see the chain's powers); 15/32 by then.
    ahead = forecast(chain([[1, 0, 0], [0.25, 0.5, 0.25], [0, 0.5, 0.5]]), [0.5, 1.5, 2.5], 3, basins=[(0, 1), (1, 3)])
    times = ahead.hitting_time("basin 0")
    assert_allclose(times["probability"], [1, 15 / 32, 1 / 4])
    assert_allclose(times["mean"], [0, (8 + 8 + 9) / 15, (2 * 1 / 8 + 3 * 1 / 8) / (1 / 4)])
    assert_allclose(times["median"], [0, 1, 2])
    assert times.equals(ahead.hitting_time(0))
    assert times.equals(ahead.hitting_time((0, 1)))
    never = forecast(chain(np.eye(2)), [1.5], 4).hitting_time((0, 1))
    assert never["probability"].tolist() == [0]
    assert never[["mean", "median"]].isna().all(axis=None)


def test_samples_follow_the_density():
    kernel = random_kernel(np.random.default_rng(3), 6)
    ahead = forecast(kernel, kernel.centres[[0, 4]], steps=3)
    n = 40_000
    paths = ahead.sample(n, random_state=1)
    assert paths.shape == (2, n, 4)
    for i in range(2):
        for t in range(4):
            alive = paths[i, ~np.isnan(paths[i, :, t]), t]
            share = np.histogram(alive, kernel.edges)[0] / n
            assert_allclose(share, ahead.density[i, t], atol=4.5 * 0.5 / np.sqrt(n))
            assert_allclose(1 - len(alive) / n, ahead.overflow[i, t].sum(), atol=4.5 * 0.5 / np.sqrt(n))
    assert (np.isnan(paths[..., :-1]) <= np.isnan(paths[..., 1:])).all()
    assert_array_equal(paths[:, 0, 0], kernel.centres[[0, 4]])
    assert_array_equal(paths, ahead.sample(n, random_state=1))
    assert not np.array_equal(paths, ahead.sample(n, random_state=2), equal_nan=True)


def test_quantiles_are_those_of_samples_and_infinite_off_the_grid():
    kernel = random_kernel(np.random.default_rng(4), 5)
    levels = [0.02, 0.35, 0.5, 0.65, 0.98]
    ahead = forecast(kernel, [kernel.centres[2]], steps=1)
    low, high = ahead.overflow[0, 1]
    found = ahead.quantiles(levels)[0, 1]
    below = np.concatenate([[low], low + ahead.density[0, 1].cumsum()])
    for q, x in zip(levels, found, strict=True):
        if low < q < 1 - high:
            assert np.interp(x, kernel.edges, below) == pytest.approx(q)
        else:
            assert x == (-np.inf if q <= low else np.inf)
    gone = forecast(LEAKY, [0.5], steps=1).quantiles([0.2, 0.5, 0.75])[0, -1]
    assert_allclose(gone, [-np.inf, 0.5, 1.0])


def test_unseen_basins_become_unknown_mass():
    evidence = replace(Evidence.uniform("probed", 4), visits=np.array([3.0, 2, 0, 0]))
    ahead = forecast(chain(TWO_PAIRS, evidence=evidence), [0.5], steps=2)
    assert probabilities(ahead.landing, 0.5) == pytest.approx({"basin 0": 0.984, "nowhere seen": 0.016, "diverged": 0})
    assert any("basin 1" in note and "no run" in note for note in ahead.notes)


def test_mass_outside_all_basins_is_elsewhere():
    ahead = forecast(chain(TWO_PAIRS), [0.5], steps=2, basins=[(0, 1), (3, 4)])
    by_hand = {"basin 0": 0.516, "basin 1": 0.005, "nowhere seen": 0, "elsewhere": 0.479, "diverged": 0}
    assert probabilities(ahead.landing, 0.5) == pytest.approx(by_hand)


def test_replicates_give_intervals():
    kernels = [chain([[1 - p, p], [0, 1]]) for p in np.linspace(0, 1, 41)]
    fitted = SimpleNamespace(kernel_=kernels[20], replicates_=kernels)
    landing = forecast(fitted, [0.5], steps=1, basins=[(0, 1), (1, 2)]).landing
    assert_allclose(landing[["low", "high"]].iloc[1], [0.05, 0.95], atol=0.03)
    assert (landing["low"] <= landing["probability"]).all()
    alone = forecast(kernels[20], [0.5], steps=1)
    assert alone.landing[["low", "high"]].isna().all(axis=None)
    assert any("no intervals" in note for note in alone.notes)


def test_several_coordinates_are_marginals():
    x, y = chain(TWO_PAIRS, name="x"), replace(LEAKY, name="y", projected=True)
    starts = [[0.5, 1.5], [3.5, 0.5]]
    ahead = forecast((x, y), starts, steps=2)
    assert_array_equal(ahead.density[0], forecast(x, [0.5, 3.5], steps=2).density)
    assert_array_equal(ahead.density[1], forecast(y, [1.5, 0.5], steps=2).density)
    totals = ahead.landing.groupby(["start", "coordinate"])["probability"].sum()
    assert len(totals) == 4
    assert_allclose(totals, 1)
    assert (3.5, 0.5) in set(ahead.landing["start"])
    assert ahead.sample(7).shape == (2, 7, 3, 2)
    assert ahead.hitting_time((1, 2), coordinate="y")["start"].tolist() == [1.5, 0.5]
    assert {"density_x", "landing_y"} <= set(ahead.to_xarray())
    assert any("y: not a Markov chain" in note for note in ahead.notes)
    json.dumps(ahead.to_dict(), allow_nan=False)
    with pytest.raises(ArgumentError, match=r"starts have shape \(2,\), must be \(m, 2\)"):
        forecast((x, y), [0.5, 1.5], steps=2)


def test_a_note_says_what_rests_on_extrapolated_rows():
    source = np.array(["probed", "probed", "extrapolated", "extrapolated"])
    kernel = chain(TWO_PAIRS, evidence=Evidence(np.array([1.0, 1, 1, 1]), source, np.ones(4)))
    ahead = forecast(kernel, [0.5, 3.5], steps=2)
    # From state 3 the two steps are taken from 3, then from 2 or 3 with 0.99: 99.5 % of them.
    share = ahead.occupation.query("source == 'extrapolated'")["share"]
    assert_allclose(share, [0.005, 0.995])
    notes = [note for note in ahead.notes if "extrapolated" in note]
    assert len(notes) == 1
    assert "from 3.5" in notes[0]


def test_dictionary_and_dataset():
    ahead = forecast(LEAKY, [0.5, 1.5], steps=4)
    plain = json.loads(json.dumps(ahead.to_dict(), allow_nan=False))
    assert plain["landing"][0]["low"] is None
    assert len(plain["coordinates"][0]["quantiles"][0]) == 5
    data = ahead.to_xarray()
    assert data["density"].sizes == {"start": 2, "step": 5, "cell": 2}
    assert_allclose(data["density"].sum("cell") + data["overflow"].sum("side"), 1)
    assert_allclose(data["landing"].sum("basin"), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LEAKY, [0.5, 2.5], 3), r"start 2.5 lies outside the grid of x, must be in \[0, 2\]"),
        ((LEAKY, [-0.1], 3), r"start -0.1 lies outside"),
        ((LEAKY, [np.nan], 3), "starts holds nan"),
        ((LEAKY, [], 3), "at least one start"),
        ((LEAKY, [0.5], 0), "steps == 0, must be at least 1"),
        ((LEAKY, [0.5] * 5, 10**12), r"steps == 1000000000000 on 2 cells from 5 starts .* must be at most 49999999 "),
        ((LEAKY, [0.5], 2.0), "steps == 2.0, must be an integer"),
        ((SimpleNamespace(fit=None), [0.5], 3), "not fitted: call fit first"),
        (("kernel", [0.5], 3), "fitted_or_kernel is a str, must be a TransitionKernel"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        forecast(*arguments)


def test_bad_questions_are_named():
    ahead = forecast(LEAKY, [0.5], 3)
    with pytest.raises(ArgumentError, match=r"q == 1\.0"):
        ahead.quantiles(1.0)
    with pytest.raises(ArgumentError, match="target == 'basin 7'"):
        ahead.hitting_time("basin 7")
    with pytest.raises(ArgumentError, match="holds no cell centre"):
        ahead.hitting_time((0.1, 0.2))
    with pytest.raises(ArgumentError, match="coordinate == 'w'"):
        ahead.hitting_time((0, 1), coordinate="w")
    with pytest.raises(ArgumentError, match="n == 0"):
        ahead.sample(0)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 20), st.integers(1, 12), st.integers(0, 10**6))
def test_every_forecast_keeps_its_mass(n, steps, seed):
    rng = np.random.default_rng(seed)
    kernel = random_kernel(rng, n)
    starts = rng.uniform(kernel.edges[0], kernel.edges[-1], 3)
    ahead = forecast(kernel, starts, steps)
    assert_allclose(ahead.density.sum(axis=-1) + ahead.overflow.sum(axis=-1), 1, atol=1e-9)
    assert (np.diff(ahead.overflow, axis=1) >= 0).all()
    totals = ahead.landing.groupby("start")["probability"].sum()
    assert_allclose(totals, 1, atol=1e-9)
    assert (ahead.landing["probability"] >= 0).all()
    # The law after s + t steps is the law after s steps, moved on by t.
    for s in range(1, steps):
        onward = ahead.density[:, s] @ kernel.power(steps - s).matrix
        assert_allclose(ahead.density[:, -1], onward, atol=1e-9)
    q = ahead.quantiles([0.1, 0.5, 0.9])
    assert (q[..., 1:] >= q[..., :-1]).all()
    assert_allclose(ahead.occupation.groupby("start")["share"].sum(), 1, atol=1e-9)


def test_a_coupled_kernel_moves_coordinates_together():
    """The first coordinate copies the second: its landing is the second's start, wherever it started itself."""
    edges = np.array([0.0, 1.0, 2.0])
    stay = TransitionKernel(edges, np.eye(2), np.zeros((2, 2)))
    copies = np.pad(np.eye(2), ((0, 0), (1, 1)))
    coupled = CoupledKernel((stay, stay), {(0, 1): copies, (1, 0): copies}, np.array([[0.0, 1.0], [0.0, 1.0]]))
    result = forecast(coupled, [[0.5, 1.5], [1.5, 0.5]], steps=3)
    np.testing.assert_allclose(result.density[0][:, -1], [[0, 1], [1, 0]])
    np.testing.assert_allclose(result.density[0][:, 0], [[1, 0], [0, 1]])
    np.testing.assert_allclose(result.density[1][:, -1], [[0, 1], [1, 0]])


def test_between_two_centres_the_first_step_is_interpolated():
    rows = np.array([[0.9, 0.1], [0.3, 0.7]])
    kernel = TransitionKernel(np.array([0.0, 1.0, 2.0]), rows, np.zeros((2, 2)))
    density = forecast(kernel, [0.5, 0.75, 1.0, 1.5, 1.9], steps=1).density
    np.testing.assert_allclose(density[:, 1, 0], [0.9, 0.75, 0.6, 0.3, 0.3])
    np.testing.assert_allclose(density[:, 0], [[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]])


BETWEEN = [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]


def test_between_two_centres_times_and_samples_take_the_first_step_that_the_density_does():
    # 1.9 is 0.4 of the way from the centre of cell 1, which goes left, to that of cell 2, which goes right.
    ahead = forecast(chain(BETWEEN), [1.9], steps=2, basins=[(0, 2), (2, 4)])
    assert_allclose(ahead.density[0, 1], [0.6, 0, 0, 0.4])
    right = ahead.hitting_time((3, 4))
    assert_allclose(right[["probability", "mean", "median"]].to_numpy(), [[0.4, 1, 1]])
    assert_allclose(ahead.hitting_time((1, 2))[["probability", "mean"]].to_numpy(), [[1, 0]])
    paths = ahead.sample(20_000)[0]
    assert (paths[:, 0] == 1.9).all()
    assert_allclose((paths[:, 1:] >= 3).mean(axis=0), 0.4, atol=4.5 * 0.5 / np.sqrt(20_000))


def test_a_cell_of_the_mixture_has_not_hit_by_being_in_the_target():
    # From 1.9, in cell 1: 0.4 of the first step is by the row of cell 2, the target. It returns at 1 with 1/4, and
    # goes to cell 1 with 3/4, from where it is there one step later with 1/2, two steps later with 1/2 * 1/2.
    kernel = chain([[1, 0, 0], [0, 0.5, 0.5], [0, 0.75, 0.25]])
    law = forecast(kernel, [1.9, 2.1], steps=3).marginals[0].hitting_law((2, 3))
    first = 0.6 * 0.5 + 0.4 * 0.25
    assert_allclose(law, [[0, first, (1 - first) / 2, (1 - first) / 4], [1, 0, 0, 0]])


@settings(max_examples=10, deadline=None)
@given(st.integers(3, 7), st.integers(0, 10**6))
def test_between_two_centres_samples_follow_the_density_and_the_hitting_law(n, seed):
    rng = np.random.default_rng(seed)
    kernel = random_kernel(rng, n)
    inside = int(rng.integers(1, n - 1))
    start = kernel.edges[inside] + np.array([0.05, 0.2, 0.9]) * kernel.widths[inside]
    ahead = forecast(kernel, start, steps=4)
    paths = ahead.sample(10_000, random_state=seed)
    close = 6 * 0.5 / np.sqrt(10_000)
    for target in range(n):
        lower, upper = kernel.edges[target : target + 2]
        there = (paths >= lower) & (paths < upper)
        assert_allclose(there.mean(axis=1), ahead.density[:, :, target], atol=close)
        firsts = there & (there.cumsum(axis=2) == 1)
        assert_allclose(firsts.mean(axis=1), ahead.marginals[0].hitting_law((lower, upper)), atol=close)


def test_replicates_give_intervals_of_hitting_times():
    """From state 0 with chance p of moving on: hit within 2 steps with 1 - (1-p)^2, mean (p + 2 p (1-p)) / that."""
    shares = np.linspace(0.2, 0.6, 41)
    kernels = [chain([[1 - p, p], [0, 1]]) for p in shares]
    fitted = SimpleNamespace(kernel_=kernels[20], replicates_=kernels)
    row = forecast(fitted, [0.5], steps=2).hitting_time((1, 2)).iloc[0]
    hit = 1 - (1 - shares) ** 2
    mean = (shares + 2 * shares * (1 - shares)) / hit
    assert_allclose(row[["low", "high"]].astype(float), [hit[2], hit[38]], atol=0.01)
    assert_allclose(row[["mean_low", "mean_high"]].astype(float), [mean[38], mean[2]], atol=0.01)
    assert row["low"] < row["probability"] < row["high"]
    alone = forecast(kernels[20], [0.5], steps=2).hitting_time((1, 2))
    assert alone[["low", "high", "mean_low", "mean_high"]].isna().all(axis=None)


def test_quantiles_are_of_the_average_over_resampled_kernels(monkeypatch):
    """One kernel goes to the first cell, its two resamples, of weight 2/3, to the second and third: a third each."""
    size = replace(_marginal.learnt(), share=2 / 3)
    monkeypatch.setattr(_marginal, "learnt", lambda: size)
    to = lambda j: TransitionKernel([0, 1, 2, 3], np.eye(3)[[j] * 3], np.zeros((3, 2)))  # noqa: E731
    fitted = SimpleNamespace(kernel_=to(0), replicates_=[to(1), to(2)])
    ahead = forecast(fitted, [0.5], steps=1)
    assert_allclose(ahead.density[0, 1], [1, 0, 0])
    assert_allclose(ahead.quantiles([1 / 6, 0.5, 5 / 6])[0, 1], [0.5, 1.5, 2.5])
    assert_allclose(forecast(to(0), [0.5], steps=1).quantiles([0.25, 0.5])[0, 1], [0.25, 0.5])


def test_paths_that_no_memory_holds_are_refused(double_well):
    found = forecast(double_well(), [0.5], 3)
    with pytest.raises(ArgumentError, match=r"n == 10000000000000, must be in \[1, 1\.25e\+08\]"):
        found.sample(10**13)
