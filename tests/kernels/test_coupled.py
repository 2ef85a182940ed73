import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize

from descentcast.errors import ArgumentError
from descentcast.kernels import TransitionKernel
from descentcast.kernels._coupled import CoupledKernel, _counted, _foretold, couple
from descentcast.kernels._propagation import propagate
from descentcast.trajectories import Trajectories

EDGES = np.arange(5.0)


def random_kernel(rng, n):
    rows = rng.dirichlet(np.ones(n + 2), size=n)
    return TransitionKernel(np.arange(n + 1.0), rows[:, 1:-1], rows[:, [0, -1]])


def random_coupled(rng, sizes):
    kernels = tuple(random_kernel(rng, n) for n in sizes)
    pairs = [(i, j) for i in range(len(sizes)) for j in range(len(sizes)) if i != j]
    cross = {(i, j): rng.dirichlet(np.ones(sizes[i] + 2), size=sizes[j]) for i, j in pairs}
    return CoupledKernel(kernels, cross, rng.dirichlet(np.ones(len(sizes)), size=len(sizes)))


def closed(matrix):
    matrix = np.asarray(matrix, dtype=float)
    return TransitionKernel(np.arange(len(matrix) + 1.0), matrix, np.zeros((len(matrix), 2)))


def test_two_by_two_states_by_hand():
    first, second = closed([[0.5, 0.5], [0.25, 0.75]]), closed([[1, 0], [0.5, 0.5]])
    cross = {(0, 1): [[0, 1, 0, 0], [0, 0.2, 0.8, 0]], (1, 0): [[0.5, 0.5, 0, 0], [0, 0, 1, 0]]}
    coupled = CoupledKernel((first, second), cross, [[0.75, 0.25], [0.5, 0.5]])
    assert_allclose(
        coupled.matrix,
        [
            [0.375, 0.375, 0.25, 0.0],  # from x1 = 0: 3/4 of (1/2, 1/2) to x1, half of (1/2 overflow, 1/2, 0) to x2
            [0.1875, 0.5625, 0.0, 0.5],
            [0.25, 0.0, 0.5, 0.0],
            [0.05, 0.2, 0.25, 0.25],
        ],
    )
    density, overflow = coupled.propagate([[[1, 0]], [[0, 1]]], steps=2)
    assert_allclose(density[0][0, 1], [0.375 + 0.05, 0.375 + 0.2])
    assert_allclose(density[1][0, 1], [0.25 + 0.25, 0.25])
    assert_allclose(overflow[1][0, 1], [0.25, 0])
    # Second step: x2 overflowed by 1/4; a quarter of that goes to the overflow of x1, half of it stays in that of x2,
    # which gains half of the half that leaves from x1 = 0.
    assert_allclose(density[0][0, 2], [0.425 * 0.375 + 0.575 * 0.1875 + 0.5 * 0.25 + 0.25 * 0.05,
                                       0.425 * 0.375 + 0.575 * 0.5625 + 0.25 * 0.2])  # fmt: skip
    assert_allclose(overflow[0][0, 2], [0.0625, 0])
    assert_allclose(overflow[1][0, 2], [0.125 + 0.425 * 0.25, 0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(2, 6), min_size=1, max_size=3), st.integers(0, 12))
def test_laws_keep_their_mass_and_follow_the_block_matrix(seed, sizes, steps):
    rng = np.random.default_rng(seed)
    coupled = random_coupled(rng, sizes)
    initial = [rng.dirichlet(np.ones(n), size=3) for n in sizes]
    density, overflow = coupled.propagate(initial, steps)
    together = np.concatenate(density, axis=2)
    assert_allclose(together[:, -1], np.hstack(initial) @ np.linalg.matrix_power(coupled.matrix, steps), atol=1e-12)
    for law, out, n in zip(density, overflow, sizes, strict=True):
        assert law.shape == (3, steps + 1, n)
        assert (law >= 0).all()
        assert (out >= 0).all()
        assert_allclose(law.sum(axis=2) + out.sum(axis=2), 1, atol=1e-12)


