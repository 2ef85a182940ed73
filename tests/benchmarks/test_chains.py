"""The laws that every figure is held against: simulation, the problems' own kernels, arithmetic by hand."""

import numpy as np
import pytest
from benchmarks.suite.chains import (
    CELLS,
    PRIOR,
    REPORTING,
    chain_of,
    drawn_chain,
    generator,
    masses_below,
    masses_of_atoms,
)
from benchmarks.suite.measures import LEAST, compare, floored

from descentcast.kernels import default_edges
from descentcast.trajectories import Trajectories

FEW = ("quadratic", "double_well", "linear_regression", "interpolating_regression", "one_neuron")


def grid_and_states(family: str, cells: int = CELLS):
    chain, rng = chain_of(family, 0), generator("test", family, 0)
    run = chain.paths(rng.uniform(*chain.starts, size=1), 80, rng)[0]
    return chain, default_edges(Trajectories.from_arrays([run]), 0, cells)[0], run[-3:]


@pytest.mark.parametrize("family", REPORTING)
def test_a_law_is_what_simulation_counts(family):
    chain, edges, states = grid_and_states(family, cells=20)
    draws = 40_000
    law = chain.law(states, edges)
    assert law.shape == (3, 22)
    np.testing.assert_allclose(law.sum(axis=1), 1)
    for state, expected in zip(states, law, strict=True):
        after = chain.paths(np.full(draws, state), 1, np.random.default_rng(1))[:, 1]
        counted = np.bincount(np.searchsorted(edges, after, side="right"), minlength=22) / draws
        # Five standard errors of a share.
        assert (np.abs(counted - expected) < 5 * np.sqrt(expected * (1 - expected) / draws) + 1e-3).all()
        assert chain.spread(np.array([state]))[0] == pytest.approx(after.std(), rel=0.03)


@pytest.mark.parametrize("family", FEW)
def test_rows_are_averages_of_laws_over_their_cells(family):
    chain, edges, states = grid_and_states(family)
    cells = np.searchsorted(edges, states, side="right") - 1
    rows = chain.rows(edges)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    assert 0.5 * np.abs(rows[cells] - chain.cell_laws(cells, edges)).sum(axis=1).max() < 0.005


def test_the_log_loss_of_interpolating_regression_is_the_walk():
    chain = REPORTING["interpolating_regression"]
    problem = chain.problem
    start = problem.minima[0] + 1.0
    iterates = problem.paths([start], 12, np.random.default_rng(3))[0, :, 0]
    steps = np.diff(np.log(problem.loss(iterates)))
    # Every step of the logarithm is one of the increments.
    assert np.abs(steps[:, None] - chain.increments).min(axis=1).max() < 1e-6
    assert len(np.unique(steps.round(6))) > 3


def test_laws_by_hand():
    edges = np.array([0.0, 1.0, 2.0])
    law = masses_of_atoms(np.array([[-0.5, 0.5, 1.0, 2.0]]), np.array([0.1, 0.2, 0.3, 0.4]), edges)
    np.testing.assert_allclose(law, [[0.1, 0.2, 0.3, 0.4]])
    np.testing.assert_allclose(masses_below(np.array([0.25, 0.5, 0.875])), [0.25, 0.25, 0.375, 0.125])


def test_measures_by_hand():
    edges = np.linspace(0, 4, 5)
    truth = np.array([[0, 0.5, 0.5, 0, 0, 0]])
    law = np.array([[0, 0, 0.5, 0.5, 0, 0]])
    found = compare(law, truth, edges, np.array([2.0]), np.array([1.5]))
    assert found["bhattacharyya"][0] == pytest.approx(np.log(2), abs=1e-2)
    assert found["hellinger"][0] == pytest.approx(np.sqrt(0.5), abs=1e-3)
    assert found["w1"][0] == pytest.approx(0.5, abs=1e-4)
    assert found["log_score"][0] == pytest.approx(np.log(2), abs=1e-4)
    assert found["excess"][0] == pytest.approx(0, abs=1e-5)
    assert found["expected_excess"][0] > 1  # the cell it calls impossible comes half of the time


def test_the_expected_excess_is_the_mean_of_the_excess():
    rng = np.random.default_rng(0)
    edges, truth, law = np.linspace(0, 5, 6), rng.dirichlet(np.ones(7)), rng.dirichlet(np.ones(7))
    centres = np.arange(-0.5, 6)
    each = [compare(law[None], truth[None], edges, np.ones(1), np.array([c])) for c in centres]
    expected = sum(p * e["excess"][0] for p, e in zip(floored(truth), each, strict=True))
    assert each[0]["expected_excess"][0] == pytest.approx(expected)


def test_a_floored_law_is_a_law():
    law = floored(np.array([0.0, 1.0, 0.0]))
    assert law.sum() == pytest.approx(1)
    assert law.min() == pytest.approx(LEAST / 3)


def test_draws_of_the_prior_are_new_for_every_seed_and_meet_the_grid_rule():
    first, again, other = drawn_chain(PRIOR[1], 0), drawn_chain(PRIOR[1], 0), drawn_chain(PRIOR[1], 1)
    x = np.linspace(-0.5, 0.5, 5)
    assert (first.problem.field(x[:, None]) == again.problem.field(x[:, None])).all()
    assert not np.allclose(first.problem.field(x[:, None]), other.problem.field(x[:, None]))
    assert first.problem.coordinates == 1
    assert first.problem.momentum == 0


def test_every_field_and_noise_of_the_prior_is_among_its_families():
    from training.fields import TRAINING_FIELDS
    from training.noise import NOISES

    assert {name.split("/")[1] for name in PRIOR} == set(TRAINING_FIELDS)
    assert {name.split("/")[2] for name in PRIOR} == set(NOISES)
