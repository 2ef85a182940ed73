"""The forest gives what one forward pass per branch gives, whatever its shape."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.conftest import (
    BY_PAIRS,
    ONE_DIGIT,
    THREE_DIGITS,
    make_tokenizer,
    one_by_one,
    tiny_gemma,
    tiny_llama,
)

from descentcast.errors import ArgumentError, ModelError, TokenizerError
from descentcast.language_models import Forest
from descentcast.language_models import _transformers as engine
from descentcast.language_models._transformers import TransformersModel


def random_forest(rng: np.random.Generator, length: int, nodes: int, symbols: int = 12) -> Forest:
    parents = np.array([rng.integers(-1, i) if i else -1 for i in range(nodes)], dtype=int)
    prefix = rng.integers(0, length, size=nodes)
    for i in range(nodes):
        if parents[i] >= 0:
            prefix[i] = prefix[parents[i]]
    asked = np.unique(rng.integers(0, length, size=3))
    return Forest(rng.integers(0, symbols, size=length), asked, rng.integers(0, symbols, size=nodes), prefix, parents)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), length=st.integers(1, 30), nodes=st.integers(0, 40), size=st.integers(1, 20))
def test_forest_equals_one_pass_per_branch(tiny_model, seed, length, nodes, size):
    forest = random_forest(np.random.default_rng(seed), length, nodes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "NODES_PER_PASS", size)
        answer = tiny_model.log_probs(forest)
    asked, branches = one_by_one(tiny_model, forest)
    np.testing.assert_allclose(np.exp(answer.prompt), np.exp(asked), atol=1e-5)
    if nodes:
        np.testing.assert_allclose(np.exp(answer.nodes), np.exp(branches), atol=1e-5)
    np.testing.assert_allclose(np.exp(answer.prompt).sum(axis=1), 1)


def test_sliding_window_layers_past_their_window():
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    model = TransformersModel(tiny_gemma(len(tokenizer), window=8), tokenizer, "tiny gemma")
    forest = random_forest(np.random.default_rng(5), 40, 30)
    answer = model.log_probs(forest)
    asked, branches = one_by_one(model, forest)
    np.testing.assert_allclose(np.exp(answer.prompt), np.exp(asked), atol=1e-5)
    np.testing.assert_allclose(np.exp(answer.nodes), np.exp(branches), atol=1e-5)


def test_the_same_prompt_twice_and_another_in_between(tiny_model):
    one, two = (random_forest(np.random.default_rng(s), 12, 9) for s in (1, 2))
    first = tiny_model.log_probs(one).nodes
    tiny_model.log_probs(two)
    np.testing.assert_array_equal(tiny_model.log_probs(one).nodes, first)


def long_forest(values: int, branches: int) -> Forest:
    """Two-digit values, with a digit tree and a probe hanging off the last positions and some middle ones."""
    rng = np.random.default_rng(0)
    prompt = np.concatenate([[*divmod(v, 10), 10] for v in rng.integers(0, 100, size=values)])
    separators = np.flatnonzero(prompt == 10)
    at = np.concatenate([separators[-branches:], separators[values // 2 : values // 2 + 2]])
    symbols, prefix, parents = [], [], []
    for position in at:
        parent = -1
        for symbol in rng.integers(0, 10, size=3):
            symbols.append(symbol)
            prefix.append(position)
            parents.append(parent)
            parent = len(symbols) - 1
    return Forest(prompt, separators[-2:], np.array(symbols), np.array(prefix), np.array(parents))


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_real_models_past_the_sliding_window(name, request):
    model = request.getfixturevalue(name)
    forest = long_forest(values=190, branches=2)
    assert len(forest.prompt) > 512
    answer = model.log_probs(forest)
    asked, branches = one_by_one(model, forest)
    np.testing.assert_allclose(np.exp(answer.prompt), np.exp(asked), atol=1e-5)
    np.testing.assert_allclose(np.exp(answer.nodes), np.exp(branches), atol=1e-5)


def test_bfloat16_packing_adds_no_more_than_its_own_rounding(tiny_model):
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    half = TransformersModel(tiny_llama(len(tokenizer)).bfloat16(), tokenizer, "tiny half")
    forest = random_forest(np.random.default_rng(3), 20, 20)
    exact = tiny_model.log_probs(forest).nodes
    _, plain = one_by_one(half, forest)
    rounding = np.abs(np.exp(plain) - np.exp(exact)).max()
    assert 0 < rounding < 0.2
    assert np.abs(np.exp(half.log_probs(forest).nodes) - np.exp(exact)).max() < 2 * rounding


def test_outside_mass_is_what_the_full_vocabulary_says(tiny_model):
    import torch

    forest = Forest([1, 2, 10, 3, 4, 10], [2, 5], [], [], [])
    ids = torch.as_tensor(tiny_model._scheme.token_ids[forest.prompt])[None]
    with torch.inference_mode():
        probs = tiny_model._network(ids, use_cache=False).logits[0].double().softmax(-1)
    inside = probs[:, torch.as_tensor(tiny_model._scheme.token_ids)].sum(-1)[[2, 5]]
    np.testing.assert_allclose(tiny_model.log_probs(forest).outside, 1 - inside.numpy(), atol=1e-6)
    assert (inside < 1).all()


def test_three_digits_a_token():
    tokenizer = make_tokenizer(THREE_DIGITS, 3)
    model = TransformersModel(tiny_llama(len(tokenizer)), tokenizer, "tiny three")
    assert model.alphabet.base == 1000
    forest = random_forest(np.random.default_rng(7), 12, 10, symbols=1002)
    _, branches = one_by_one(model, forest)
    np.testing.assert_allclose(np.exp(model.log_probs(forest).nodes), np.exp(branches), atol=1e-5)


def test_other_tokenizers_are_refused_by_name():
    tokenizer = make_tokenizer(BY_PAIRS, 2)
    with pytest.raises(TokenizerError, match=r"gpt-like: its tokenizer cuts 1234567,89 into \['12', '34'"):
        TransformersModel(tiny_llama(len(tokenizer)), tokenizer, "gpt-like")


def test_recurrent_models_are_refused():
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    network = tiny_llama(len(tokenizer))
    network.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ModelError, match="recurrent or chunked state"):
        TransformersModel(network, tokenizer, "hybrid")


def test_an_unknown_head_scaling_is_refused():
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    network = tiny_llama(len(tokenizer))
    network.lm_head.register_forward_hook(lambda module, args, output: output * 3)
    with pytest.raises(ModelError, match="scales logits in an unknown way"):
        TransformersModel(network, tokenizer, "scaled")


def test_a_folder_that_lacks_weights_is_refused(tmp_path):
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    tiny_llama(len(tokenizer)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert engine.load_network(tmp_path, "whole", "float32", "cpu").alphabet.base == 10
    weights = load_file(tmp_path / "model.safetensors")
    fewer = {name: weight for name, weight in weights.items() if "layers.1" not in name}
    save_file(fewer, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lacks: its files lack"):
        engine.load_network(tmp_path, "lacks", "float32", "cpu")
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="broken: cannot be loaded"):
        engine.load_network(tmp_path, "broken", "float32", "cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], [], [], []), "prompt is empty"),
        (([1], [1], [], [], []), r"asked must hold prompt positions in \[0, 0\]"),
        (([1, 2], [0], [1, 2], [0, 1], [-1, 0]), "prefix of a node must be its parent's"),
        (([1, 2], [0], [1, 2], [0, 0], [1, -1]), "parents must come before their children"),
    ],
)
def test_forests_that_do_not_fit(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Forest(*arguments)


def test_symbols_and_lengths_are_checked(tiny_model):
    with pytest.raises(ArgumentError, match=r"prompt must hold symbols in \[0, 11\] for tiny"):
        tiny_model.log_probs(Forest([12], [0], [], [], []))
    with pytest.raises(ArgumentError, match="reads at most 4096"):
        tiny_model.log_probs(Forest(np.ones(4097, int), [0], [], [], []))