def test_identity_weights_are_independent_coordinates():
    rng = np.random.default_rng(1)
    kernels = [random_kernel(rng, 4), random_kernel(rng, 6)]
    runs = Trajectories.from_arrays([rng.uniform(0, 4, size=(50, 2))])
    coupled = couple(kernels, runs, weights="identity")
    assert_array_equal(coupled.weights, np.eye(2))
    assert_array_equal(coupled.matrix[:4, 4:], 0)
    assert_array_equal(coupled.matrix[4:, :4], 0)
    initial = [rng.dirichlet(np.ones(n), size=5) for n in (4, 6)]
    density, overflow = coupled.propagate(initial, 20)
    for i, kernel in enumerate(kernels):
        alone, left = propagate(kernel, initial[i], 20)
        assert_allclose(density[i], alone, rtol=1e-12, atol=1e-15)
        assert_allclose(overflow[i], left, rtol=1e-12, atol=1e-15)


def simulated(rng, steps, follow):
    """Chains of four states: x2 moves by `step2`; x1' is a noisy copy of x2 with probability `follow`, else of x1."""
    step1, step2 = rng.dirichlet(np.full(4, 0.3), size=(2, 4))
    states = np.zeros((steps, 2), dtype=int)
    for t in range(1, steps):
        one, two = states[t - 1]
        row = step2[two] if rng.random() < follow else step1[one]
        states[t] = rng.choice(4, p=row), rng.choice(4, p=step2[two])
    return Trajectories.from_arrays([states + 0.5]), closed(step1), closed(step2)


def test_a_coordinate_that_the_other_drives_gets_its_weight_off_the_diagonal():
    runs, _, second = simulated(np.random.default_rng(0), 2000, follow=1.0)
    x, y = runs.transitions(0)
    own = closed(_counted(np.int64(x), np.int64(y), 4, 4))  # counts of the very runs: as good as can be by itself
    coupled = couple([own, second], runs)
    assert coupled.weights[0, 1] > 0.9
    assert coupled.weights[1, 1] > 0.95


def test_the_weight_grows_with_the_share_that_the_other_drives():
    # Diagonal blocks are exact. The counted one holds the undriven part as a marginal law, so it weighs more.
    weights = []
    for follow in (0.0, 0.3, 0.8):
        runs, first, second = simulated(np.random.default_rng(2), 2000, follow)
        weights.append(couple([first, second], runs).weights[0, 1])
    assert weights[0] < 0.03
    assert 0.25 < weights[1] < 0.5
    assert 0.75 < weights[2] < 1


def test_weights_maximise_the_likelihood_found_by_another_optimiser():
    rng = np.random.default_rng(5)
    runs, first, second = simulated(rng, 300, 0.5)
    weights = couple([first, second], runs).weights[0]
    (x1, y1), (x2, _) = runs.transitions(0), runs.transitions(1)
    own = first.matrix[np.int64(x1), np.int64(y1)]
    other = np.array([  # counts made anew before each transition
        _counted(np.int64(x2[:t]), np.int64(y1[:t]) + 1, 4, 6)[int(x2[t]), int(y1[t]) + 1] for t in range(len(x1))
    ])  # fmt: skip
    assert_allclose(_foretold(np.int64(x2), np.int64(y1) + 1, 6), other, rtol=1e-12)
    found = minimize(lambda w: -np.log(w[0] * own + (1 - w[0]) * other).sum(), [0.5], bounds=[(1e-6, 1 - 1e-6)])
    assert_allclose(weights[0], found.x[0], atol=1e-3)


