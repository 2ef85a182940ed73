"""The stack: weights and rows by hand, the guarantee, no look-ahead, widening outside the hull."""

import numpy as np
import pytest
from fixed_kernel import FixedKernel
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone
from tests.conftest import FakeModel

import descentcast as dc
from descentcast.errors import ArgumentError
from descentcast.kernels import _stacked
from descentcast.kernels._beginnings import beginning, forward_folds
from descentcast.kernels._discrepancy import Discrepancy, learnt
from descentcast.kernels._fading import faded
from descentcast.kernels._grid import hull_distance
from descentcast.kernels._mixing import mixture_of, tempered

EVEN, TURN = [[0.5, 0.5], [0.5, 0.5]], [[0.25, 0.75], [0.75, 0.25]]
EDGES = [0.0, 1.0, 2.0]


def runs_of(*cells):
    return dc.Trajectories.from_arrays([np.array(c) + 0.5 for c in cells])


def ar1(steps, seed=0, slope=0.8, noise=0.3, start=1.0):
    rng, x = np.random.default_rng(seed), [start]
    for _ in range(steps):
        x.append(slope * x[-1] + noise * rng.normal())
    return np.array(x)


def test_two_members_by_hand():
    """Twelve values, eight known: of the four steps held out all turn, 3/4 each by one member and 1/2 by the other."""
    stack = dc.StackedKernel([FixedKernel(EVEN), FixedKernel(TURN)])
    stack.fit(runs_of([0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0]), EDGES)
    odds = (3 / 2) ** 4
    turn = odds / (1 + odds)
    assert stack.weights_ == pytest.approx([1 - turn, turn])
    assert stack.kernel_.matrix[0] == pytest.approx([0.5 - turn / 4, 0.5 + turn / 4])
    table = stack.held_out_scores_.set_index("member")
    assert table["log_score"].tolist() == pytest.approx(
        [np.log(1 / 2), np.log(3 / 4), np.log(((1 / 2) ** 4 + (3 / 4) ** 4) / 2) / 4]
    )
    assert table["weight"].tolist()[:2] == pytest.approx([1 - turn, turn])
    assert table["transitions"].tolist() == [4, 4, 4]
    assert table.index.tolist() == ["FixedKernel 1", "FixedKernel 2", "stack"]


def test_a_stack_of_one_is_that_one(monkeypatch):
    runs, edges = dc.Trajectories.from_arrays([ar1(80), ar1(40, seed=1)]), np.linspace(-3, 3, 31)
    stack, alone = dc.StackedKernel([dc.LocalLinearKernel()]).fit(runs, edges), dc.LocalLinearKernel().fit(runs, edges)
    np.testing.assert_allclose(stack.kernel_.matrix, alone.kernel_.matrix)
    np.testing.assert_allclose(stack.kernel_.overflow, alone.kernel_.overflow)
    one, itself = stack.held_out_scores_.to_dict(orient="records")
    assert one["log_score"] == pytest.approx(itself["log_score"])
    assert one["iterated"] == pytest.approx(itself["iterated"])
    monkeypatch.setattr(_stacked, "learnt", lambda: Discrepancy(0.0, 0.0, 0.0, 0.3, 0.5, 0.0))
    np.testing.assert_allclose(stack.replicates_[7].matrix, alone.replicates_[7].matrix, atol=1e-12)


@given(masses=hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(0, 30)), elements=st.floats(1e-12, 1)))
def test_the_mixture_is_within_log_m_of_the_best_member(masses):
    mixture = mixture_of(np.log(masses))
    members, own = np.log(masses).sum(axis=1), mixture.log_mass.sum()
    assert own >= members.max() - np.log(len(masses)) - 1e-9
    assert own == pytest.approx(np.logaddexp.reduce(members) - np.log(len(masses)))
    assert np.exp(mixture.before).sum(axis=1) == pytest.approx(np.ones(masses.shape[1]))
    # Step by step, the mixture gives what weights that know nothing of the step give.
    assert mixture.log_mass == pytest.approx(np.log((np.exp(mixture.before) * masses.T).sum(axis=1)))


@given(masses=hnp.arrays(np.float64, (3, 12), elements=st.floats(1e-6, 1)), cut=st.integers(0, 11))
def test_weights_before_a_step_ignore_it_and_what_follows(masses, cut):
    changed = masses.copy()
    changed[:, cut:] = changed[::-1, cut:]
    one, two = mixture_of(np.log(masses)), mixture_of(np.log(changed))
    np.testing.assert_array_equal(one.before[: cut + 1], two.before[: cut + 1])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 4), cells=st.integers(2, 6))
