"""Densities: alignment, no look-ahead, mass, refinement by mass, pooling; on models with known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import FakeModel

import descentcast as dc
from descentcast.densities import RULES, candidates, lay_out, pool, read_densities, read_views, regrid
from descentcast.densities._densities import _stretches, _windows
from descentcast.densities._pooling import running_choice
from descentcast.encoding import View
from descentcast.errors import ArgumentError
from descentcast.language_models import Alphabet


def text(symbols) -> str:
    return "".join("0123456789,\n"[s] for s in symbols)


def test_layout_by_hand():
    view = View(0.0, 100.0, 2)
    context = lay_out([np.array([12.5, 13.5, 7.5]), np.array([80.5, 77.5])], view, Alphabet(1))
    assert text(context.prompt) == "12,13,07\n80,77"
    read = [
        text(context.prompt[: p + 1]) + text(c)
        for p, c in zip(context.points.prefix, context.points.chains, strict=True)
    ]
    assert read == ["12,", "12,13,", "12,13,07,", "12,13,07\n80,", "12,13,07\n80,77,"]
    probes = context.probes(np.array([5, 99]))
    assert [text(context.prompt[: probes.prefix[0] + 1]) + text(c) for c in probes.chains] == [
        "12,13,07\n80,77\n05,",
        "12,13,07\n80,77\n99,",
    ]


def test_three_digit_layout():
    context = lay_out([np.array([0.5, 999.5])], View(0.0, 1000.0, 3), Alphabet(3))
    assert context.prompt.tolist() == [0, 1000, 999]
    with pytest.raises(ArgumentError, match="digits == 2, must be a multiple of 3"):
        lay_out([np.array([0.5])], View(0.0, 1000.0, 2), Alphabet(3))


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_rows_are_the_law_of_the_next_value(digits):
    """Row t belongs to x_t: the fake model's law depends on the last value alone."""
    model = FakeModel(digits=digits, sd=10**digits / 8)
    values = np.array([0.1, 0.9, 0.5, 0.3])
    densities = dc.next_densities(values, model, digits=digits, range=(0.0, 1.0))
    codes = View(0.0, 1.0, digits).encode(values)
    assert densities.probs.shape == (4, 10**digits)
    for t, code in enumerate(codes):
        np.testing.assert_allclose(densities.probs[t], model.law(int(code)), atol=2e-3)


def test_refinement_is_exact_without_a_bound_and_within_it_otherwise(tiny_model):
    context = lay_out([np.linspace(0.05, 0.95, 12)], View(0.0, 1.0, 3), Alphabet(1))
    exact = read_densities(tiny_model, context, context.points, bound=0.0)
    np.testing.assert_array_equal(exact.pruned, 0)
    for bound in (0.01, 0.2):
        found = read_densities(tiny_model, context, context.points, bound)
        assert (found.pruned <= bound + 1e-12).all()
        assert found.pruned.max() > 0
        np.testing.assert_allclose(found.probs.sum(axis=1), 1)
        # Each pruned branch is spread within itself: total variation is at most what was pruned, and no mass leaves.
        assert (np.abs(found.probs - exact.probs).sum(axis=1) / 2 <= found.pruned + 1e-9).all()
        branches = [p.reshape(12, 10, 100).sum(axis=2) for p in (found.probs, exact.probs)]
        np.testing.assert_allclose(*branches, atol=1e-7)


def test_views_read_together_are_what_each_is(tiny_model, monkeypatch):
    rng = np.random.default_rng(0)
    contexts = [lay_out([rng.uniform(size=5 + 3 * i)], View(0.0, 1.0, 2), Alphabet(1)) for i in range(3)]
    points = [contexts[0].points, contexts[1].probes(np.arange(0, 100, 7)), contexts[2].points]
    together = read_views(tiny_model, contexts, points, 1e-3)
    monkeypatch.setattr("descentcast.densities._digit_tree.TOGETHER", 30)
    for found in (together, read_views(tiny_model, contexts, points, 1e-3)):
        for view, context, some in zip(found, contexts, points, strict=True):
            alone = read_densities(tiny_model, context, some, 1e-3)
            np.testing.assert_allclose(view.probs, alone.probs, atol=1e-6)
            np.testing.assert_allclose(view.pruned, alone.pruned, atol=1e-6)
            np.testing.assert_allclose(view.outside, alone.outside, atol=1e-6)
    fake = FakeModel()
    np.testing.assert_array_equal(
        read_views(fake, contexts[:1], points[:1], 0.0)[0].probs,
        read_densities(fake, contexts[0], points[0], 0.0).probs,
    )