def test_cross_blocks_are_smoothed_counts_within_runs():
    # Two runs; (x2 -> next x1): run 0: 0 -> 1, 1 -> 0; run 1: 0 -> 1 and 1 -> above the grid. None across the runs.
    runs = Trajectories.from_arrays([[[0.5, 0.5], [1.5, 1.5], [0.5, 0.5]], [[1.5, 0.5], [1.5, 1.5], [2.5, 0.5]]])
    coupled = couple([closed(np.eye(2))] * 2, runs)
    marginal = (np.array([0, 1, 2, 1]) + 0.25) / 5
    assert_allclose(coupled.cross[0, 1][0], (np.array([0, 0, 2, 0]) + marginal) / 3)
    assert_allclose(coupled.cross[0, 1][1], (np.array([0, 1, 0, 1]) + marginal) / 3)


def test_a_cell_that_no_run_visited_has_the_marginal_law():
    rng = np.random.default_rng(0)
    values = np.stack([rng.uniform(0, 4, 40), rng.uniform(0, 2, 40)], axis=1)
    block = couple([random_kernel(rng, 4)] * 2, Trajectories.from_arrays([values]), "identity").cross[0, 1]
    assert_allclose(block[2], block[3])
    assert_allclose(block.sum(axis=1), 1)
    assert (block > 0).all()


def test_a_single_coordinate_has_weight_one():
    runs = Trajectories.from_arrays([np.linspace(0.5, 3.5, 9)])
    coupled = couple([random_kernel(np.random.default_rng(0), 4)], runs)
    assert_array_equal(coupled.weights, [[1.0]])


def test_plain_values_go_through_json():
    coupled = random_coupled(np.random.default_rng(0), [2, 3])
    plain = json.loads(json.dumps(coupled.to_dict()))
    assert {(block["to"], block["from"]) for block in plain["cross"]} == {(0, 1), (1, 0)}
    assert_array_equal(plain["weights"], coupled.weights)


def test_a_coupled_kernel_is_frozen():
    coupled = random_coupled(np.random.default_rng(0), [2, 3])
    for array in (coupled.weights, coupled.cross[0, 1]):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 2.0
    with pytest.raises(AttributeError):
        coupled.weights = np.eye(2)  # pyright: ignore[reportAttributeAccessIssue]


def test_bad_input_is_named():
    rng = np.random.default_rng(0)
    coupled = random_coupled(rng, [2, 3])
    with pytest.raises(ArgumentError, match=r"block of shape \(3, 4\) at \(0, 1\)"):
        CoupledKernel(coupled.kernels, {(1, 0): coupled.cross[1, 0]}, np.eye(2))
    with pytest.raises(ArgumentError, match="weights must sum to 1"):
        CoupledKernel(coupled.kernels, coupled.cross, np.ones((2, 2)))
    with pytest.raises(ArgumentError, match="weights has shape"):
        CoupledKernel(coupled.kernels, coupled.cross, np.eye(3))
    with pytest.raises(ArgumentError, match="initial has shapes"):
        coupled.propagate([np.eye(2), np.eye(2)], 1)
    with pytest.raises(ArgumentError, match="steps == -1"):
        coupled.propagate([np.eye(2), np.eye(3)[:2]], -1)
    runs = Trajectories.from_arrays([rng.uniform(10, 11, size=(20, 2))])
    with pytest.raises(ArgumentError, match="no transition that starts on the grids"):
        couple(coupled.kernels, runs)
    with pytest.raises(ArgumentError, match="kernels holds 1"):
        couple(coupled.kernels[:1], runs)
    with pytest.raises(ArgumentError, match="weights == 'equal'"):
        couple(coupled.kernels, runs, weights="equal")
    with pytest.raises(ArgumentError, match="kernels =="):
        couple([], runs)


def test_it_can_be_copied_deeply():
    kernel = TransitionKernel([0, 1, 2], np.eye(2), np.zeros((2, 2)))
    block = np.pad(np.eye(2), ((0, 0), (1, 1)))
    coupled = CoupledKernel((kernel, kernel), {(0, 1): block, (1, 0): block}, np.full((2, 2), 0.5))
    np.testing.assert_array_equal(copy.deepcopy(coupled).matrix, coupled.matrix)