def test_the_guarantee_holds_for_fitted_stacks(seed, count, cells):
    rng = np.random.default_rng(seed)
    members = [FixedKernel(rng.dirichlet(np.full(cells, 0.3), size=cells)) for _ in range(count)]
    runs = runs_of(rng.integers(0, cells, 15), rng.integers(0, cells, 20))
    table = dc.StackedKernel(members).fit(runs, np.arange(cells + 1.0)).held_out_scores_
    totals = table["log_score"] * table["transitions"]
    assert totals.iloc[-1] >= totals.iloc[:-1].max() - np.log(count) - 1e-9


def test_changing_what_is_held_out_leaves_its_predictions_alone():
    """Up to the second block all is the same in both; the weights before its first step are therefore the same."""
    first = ar1(120)
    changed = np.concatenate([first[:60], np.random.default_rng(9).uniform(-1, 1, 61)])
    members = [dc.LocalLinearKernel(), dc.KernelDensityKernel(), dc.InContextKernel(FakeModel(), views=1)]
    edges = np.linspace(-3, 3, 41)
    one, two = (
        dc.StackedKernel(members).fit(dc.Trajectories.from_arrays([x]), edges)._parts[0] for x in (first, changed)
    )
    same = one.held_out[0].position < 60
    assert same.sum() == 20
    for a, b in zip(one.held_out, two.held_out, strict=True):
        np.testing.assert_array_equal(a.mass[same], b.mass[same])
    np.testing.assert_array_equal(one.mixture.before[:21], two.mixture.before[:21])
    assert (one.mixture.before[30] != two.mixture.before[30]).any()


def test_truth_beats_junk_and_equals_share():
    x = ar1(150)
    runs, edges = dc.Trajectories.from_arrays([x]), np.linspace(-3, 3, 61)
    junk = FixedKernel(np.full((60, 60), 1 / 60))
    stack = dc.StackedKernel([dc.AutoregressiveKernel(), junk]).fit(runs, edges)
    assert stack.weights_[0] > 0.999
    inside = stack.kernel_.evidence.visits > 0
    np.testing.assert_allclose(
        stack.kernel_.matrix[inside], dc.AutoregressiveKernel().fit(runs, edges).kernel_.matrix[inside], atol=1e-3
    )
    twins = dc.StackedKernel([dc.LocalLinearKernel(), dc.LocalLinearKernel()]).fit(runs, edges)
    assert twins.weights_.tolist() == [0.5, 0.5]
    alone = dc.LocalLinearKernel().fit(runs, edges).kernel_.matrix
    np.testing.assert_allclose(twins.kernel_.matrix[inside], alone[inside])


def test_outside_the_hull_weights_go_to_equal_ones_and_rows_widen():
    n, x = 60, ar1(150, start=0.0)
    edges = np.linspace(-6, 6, n + 1)
    stay = dc.AutoregressiveKernel()
    # Also right where runs have been, by its variance; but it holds that everything jumps to the lowest cells.
    low = np.zeros((n, n))
    low[:, :5] = 0.2
    stack = dc.StackedKernel([stay, FixedKernel(low)]).fit(dc.Trajectories.from_arrays([x]), edges)
    kernel, weights = stack.kernel_, stack.row_weights_
    seen = np.flatnonzero(kernel.evidence.visits)
    hull = slice(seen[0], seen[-1] + 1)
    np.testing.assert_allclose(weights[hull], np.tile(stack.weights_, (seen[-1] + 1 - seen[0], 1)))
    beyond = weights[seen[-1] + 1 :, 1]
    assert (np.diff(beyond) > 0).all()
    assert weights[-1] == pytest.approx([0.5, 0.5], abs=0.1)
    members = np.stack([m.kernel_.matrix for m in stack.members_])
    mixed = np.einsum("im,mij->ij", weights, members)
    np.testing.assert_allclose(kernel.matrix[hull], mixed[hull])
    np.testing.assert_allclose(kernel.matrix.sum(axis=1), mixed.sum(axis=1))

    def spread(matrix):
        mean = matrix @ kernel.centres
        return np.sqrt((matrix * (kernel.centres - mean[:, None]) ** 2).sum(axis=1))

    assert spread(kernel.matrix)[-10] > 3 * spread(members[0])[-10]
    assert any("go towards equal ones" in note for note in kernel.notes)
    assert set(kernel.evidence.source[: seen[0]]) == {"extrapolated"}


