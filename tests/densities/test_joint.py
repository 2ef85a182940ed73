"""Joint densities: on known joint laws, against one forward pass a branch, drawn, and read at one state."""

import numpy as np
import pytest
from scipy import stats
from tests.conftest import FakeModel, one_by_one
from tests.joint_model import JointModel

import descentcast as dc
from descentcast.densities import draw_next, lay_out, log_masses, read_densities, read_joint
from descentcast.encoding import JointView, View, draw_joint_views
from descentcast.errors import ArgumentError
from descentcast.language_models import Forest

UNIT = View(0.0, 1.0, 1)


def context_of(model, view, seed=0):
    runs = [np.random.default_rng(seed).uniform(0, 1, (t, len(view.views))) for t in (6, 4)]
    return lay_out(runs, view, model.alphabet)


@pytest.mark.parametrize("flipped", [False, True])
def test_a_joint_density_is_the_models_joint_law(flipped):
    model = JointModel()
    view = JointView((UNIT, View(0.0, 1.0, 1, flipped)))
    states = np.array([[0.25, 0.95], [0.85, 0.05]])
    probs, pruned = read_joint(model, context_of(model, view), view, states, bound=0.0)
    assert probs.shape == (2, 10, 10)
    for found, code in zip(probs, view.encode(states), strict=True):
        law = model.law(int(code)).reshape(10, 10)
        np.testing.assert_allclose(found, law[:, ::-1] if flipped else law, atol=2e-5)
    assert not pruned.any()


def test_where_digits_are_independent_the_marginal_is_the_density_of_one_coordinate():
    joint, single = JointModel(coupling=0.0), FakeModel(digits=1)
    single.law = joint.one
    view = JointView((UNIT, UNIT))
    states = np.array([[0.25, 0.95], [0.25, 0.35], [0.75, 0.55]])
    probs, _ = read_joint(joint, context_of(joint, view), view, states, bound=0.0)
    context = lay_out([states[:, 0]], UNIT, single.alphabet)
    for i in range(2):
        one = read_densities(single, context, context.probes(UNIT.encode(states[:, i])), bound=0.0)
        np.testing.assert_allclose(probs.sum(axis=2 - i), one.probs, atol=2e-5)


def test_pruning_is_bounded_and_keeps_the_mass():
    model = JointModel(sd=0.05)
    view = JointView((UNIT, UNIT))
    context, states = context_of(model, view), np.array([[0.25, 0.95]])
    exact, _ = read_joint(model, context, view, states, bound=0.0)
    rough, pruned = read_joint(model, context, view, states, bound=0.02)
    assert 0 < pruned[0] <= 0.02
    assert rough.sum() == pytest.approx(1)
    assert np.abs(rough - exact).sum() / 2 <= pruned[0]


def test_the_mass_of_one_next_state_is_its_cell_of_the_density(tiny_model):
    views = draw_joint_views([0, 0], [1, 1], 2, 1, np.random.default_rng(1))
    contexts = [context_of(tiny_model, view) for view in views]
    rng = np.random.default_rng(2)
    states, following = rng.uniform(0, 1, (2, 7, 2))
    logs, stray = log_masses(
        tiny_model, contexts, [view.encode(states) for view in views], [view.encode(following) for view in views]
    )
    assert 0 < stray < 1
    for view, context, (log,) in zip(views, contexts, logs, strict=True):
        found = read_densities(tiny_model, context, context.probes(view.encode(states)), bound=0.0)
        expected = np.log(found.probs[np.arange(7), view.encode(following)])
        np.testing.assert_allclose(log, expected, atol=1e-5)