def test_no_branch_is_said_to_carry_less_than_it_does(fake_model):
    """The mass of a node is at least the probability of every code that is written through it."""
    context = lay_out([np.linspace(0.05, 0.95, 6)], View(0.0, 1.0, 2), Alphabet(1))
    asked = []

    class Asked(FakeModel):
        def log_probs(self, forest):
            asked.append(forest)
            return super().log_probs(forest)

    probs = read_densities(Asked(), context, context.points, 0.0).probs.reshape(6, 10, 10).sum(axis=2)
    first, second = asked
    assert (first.mass == 1).all()
    trunk = second.symbols >= 10
    assert (second.mass[trunk] == 1).all()
    np.testing.assert_allclose(second.mass[~trunk], probs.ravel(), atol=1e-12)


def test_digit_tree_equals_the_product_of_plain_passes(tiny_model):
    import torch

    context = lay_out([np.array([0.125, 0.575, 0.915])], View(0.0, 1.0, 2), Alphabet(1))
    found = read_densities(tiny_model, context, context.points.take(np.array([1])), bound=0.0).probs[0]

    def digits_after(symbols):
        ids = torch.as_tensor(tiny_model._scheme.token_ids[symbols])[None]
        with torch.inference_mode():
            logits = tiny_model._network(ids, use_cache=False).logits[0, -1]
        return logits[torch.as_tensor(tiny_model._scheme.token_ids[:10])].double().softmax(-1).numpy()

    prompt = [1, 2, 10, 5, 7, 10]
    first = digits_after(prompt)
    expected = np.concatenate([first[d] * digits_after([*prompt, d]) for d in range(10)])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("range_", [(-3.0, 3.0), None])
