"""Forecasts at settings nobody ran, against simulation there and the edge of stability by hand."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

import descentcast as dc
from descentcast.errors import ArgumentError
from descentcast.forecasts._settings import _crossing, _edge


@pytest.fixture(scope="module")
def runs():
    return dc.problems.Quadratic(step_size=0.1).simulate([2.0, -2.0, 1.0], steps=300, random_state=5)


@pytest.fixture(scope="module")
def found(runs):
    return dc.forecast_settings(
        runs, [1.0], 100, [0.5, 1, 5, 10, 19, 24, 30], estimator=dc.AutoregressiveKernel(), replicates=3
    )


def test_the_edge_of_stability_is_two_over_the_curvature(runs, found):
    x, y = runs.transitions(0)
    curvature = (1 - np.polyfit(x, y, 1)[0]) / 0.1  # of the line through the same transitions
    edge = found.edges.iloc[0]
    assert_allclose(0.1 * edge["step_factor"], 2 / curvature, rtol=0.1)
    assert edge["low"] <= edge["step_factor"] <= edge["high"]
    assert (np.diff(found.table["divergence"]) > -1e-3).all()
    assert (found.table["low"] <= found.table["divergence"] + 1e-12).all()
    assert (found.table["high"] >= found.table["divergence"] - 1e-12).all()


def test_laws_at_other_step_sizes_are_those_of_simulation(found):
    for factor in (0.5, 1, 5, 10):
        ends = dc.problems.Quadratic(step_size=0.1 * factor).paths(np.ones(4000), 100, random_state=1)[:, -1, 0]
        row = found.table[found.table["step_factor"] == factor].iloc[0]
        low, middle, high = np.quantile(ends, [0.05, 0.5, 0.95])
        assert 0.85 < (row["q95"] - row["q05"]) / (high - low) < 1.2
        assert abs(row["q50"] - middle) < 0.15 * (high - low)


def test_the_exact_kernel_carried_over_diverges_as_simulation_does():
    edges = np.linspace(-12, 12, 401)
    kernel = dc.problems.Quadratic(step_size=1.0, noise=1.0).kernel(edges)
    found = dc.forecast_settings(kernel, [2.0], 60, [1.0, 1.9, 2.02, 2.1])
    for factor, predicted in zip([1.0, 1.9, 2.02, 2.1], found.table["divergence"], strict=True):
        paths = dc.problems.Quadratic(step_size=factor).paths(np.full(4000, 2.0), 60, random_state=2)[..., 0]
        assert abs(predicted - (np.abs(paths) > 12).any(axis=1).mean()) < 0.05


def test_a_larger_batch_narrows():
    problem = dc.problems.LinearRegression(step_size=0.05, batch_size=1)
    runs = problem.simulate([2.0, 0.0], 400, random_state=0)
    found = dc.forecast_settings(runs, [1.0], 80, batch_factors=[1, 2, 4], replicates=0)
    for batch, row in zip((1, 2, 4), found.table.to_dict("records"), strict=True):
        there = dc.problems.LinearRegression(step_size=0.05, batch_size=batch)
        low, high = np.quantile(there.paths(np.ones(3000), 80, random_state=1)[:, -1, 0], [0.05, 0.95])
        assert 0.85 < (row["q95"] - row["q05"]) / (high - low) < 1.2
    assert found.table["batch"].tolist() == [1, 2, 4]
    assert np.isnan(found.table["low"]).all()


def test_a_fitted_estimator_keeps_its_grid_and_its_replicates(runs):
    fitted = dc.AutoregressiveKernel().fit(runs, np.linspace(-4, 4, 121))
    found = dc.forecast_settings(fitted, [1.0, -1.0], 50, [1, 2], replicates=5)
    assert found.bounds == (-4, 4)
    assert len(found.table) == 4
    assert np.isfinite(found.table["low"]).all()
    assert set(found.forecasts) == {(1, 1), (2, 1)}
    assert json.loads(json.dumps(found.to_dict()))["edges"][0]["step_factor"] is None


def test_momentum_is_said_to_be_an_approximation(runs):
    marked = dc.Trajectories.from_arrays(
        [run.values for run in runs], setting={"step": 0.1, "optimizer": "SGD", "momentum": 0.9}
    )
    found = dc.forecast_settings(marked, [1.0], 10, estimator=dc.AutoregressiveKernel(), replicates=0)
    assert any("momentum" in note for note in found.notes)


def test_where_a_curve_crosses_a_half():
    assert _crossing(np.log([1.0, 2.0, 4.0]), np.array([0.0, 0.25, 0.75])) == pytest.approx(2 * np.sqrt(2))
    assert _crossing(np.log([1.0, 2.0]), np.array([0.0, 0.2])) == np.inf
    assert _crossing(np.log([1.0, 2.0]), np.array([0.6, 0.9])) == 0


def test_resampled_runs_whose_edge_lies_beyond_the_factors_count():
    shares = {(1.0, 1.0): np.zeros((5, 1)), (2.0, 1.0): np.array([[0.75], [0.6], [0.4], [0.75], [0.75]])}
    edge = _edge(shares, [1.0, 2.0], 1.0, np.array([0.5]), 0)
    assert edge["step_factor"] == pytest.approx(2 ** (2 / 3))
    assert (edge["low"], edge["high"]) == (pytest.approx(2 ** (2 / 3)), np.inf)
    shares[1.0, 1.0] = np.array([[0.0], [0.6], [0.0], [0.0], [0.0]])
    assert _edge(shares, [1.0, 2.0], 1.0, np.array([0.5]), 0)["low"] == 0


def test_what_makes_settings_of_runs_an_approximation_is_said(runs):
    def notes(*given):
        made = dc.Trajectories(tuple(given))
        return " ".join(dc.forecast_settings(made, [1.0], 5, estimator=dc.AutoregressiveKernel(), replicates=0).notes)

    def run(every=1, offset=0, **setting):
        values = runs[0].values[offset::every]
        return dc.Trajectory(values, runs.names, np.arange(len(values)) * every, setting=setting)

    assert "rescaled as if" not in notes(run(step=0.1, batch="full"))
    assert "the kernel is of 10 steps at once" in notes(run(10), run(10, 3))
    assert "recorded every 1 to 10 steps" in notes(run(10), run())
    assert "different settings of step," in notes(run(step=0.1), run(step=1.0))
    assert "followed a schedule (column step_size)" in notes(run(step=0.1, schedule="column step_size"))


def test_bad_input(runs):
    two = dc.Trajectories.from_arrays([np.random.default_rng(0).normal(size=(20, 2))])
    kernel = dc.problems.Quadratic().kernel(np.linspace(-3, 3, 41))
    for fitted, arguments, words in (
        (runs, {"step_factors": [0]}, "step_factors == 0"),
        (runs, {"step_factors": []}, "one factor"),
        (two, {}, "must have one"),
        (runs, {"bounds": (-1, 1)}, "must hold"),
        (runs, {"estimator": 2}, "estimator"),
        (runs, {"step_factors": iter(())}, "one factor"),
        (kernel, {"bounds": (-1, 1)}, "are for runs"),
        ("runs", {}, "fitted is a str"),
    ):
        with pytest.raises(ArgumentError, match=words):
            dc.forecast_settings(fitted, [0.5], 10, **arguments)


def test_runs_that_never_move_are_forecast_to_stay():
    found = dc.forecast_settings(dc.Trajectories.from_arrays([np.ones(30)]), [1.0], 10, [1, 2], replicates=2)
    assert found.table["step_factor"].tolist() == [1, 2]
    assert (found.table["q50"] - 1).abs().max() < 0.1
