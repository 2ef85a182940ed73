"""Stationary and quasi-stationary laws, mixing time, spectral gap."""

import json
from fractions import Fraction

import numpy as np
import pytest
from deeptime.markov.msm import MarkovStateModel
from hypothesis import given, settings
from kernel_chains import CYCLE, LAZY_CYCLE, PERIODIC, TRANSIENT, dense, kernel, kernels, nearly_disconnected
from numpy.testing import assert_allclose
from pydtmc import MarkovChain


def test_transient_cells_have_no_stationary_mass():
    law = TRANSIENT.stationary()
    assert_allclose(law, [0, 0, 3 / 5, 2 / 5], atol=1e-15)
    assert law.unique
    assert law.escape_rate == 0
    # Eigenvalues 1 and 1/6 of the closed block, 3/4 and 0 of the transient one, which is singular with trace 3/4.
    assert_allclose(law.mixing_time, -1 / np.log(3 / 4))
    assert_allclose(TRANSIENT.spectral_gap(), 1 / 4)


def test_a_periodic_chain_has_a_law_but_never_forgets_its_start():
    law = PERIODIC.stationary()
    assert_allclose(np.asarray(law) @ PERIODIC.matrix, law, atol=1e-15)
    assert_allclose(law.probabilities[[0, 2]].sum(), 1 / 2)
    assert law.mixing_time == np.inf
    assert PERIODIC.spectral_gap() == 0
    assert "periodic" in law.note
    assert json.loads(json.dumps(law.to_dict(), allow_nan=False))["mixing_time"] is None


def test_cycles_that_turn_one_way_have_an_even_law():
    assert_allclose(CYCLE.stationary(), np.full(4, 1 / 4), atol=1e-15)
    law = LAZY_CYCLE.stationary()
    assert_allclose(law, np.full(4, 1 / 4), atol=1e-15)
    # Eigenvalues 1/4 + 3/4 w for w in {1, i, -1, -i}: the second modulus is sqrt(10) / 4.
    assert_allclose(LAZY_CYCLE.spectral_gap(), 1 - np.sqrt(10) / 4)
    assert_allclose(law.mixing_time, -1 / np.log(np.sqrt(10) / 4))


@pytest.mark.parametrize("scale", [1e-3, 1e-9, 1e-17, 1e-30, 1e-90])
def test_nearly_disconnected_wells_keep_their_ratio(scale):
    # Detailed balance over the one link: pi_1 * there = pi_2 * back, and each well is even: 1/8, 1/8, 3/8, 3/8.
    law = nearly_disconnected(3 * scale, scale).stationary()
    assert_allclose(law, [1 / 8, 1 / 8, 3 / 8, 3 / 8], rtol=1e-12)
    assert law.unique
    assert law.mixing_time > 0.2 / scale


def test_disconnected_wells_have_no_single_law():
    law = nearly_disconnected(0, 0).stationary()
    assert not law.unique
    assert law.mixing_time == np.inf
    assert_allclose(law, np.full(4, 1 / 4))
    assert "2 closed classes" in law.note


def test_cells_between_closed_classes_are_shared_out_by_absorption():
    # From cell 1: to 0 with 1/3, to 2 with 2/3; an even start ends in 0 with (1 + 1/3) / 3.
    law = kernel([[1, 0, 0], [1 / 6, 1 / 2, 1 / 3], [0, 0, 1]]).stationary()
    assert_allclose(law, [4 / 9, 0, 5 / 9])


def test_quasi_stationary_law_by_hand():
    # [[1/2, 1/4], [1/4, 1/2]]: Perron value 3/4 with the even vector, then 1/4.
    chain = kernel([[1 / 2, 1 / 4], [1 / 4, 1 / 2]], [[1 / 4, 0], [0, 1 / 4]])
    law = chain.stationary()
    assert_allclose(law, [1 / 2, 1 / 2])
    assert_allclose(law.escape_rate, 1 / 4)
    assert_allclose(law.mixing_time, 1 / np.log(3))
    assert_allclose(chain.spectral_gap(), 2 / 3)


@pytest.mark.parametrize("escape", [1e-4, 1e-12, 1e-40])
def test_escape_rates_far_below_rounding_are_right(escape):
    # The leak of cell 0 alone, to first order: law of the closed chain (2/3, 1/3) times the leak.
    chain = kernel([[0.9 - escape, 0.1], [0.2, 0.8]], [[escape, 0], [0, 0]])
    law = chain.stationary()
    assert_allclose(law.escape_rate, 2 / 3 * escape, rtol=max(10 * escape, 1e-12))
    assert law.unique


