"""Runs, fits and kernels at settings nobody ran, against simulation and closed forms of that setting."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import descentcast as dc
from descentcast.errors import ArgumentError
from descentcast.kernels import RescaledFit, RescaledRuns, rescaled_edges


@pytest.fixture(scope="module")
def runs():
    return dc.problems.Quadratic(step_size=0.1).simulate([1.5, -1.5, 0.5], steps=300, random_state=1)


def test_runs_stay_as_they_are_and_say_what_they_stand_for(runs):
    there = dc.rescale(runs, step=3, batch=4)
    assert isinstance(there, RescaledRuns)
    assert there.runs is runs
    assert len(there) == 3
    assert_allclose(there.setting["step"], 0.3)
    again = dc.rescale(there, step=2)
    assert (again.step, again.batch) == (6, 4)


def test_a_kernel_and_a_tuple_of_kernels(runs):
    kernel = dc.LocalLinearKernel().fit(runs).kernel_
    assert_array_equal(dc.rescale(kernel, step=2).matrix, kernel.rescaled(step=2).matrix)
    pair = dc.rescale((kernel, kernel), batch=2)
    assert_array_equal(pair[1].matrix, kernel.rescaled(batch=2).matrix)


def test_a_fitted_estimator_is_forecast_with_intervals(runs):
    fitted = dc.AutoregressiveKernel().fit(runs, np.linspace(-3, 3, 121))
    there = dc.rescale(fitted, step=2)
    assert isinstance(there, RescaledFit)
    assert len(there.replicates_) == len(fitted.replicates_)
    result = dc.forecast(there, [1.0], steps=40)
    assert np.isfinite(result.landing["low"]).all()


@pytest.mark.parametrize("step", [0.3, 3.0, 6.0])
def test_the_law_at_another_step_size_is_that_of_the_problem_there(runs, step):
    """The stationary deviation of a quadratic is (step noise) / sqrt(1 - a^2), a = 1 - step curvature."""
    x, y = runs.transitions(0)
    slope, intercept = np.polyfit(x, y, 1)
    noise = np.std(y - slope * x - intercept)
    truth = step * noise / np.sqrt(1 - (1 + step * (slope - 1)) ** 2)
    kernel = dc.rescale(runs, step=step).fit(dc.AutoregressiveKernel()).kernel_
    pi = np.asarray(kernel.stationary())
    found = np.sqrt(pi @ (kernel.centres - pi @ kernel.centres) ** 2)
    assert_allclose(found, truth, rtol=0.04)  # what the cells add


def test_fit_takes_a_copy(runs):
    own = dc.AutoregressiveKernel()
    dc.rescale(runs, step=2).fit(own)
    assert not hasattr(own, "kernel_")


def test_edges_have_cells_narrower_than_a_step_there(runs):
    for step, batch in ((0.5, 1), (1, 4), (3, 1)):
        width = np.diff(rescaled_edges(runs, 0, step, batch))[0]
        assert width <= 0.1 * step / np.sqrt(batch) / 1.2
    assert np.ptp(rescaled_edges(runs, 0, 9)) > 1.5 * np.ptp(rescaled_edges(runs))
    assert rescaled_edges(runs, 0, 9, hull=(-7, 8))[[0, -1]].tolist() == [-7, 8]


def test_what_cannot_be_rescaled(runs):
    with pytest.raises(ArgumentError, match="call fit first"):
        dc.rescale(dc.LocalLinearKernel(), step=2)
    with pytest.raises(ArgumentError, match="value is a str"):
        dc.rescale("runs", step=2)
    with pytest.raises(ArgumentError, match="step == 0"):
        dc.rescale(runs, step=0)
    with pytest.raises(ArgumentError, match="estimator is a int"):
        dc.rescale(runs, step=2).fit(3)
