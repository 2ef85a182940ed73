"""Every kernel against direct simulation of one step from points uniform in the cell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from descentcast.problems import (
    DoubleWell,
    LinearRegression,
    LogisticRegression,
    OneNeuron,
    PhaseRetrieval,
    Quadratic,
    ScalarDeepLinear,
    TiltedTripleWell,
)

DRAWS = 100_000
CELLS = (1, 12, 25, 31, 38)

# Problem, grid, and the error that the method may have beside the simulation's own: enumeration and closed forms are
# exact to far below a binomial standard error, convolution to a thousandth.
ONE_COORDINATE = [
    (Quadratic(step_size=0.3, noise=0.5, curvature=1.5, minimum=0.4), (-1.0, 1.5), 0.0),
    (Quadratic(step_size=0.02, noise=0.1), (-1.0, 1.0), 0.0),
    (DoubleWell(step_size=0.15), (-1.8, 1.8), 0.0),
    (TiltedTripleWell(), (-1.6, 1.6), 0.0),
    (LinearRegression(), (-0.5, 2.5), 0.0),
    (LinearRegression(batch_size=2, step_size=0.3), (-0.5, 2.5), 0.0),
    (LinearRegression(batch_size=5), (-0.5, 2.5), 1e-3),
    (LinearRegression(over_parametrised=True), (-0.5, 2.5), 0.0),
    (LinearRegression(over_parametrised=True, batch_size=4), (-0.48, 2.5), 1e-3),
    (LogisticRegression(step_size=1.0, batch_size=1), (-1.0, 6.0), 1e-3),
    (LogisticRegression(), (-1.0, 6.0), 1e-3),
    (PhaseRetrieval(), (-1.2, 1.2), 1e-3),
    (PhaseRetrieval(step_size=0.1, batch_size=1), (-1.2, 1.2), 1e-3),
    (PhaseRetrieval(batch_size=32), (-1.2, 1.2), 1e-3),
    (OneNeuron(), (-1.0, 2.0), 1e-3),
    (OneNeuron(batch_size=4), (-1.0, 2.0), 1e-3),
]
NAMES = [f"{type(p).__name__}-{p.setting.get('batch', '')}-{i}" for i, (p, _, _) in enumerate(ONE_COORDINATE)]


def masses(edges, values):
    """Return the frequencies below the grid, in each cell, and above it."""
    slots = np.searchsorted(edges, values, side="right")
    return np.bincount(slots, minlength=len(edges) + 1) / len(values)


def row(kernel, i):
    return np.concatenate([kernel.overflow[i, :1], kernel.matrix[i], kernel.overflow[i, 1:]])


@pytest.mark.parametrize(("problem", "span", "error"), ONE_COORDINATE, ids=NAMES)
def test_rows_are_what_simulation_gives(problem, span, error):
    edges = np.linspace(*span, 41)
    kernel = problem.kernel(edges)
    generator = np.random.default_rng(5)
    for i in CELLS:
        starts = generator.uniform(edges[i], edges[i + 1], size=(DRAWS, 1))
        counted = masses(edges, problem.advance(starts, generator)[:, 0])
        expected = row(kernel, i)
        # Five binomial standard errors, ten counts for the rare entries, and the method's own error.
        tolerance = 5 * np.sqrt(expected * (1 - expected) / DRAWS) + 10 / DRAWS + error
        assert (np.abs(counted - expected) <= tolerance).all()


@pytest.mark.parametrize(("problem", "span", "error"), ONE_COORDINATE, ids=NAMES)
def test_rows_and_overflow_are_distributions_and_say_what_they_rest_on(problem, span, error):
    kernel = problem.kernel(np.linspace(*span, 21))
    assert_allclose(kernel.matrix.sum(axis=1) + kernel.overflow.sum(axis=1), 1.0, atol=1e-12)
    assert (kernel.matrix >= 0).all()
    assert (kernel.overflow >= 0).all()
    assert (kernel.evidence.source == "exact").all()
    assert kernel.notes
    assert not kernel.projected
    assert dict(kernel.setting) == dict(problem.setting)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([Quadratic(), DoubleWell(), TiltedTripleWell(), LinearRegression(), OneNeuron()]),
    st.lists(st.floats(-3, 3), min_size=3, max_size=9, unique=True).filter(lambda e: np.diff(sorted(e)).min() > 1e-3),
)
def test_rows_are_distributions_on_any_grid(problem, edges):
    kernel = problem.kernel(sorted(edges))
    assert_allclose(kernel.matrix.sum(axis=1) + kernel.overflow.sum(axis=1), 1.0, atol=1e-9)


@pytest.mark.parametrize("problem", [DoubleWell(), PhaseRetrieval(), OneNeuron()], ids=lambda p: type(p).__name__)
def test_a_fine_grid_merges_into_a_coarse_one(problem):
    """A coarse row is the width-weighted mean of its fine rows: exact for cell averages, false for rows at centres."""
    fine, coarse = problem.kernel(np.linspace(-1, 1, 21)), problem.kernel(np.linspace(-1, 1, 6))
    merged = fine.matrix.reshape(5, 4, 5, 4).sum(axis=3).mean(axis=1)
    assert_allclose(merged, coarse.matrix, atol=2e-3)
    assert_allclose(fine.overflow.reshape(5, 4, 2).mean(axis=1), coarse.overflow, atol=2e-3)


def test_landing_by_powers_agrees_with_simulation():
    problem, edges = PhaseRetrieval(), np.linspace(-1.3, 1.3, 131)
    kernel = problem.kernel(edges)
    start = kernel.centres[70]
    density = np.zeros(130)
    density[kernel.cell(start)] = 1.0
    density = density @ np.linalg.matrix_power(kernel.matrix, 60)
    ends = problem.paths([start] * 20_000, 60)[:, -1, 0]
    # The start is spread over its cell and the grid widens the noise by (h / sigma)^2 / 12 = 1.5 % a step.
    assert density[kernel.centres > problem.separatrix].sum() == pytest.approx(
        (ends > problem.separatrix).mean(), abs=0.03
    )


def test_projected_kernels_of_uncoupled_coordinates_are_the_exact_ones():
    """Examples that see one coordinate each leave the other where it is, so that each coordinate is Markov alone."""
    first, second = ([1.0, 0.0, 2.0, 0.0], [0.5, 0.0, 1.0, 0.0]), ([0.0, 1.0, 0.0, 1.5], [0.0, 0.3, 0.0, -0.2])
    features, targets = np.stack([first[0], second[0]], axis=1), np.add(first[1], second[1])
    edges = (np.linspace(-1.03, 2.0, 31), np.linspace(-1.52, 1.5, 26))
    draws = 20_000
    coupled = LinearRegression(step_size=0.2, data=(features, targets))
    kernels = coupled.kernel(edges, draws=draws, random_state=3)
    for kernel, data, grid in zip(kernels, (first, second), edges, strict=True):
        exact = LinearRegression(step_size=0.2, data=data).kernel(grid)
        assert kernel.projected
        assert (kernel.evidence.source == "simulated").all()
        p = exact.matrix
        assert (np.abs(kernel.matrix - p) <= 5 * np.sqrt(p * (1 - p) / draws) + 10 / draws).all()
        assert np.abs(kernel.overflow - exact.overflow).max() <= 5 * 0.5 / np.sqrt(draws)


def test_projected_rows_follow_the_occupation_law():
    """At its one start the other coordinate is known, so a row of the visited cell is one step from there."""
    problem = ScalarDeepLinear(step_size=0.1, batch_size=2, label_noise=0.0)
    edges = (np.linspace(-2.0, 2.0, 41), np.linspace(-2.0, 2.0, 41))
    # A minimum without label noise: the run stays, and the occupation law is a point.
    start = problem.minima[45]
    kernel = problem.kernel(edges, starts=[start], steps=5, draws=20_000)[0]
    i = int(kernel.cell(start[0]))
    assert kernel.evidence.visits.tolist() == [6.0 if k == i else 0.0 for k in range(40)]
    assert kernel.evidence.weight.tolist() == [1.0 if k == i else 0.0 for k in range(40)]
    generator = np.random.default_rng(0)
    points = np.stack([generator.uniform(edges[0][i], edges[0][i + 1], DRAWS), np.full(DRAWS, start[1])], axis=1)
    counted, expected = masses(edges[0], problem.advance(points, generator)[:, 0]), row(kernel, i)
    assert (
        np.abs(counted - expected) <= 5 * np.sqrt(expected * (1 - expected) * (1 / DRAWS + 1 / 20_000)) + 1e-3
    ).all()


def test_projected_kernels_repeat_with_their_seed():
    problem, edges = ScalarDeepLinear(), (np.linspace(-2, 2, 11), np.linspace(-2, 2, 11))
    a, b, c = (problem.kernel(edges, draws=500, random_state=seed) for seed in (1, 1, 2))
    assert a[0].matrix.tobytes() == b[0].matrix.tobytes()
    assert a[1].matrix.tobytes() == b[1].matrix.tobytes()
    assert a[0].matrix.tobytes() != c[0].matrix.tobytes()
