"""Phases and kernels of phases, against schedules that are known and products of matrices that are known."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import descentcast as dc
from descentcast.errors import ArgumentError, DataError
from descentcast.kernels import Evidence
from descentcast.kernels._change_points import SHORTEST, change_points
from descentcast.kernels._phases import SHORTEST as SHORTEST_PHASE
from descentcast.kernels._phases import cut_at


def scheduled(rates, starts, seed, noise=1.0, problem=dc.problems.Quadratic):
    """Runs of a problem whose step size follows a schedule, shape (m, steps + 1)."""
    rng, x = np.random.default_rng(seed), [np.asarray(starts, dtype=float)]
    for rate in rates:
        x.append(problem(step_size=rate, noise=noise).advance(x[-1][:, None], rng)[:, 0])
    return np.stack(x, axis=1)


TWO = [0.5] * 100 + [0.05] * 120


def test_phases_of_a_recorded_step_size():
    rates = np.array([0.1] * 5 + [0.02] * 4 + [0.1] * 3 + [0.1])  # the last row made no step
    run = dc.Trajectory(np.stack([rates, np.arange(13.0)], axis=1), ("lr", "loss"))
    found = dc.phases(run)
    assert found.source == "recorded"
    assert_array_equal(found.begins, [0, 5, 9])
    assert_array_equal(found.ends, [5, 9, 12])
    assert_allclose(found.step_sizes, [0.1, 0.02, 0.1])
    assert_array_equal(found.of, [0] * 5 + [1] * 4 + [2] * 3)
    assert found.to_dict()["phases"][1] == {"begin": 5, "end": 9, "step_size": pytest.approx(0.02)}


def test_phases_of_a_setting_and_of_what_is_given():
    runs = dc.Trajectories.from_arrays(scheduled(TWO, [1.0, 2.0], 0), setting={"schedule": TWO})
    assert dc.phases(runs).source == "setting"
    assert_array_equal(dc.phases(runs).begins, [0, 100])
    assert_array_equal(dc.phases(runs, rates=[1.0] * 50 + [2.0] * 170).begins, [0, 50])


def test_a_schedule_that_changes_all_the_time_is_cut_by_factors():
    rates = 0.5 * (1 + np.cos(np.pi * np.linspace(0, 0.9, 1000)))
    begins = cut_at(rates)
    ends = np.append(begins[1:], 1000)
    for a, b in zip(begins, ends, strict=True):
        # What was left over for the last phase was too short, and joined to the one before.
        most = 1.5 if b < 1000 else 1.5**2
        assert rates[a:b].max() <= most * rates[a:b].min() * (1 + 1e-12)
        assert b - a >= SHORTEST_PHASE
    for a, b in zip(begins[1:], ends[:-1], strict=True):
        assert a == b


def test_a_warm_up_of_few_recorded_steps_is_joined_to_its_neighbour():
    warm_up = [0.02, 0.2, 0.4, 0.6, 0.8]
    falling = np.geomspace(1.0, 0.3, 30)
    # 1.0 has fallen by 1.5 after ten steps, at 15, and once more at 25.
    assert cut_at(np.array([*warm_up, *falling])).tolist() == [0, 15, 25]
    # Two steps alone at the end are joined to the phase before them.
    ending = np.concatenate([np.linspace(1.0, 0.9, 40), 0.4 - 0.002 * np.arange(9), [0.2, 0.1]])
    assert cut_at(ending).tolist() == [0, 40]


@given(st.lists(st.integers(-30, 30), min_size=9, max_size=80))
@settings(max_examples=50, deadline=None)
def test_no_phase_is_too_short_to_fit_a_kernel_to(tenths):
    rates = np.exp(np.array(tenths) / 10)  # far enough apart that no two of them count as one
    if (np.diff(rates) != 0).sum() < 8:
        return
    begins = cut_at(rates)
    assert begins[0] == 0
    lengths = np.diff([*begins, len(rates)])
    assert len(begins) == 1 or lengths.min() >= SHORTEST_PHASE


def test_the_way_that_foretells_held_out_runs_is_taken():
    """Plain SGD under warm-up and cosine: one kernel, rescaled, is exact, and phases of few steps are not."""
    steps = np.arange(60) // 2  # each for two steps
    rates = np.where(steps < 4, 0.2 * (steps + 1), 0.1 + 0.35 * (1 + np.cos(np.pi * (steps - 4) / 26)))
    starts = [3.0, -3.0, 2.0, -2.0]
    runs = dc.Trajectories.from_arrays(scheduled(rates, starts, 4), setting={"schedule": rates.tolist()})
    fit = dc.phased(runs, estimator=dc.AutoregressiveKernel(), edges=grid())
    assert set(fit.scores) == {"each", "one", "rescaled"}
    assert fit.how == min(fit.scores, key=fit.scores.__getitem__) == "rescaled"
    assert any("held-out runs" in note for note in fit.kernel_.kernels[0].notes)
    truth = scheduled(rates, [2.5] * 4000, 9)[:, -1]
    low, high = dc.forecast(fit.kernel_, [2.5], 60).quantiles([0.05, 0.95])[0, -1]
    a, b = np.quantile(truth, [0.05, 0.95])
    assert 0.8 < (high - low) / (b - a) < 1.3
    # Along step sizes that the runs did not follow, one kernel for all says nothing; of one run nothing is held out.
    assert set(dc.phased(runs, [0.3] * 20, dc.AutoregressiveKernel(), edges=grid()).scores) == {"each", "rescaled"}
    assert dc.phased(runs[0], estimator=dc.AutoregressiveKernel()).how == "each"


def test_where_no_run_was_in_a_phase_its_rows_are_those_of_all():
    """Runs from 3 come down fast and stay near 0 in the second phase: what it would do at 3 only the first has seen."""
    runs = dc.Trajectories.from_arrays(scheduled(TWO, [3.0, -3.0], 3, noise=0.3), setting={"schedule": TWO})
    chain = dc.phased(runs, how="each", edges=grid()).kernel_
    whole = dc.LocalLinearKernel().fit(runs, grid()).kernel_
    there, here = whole.cell(2.9), whole.cell(0.0)
    late = chain.at(219)
    assert_array_equal(late.matrix[there], whole.matrix[there])
    assert (late.matrix[here] ** 2).sum() > 2 * (whole.matrix[here] ** 2).sum()


def test_one_kernel_for_all_phases_is_the_estimators_own():
    runs = dc.Trajectories.from_arrays(scheduled(TWO, [3.0, -3.0], 3), setting={"schedule": TWO})
    fit = dc.phased(runs, how="one", edges=grid())
    own = dc.LocalLinearKernel().fit(runs, grid()).kernel_
    assert_array_equal(fit.kernel_.at(0).matrix, own.matrix)
    assert fit.kernel_.at(0) is fit.kernel_.at(219)


@pytest.mark.parametrize("seed", range(4))
def test_a_change_of_the_step_size_is_detected_where_it_is(seed):
    columns = list(scheduled(TWO, [3.0, -2.0], seed))
    found = dc.phases(dc.Trajectories.from_arrays(columns))
    assert found.source == "detected"
    assert_allclose(found.begins, [0, 100], atol=2)


def test_one_law_is_one_phase():
    for seed in range(6):
        columns = list(scheduled([0.3] * 200, [3.0, -3.0], seed))
        assert len(change_points(columns)) == 0


def test_two_wells_are_one_phase():
    """A run that jumps between wells changes its level, not its law."""
    for seed in range(4):
        path = dc.problems.DoubleWell(step_size=0.15, noise=1.0).paths([1.0], 400, random_state=seed)[0, :, 0]
        assert len(change_points([path])) == 0


def brute_force(columns, penalty):
    """The best segmentation by trying all of them: at most two changes."""
    from descentcast.kernels._change_points import _Sums

    sums = _Sums(columns)
    T = len(sums.weights) - 1

    def score(cuts):
        ends = [0, *cuts, T]
        return sum(sums.score(np.array([a]), b)[0] for a, b in pairwise(ends)) - penalty * len(cuts)

    options = [(), *((a,) for a in range(1, T)), *((a, b) for a in range(1, T) for b in range(a + SHORTEST, T))]
    return max(options, key=score)


def test_the_segmentation_is_the_best_of_all():
    rates = [0.6] * 20 + [0.05] * 20 + [1.4] * 18
    column = scheduled(rates, [2.0], 5)[0]
    assert_array_equal(change_points([column], 3.0), brute_force([column], 3.0))


def test_the_score_of_a_stretch_is_its_prequential_score():
    """The closed form is the sum of the log predictive densities, step by step."""
    from scipy.stats import t as student

    from descentcast.kernels._change_points import PRIOR_DEGREES, PRIOR_VARIANCE, _Sums

    column = scheduled([0.3] * 30, [2.0], 1)[0]
    sums = _Sums([column])
    z, unit = (column - column.mean()) / column.std(), column.std()
    X, d = np.vander(z[:-1], 4, increasing=True), np.diff(column) / unit
    total = 0.0
    for i in range(len(d)):
        precision = X[:i].T @ X[:i] + np.eye(4) / PRIOR_VARIANCE
        mean = np.linalg.solve(precision, X[:i].T @ d[:i])
        left = PRIOR_DEGREES * sums.noise + d[:i] @ d[:i] - mean @ precision @ mean
        degrees = PRIOR_DEGREES + i
        scale = np.sqrt(left / degrees * (1 + X[i] @ np.linalg.solve(precision, X[i])))
        total += student.logpdf(d[i], degrees, X[i] @ mean, scale)
    assert_allclose(sums.score(np.array([0]), 30)[0], total, rtol=1e-9)


def grid():
    return np.linspace(-6, 6, 161)


def test_a_forecast_is_the_product_of_the_matrices_of_its_phases():
    fast, slow = (dc.problems.Quadratic(step_size=s).kernel(grid()) for s in (0.6, 0.1))
    chain = dc.PhasedKernel((fast, slow), [0] * 7 + [1] * 5 + [0])
    result = dc.forecast(chain, [2.0625], steps=15)  # the centre of a cell; the schedule ends before the horizon
    expected = np.eye(160)[fast.cell(2.0625)]
    for matrix in [fast.matrix] * 7 + [slow.matrix] * 5 + [fast.matrix] * 3:
        expected = expected @ matrix
    assert_allclose(result.density[0, -1], expected, atol=1e-12)
    assert_allclose(result.density[0].sum(axis=1) + result.overflow[0].sum(axis=1), 1, atol=1e-9)


def test_the_moments_are_those_of_the_time_inhomogeneous_recursion():
    """m' = (1 - s) m and v' = (1 - s)^2 v + s^2, step by step."""
    rates = np.concatenate([np.full(10, 0.8), np.geomspace(0.5, 0.25, 6)])
    kernels = [dc.problems.Quadratic(step_size=s).kernel(np.linspace(-7, 7, 181)) for s in rates]
    result = dc.forecast(dc.PhasedKernel(tuple(kernels), np.arange(16)), [4.0], steps=16)
    mean, variance = 4.0, 0.0
    for rate in rates:
        mean, variance = (1 - rate) * mean, (1 - rate) ** 2 * variance + rate**2
    density, centres = result.density[0, -1], kernels[0].centres
    assert_allclose(density @ centres, mean, atol=0.01)
    assert_allclose(density @ centres**2 - (density @ centres) ** 2, variance, rtol=0.02)


def test_after_goes_on_from_a_later_step():
    fast, slow = (dc.problems.Quadratic(step_size=s).kernel(grid()) for s in (0.6, 0.1))
    chain = dc.PhasedKernel((fast, slow), [0, 0, 1])
    assert_array_equal(chain.after(2).schedule, [1])
    assert chain.after(9).at(0) is slow
    assert chain.at(100) is slow


def test_hitting_times_and_samples_follow_the_schedule():
    still = dc.problems.Quadratic(step_size=1e-3, noise=0.1).kernel(grid())
    jump = dc.problems.Quadratic(step_size=1.0, noise=0.3).kernel(grid())
    result = dc.forecast(dc.PhasedKernel((still, jump), [0] * 5 + [1]), [3.0], steps=8)
    table = result.hitting_time((-1.5, 1.5))
    assert table["probability"][0] == pytest.approx(1, abs=1e-5)
    assert table["median"][0] == 6
    paths = result.sample(200, random_state=0)[0]
    assert (paths[:, :6] > 2).all()
    assert (np.abs(paths[:, 6:]) < 1.5).all()


@pytest.mark.parametrize("how", ["each", "rescaled"])
def test_fitted_phases_forecast_what_simulation_does(how):
    runs = dc.Trajectories.from_arrays(scheduled(TWO, [3.0, -3.0, 1.0, -1.0], 2), setting={"schedule": TWO})
    ahead = [0.5] * 30 + [0.05] * 60 + [0.2] * 30
    fit = dc.phased(runs, ahead, dc.AutoregressiveKernel(), how=how)
    result = dc.forecast(fit, [2.0], steps=120)
    truth = scheduled(ahead, [2.0] * 4000, 7)
    for t in (30, 90, 120):
        low, middle, high = result.quantiles([0.16, 0.5, 0.84])[0, t]
        a, b, c = np.quantile(truth[:, t], [0.16, 0.5, 0.84])
        assert abs(middle - b) < 0.2 * (c - a)
        assert 0.8 < (high - low) / (c - a) < 1.25
    assert result.landing["low"].notna().all()
    assert any("plain SGD" in note for note in result.notes)


def test_phases_without_step_sizes_are_followed_as_they_were():
    runs = dc.Trajectories.from_arrays(scheduled(TWO, [3.0, -3.0], 3))
    fit = dc.phased(runs, how="each")
    assert len(fit.kernel_.schedule) == 220
    assert len(fit.kernel_.kernels) == 2
    with pytest.raises(ArgumentError, match="no step size is known"):
        dc.phased(runs, ahead=[0.1])


@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_mass_is_kept(schedule, steps):
    kernels = tuple(dc.problems.Quadratic(step_size=s).kernel(np.linspace(-2, 2, 9)) for s in (0.1, 1.0, 2.5))
    density, overflow = dc.PhasedKernel(kernels, schedule).propagate(np.eye(8), steps)
    assert_allclose(density.sum(axis=2) + overflow.sum(axis=2), 1, atol=1e-12)
    assert (np.diff(overflow, axis=1) >= 0).all()


@pytest.mark.parametrize("last", ["extrapolated", "visited"])
def test_occupation_is_by_the_kernel_that_makes_each_step(last):
    edges = np.linspace(-4, 4, 41)
    kernel = dc.problems.Quadratic().kernel(edges)
    sources = ["visited", "extrapolated"]
    first, second = (
        replace(kernel, evidence=Evidence.uniform(source, 40)) for source in sorted(sources, key=lambda s: s == last)
    )
    found = dc.forecast(dc.PhasedKernel((first, second), [0] * 9 + [1]), [0.1, 1.0], steps=10)
    shares = found.occupation.pivot(index="start", columns="source", values="share")
    assert_allclose(shares[last], 0.1)
    assert_allclose(shares.sum(axis=1), 1)


def test_bad_input():
    kernel = dc.problems.Quadratic().kernel(grid())
    other = dc.problems.Quadratic().kernel(np.linspace(-5, 6, 161))
    for kernels, schedule, words in (
        ((kernel, other), [0], "different edges"),
        ((), [0], "no kernel"),
        ((kernel,), [1], "must be in"),
        ((kernel,), [0.5], "indices"),
    ):
        with pytest.raises(ArgumentError, match=words):
            dc.PhasedKernel(kernels, schedule)
    runs = dc.Trajectories.from_arrays(scheduled(TWO, [3.0, 1.0], 3))
    with pytest.raises(ArgumentError, match="how == 'both'"):
        dc.phased(runs, how="both")
    with pytest.raises(ArgumentError, match="rates"):
        dc.phases(runs, rates=[0.1])
    with pytest.raises(DataError, match="different schedules"):
        dc.phases(
            dc.Trajectories(tuple(dc.Trajectory([[1.0, r], [2.0, r], [3.0, r]], names=("x", "lr")) for r in (0.1, 0.2)))
        )


def test_small_step_sizes_change_as_large_ones_do():
    for rates in (np.linspace(2e-5, 2e-7, 1000), 1e-4 * (1 + np.cos(np.linspace(0, 3, 3000)))):
        assert_array_equal(cut_at(rates), cut_at(rates * 1e6))
        assert len(cut_at(rates)) > 3


def test_a_schedule_that_is_said_to_be_constant_is_one_phase():
    rng, t = np.random.default_rng(0), np.arange(300)
    loss = (0.1 + np.exp(-t / 20)) * np.exp(0.3 * rng.normal(size=300))
    known = dc.Trajectory(loss, setting={"step": 0.02, "schedule": "constant"})
    found = dc.phases(known)
    assert (len(found), found.source) == (1, "setting")
    assert_array_equal(found.rates, 0.02)


def test_runs_at_different_steps_share_no_phases():
    values = np.random.default_rng(0).normal(size=60).cumsum()
    early, late = dc.Trajectory(values), dc.Trajectory(values, steps=np.arange(100, 160), run="late")
    with pytest.raises(DataError, match="late: recorded at other steps than run 0"):
        dc.phases(dc.Trajectories((early, late)))