def test_no_look_ahead(tiny_model, views, range_):
    """Other values to come leave every row before them as it was, ranges and pooling rules included."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=24).clip(-2.5, 2.5)
    other = values.copy()
    other[16:] = rng.uniform(values.min(), values.max(), size=8)
    if range_ is None:
        other[16:] = other[16:].clip(values[:16].min(), values[:16].max())
        values[16:] = values[16:].clip(values[:16].min(), values[:16].max())
    one, two = (dc.next_densities(v, tiny_model, views=views, range=range_) for v in (values, other))
    np.testing.assert_allclose(one.probs[:16], two.probs[:16], atol=1e-6)
    assert np.abs(one.probs[17:] - two.probs[17:]).max() > 1e-4


@pytest.mark.parametrize("views", [1, 3])
def test_a_later_outlier_widens_the_range_and_leaves_earlier_laws_as_they_were(tiny_model, views):
    """On the wider common grid the earlier rows are the same laws, by the same rules."""
    values = np.tile([-1.0, 1.0, 0.3, -0.2], 5) + np.random.default_rng(0).uniform(-0.1, 0.1, size=20)
    other = values.copy()
    other[15] = 40.0
    one, two = (dc.next_densities(v, tiny_model, views=views) for v in (values, other))
    assert two.edges[-1] > 40 > one.edges[-1]
    np.testing.assert_array_equal(one.rules[:15], two.rules[:15])
    moved, _ = regrid(one.probs[:15], one.edges, two.edges)
    np.testing.assert_allclose(two.probs[:15], moved, atol=1e-6)


def test_mass_lost_after_the_first_digit_is_counted(fake_model):
    class Stops(FakeModel):
        """After a first digit, nearly everything goes to the separator."""

        def log_probs(self, forest):
            answer = super().log_probs(forest)
            probs = np.exp(answer.nodes)
            first = forest.parents < 0
            probs[first] = 0.02 * probs[first]
            probs[first, 10] += 0.98
            return type(answer)(answer.prompt, np.log(probs), answer.outside)

    values = [0.1, 0.5, 0.4, 0.3]
    assert dc.next_densities(values, fake_model, range=(0, 1)).outside_mass.mean() < 0.01
    assert dc.next_densities(values, Stops(), range=(0, 1)).outside_mass.mean() > 0.5


@given(seed=st.integers(0, 500))
def test_ranges_widen_and_know_nothing_of_later_values(seed):
    values = np.cumsum(np.random.default_rng(seed).standard_t(2, size=60))
    stretches = _stretches(values)
    for (start, low, high), end in zip(stretches, [s for s, *_ in stretches[1:]] + [60], strict=True):
        assert (values[:end] >= low).all()
        assert (values[:end] <= high).all()
        assert _stretches(values[: max(start + 1, 8)])[-1] == (start, low, high)


@given(st.integers(0, 50), st.integers(1, 200), st.integers(2, 90))
def test_windows_read_every_row_once_with_half_of_what_fits(start, rows, room):
    windows = _windows(start, start + rows, room)
    read = np.concatenate([np.arange(row, stop) for _, row, stop in windows])
    assert read.tolist() == list(range(start, start + rows))
    for first, row, stop in windows:
        assert stop - first <= max(room, 1)
        assert first <= row
        assert first == 0 or row - first >= room // 2 - 1


def test_a_run_longer_than_the_model_reads_is_read_in_windows(tiny_model, monkeypatch):
    """Rows whose whole past fits are what they are without the limit; all are laws, and the result says so."""
    values = np.random.default_rng(0).normal(size=40)
    whole = dc.next_densities(values, model=tiny_model, range=(-4, 4))
    monkeypatch.setattr(tiny_model, "max_length", 66)
    cut = dc.next_densities(values, model=tiny_model, range=(-4, 4))
    np.testing.assert_allclose(cut.probs[:20], whole.probs[:20], atol=1e-5)
    np.testing.assert_allclose(cut.probs.sum(axis=1), 1)
    assert cut.notes == ("tiny reads 20 values: later rows rest on the 10 to 20 before them",)
    assert whole.notes == ()
    own = dc.next_densities(values[20:40], model=tiny_model, range=(-4, 4))
    np.testing.assert_allclose(cut.probs[-10:], own.probs[-10:], atol=1e-5)


def test_mass_outside_digits_is_measured(tiny_model):
    densities = dc.next_densities([0.1, 0.5, 0.4], tiny_model, range=(0.0, 1.0))
    assert ((densities.outside_mass > 0) & (densities.outside_mass < 1)).all()
    np.testing.assert_allclose(densities.probs.sum(axis=1), 1)


@settings(max_examples=50)
@given(seed=st.integers(0, 1000), n=st.integers(1, 20), k=st.integers(1, 20))
def test_regridding_keeps_mass_and_distribution_function(seed, n, k):
    rng = np.random.default_rng(seed)
    edges, onto = (np.cumsum(rng.uniform(0.1, 1, size=m + 1)) + rng.normal() for m in (n, k))
    probs = rng.dirichlet(np.ones(n), size=2)
    inside, outside = regrid(probs, edges, onto)
    np.testing.assert_allclose(inside.sum(axis=1) + outside.sum(axis=1), 1)
    for row in range(2):
        cumulative = np.interp(onto, edges, np.concatenate([[0], np.cumsum(probs[row])]))
        np.testing.assert_allclose(
            outside[row, 0] + np.concatenate([[0], np.cumsum(inside[row])]), cumulative, atol=1e-9
        )


def test_pooling_by_hand():
    probs = np.array([[0.5, 0.5], [0.8, 0.2]])
    np.testing.assert_allclose(pool(probs, "linear"), [0.65, 0.35])
    np.testing.assert_allclose(pool(probs, "log"), [2 / 3, 1 / 3])
    np.testing.assert_allclose(pool(probs, "log 2"), [0.8, 0.2])
    np.testing.assert_allclose(pool(probs, "identity"), [0.5, 0.5])
    stacked = dict(zip(RULES, candidates(probs[:, None])[:, 0], strict=True))
    np.testing.assert_allclose(stacked["log 3"], [8 / 9, 1 / 9])


def test_the_choice_of_a_rule_knows_only_what_came_before():
    rng = np.random.default_rng(0)
    pooled = rng.dirichlet(np.ones(5), size=(3, 30))
    observed = rng.integers(0, 5, size=29)
    earlier = np.array([0.0, 1.5, -1.0])
    choice, totals = running_choice(pooled, observed, earlier)
    for t in range(30):
        scores = earlier + [np.log(pooled[r, np.arange(t), observed[:t]]).sum() for r in range(3)]
        assert choice[t] == np.argmax(scores)
    np.testing.assert_allclose(totals, scores)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [1.0]}, "values has shape"),
        ({"values": [1.0, np.nan]}, "values holds nan"),
        ({"values": [1.0, 2.0], "digits": 0}, "digits == 0"),
        ({"values": [1.0, 2.0], "views": 0}, "views == 0"),
        ({"values": [1.0, 2.0], "range": (0.0, 1.5)}, "must hold all values, 2.0 among them"),
        ({"values": [1.0, 2.0], "range": (3.0, 1.5)}, "range == "),
    ],
)
def test_bad_arguments(fake_model, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        dc.next_densities(model=fake_model, **arguments)


@pytest.mark.model
@pytest.mark.slow
def test_smollm2_learns_in_context(smollm2):
    """Late densities of a noisy alternation tell the two states apart; an untrained model could not."""
    values = np.tile([0.25, 0.75], 20) + np.random.default_rng(0).normal(0, 0.02, size=40)
    densities = dc.next_densities(values, smollm2, range=(0.0, 1.0))
    centres = (densities.edges[:-1] + densities.edges[1:]) / 2
    means = densities.probs @ centres
    assert means[-10::2].mean() - means[-9::2].mean() > 0.3 or means[-9::2].mean() - means[-10::2].mean() > 0.3
    late = densities.probs[-11:-1]
    near = np.array([row[np.abs(centres - value) < 0.1].sum() for row, value in zip(late, values[-10:], strict=True)])
    assert near.mean() > 0.6