def test_outside_the_hull_weights_go_to_the_members_that_read_every_row():
    runs, edges = dc.Trajectories.from_arrays([ar1(60, start=0.0)]), np.linspace(-6, 6, 61)
    reader = dc.InContextKernel(FakeModel(), views=1)
    stack = dc.StackedKernel([dc.AutoregressiveKernel(), reader, dc.KernelDensityKernel()]).fit(runs, edges)
    seen = np.flatnonzero(stack.kernel_.evidence.visits)
    assert stack.row_weights_[[0, -1]] == pytest.approx(np.array([[0, 1, 0]] * 2), abs=0.05)
    np.testing.assert_allclose(stack.row_weights_[seen], np.tile(stack.weights_, (len(seen), 1)))
    assert any("towards InContextKernel(fake), which reads every row" in note for note in stack.kernel_.notes)
    # One that reads rows at visits only extrapolates as the others do.
    visited = dc.InContextKernel(FakeModel(), views=1, rows="visited")
    stack = dc.StackedKernel([dc.AutoregressiveKernel(), visited]).fit(runs, edges)
    assert stack.row_weights_[[0, -1]] == pytest.approx(np.full((2, 2), 0.5), abs=0.05)


def test_replicates_are_further_apart_where_less_is_known():
    runs, edges = dc.Trajectories.from_arrays([ar1(60, start=0.0)]), np.linspace(-4, 4, 81)
    stack = dc.StackedKernel([dc.AutoregressiveKernel()]).fit(runs, edges)
    means = np.array([k.matrix @ k.centres / k.matrix.sum(axis=1) for k in stack.replicates_])
    alone = np.array([k.matrix @ k.centres for k in stack.members_[0].replicates_])
    seen = np.flatnonzero(stack.kernel_.evidence.visits)
    assert (means.std(axis=0)[seen] > alone.std(axis=0)[seen]).mean() > 0.95
    # An error of `visited` standard deviations of the noise, 0.3, and that of resampling, independent of each other.
    middle = seen[len(seen) // 2]
    expected = np.hypot(learnt().visited * 0.3, alone.std(axis=0)[middle])
    assert means.std(axis=0)[middle] == pytest.approx(expected, rel=0.35)


@given(trust=st.floats(0, 1), weights=hnp.arrays(np.float64, 4, elements=st.floats(0.01, 1)))
def test_tempered_weights_are_a_law_between_their_own_and_equal_ones(trust, weights):
    weights = weights / weights.sum()
    row = tempered(weights, np.array([trust]))[0]
    assert row.sum() == pytest.approx(1)
    assert (np.abs(row - 0.25) <= np.abs(weights - 0.25) + 1e-12).all()


def test_overflow_is_mixed_too():
    leaving, staying = FixedKernel([[0.5, 0], [0, 0.5]], np.array([[0.5, 0], [0, 0.5]])), FixedKernel(EVEN)
    stack = dc.StackedKernel([leaving, staying]).fit(runs_of([0, 1, 0]), EDGES)
    # Too few steps to hold any out: equal weights, and it is said.
    assert stack.kernel_.overflow == pytest.approx(np.array([[0.25, 0], [0, 0.25]]))
    assert any("too few steps to hold any out" in note for note in stack.kernel_.notes)
    assert stack.held_out_scores_["log_score"].isna().all()
    assert len(stack.replicates_) == 40


def test_coordinates_have_weights_of_their_own():
    steady, wild = ar1(100, 1), np.random.default_rng(0).uniform(-1, 1, 101)
    values = np.column_stack([steady, wild])
    runs = dc.Trajectories.from_arrays([values], names=["a", "b"])
    members = [dc.AutoregressiveKernel(), dc.KernelDensityKernel()]
    grids = [np.linspace(-3, 3, 31), np.linspace(-2, 2, 25)]
    both = dc.StackedKernel(members).fit(runs, grids)
    one = dc.StackedKernel(members).fit(dc.Trajectories.from_arrays([values[:, 1]], names=["b"]), grids[1])
    assert len(both.kernel_) == len(both.weights_) == len(both.row_weights_) == 2
    assert both.weights_[1] == pytest.approx(one.weights_)
    assert both.weights_[0][0] != pytest.approx(both.weights_[1][0], abs=0.01)
    np.testing.assert_allclose(both.kernel_[1].matrix, one.kernel_.matrix)
    assert [k.name for k in both.kernel_] == ["a", "b"]
    assert all(k.projected for k in both.kernel_)
    assert both.held_out_scores_["coordinate"].tolist() == ["a"] * 3 + ["b"] * 3
    landing = dc.forecast(both, [[0.1, 0.1]], steps=5).landing
    assert landing["low"].notna().all()


def test_replicates_hold_the_chance_in_members_and_weights(monkeypatch):
    runs, edges = dc.Trajectories.from_arrays([ar1(60)]), np.linspace(-3, 3, 31)
    stack = dc.StackedKernel([dc.AutoregressiveKernel(), dc.KernelDensityKernel()], random_state=3).fit(runs, edges)
    again = dc.StackedKernel([dc.AutoregressiveKernel(), dc.KernelDensityKernel()], random_state=3).fit(runs, edges)
    replicates = stack.replicates_
    assert len(replicates) == 40
    for a, b in zip(replicates, again.replicates_, strict=True):
        np.testing.assert_array_equal(a.matrix, b.matrix)
        np.testing.assert_allclose(a.matrix.sum(axis=1) + a.overflow.sum(axis=1), 1)
    # Members that never change, and nothing unknown of drifts: what is left to chance is the weights, and rows lie
    # between the members'.
    monkeypatch.setattr(_stacked, "learnt", lambda: Discrepancy(0.0, 0.0, 0.0, 0.3, 0.5, 0.0))
    fixed = dc.StackedKernel([FixedKernel(EVEN), FixedKernel(TURN)])
    fixed.fit(runs_of(np.random.default_rng(0).integers(0, 2, 40)), EDGES)
    first = np.array([k.matrix[0, 0] for k in fixed.replicates_])
    assert first.std() > 0.01
    assert ((first >= 0.25) & (first <= 0.5)).all()


def test_habits_of_scikit_learn_and_names():
    stack = dc.StackedKernel([dc.LocalLinearKernel(bandwidth=0.5), dc.CountKernel()], random_state=4)
    copy = clone(stack)
    assert copy.get_params()["random_state"] == 4
    assert [m.get_params() for m in copy.members] == [{"bandwidth": 0.5, "noise": "gaussian"}, {"prior": 1.0}]
    assert not hasattr(copy, "replicates_")
    assert copy.fit(dc.Trajectories.from_arrays([ar1(30)])) is copy
    assert not hasattr(copy.members[0], "kernel_")  # members are fitted as copies
    members = ("InContextKernel(descent-small)", "LocalLinearKernel", "KernelDensityKernel")
    assert dc.StackedKernel().label == f"StackedKernel({', '.join(f'recalibrated {member}' for member in members)})"
    assert dc.InContextKernel(FakeModel()).label == "InContextKernel(fake)"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "members are none"),
        ([dc.CountKernel(), "count"], "members hold a str"),
        ([dc.CountKernel(prior=-1)], "prior == -1"),
    ],
)
def test_bad_members_are_named(members, message):
    with pytest.raises(ArgumentError, match=message):
        dc.StackedKernel(members).fit(dc.Trajectories.from_arrays([ar1(30)]))


