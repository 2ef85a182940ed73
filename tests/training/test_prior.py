"""The synthetic prior: determinism, layout, views without look-ahead, centred noise, fields that are gradients."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import SeedSequence, default_rng
from training.contexts import BEGIN, NEWLINE, SEPARATOR, Prior, batch, context, fixed_batch, write
from training.fields import DEVELOPMENT_FIELDS, FIELDS, TRAINING_FIELDS, random_field
from training.loss_curves import SHAPES, random_loss_curves
from training.noise import NOISES, random_noise
from training.problems import Problem
from training.runs import Run
from training.views import View, loss_view, state_view

FAMILIES = tomllib.loads((Path(__file__).parents[2] / "benchmarks" / "families.toml").read_text())


def certain(cells, digits):
    """Return laws that are certain of the digits of `cells`, the start's zero."""
    base = 10**digits
    view = View(np.zeros(cells.shape[1]), np.full(cells.shape[1], base), np.zeros(cells.shape[1], bool), digits)
    return view.digit_laws(Run(cells + 0.5, None))


def text(symbols):
    return "".join("0123456789,\n"[s] for s in symbols)


def test_registries_are_what_the_file_fixed():
    assert list(TRAINING_FIELDS) == FAMILIES["training"]["fields"]
    assert list(NOISES) == FAMILIES["training"]["noises"]
    assert list(SHAPES) == FAMILIES["training"]["loss_curves"]
    assert list(DEVELOPMENT_FIELDS) == FAMILIES["development"]["fields"]


def test_no_reporting_family_and_no_development_form_is_trained_on():
    trained = {*TRAINING_FIELDS, *NOISES, *SHAPES}
    assert trained.isdisjoint(FAMILIES["reporting"]["problems"])
    assert trained.isdisjoint(FAMILIES["development"]["fields"])
    assert set(Prior().fields) == set(FAMILIES["training"]["fields"])


def test_same_seed_same_bytes_and_other_seeds_and_streams_other_contexts():
    one, again = batch(Prior(), 3, 5, 600), batch(Prior(), 3, 5, 600)
    assert one.symbols.tobytes() == again.symbols.tobytes()
    assert one.laws.tobytes() == again.laws.tobytes()
    draws = [
        fixed_batch(p, s, i, 60, 2).symbols
        for p, s, i in [(Prior(), 3, 5), (Prior(), 4, 5), (Prior(), 3, 6), (Prior(stream=1), 3, 5)]
    ]
    rows = {row.tobytes() for draw in draws for row in draw}
    assert len(rows) == 8


def test_rows_of_a_batch_do_not_depend_on_how_many_there_are():
    assert (fixed_batch(Prior(), 0, 0, 90, 5).symbols[:2] == fixed_batch(Prior(), 0, 0, 90, 2).symbols).all()


def test_write_by_hand():
    runs = [np.array([[12], [13], [13]]), np.array([[80], [77], [5]])]
    symbols, laws = write(runs, [certain(run, 2) for run in runs], digits=2)
    scored = laws.any(-1)
    assert (laws[scored].argmax(-1) == symbols[scored]).all()
    assert text(symbols) == "12,13,13\n80,77,05"
    assert "".join("x" if s else "." for s in scored) == "...xx.xx....xx.xx"


