"""One-step comparisons: nothing later is known, few steps read are the same as all, the true kernel has the floor."""

import numpy as np
import pytest
from benchmarks.suite.chains import CELLS, REPORTING, generator
from benchmarks.suite.one_step import (
    CLASSICAL,
    GRID,
    RECALIBRATED,
    Stretch,
    classical_laws,
    label,
    model_laws,
    one_step,
    read_steps,
    rehearsal_steps,
    stretches,
)
from scipy.stats import norm

import descentcast as dc


@pytest.fixture
def run() -> np.ndarray:
    chain, rng = REPORTING["double_well"], np.random.default_rng(5)
    return chain.paths(np.array([0.2]), 60, rng)[0]


@pytest.mark.parametrize("length", [10, 20, 30, 100, 300, 600])
def test_steps_read_lie_in_the_last_third_and_rules_are_chosen_before(length):
    read, rehearsed = read_steps(length), rehearsal_steps(length)
    assert read[-1] == length - 1
    assert read[0] >= 2 * length / 3 > rehearsed[-1]
    assert len(read) == len(set(read)) <= 20
    assert len(rehearsed) <= 12
    assert rehearsed[0] >= 2


def test_grids_hold_what_is_known_with_room_for_a_step(run):
    steps = np.arange(5, 60)
    found = stretches(run, steps)
    np.testing.assert_array_equal(np.concatenate([s.steps for s in found]), steps)
    for stretch in found:
        assert len(stretch.edges) == CELLS + 1
        for t in stretch.steps:
            assert stretch.edges[0] < run[: t + 1].min()
            assert run[: t + 1].max() < stretch.edges[-1]


def test_later_values_change_no_earlier_grid_or_law(run, fake_model):
    other, known = run.copy(), 45
    other[known:] = -run[known:] + 0.3
    answers = []
    for values in (run, other):
        scored = stretches(values[:60], np.arange(40, 60, 2))
        pooled = model_laws(fake_model, values, np.arange(10, 40, 5), scored, np.random.default_rng(0))
        laws = [np.concatenate(each) for each in pooled.values()]
        laws += [np.concatenate([classical_laws(e, values[:60], s) for s in scored]) for e in CLASSICAL.values()]
        answers.append((scored, laws))
    (grids, laws), (grids_of_other, laws_of_other) = answers
    early = np.arange(40, 60, 2) < known
    assert (grids[0].edges == grids_of_other[0].edges).all()
    for law, same in zip(laws, laws_of_other, strict=True):
        np.testing.assert_allclose(law[early], same[early], atol=1e-12)
    assert not np.allclose(laws[0][~early], laws_of_other[0][~early])


@pytest.mark.parametrize("name", CLASSICAL)
def test_laws_at_few_steps_are_the_prequential_ones(run, name):
    edges = np.linspace(run.min() - 1, run.max() + 1, CELLS + 1)
    every = CLASSICAL[name].prequential(dc.Trajectories.from_arrays([run]), edges)[0]
    steps = np.array([1, 7, 30, 59])
    np.testing.assert_allclose(classical_laws(CLASSICAL[name], run[:60], Stretch(steps, edges)), every[steps])


@pytest.mark.parametrize("views", [1, 4])
def test_a_model_read_at_every_step_is_what_next_densities_reads(run, fake_model, views):
    low, high = float(run.min() - 0.2), float(run.max() + 0.2)
    edges = np.linspace(low, high, CELLS + 1)
    found = dc.next_densities(run, fake_model, views=views, range=(low, high), random_state=0)
    every = Stretch(np.arange(60), edges)
    laws = model_laws(fake_model, run, np.arange(0), [every], np.random.default_rng(0), (1, views))[label(views)]
    np.testing.assert_allclose(laws[0][:, 1:-1], found.probs[:60], atol=1e-12)


def test_rules_are_chosen_on_rehearsed_steps_as_on_all(run, fake_model):
    low, high = float(run.min() - 0.2), float(run.max() + 0.2)
    edges = np.linspace(low, high, CELLS + 1)
    found = dc.next_densities(run, fake_model, views=4, range=(low, high), random_state=0)
    later = Stretch(np.arange(40, 60), edges)
    laws = model_laws(fake_model, run, np.arange(40), [later], np.random.default_rng(0))[label(4)]
    np.testing.assert_allclose(laws[0][:, 1:-1], found.probs[40:60], atol=1e-12)


def test_recalibrated_laws_are_those_of_all_densities_so_far(run, fake_model):
    low, high = float(run.min() - 0.2), float(run.max() + 0.2)
    edges = np.linspace(low, high, CELLS + 1)
    found = dc.recalibrate_densities(
        dc.next_densities(run[:60], fake_model, views=4, range=(low, high), random_state=0), run[:60]
    )
    later = Stretch(np.arange(40, 60), edges)
    laws = model_laws(fake_model, run, np.arange(10, 40, 5), [later], np.random.default_rng(0))[RECALIBRATED]
    np.testing.assert_allclose(laws[0][:, 1:-1], found.probs[40:60], atol=1e-12)
    read = model_laws(fake_model, run, np.arange(10, 40, 5), [later], np.random.default_rng(0), mend=False)
    assert list(read) == ["1 view", "4 views"]


def test_the_true_kernel_is_at_the_floor(run):
    chain = REPORTING["double_well"]
    rng = generator("one-step", "double_well", 3)
    values = chain.paths(rng.uniform(*chain.starts, size=1), 30, rng)[0]
    distances = []
    for stretch in stretches(values[:30], read_steps(30)):
        kernel = chain.problem.kernel(stretch.edges)
        whole = np.concatenate([[-np.inf], stretch.edges, [np.inf]])
        for x in values[stretch.steps]:
            drift = x - chain.problem.step_size * chain.problem.gradient(x)
            truth = np.diff(norm.cdf((whole - drift) / (chain.problem.step_size * chain.problem.noise)))
            row = int(kernel.cell(x))
            law = np.concatenate([kernel.overflow[row, :1], kernel.matrix[row], kernel.overflow[row, 1:]])
            distances.append(-np.log(np.sqrt(truth * law).sum()))
    found = one_step(chain, 3, None, (30,))["30"]
    assert found[GRID]["bhattacharyya"] == pytest.approx(np.mean(distances), abs=2e-6)
    assert all(found[GRID]["expected_excess"] < found[name]["expected_excess"] for name in CLASSICAL)


def test_every_estimator_sees_the_same_run(fake_model):
    chain = REPORTING["quadratic"]
    by_model = one_step(chain, 0, fake_model, (30,))["30"]
    classical = one_step(chain, 0, None, (30,))["30"]
    # The true law's score of the outcomes is the same in both.
    reference = [found["log_score"] - found["excess"] for found in (*by_model.values(), *classical.values())]
    np.testing.assert_allclose(reference, reference[0])
    assert set(by_model) == {"1 view", "4 views", RECALIBRATED}