def test_arguments_of_the_wrong_kind_are_refused_before_anything_is_fitted():
    runs = dc.Trajectories.from_arrays([ar1(30)])
    with pytest.raises(ArgumentError, match="members is a LocalLinearKernel, must be a list of estimators"):
        dc.StackedKernel(dc.LocalLinearKernel()).fit(runs)  # pyright: ignore[reportArgumentType]
    for seed in ("a", -1):
        with pytest.raises(ArgumentError, match="random_state == "):
            dc.StackedKernel([dc.LocalLinearKernel()], random_state=seed).fit(runs)  # pyright: ignore[reportArgumentType]


def test_coverage_is_of_the_kernel_that_the_stack_would_have_been(monkeypatch):
    seen = []
    monkeypatch.setattr(_stacked, "covered", lambda forward, *_: (seen.append(forward), (0.9, 1))[1])
    runs = dc.Trajectories.from_arrays([8.0 * 0.9 ** np.arange(40) + ar1(39)])
    stack = dc.StackedKernel([dc.LocalLinearKernel(), dc.LocalLinearKernel()]).fit(runs)  # whatever their weights
    folds = forward_folds([40])
    for kernel, fold in zip(seen[0], folds, strict=True):
        known = beginning(runs, fold.known)
        alone = dc.LocalLinearKernel().fit(known, stack.edges_).kernel_
        distance = hull_distance(known.coordinate(0), stack.edges_)
        expected = faded(alone, 1 - 1 / (1 + _stacked.FADING * distance))
        assert distance.max() > 1
        np.testing.assert_allclose(kernel.matrix, expected.matrix, atol=1e-12)