def test_draws_follow_the_joint_law():
    """Chi-square over all 100 pairs of codes, from two states at once, in two views of which one is turned."""
    model = JointModel()
    views = [JointView((UNIT, UNIT)), JointView((UNIT, View(0.0, 1.0, 1, flipped=True)))]
    contexts = [context_of(model, view) for view in views]
    count, starts = 4000, np.array([25, 81])
    codes = [np.repeat(starts, count) for _ in views]
    drawn = draw_next(model, contexts, codes, np.random.default_rng(3))
    for some in drawn:
        for start, block in zip(starts, some.reshape(len(starts), count), strict=True):
            law = model.law(int(start))
            common = law * count >= 5
            seen = np.bincount(block, minlength=100)
            observed = np.append(seen[common], seen[~common].sum())
            expected = np.append(law[common], law[~common].sum()) * count
            assert stats.chisquare(observed, expected).pvalue > 0.01


def test_one_number_a_digit_is_drawn_and_the_same_seed_gives_the_same_states():
    model = JointModel()
    view = JointView((UNIT, UNIT))
    context, codes = context_of(model, view), np.full(50, 44)
    rng = np.random.default_rng(4)
    one = draw_next(model, [context], [codes], rng)[0]
    np.testing.assert_array_equal(one, draw_next(model, [context], [codes], np.random.default_rng(4))[0])
    other = np.random.default_rng(4)
    other.random(100)
    assert rng.random() == other.random()


def test_states_that_begin_alike_share_their_branches(monkeypatch):
    model, sizes = JointModel(), []
    read = type(model).log_probs
    monkeypatch.setattr(type(model), "log_probs", lambda self, f: sizes.append(len(f.symbols)) or read(self, f))
    view = JointView((UNIT, UNIT))
    draw_next(model, [context_of(model, view)], [np.array([12, 12, 13, 13, 13])], np.random.default_rng(0))
    # newline, 1, then 2 and 3 with a separator each; a digit more for each that differs in the second pass
    assert sizes[0] == 6
    assert 8 <= sizes[1] <= 11
    assert len(sizes) == 2


@pytest.mark.parametrize("digits", [1, 2])
def test_the_shipped_model_is_read_as_by_one_forward_pass_a_branch(digits):
    model = dc.load_model("descent-small", dtype="float32")
    rng = np.random.default_rng(5)
    view = draw_joint_views([0, 0], [1, 1], 2, digits, rng)[1]
    context = context_of(model, view)
    states = np.array([[0.3, 0.6]])
    probs, _ = read_joint(model, context, view, states, bound=0.0)
    # Whole next states, chosen at random: the product of their digits' probabilities, each of a pass of its own.
    following = rng.uniform(0, 1, (6 if digits == 2 else 12, 2))
    trunk = list(context.probes(view.encode(states)).chains[0])
    powers = 10 ** np.arange(2 * digits - 1, -1, -1)
    expected = np.zeros(len(following))
    for i, code in enumerate(view.encode(following)):
        written = (int(code) // powers % 10).tolist()
        symbols = [*trunk, *written[:-1]]
        at = len(context.prompt) - 1
        chain = Forest(context.prompt, [], symbols, [at] * len(symbols), np.arange(len(symbols)) - 1)
        laws = np.exp(one_by_one(model, chain)[1][len(trunk) - 1 :, :10])
        laws /= laws.sum(axis=1, keepdims=True)
        expected[i] = np.prod(laws[np.arange(len(written)), written])
    cells = np.array([v.by_value(np.arange(v.cells))[v.encode(following[:, k])] for k, v in enumerate(view.views)])
    np.testing.assert_allclose(probs[0, cells[0], cells[1]], expected, atol=1e-5)
    # Relative too: most cells hold less than 1e-5.
    np.testing.assert_allclose(probs[0, cells[0], cells[1]], expected, rtol=1e-3)
    codes = np.repeat(view.encode(states), len(following))
    logs, stray = log_masses(model, [context], [codes], [view.encode(following)])
    np.testing.assert_allclose(logs[0][0], np.log(expected), atol=1e-3)
    assert stray == pytest.approx(0, abs=1e-6)


def test_a_density_too_large_to_hold_is_refused():
    view = JointView((View(0.0, 1.0, 2),) * 4)
    model = FakeModel()
    with pytest.raises(ArgumentError, match=r"4 coordinates in 2 digits each has 10\^8 cells"):
        read_joint(model, context_of(model, view), view, np.full((1, 4), 0.5), 0.0)
