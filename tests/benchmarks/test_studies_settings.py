"""Forecasts at settings nobody ran: how they are judged, by hand, and how means and their errors are taken."""

import numpy as np
import pytest
from benchmarks.suite import studies_settings as settings

import descentcast as dc


def test_errors_are_over_replications_within_fixed_families():
    """Family a has means 1 and 3 (starts averaged first), b 5 and 5: the variances of 2 and 5 are 1 and 0."""
    rows = [
        {"family": "a", "seed": 0, "x": 0.0},
        {"family": "a", "seed": 0, "x": 2.0},
        {"family": "a", "seed": 1, "x": 3.0},
        {"family": "a", "seed": 1, "x": np.nan},
        {"family": "b", "seed": 0, "x": 5.0},
        {"family": "b", "seed": 1, "x": 5.0},
    ]
    mean, error, count = settings.mean_and_error(rows, "x")
    assert (mean, error, count) == (3.5, pytest.approx(0.5), 4)
    (line,) = settings.averaged([{**row, "k": 1} for row in rows], ["k"], ["x"])
    assert line == {"k": 1, "x": "3.50 ± 0.50"}
    (ratio,) = settings.averaged([{**row, "k": 1, "x": 0.0} for row in rows], ["k"], ["x"], ["x"])
    assert ratio["x"] == "1.00 ± 0.00"
    (none,) = settings.averaged([{"family": "a", "seed": 0, "k": 1, "x": np.nan}], ["k"], ["x"])
    assert none["x"] == "-"


def test_a_law_is_judged_by_its_own_simulation():
    """The exact kernel against runs of the same problem: no error but that of cells and of 4,000 runs."""
    problem = dc.problems.Quadratic(step_size=0.3)
    found = dc.forecast_settings(problem.kernel(np.linspace(-6, 6, 241)), [1.0], 30, [1.0])
    scores = settings.judged(found, 1.0, 1.0, 1.0, problem.paths(np.ones(4000), 30, random_state=0)[..., 0])
    assert abs(scores["spread"]) < 0.06
    assert scores["distance"] < 0.03
    assert scores["divergence"] < 1e-3
    gone = settings.judged(found, 1.0, 1.0, 1.0, np.full((100, 31), 50.0))
    assert np.isnan(gone["spread"])
    assert gone["divergence"] == pytest.approx(1)


@pytest.mark.parametrize("optimizer", ["SGD", "momentum", "Adam"])
def test_optimizers_without_noise_find_the_minimum_of_a_quadratic(optimizer):
    rng = np.random.default_rng(0)
    paths = settings.descend(lambda x: x, 0.0, settings.BASE[optimizer], optimizer, np.array([1.0]), 600, rng)
    assert abs(paths[0, -1]) < 1e-2
    # Beyond 2 over the curvature plain SGD is thrown out, by a factor of 1.5 a step.
    assert settings.descend(lambda x: x, 0.0, 2.5, "SGD", np.array([1.0]), 10, rng)[0, -1] == pytest.approx(1.5**10)


def test_reporting_families_are_those_that_are_fixed():
    assert set(settings.families("reporting")) <= {"quadratic", "double_well", "tilted_triple_well"}
    assert set(settings.families("development")) == {"rational", "walls"}
