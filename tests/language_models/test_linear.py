"""Weights that are laid out anew give what they gave."""

import copy

import numpy as np
import pytest
import torch
from tests.conftest import ONE_DIGIT, make_tokenizer, one_by_one, tiny_llama

from descentcast.language_models import Forest, _linear
from descentcast.language_models._linear import Linear, TwoPrecisions
from descentcast.language_models._transformers import TransformersModel


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_laid_out_layer_is_the_layer(onednn, bias, monkeypatch):
    monkeypatch.setattr(_linear, "ONEDNN", onednn and _linear.ONEDNN)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(24, 40, bias=bias), torch.nn.SiLU(), torch.nn.Linear(40, 8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    inputs = [torch.randn(*shape, 24) for shape in ((1,), (5,), (1, 300), (2, 3))]
    with torch.inference_mode():
        expected = [network(each) for each in inputs]
        precisions = TwoPrecisions(network)
        assert [type(layer) for layer in network] == [Linear, torch.nn.SiLU, Linear]
        assert precisions.largest == (40, 24)
        for each, right in zip(inputs, expected, strict=True):
            torch.testing.assert_close(network(each), right, atol=1e-5, rtol=1e-5)
        precisions.half = True
        for each, right in zip(inputs, expected, strict=True):
            rough = network(each)
            assert rough.dtype == torch.float32
            error = (rough - right).abs().max()
            assert 0 < error < 0.05
        precisions.drop()
    # What tells weights apart reads them all.
    after = network.state_dict()
    assert sorted(after) == sorted(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_model_with_laid_out_weights_is_exact_and_shared_by_its_copies():
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    network = tiny_llama(len(tokenizer))
    forest = Forest(
        np.random.default_rng(0).integers(0, 12, size=90),
        np.array([40, 80]),
        np.array([1, 2]),
        np.full(2, 50),
        np.array([-1, 0]),
    )
    asked, nodes = one_by_one(TransformersModel(network, tokenizer, "plain"), forest)
    model = TransformersModel(network, tokenizer, "laid out", precisions=TwoPrecisions(network.base_model))
    answer = model.log_probs(forest)
    np.testing.assert_allclose(np.exp(answer.prompt), np.exp(asked), atol=1e-5)
    np.testing.assert_allclose(np.exp(answer.nodes), np.exp(nodes), atol=1e-5)
    assert copy.deepcopy(model) is model