def test_write_joins_coordinates_and_keeps_leading_zeros():
    run = np.array([[12, 3], [0, 99]])
    symbols, laws = write([run], [certain(run, 2)], digits=2)
    scored = laws.any(-1)
    assert text(symbols) == "1203,0099"
    assert scored.tolist() == [False] * 5 + [True] * 4


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([2, 3]), st.sampled_from([1, 2]), st.integers(30, 400))
def test_layout_of_contexts(seed, digits, observed, length):
    prior = Prior(three_digits=float(digits == 3), several=float(observed > 1), loss_share=0.0 if observed > 1 else 0.5)
    symbols, laws = context(prior, SeedSequence(seed), length)
    scored = laws.any(-1)
    assert np.allclose(laws[scored].sum(-1), 1, atol=1e-5)
    assert len(symbols) == len(scored) == length
    *runs, last = text(symbols).split("\n")
    widths = {len(value) for run in runs for value in run.split(",")} | {len(v) for v in last.split(",")[:-1]}
    assert widths <= ({digits} if observed == 1 else {2 * digits, 3 * digits})
    assert len(widths) <= 1
    assert all(len(run.split(",")) >= 2 for run in runs)
    assert not scored[(symbols == SEPARATOR) | (symbols == NEWLINE)].any()
    position = 0
    for run in [*runs, last]:
        start = len(run.split(",")[0])
        assert not scored[position : position + start].any()
        rest = slice(position + start, position + len(run))
        assert (scored[rest] == (symbols[rest] < SEPARATOR)).all()
        position += len(run) + 1


def test_batches_have_no_padding_and_about_constant_size():
    sizes = []
    for index in range(30):
        drawn = batch(Prior(), 0, index, 2000)
        assert (drawn.symbols[:, 0] == BEGIN).all()
        assert (drawn.symbols[:, 1:] < BEGIN).all()
        assert not drawn.scored[:, :2].any()
        sizes.append(drawn.symbols.size)
    assert min(sizes) >= 1000
    assert max(sizes) <= 3000


@pytest.mark.parametrize("seed", range(5))
def test_views_know_only_starts_and_prefix(seed):
    rng = default_rng(seed)
    starts, run = rng.normal(size=(3, 2)), rng.normal(size=(40, 2))
    future = run.copy()
    future[7:] = 50 * rng.normal(size=(33, 2))
    one, other = (state_view(default_rng(seed), starts, r[:7], 0.1, 2) for r in (run, future))
    assert one.low.tolist() == other.low.tolist()
    assert one.high.tolist() == other.high.tolist()
    known = np.concatenate([starts, run[:7]])
    assert one.inside(known) == len(known)


def test_what_is_written_first_does_not_change_with_the_future(monkeypatch):
    """The end of every run is replaced by its start, which is inside any view: the first 60 % of the first run stay."""
    original = Problem.run

    def returned(self, rng, starts, lengths, observed):
        runs = original(self, rng, starts, lengths, observed)
        for run in runs:
            run.values[int(0.9 * max(lengths)) :] = run.values[0]
        return runs

    prior = Prior(loss_share=0.0, several=0.0, three_digits=0.0, probes=0.0)
    changed = 0
    for seed in range(12):
        before, _ = context(prior, SeedSequence(seed), 300)
        with monkeypatch.context() as patch:
            patch.setattr(Problem, "run", returned)
            after, _ = context(prior, SeedSequence(seed), 300)
        first = text(before).split("\n")[0]
        kept = 3 * int(0.6 * len(first.split(",")))
        assert text(before)[:kept] == text(after)[:kept]
        changed += text(before) != text(after)
    assert changed >= 10


def test_loss_view_knows_only_starts_and_prefix_and_leaves_room_below():
    starts, prefix = np.array([[2.0], [2.2]]), np.array([[2.0], [1.5], [1.2]])
    view = loss_view(default_rng(0), starts, prefix, 2, log=False)
    assert view.low[0] < 1.2
    assert view.high[0] > 2.2


def test_cells_by_hand_and_flipped():
    plain = View(np.array([0.0]), np.array([1.0]), np.array([False]), 2)
    flipped = View(np.array([0.0]), np.array([1.0]), np.array([True]), 2)
    run = np.array([[0.0], [0.005], [0.015], [0.999]])
    assert plain.cells(run)[:, 0].tolist() == [0, 0, 1, 99]
    assert flipped.cells(run)[:, 0].tolist() == [99, 99, 98, 0]


def test_inside_stops_before_the_first_value_outside():
    view = View(np.array([0.0]), np.array([1.0]), np.array([False]), 2)
    assert view.inside(np.array([[0.5], [0.9], [1.0], [0.5]])) == 2
    assert view.inside(np.array([[0.5], [0.2]])) == 2
    assert view.inside(np.array([[-0.1], [0.2]])) == 0


