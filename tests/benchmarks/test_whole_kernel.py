"""Whole kernels: the true one has distance zero and lands as simulation does; mixtures and places by hand."""

import numpy as np
import pytest
from benchmarks.suite.chains import REPORTING, rows_of
from benchmarks.suite.measures import compare
from benchmarks.suite.whole_kernel import (
    BOTH,
    HALF,
    HALVES,
    MODEL,
    RECALIBRATED,
    TRUE,
    VISITED,
    half_and_half,
    landed,
    landings,
    maxima,
    place_of,
    recorded,
    whole_kernel,
)

import descentcast as dc
from descentcast.kernels import default_edges, propagate


@pytest.mark.parametrize("family", ["quadratic", "linear_regression", "interpolating_regression"])
def test_the_true_rows_have_distance_zero(family):
    chain = REPORTING[family]
    edges, _ = default_edges(recorded(chain, 0, 4), 0, 100)
    rows = chain.rows(edges)
    found = compare(rows, rows, edges, np.ones(100))
    assert found["bhattacharyya"].max() < 1e-5
    assert found["w1"].max() < 1e-4


def test_runs_start_one_in_each_part_of_the_interval():
    chain = REPORTING["double_well"]
    runs = recorded(chain, 0, 4)
    assert [len(run) for run in runs] == [60] * 4
    starts = np.array([run.values[0, 0] for run in runs])
    parts = np.floor((starts - chain.starts[0]) / (chain.starts[1] - chain.starts[0]) * 4)
    np.testing.assert_array_equal(parts, np.arange(4))
    assert len(recorded(chain, 0, 1)[0]) == 240


def test_the_true_kernel_lands_as_simulation_does_and_a_line_does_not():
    chain = REPORTING["double_well"]
    runs = recorded(chain, 1, 4)
    edges, _ = default_edges(runs, 0, 100)
    line = dc.AutoregressiveKernel().fit(runs, edges).kernel_
    found = landings(chain, 1, {TRUE: chain.problem.kernel(edges), "line": line})
    assert found[TRUE] < 0.01
    assert found["line"] > 0.1


def test_landed_mass_is_the_iterated_mass_of_each_basin():
    chain = REPORTING["double_well"]
    edges = np.linspace(-2, 2, 101)  # the maximum at 0 is an edge
    kernel = chain.problem.kernel(edges)
    start = kernel.centres[30:31]
    density, _ = propagate(kernel, np.eye(100)[30:31], 60)
    law = landed(kernel, start, maxima(chain))
    np.testing.assert_allclose(law[0, :2], [density[0, -1, :50].sum(), density[0, -1, 50:].sum()], atol=1e-12)
    assert law.sum() == pytest.approx(1)


def test_maxima_part_the_minima():
    for family in ("double_well", "tilted_triple_well"):
        chain = REPORTING[family]
        minima, found = chain.problem.minima, maxima(chain)
        assert (minima[:-1] < found).all()
        assert (found < minima[1:]).all()
        np.testing.assert_allclose(chain.problem.gradient(found), 0, atol=2e-3)


def test_a_mixture_is_the_mean_of_its_rows():
    chain = REPORTING["quadratic"]
    runs = recorded(chain, 0, 1)
    edges, _ = default_edges(runs, 0, 100)
    first, second = chain.problem.kernel(edges), dc.LocalLinearKernel().fit(runs, edges).kernel_
    mixed = half_and_half(first, second)
    np.testing.assert_allclose(rows_of(mixed), (rows_of(first) + rows_of(second)) / 2)


def test_places_follow_the_visits():
    runs = dc.Trajectories.from_arrays([np.array([0.5, 2.5, 0.5, 2.5, 5.5])])
    kernel = dc.LocalLinearKernel().fit(runs, np.arange(0.0, 8.0)).kernel_
    # The last value of a run is no transition's start.
    assert place_of(kernel).tolist() == ["visited", "inside", "visited", "outside", "outside", "outside", "outside"]


def test_a_model_is_compared_with_local_linear_on_the_same_runs(fake_model):
    found = whole_kernel(REPORTING["quadratic"], 0, fake_model, {"4 runs": 4})["4 runs"]
    classical = whole_kernel(REPORTING["quadratic"], 0, None, {"4 runs": 4})["4 runs"]
    assert set(found["rows"]) == {VISITED, MODEL, BOTH, RECALIBRATED, HALF, HALVES, "local-linear"}
    assert found["rows"]["local-linear"] == classical["rows"]["local-linear"]
    distance = {name: rows["visited"]["bhattacharyya"] for name, rows in found["rows"].items()}
    mended = f"local-linear, {RECALIBRATED}"
    distance[mended] = classical["rows"][mended]["visited"]["bhattacharyya"]
    # The distance is convex in a law.
    for one, two, mixture in (
        ("local-linear", RECALIBRATED, HALF),
        (mended, RECALIBRATED, HALVES),
        (VISITED, MODEL, BOTH),
    ):
        assert distance[mixture] <= (distance[one] + distance[two]) / 2 + 1e-9