def test_a_well_that_leaks_less_outlives_the_other():
    # Upper triangular: the limit given survival has Perron value 3/4 and from cell 0 lies on (0, 1).
    chain = kernel([[1 / 2, 1 / 4], [0, 3 / 4]], [[1 / 4, 0], [0, 1 / 4]])
    law = chain.stationary()
    assert_allclose(law, [0, 1], atol=1e-12)
    assert_allclose(law.escape_rate, 1 / 4)
    assert law.unique


def test_two_separate_leaking_wells_depend_on_the_start():
    law = kernel(np.diag([1 / 2, 1 / 2]), [[1 / 2, 0], [0, 1 / 2]]).stationary()
    assert not law.unique
    assert law.mixing_time == np.inf


def test_a_trap_that_some_starts_never_reach_is_not_where_their_survivors_are():
    # Cell 0 keeps its runs. Those of cells 1 and 2 leave the grid from cell 2, in which whoever is left is found.
    chain = kernel([[1, 0, 0], [0, 0, 1], [0, 0, 3 / 4]], [[0, 0], [0, 0], [1 / 4, 0]])
    law = chain.stationary()
    assert_allclose(law, [1, 0, 0])
    assert not law.unique
    assert law.mixing_time == np.inf
    assert "depends on the start" in law.note
    late = chain.power(50).matrix
    assert_allclose(late[1] / late[1].sum(), [0, 0, 1])
    # With the least way from there into the trap every start leads to it.
    open_ = kernel([[1, 0, 0], [0, 0, 1], [0.01, 0, 0.74]], [[0, 0], [0, 0], [1 / 4, 0]]).stationary()
    assert open_.unique
    assert_allclose(open_, [1, 0, 0])


def test_a_chain_that_leaves_at_once():
    law = kernel(np.zeros((2, 2)), [[1, 0], [0, 1]]).stationary()
    assert_allclose(law, [1 / 2, 1 / 2])
    assert law.escape_rate == 1


def test_birth_and_death_law_to_relative_accuracy_in_fractions():
    # Steps up with 1/100, down with 1/2: pi falls by (1/100)/(1/2) = 1/50 a cell, down to 50^-39.
    n = 40
    matrix = np.zeros((n, n))
    matrix[np.arange(n - 1), np.arange(1, n)] = 0.01
    matrix[np.arange(1, n), np.arange(n - 1)] = 0.5
    np.fill_diagonal(matrix, 1 - matrix.sum(axis=1))
    weights = [Fraction(1, 50) ** k for k in range(n)]
    exact = np.array([float(w / sum(weights)) for w in weights])
    assert_allclose(kernel(matrix).stationary(), exact, rtol=1e-11)


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_deeptime_and_pydtmc(seed):
    matrix = dense(12, seed)
    law = kernel(matrix).stationary()
    assert_allclose(law, MarkovStateModel(matrix).stationary_distribution, rtol=1e-9)
    oracle = MarkovChain(matrix)
    assert_allclose(law, oracle.pi[0], rtol=1e-9)
    assert_allclose(kernel(matrix).spectral_gap(), 1 / oracle.relaxation_rate, rtol=1e-9)


@given(kernels())
@settings(max_examples=80, deadline=None)
def test_the_law_is_a_left_perron_vector(chain):
    law = chain.stationary()
    pi = np.asarray(law)
    assert (pi >= 0).all()
    assert_allclose(pi.sum(), 1)
    assert law.mixing_time >= 0
    assert 0 <= chain.spectral_gap() <= 1
    if law.unique:
        assert_allclose(pi @ chain.matrix, (1 - law.escape_rate) * pi, atol=1e-10)
        assert_allclose(1 - law.escape_rate, np.abs(np.linalg.eigvals(chain.matrix)).max(), atol=1e-8)


@given(kernels())
@settings(max_examples=60, deadline=None)
def test_survivors_settle_in_the_law(chain):
    law = chain.stationary()
    # Long enough that what starts remember, e^-400 of it, is little beside six ways of 1e-12, and that some survive.
    steps = 400 * max(law.mixing_time, 1.0)
    if law.unique and steps < 20_000 and -steps * np.log1p(-min(law.escape_rate, 0.99)) < 500:
        late = chain.power(int(np.ceil(steps))).matrix
        assert_allclose(late / late.sum(axis=1, keepdims=True), np.tile(law, (len(late), 1)), atol=1e-9)