@pytest.mark.parametrize("family", sorted(set(FIELDS) - {"piecewise", "power"}))
@pytest.mark.parametrize("coordinates", [2, 3])
def test_coupled_fields_are_gradients(family, coordinates):
    """A field is a gradient where its Jacobian is symmetric; inside the domain, where no spring acts."""
    rng = default_rng(1)
    field = random_field(rng, coordinates, family)
    h = 4e-3
    for _ in range(3):
        x = rng.uniform(-0.7, 0.7, coordinates)
        points = np.concatenate([x + h * np.eye(coordinates), x - h * np.eye(coordinates)])
        values = field(points)
        jacobian = (values[:coordinates] - values[coordinates:]) / (2 * h)
        assert np.allclose(jacobian, jacobian.T, atol=0.02 * (1 + np.abs(jacobian).max()))


@pytest.mark.parametrize("family", FIELDS)
def test_springs_bring_runs_back(family):
    for seed in range(5):
        field = random_field(default_rng(seed), 1, family)
        assert field(np.array([[30.0]]))[0, 0] > 0
        assert field(np.array([[-30.0]]))[0, 0] < 0


@pytest.mark.parametrize("family", sorted(set(NOISES) - {"student_t"}))
def test_noise_is_centred(family):
    """The mean over many draws is the gradient, within five standard errors."""
    draws = 20_000
    for seed in range(3):
        noise = random_noise(default_rng(seed), family, 2, 0.5)
        stochastic = noise.draw(default_rng(seed + 10), (1, draws, 2))
        gradient = np.tile([0.7, -0.4], (draws, 1))
        sample = stochastic(0, np.zeros((draws, 2)), gradient)
        error = sample.std(0) / np.sqrt(draws)
        assert (np.abs(sample.mean(0) - gradient[0]) <= 5 * error + 1e-12).all()


def test_minibatch_noise_takes_as_many_values_as_there_are_examples():
    """With batches of one, at most 32 values, one an example; two of them at the least, as the noise is centred."""
    counts = []
    for seed in range(12):
        noise = random_noise(default_rng(seed), "minibatch", 1, 1.0)
        sample = noise.draw(default_rng(0), (1, 3000, 1))(0, np.zeros((3000, 1)), np.ones((3000, 1)))
        counts.append(len(np.unique(sample.round(9))))
    assert sum(2 <= count <= 32 for count in counts) >= 5


@pytest.mark.parametrize("family", SHAPES)
def test_loss_shapes_fall_from_one(family):
    for seed in range(10):
        shape = SHAPES[family](default_rng(seed))
        curve = shape(np.linspace(0, 1, 200))
        assert curve[0] <= 1 + 1e-9
        assert (curve >= 0).all()
        assert (np.diff(curve) <= 1e-9).all()


@pytest.mark.parametrize("family", SHAPES)
def test_losses_are_positive(family):
    assert all((run.values > 0).all() for run in random_loss_curves(default_rng(0), family, 3, 100, log=False))


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("family", SHAPES)
def test_laws_of_losses_are_what_they_are_drawn_from(family, log):
    """The law's value at what came is uniform: mean 1/2, variance 1/12, no memory."""
    runs = [r for seed in range(4) for r in random_loss_curves(default_rng(seed), family, 8, 120, log) if r.law]
    assert uniform([run.law(run.values[1:])[:, 0] for run in runs])


