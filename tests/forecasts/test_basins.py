"""Basins of kernels whose potential is known."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from descentcast.errors import ArgumentError
from descentcast.forecasts import Basins, minima
from descentcast.forecasts._basins import named
from descentcast.forecasts._potential import Potential
from descentcast.kernels import TransitionKernel

TWO_PAIRS = [[0.6, 0.39, 0.01, 0], [0.4, 0.6, 0, 0], [0, 0, 0.5, 0.5], [0, 0.01, 0.49, 0.5]]


def test_four_states_by_hand():
    found = minima(TransitionKernel([0, 1, 2, 3, 4], TWO_PAIRS, np.zeros((4, 2))))
    # Drifts 0.41, -0.4, 0.5, -0.51; variances 0.43 - 0.41^2, 0.24 (raised to 0.25: half a cell), 0.25, 0.53 - 0.51^2.
    pull = np.array([0.41 / (0.43 - 0.41**2), -0.4 / 0.25, 0.5 / 0.25, -0.51 / (0.53 - 0.51**2)])
    assert_allclose(found.position, [0.5 + pull[0] / (pull[0] - pull[1]), 2.5 + pull[2] / (pull[2] - pull[3])])
    assert_allclose(found.lower, [0, 2])
    assert_allclose(found.upper, [2, 4])


def test_linear_drift_has_a_parabola_as_potential(gaussian_kernel):
    # V = a x^2 / s^2 for drift -a x and constant spread s, which is the noise and a cell's own h^2 (1 - a)^2 / 12.
    a, noise = 0.2, 0.3
    kernel = gaussian_kernel(np.linspace(-6, 6, 241), lambda x: -a * x, noise)
    potential = Potential(kernel)
    x = np.linspace(-3, 3, 13)
    spread2 = noise**2 + 0.05**2 * (1 - a) ** 2 / 12 + 0.05**2 / 12  # the last: mass put at cell centres
    assert_allclose(potential(x) - potential(0), a * x**2 / spread2, rtol=1e-3, atol=1e-3)
    found = minima(kernel)
    assert_allclose(found.position, [0], atol=1e-9)
    assert_allclose([found.lower[0], found.upper[0]], [-6, 6])


def test_double_well_has_its_minima_and_its_barrier(double_well):
    step, noise = 0.05, 0.2
    found = minima(double_well(step, noise, np.linspace(-2.2, 2.2, 201)))
    assert_allclose(found.position, [-1, 1], atol=0.01)
    assert_allclose(found.upper[0], 0, atol=0.0111)
    assert_allclose(found.lower[1], found.upper[0])
    # V(0) - V(1) = 2 * step * (1/2 - 1/4) / noise^2.
    assert_allclose(found.depth, 0.5 * step / noise**2, rtol=0.02)


@pytest.mark.parametrize(("persistence", "count"), [(0.0, 3), (0.2, 3), (0.5, 2), (100.0, 1)])
def test_shallow_attractors_are_merged(persistence, count, gaussian_kernel):
    # A double well with a dimple beside its right minimum.
    def drift(x):
        return -0.05 * (x**3 - x) + 0.135 * np.exp(-(((x - 1.45) / 0.12) ** 2))

    found = minima(gaussian_kernel(np.linspace(-2.2, 2.2, 201), drift, 0.2), persistence)
    assert len(found) == count


def test_an_outward_slope_is_no_basin(gaussian_kernel):
    # Drift x^3 - x leads out beyond -1 and 1: one attractor at 0, its basin ends at the two repellers.
    kernel = gaussian_kernel(np.linspace(-1.62, 1.62, 109), lambda x: 0.2 * (x**3 - x), 0.08)
    found = minima(kernel)
    assert len(found) == 1
    assert_allclose([found.position[0], found.lower[0], found.upper[0]], [0, -1, 1], atol=0.016)
    everywhere_out = minima(gaussian_kernel(np.linspace(0, 3, 31), lambda x: 0 * x + 0.4, 0.2))
    assert len(everywhere_out) == 0
    assert "leads out" in everywhere_out.notes[0]


def test_absorbing_ends_and_the_identity_are_basins():
    rows = [[1, 0, 0, 0], [0.5, 0.2, 0.3, 0], [0, 0.3, 0.2, 0.5], [0, 0, 0, 1]]
    found = minima(TransitionKernel([0, 1, 2, 3, 4], rows, np.zeros((4, 2))), persistence=0.01)
    assert_allclose(found.position, [0.5, 3.5])
    assert_allclose(found.upper, [2, 4])
    still = minima(TransitionKernel([0, 1, 2], np.eye(2), np.zeros((2, 2))))
    assert len(still) == 1
    assert_allclose([still.lower[0], still.upper[0]], [0, 2])


def test_what_no_run_has_visited_is_unseen(double_well):
    visits = np.where(np.linspace(-1.8, 1.8, 121)[:-1] < -0.5, 3, 0)
    found = minima(double_well(visits=visits, source="probed"))
    assert found.seen.tolist() == [True, False]
    assert any("basin 1" in note and "no run" in note for note in found.notes)
    assert minima(double_well()).seen.all()
    silent = minima(double_well(source="probed"))
    assert silent.seen.all()
    assert "records no visits" in silent.notes[0]


def test_named_basins(double_well):
    kernel = double_well()
    at = named(kernel, [1.0, -0.9])
    assert_allclose(at.position, [-0.9, 1.0])
    assert_allclose(at.upper[0], 0, atol=0.016)
    assert_allclose([at.lower[0], at.upper[1]], [-1.8, 1.8])
    within = named(kernel, [(0.5, 1.2), (-1.2, -0.5)])
    assert_allclose(within.lower, [-1.2, 0.5])
    assert_allclose(within.position, [-1, 1], atol=0.01)
    assert named(kernel, within) is within
    with pytest.raises(ArgumentError, match=r"overlap between 0 and 0\.5"):
        named(kernel, [(-1, 0.5), (0, 1)])
    with pytest.raises(ArgumentError, match=r"position 7, must lie on the grid \[-1.8, 1.8\]"):
        named(kernel, [0, 7])
    with pytest.raises(ArgumentError, match=r"hold \(5, 6\), must reach into the grid \[-1\.8, 1\.8\]"):
        named(kernel, [(0, 1), (5, 6)])
    with pytest.raises(ArgumentError, match=r"position 0\.5 twice"):
        named(kernel, [0.5, 0.5])
    with pytest.raises(ArgumentError, match="basins"):
        named(kernel, "left")


def test_arguments_are_checked(double_well):
    with pytest.raises(ArgumentError, match="kernel is a list"):
        minima([[1.0]])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="persistence == -1"):
        minima(double_well(), persistence=-1)


@pytest.mark.parametrize("rows", [np.full((4, 4), 0.25), np.eye(4)])
def test_units_in_which_squares_overflow_are_refused(rows):
    def scaled(scale):
        return TransitionKernel(np.arange(5) * scale, rows, np.zeros((4, 2)))

    for scale in (4e307, 1e300, 1e160, 1e-170, 1e-300):
        with pytest.raises(ArgumentError, match="over- or underflow"):
            minima(scaled(scale))
        with pytest.raises(ArgumentError, match="over- or underflow"):
            named(scaled(scale), [scale])
    assert_allclose(minima(scaled(1e150)).position, [2e150])
    assert_allclose(minima(scaled(1e-150)).position, [2e-150])


def test_basins_are_a_table(double_well):
    found = minima(double_well())
    assert list(found.table.columns) == ["position", "lower", "upper", "depth", "seen"]
    assert list(found.to_frame().index) == ["basin 0", "basin 1"]
    assert [b.position for b in found] == found.position.tolist()
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["basins"][1]["basin"] == "basin 1"
    assert_allclose(found.shares(np.array([-1.8, -0.5, 0.5, 1.8])), [[1, 0], [0.5, 0.5], [0, 1]], atol=0.04)
    assert isinstance(found, Basins)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 30), st.integers(0, 10**6), st.floats(0, 3))
def test_basins_of_any_kernel_are_disjoint_and_hold_their_attractor(n, seed, persistence):
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(n + 2, 0.3), size=n)
    edges = np.cumsum(rng.uniform(0.1, 2, n + 1))
    kernel = TransitionKernel(edges, rows[:, 1:-1], rows[:, [0, -1]])
    found = minima(kernel, persistence)
    assert (found.lower < found.position).all()
    assert (found.position < found.upper).all()
    assert (found.upper[:-1] <= found.lower[1:]).all()
    shares = found.shares(edges)
    assert_allclose(shares, shares.round(), atol=1e-9)
    assert (shares.sum(axis=1) <= 1 + 1e-9).all()
    assert len(minima(kernel, persistence + 1)) <= len(found)


@pytest.mark.parametrize("offset", [1e6, 1e8, 1e10])
def test_basins_move_along_with_an_offset_though_rows_are_rounded(double_well, offset):
    kernel = double_well()
    rounded = kernel.matrix.astype(np.float32).astype(float)
    moved = TransitionKernel(kernel.edges + offset, rounded, kernel.overflow)
    found = minima(moved)
    assert_allclose(found.position - offset, [-1, 1], atol=0.02 + 1e-15 * offset)
    assert found.lower[1] - offset == pytest.approx(0, abs=0.05)
