"""Metastable sets against hand-made wells and against pygpcca."""

import json

import numpy as np
import pygpcca
import pytest
from hypothesis import given, settings
from kernel_chains import CYCLE, LAZY_CYCLE, PERIODIC, kernel, kernels, nearly_disconnected, wells
from numpy.testing import assert_allclose, assert_array_equal

from descentcast.errors import ArgumentError
from descentcast.kernels._metastable import metastable


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e-6, 1e-2])
def test_two_wells_are_found_however_disconnected(scale):
    sets = nearly_disconnected(scale, scale).metastable()
    assert_array_equal(sets.assignment, [0, 0, 1, 1])
    assert_allclose(sets.memberships[[0, 3]], np.eye(2), atol=1e-12)
    assert sets.crispness > 0.9


def test_coarse_chain_of_two_wells_has_their_eigenvalues():
    # The antisymmetric vector (a, b, -b, -a) gives lambda^2 - (1 - 2s) lambda - s = 0 with s the crossing chance.
    s = 0.01
    second = ((1 - 2 * s) + np.sqrt((1 - 2 * s) ** 2 + 4 * s)) / 2
    sets = nearly_disconnected(s, s).metastable()
    assert_allclose(np.sort(np.linalg.eigvals(sets.transition)), [second, 1])
    assert_allclose(sets.transition, sets.transition.T, atol=1e-12)
    assert_allclose(sets.eigenvalues[:2], [1, second])


def test_sets_are_ordered_along_the_grid_wherever_the_corners_lie():
    matrix = wells(3, 4, seed=5)
    assert_array_equal(kernel(matrix).metastable().assignment, np.repeat([0, 1, 2], 4))
    assert_array_equal(kernel(matrix[::-1, ::-1]).metastable().assignment, np.repeat([0, 1, 2], 4))


def test_one_well_is_one_set():
    sets = kernel([[0.6, 0.4], [0.4, 0.6]]).metastable()
    assert_array_equal(sets.assignment, [0, 0])
    assert_allclose(sets.transition, [[1]])


def test_a_period_shows_as_sets_visited_in_turn():
    sets = PERIODIC.metastable(2)
    assert_array_equal(sets.assignment, [0, 1, 0, 1])
    assert_allclose(sets.transition, [[0, 1], [1, 0]], atol=1e-10)
    assert "in turn" in sets.note


def test_a_complex_pair_is_not_split():
    with pytest.raises(ArgumentError, match="n_sets == 2, splits a complex pair"):
        LAZY_CYCLE.metastable(2)
    assert LAZY_CYCLE.metastable(3).memberships.shape == (4, 3)
    assert_allclose(np.abs(CYCLE.metastable(4).memberships), np.eye(4), atol=1e-12)


@pytest.mark.parametrize("n_sets", [0, 5, 2.0])
def test_impossible_numbers_of_sets_are_refused(n_sets):
    with pytest.raises(ArgumentError, match="n_sets"):
        CYCLE.metastable(n_sets)


def test_cells_that_leave_for_certain_make_no_set():
    matrix, overflow = np.zeros((5, 5)), np.zeros((5, 2))
    matrix[:4, :4] = nearly_disconnected(0.001, 0.001).matrix
    overflow[4, 1] = 1
    sets = kernel(matrix, overflow).metastable()
    assert_array_equal(sets.assignment[:4], [0, 0, 1, 1])
    assert_allclose(sets.memberships[4], 1 / 2, atol=0.01)
    assert "1 cells leave" in sets.note


@pytest.mark.parametrize(("n_sets", "seed"), [(2, 0), (3, 1), (3, 2), (4, 3)])
def test_as_crisp_as_pygpcca_with_the_same_sets(n_sets, seed):
    matrix = wells(n_sets, 6, seed, crossing=0.05)
    sets = kernel(matrix).metastable(n_sets)
    oracle = pygpcca.GPCCA(matrix, z="LM", method="brandts").optimize(n_sets)
    assert sets.crispness >= oracle.optimal_crispness - 1e-4
    order = np.argsort(np.arange(len(matrix)) @ oracle.memberships / oracle.memberships.sum(axis=0))
    assert_array_equal(sets.assignment, oracle.memberships[:, order].argmax(axis=1))
    assert_allclose(sets.memberships, oracle.memberships[:, order], atol=0.05)
    assert_allclose(sets.transition, oracle.coarse_grained_transition_matrix[np.ix_(order, order)], atol=0.05)


@given(kernels(low=3))
@settings(max_examples=60, deadline=None)
def test_memberships_are_a_partition_of_unity_and_the_coarse_chain_a_projection(chain):
    sets = chain.metastable()
    k = sets.memberships.shape[1]
    assert (sets.memberships >= 0).all()
    assert_allclose(sets.memberships.sum(axis=1), 1)
    assert_allclose(sets.transition.sum(axis=1), 1, atol=1e-6)
    assert_allclose(np.trace(sets.transition), sets.eigenvalues[:k].sum().real, atol=1e-6)
    json.dumps(sets.to_dict(), allow_nan=False)


def test_a_cycle_is_one_set_or_three():
    """Its eigenvalues are the cube roots of one: the pair stays together, and 1 is the first whatever rounding says."""
    matrix, overflow = np.roll(np.eye(3), 1, axis=1), np.zeros((3, 2))
    assert metastable(matrix, overflow, 1).memberships.tolist() == [[1.0]] * 3
    with pytest.raises(ArgumentError, match="take 1 or 3"):
        metastable(matrix, overflow, 2)
