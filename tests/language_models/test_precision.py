"""Branches of little mass in bfloat16: what rests on them moves by less than the bound, all else not at all."""

import json

import numpy as np
import pytest
from tests.conftest import ONE_DIGIT, THREE_DIGITS, make_tokenizer, one_by_one, tiny_llama

from descentcast.densities import lay_out, read_densities
from descentcast.encoding import View
from descentcast.errors import ArgumentError
from descentcast.language_models import Alphabet, Forest, _passes, _precision
from descentcast.language_models import _transformers as engine
from descentcast.language_models._linear import TwoPrecisions
from descentcast.language_models._precision import BOUND, SAFETY, choose, sample_forest
from descentcast.language_models._transformers import TransformersModel


@pytest.fixture
def saved(tmp_path, monkeypatch):
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    tiny_llama(len(tokenizer)).save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    monkeypatch.setenv("DESCENTCAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_precision, "speedup_of", lambda shape: 2.0)
    return tmp_path / "tiny"


def two_precisions(light: float) -> TransformersModel:
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    network = tiny_llama(len(tokenizer))
    model = TransformersModel(network, tokenizer, "two", precisions=TwoPrecisions(network.base_model))
    model.light = light
    return model


@pytest.mark.parametrize(
    ("error", "speedup", "limit"),
    [
        (1e-4, 2.0, 0.5),
        (BOUND / SAFETY / 0.2, 2.0, 0.2),
        (BOUND / SAFETY / 0.2 * 1.01, 2.0, 0.1),
        (0.9, 2.0, 0.0),
        (1e-4, 1.1, 0.0),
        (float("nan"), 1.0, 0.0),
    ],
)
def test_the_limit_keeps_every_probability_within_the_bound(error, speedup, limit):
    choice = choose(error, speedup)
    assert choice.limit == limit
    assert str(choice).startswith("float32, and bfloat16 for" if limit else "float32:")


@pytest.mark.parametrize("digits", [1, 3])
def test_the_sample_holds_ten_light_leaves_at_each_place(digits):
    forest = sample_forest(Alphabet(digits))
    light = np.flatnonzero(forest.mass == 0)
    assert len(light) == 2 * _precision.ROWS * 10
    assert not np.isin(light, forest.parents).any()
    assert set(forest.symbols[light]) == set(range(10))


def test_heavy_nodes_are_exact_and_light_ones_are_nearly_so(monkeypatch):
    monkeypatch.setattr(_passes, "FEW", 1)
    prompt = np.random.default_rng(0).integers(0, 12, size=30)
    mass = np.array([1.0, 0.6, 0.4, 0.3])
    arrays = (prompt, np.array([29]), np.array([1, 2, 3, 4]), np.full(4, 29), np.array([-1, 0, 0, 2]))
    model = two_precisions(light=0.5)
    asked, exact = one_by_one(model, Forest(*arrays))
    answer = model.log_probs(Forest(*arrays, mass=mass))
    np.testing.assert_allclose(np.exp(answer.prompt), np.exp(asked), atol=1e-5)
    error = np.abs(np.exp(answer.nodes) - np.exp(exact)).max(axis=1)
    assert (error[:2] < 1e-5).all()
    assert (error[2:] > 1e-5).all()
    assert (error[2:] < 0.1).all()
    # Asked for again with all the mass, they are answered exactly; and what is exact stays so.
    for again in (Forest(*arrays), Forest(*arrays, mass=mass)):
        np.testing.assert_allclose(np.exp(model.log_probs(again).nodes), np.exp(exact), atol=1e-5)


def test_a_few_light_nodes_are_not_worth_a_pass():
    prompt = np.random.default_rng(0).integers(0, 12, size=30)
    forest = Forest(prompt, np.array([29]), np.array([1, 2]), np.full(2, 29), np.array([-1, 0]), mass=np.zeros(2))
    model = two_precisions(light=0.5)
    exact = one_by_one(model, forest)[1]
    np.testing.assert_allclose(np.exp(model.log_probs(forest).nodes), np.exp(exact), atol=1e-5)


@pytest.mark.parametrize("count", [1, 40])
def test_a_few_light_nodes_see_no_further_than_they_may(count):
    # Fewer than make a pass, they are computed among the heavy ones, in the order of their prefixes.
    prompt = np.random.default_rng(0).integers(0, 12, size=300)
    prefix = np.repeat([299, 20, 150], [count, 3, count])
    symbols = np.arange(len(prefix)) % 10
    mass = np.where(prefix == 20, 0.0, 1.0)
    arrays = (prompt, np.array([299]), symbols, prefix, np.full(len(prefix), -1))
    model = two_precisions(light=0.5)
    exact = one_by_one(model, Forest(*arrays))[1]
    np.testing.assert_allclose(np.exp(model.log_probs(Forest(*arrays, mass=mass)).nodes), np.exp(exact), atol=1e-5)


def test_densities_move_by_less_than_limit_times_error(monkeypatch):
    monkeypatch.setattr(_passes, "FEW", 1)
    exact, rough = two_precisions(light=0.0), two_precisions(light=1.0)
    error = _precision.error_of(rough, rough._kept.forget)
    assert error > 0
    values = np.random.default_rng(1).normal(size=20)
    view = View(-4, 4, 2)
    context = lay_out([values], view, exact.alphabet)
    points = context.probes(np.arange(0, 100, 10))
    plain = read_densities(exact, context, points, 1e-3).probs
    for limit in (0.05, 0.2):
        rough.light = limit
        rough._kept.forget()
        moved = np.abs(read_densities(rough, context, points, 1e-3).probs - plain).max()
        assert 0 < moved < limit * error * SAFETY


def test_auto_measures_once_and_says_what_it_chose(saved, monkeypatch, tmp_path):
    model = engine.load_network(saved, "tiny", "auto", "cpu")
    assert model.light > 0
    assert model.precision.startswith(f"float32, and bfloat16 for branches with less than {model.light:g} of the mass")
    assert model.fingerprint.endswith(f":float32:bfloat16<{model.light:g}")
    (known,) = json.loads((tmp_path / "cache" / "precision.json").read_text()).values()
    assert choose(**known).limit == model.light

    def never(*_):
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr(_precision, "error_of", never)
        assert engine.load_network(saved, "tiny", "auto", "cpu").light == model.light
    (tmp_path / "cache" / "precision.json").write_text('{"broken')
    assert engine.load_network(saved, "tiny", "auto", "cpu").light == model.light


def test_float32_and_processors_without_fast_bfloat16_stay_in_float32(saved, monkeypatch):
    plain = engine.load_network(saved, "tiny", "float32", "cpu")
    assert (plain.light, plain.precision) == (0.0, "float32")
    monkeypatch.setattr(_precision, "speedup_of", lambda shape: 0.5)
    slow = engine.load_network(saved, "tiny", "auto", "cpu")
    assert slow.light == 0
    assert slow.precision == "float32: bfloat16 is measured to be 0.5 times as fast here, which is not worth it"
    assert slow.fingerprint == plain.fingerprint


def test_three_digit_models_have_a_sample_too():
    tokenizer = make_tokenizer(THREE_DIGITS, 3)
    network = tiny_llama(len(tokenizer))
    model = TransformersModel(network, tokenizer, "three", precisions=TwoPrecisions(network.base_model))
    model.light = 1.0
    assert 0 < _precision.error_of(model, model._kept.forget) < 0.1


@pytest.mark.parametrize(
    ("mass", "message"),
    [
        ([1.0], r"mass must hold 2 numbers in \[0, 1\]"),
        ([1.0, 1.5], r"mass must hold 2 numbers in \[0, 1\]"),
        ([0.5, 0.6], "mass of a node must be at most its parent's"),
    ],
)
def test_masses_that_do_not_fit(mass, message):
    with pytest.raises(ArgumentError, match=message):
        Forest(np.array([1]), np.array([0]), np.array([1, 2]), np.zeros(2, int), np.array([-1, 0]), np.array(mass))
