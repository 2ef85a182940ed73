"""The suite: what issue and families demand of it, known kernels against simulation, recorded runs."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from descentcast.benchmark import load_suite
from descentcast.benchmark._noises import LogLoss, NoisyDescent
from descentcast.errors import ArgumentError
from descentcast.problems import DoubleWell, LinearRegression, Quadratic, TiltedTripleWell

SUITE = load_suite()
ONE_COORDINATE = [p for p in SUITE.problems if len(p.edges) == 1]


def test_twelve_problems_in_one_and_two_coordinates_with_every_kind_of_noise():
    assert len(SUITE.problems) >= 12
    assert {len(p.edges) for p in SUITE.problems} == {1, 2}
    kinds = {getattr(p.problem, "kind", type(p.problem).__name__) for p in SUITE.problems}
    assert {"student", "skewed", "proportional", "LogLoss", "OneNeuron", "DoubleWell"} <= kinds
    assert sum(p.basins for p in SUITE.problems) >= 5


def test_development_and_report_are_apart():
    families = tomllib.loads((Path(__file__).parents[2] / "benchmarks" / "families.toml").read_text())
    text = (Path(__file__).parents[2] / "src" / "descentcast" / "benchmark" / "suite.toml").read_text()
    development = tomllib.loads(text)["development"]
    assert development["fields"] == families["development"]["fields"]
    assert set(development["noises"]) == set(families["training"]["noises"])
    drawn = {*families["training"]["fields"], *families["development"]["fields"]}
    assert not drawn & {p.name for p in SUITE.problems}


@pytest.mark.parametrize("problem", ONE_COORDINATE, ids=lambda p: p.name)
def test_kernels_are_those_of_the_simulated_problem(problem):
    """The share of 40,000 steps from a cell in each stretch of cells, against its row: within 5 standard errors."""
    (edges,), rng, count = problem.edges, np.random.default_rng(0), 40_000
    kernel = problem.problem.kernel(edges)
    for cell in (30, 55):
        points = rng.uniform(edges[cell], edges[cell + 1], count)
        after = problem.problem.advance(points[:, None], rng)[:, 0]
        for at in (20, cell - 2, cell, cell + 1, cell + 4, 80):
            p = kernel.overflow[cell, 0] + kernel.matrix[cell, :at].sum()
            assert abs((after < edges[at]).mean() - p) < 5 * np.sqrt(p * (1 - p) / count) + 1e-3


def test_noise_by_closed_forms():
    student = NoisyDescent(Quadratic(step_size=0.5, noise=2.0), "student", 3.0)
    assert student.below(np.array(1.0), np.array(1.2)) == pytest.approx(stats.t(3).cdf((1.2 - 0.5) / 1.0))
    skewed = NoisyDescent(Quadratic(step_size=0.5, noise=2.0), "skewed", 1.5)
    # The noise of the gradient is bounded below by -c sqrt(k), so that of x is bounded above.
    most = 0.5 + 0.5 * 2.0 * np.sqrt(1.5)
    assert skewed.below(np.array(1.0), np.array([most - 1e-3, most + 1e-3])) == pytest.approx([1, 1], abs=1e-4)
    assert skewed.below(np.array(1.0), np.array(most - 0.5)) < 0.99
    proportional = NoisyDescent(TiltedTripleWell(noise=0.5), "proportional", 2.0)
    x = np.array(0.3)
    g, s = proportional.gradient(x), proportional.potential.step_size
    sd = s * np.hypot(2 * g, 0.5)
    assert proportional.below(x, x - s * g + sd) == pytest.approx(stats.norm.cdf(1))


def test_the_log_loss_is_that_of_the_regression():
    regression = LinearRegression(step_size=0.3, over_parametrised=True)
    w, chain = np.array([2.0]), LogLoss(regression)
    losses = [
        np.log(regression.loss(w - 0.3 * regression.example_gradients(w, a, y)))[0]
        for a, y in zip(regression.features[:, None], regression.targets[:, None], strict=True)
    ]
    np.testing.assert_allclose(np.ravel(losses) - np.log(regression.loss(w)), chain.increments)


@pytest.mark.parametrize("problem", SUITE.problems, ids=lambda p: p.name)
def test_recorded_runs_start_where_they_should_and_stay_on_the_grid(problem):
    for runs, values in SUITE.contexts.values():
        recorded = problem.record(runs, values, seed=3)
        again = problem.record(runs, values, seed=3)
        assert [len(run) for run in recorded] == [values] * runs
        assert all(problem.inside(run.values).all() for run in recorded)
        starts = np.array([run.values[0] for run in recorded])
        low, high = problem.starts.T
        part = (starts[:, 0] - low[0]) / (high[0] - low[0]) * runs
        assert part.astype(int).tolist() == list(range(runs))
        np.testing.assert_array_equal(recorded[0].values, again[0].values)
    assert (problem.record(1, 30, 0)[0].values != problem.record(1, 30, 1)[0].values).any()


def test_cuts_part_the_minima():
    for problem in SUITE.problems:
        if problem.basins and len(problem.edges) == 1:
            at = np.searchsorted(problem.cuts[0], problem.problem.minima)
            assert at.tolist() == list(range(len(problem.cuts[0]) + 1))


def test_unseen_starts_are_centres_of_equal_parts():
    one, two = SUITE.problems[0], SUITE.problems[-1]
    assert one.unseen(4)[:, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert two.unseen(9).shape == (9, 2)
    assert two.unseen(9).mean(axis=0) == pytest.approx([0, 0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoisyDescent(DoubleWell(), "cauchy", 1.0), "kind == 'cauchy'"),
        (lambda: NoisyDescent(DoubleWell(), "student", 0), "value == 0"),
        (lambda: LogLoss(LinearRegression()), "over_parametrised == False"),
        (lambda: LogLoss(LinearRegression(over_parametrised=True, batch_size=2)), "batch_size == 2"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