@pytest.mark.parametrize("momentum", [0.0, 0.7])
@pytest.mark.parametrize("family", sorted(set(NOISES) - {"minibatch"}))
def test_laws_of_states_are_what_they_are_drawn_from(family, momentum):
    """The law's value at what came is uniform, with momentum and hidden coordinates too."""
    shares = []
    for seed in range(8):
        coordinates = 1 if family in ("student_t", "skewed") else 2
        noise = random_noise(default_rng(seed), family, coordinates, 0.5)
        problem = Problem(lambda x: np.sin(x), noise, 0.1, momentum, coordinates, jump=0.05)
        runs = problem.run(default_rng(seed), np.full((4, coordinates), 0.3), [100] * 4, observed=1)
        shares += [run.law(run.values[1:])[:, 0] for run in runs]
    assert uniform(shares)


def test_the_law_of_minibatches_has_an_atom_a_batch():
    for seed in range(12):
        noise = random_noise(default_rng(seed), "minibatch", 1, 1.0)
        if noise.law is None:
            continue
        draws = noise.draw(default_rng(0), (1, 20_000, 1))(0, np.zeros((20_000, 1)), np.full((20_000, 1), 0.4))[:, 0]
        levels = np.linspace(-2, 3, 9)
        expected = noise.law(np.zeros((1, 1)), np.full((1, 1), 0.4), levels[None])[0]
        assert np.allclose((draws[:, None] <= levels).mean(0), expected, atol=0.02)


def test_hidden_laws_of_several_coordinates_are_not_claimed():
    noise = random_noise(default_rng(0), "gaussian", 2, 0.5)
    problem = Problem(lambda x: x, noise, 0.1, 0.0, 2, jump=0.05)
    assert problem.run(default_rng(0), np.zeros((1, 2)), [10], observed=2)[0].law is None


@pytest.mark.parametrize("flipped", [False, True])
def test_digit_laws_multiply_to_the_law_of_the_cell(flipped):
    """Products along digits are the probability of the cell, given the view: by hand for a uniform law on [0, 2]."""
    view = View(np.array([-1.0]), np.array([1.0]), np.array([flipped]), 2)
    run = Run(np.array([[0.0], [0.03], [0.97]]), lambda y: np.clip(y / 2, 0, 1))
    laws = view.digit_laws(run)
    cells = view.cells(run.values)[:, 0]
    assert not laws[0].any()
    for t in (1, 2):
        mass = laws[t, 0, cells[t] // 10] * laws[t, 1, cells[t] % 10]
        assert mass == pytest.approx(1 / 50)  # the view's upper half, 50 cells, is what the law allows
    assert laws[1, 0].round(6).tolist() == ([0.2] * 5 + [0.0] * 5 if flipped else [0.0] * 5 + [0.2] * 5)


def uniform(shares):
    """Whether probability integral transforms look uniform and without memory, within five standard errors."""
    u = np.concatenate(shares)
    products = np.concatenate([(s[1:] - 0.5) * (s[:-1] - 0.5) for s in shares])
    limits = 5 / np.sqrt(len(u)) * np.array([12**-0.5, 180**-0.5, 1 / 12])
    return (np.abs([u.mean() - 0.5, u.var() - 1 / 12, products.mean()]) <= limits).all()


def test_plain_descent_without_noise_follows_the_recursion():
    silent = random_noise(default_rng(0), "gaussian", 1, 0.0)
    problem = Problem(lambda x: 2 * x, silent, step_size=0.1, momentum=0.0, coordinates=1, jump=0.0)
    runs = problem.run(default_rng(0), np.array([[1.0], [-3.0]]), [5, 5], observed=1)
    assert np.allclose(np.hstack([run.values for run in runs]), np.outer(0.8 ** np.arange(5), [1.0, -3.0]))


def test_heavy_ball_follows_the_recursion():
    silent = random_noise(default_rng(0), "gaussian", 1, 0.0)
    problem = Problem(lambda x: x, silent, step_size=0.5, momentum=0.5, coordinates=1, jump=0.0)
    path = problem.run(default_rng(0), np.array([[1.0]]), [4], observed=1)[0].values[:, 0]
    # v: 1, 0.5 + 0.5 = 1, 0.5 + 0 = 0.5;  x: 1, 0.5, 0, -0.25
    assert np.allclose(path, [1.0, 0.5, 0.0, -0.25])
