"""Adapters merge to what peft computes, and to nothing but the weights they were trained on."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tests.conftest import ONE_DIGIT, make_tokenizer, tiny_llama
from transformers import LlamaConfig, LlamaForCausalLM

from descentcast.errors import ArgumentError, ModelError
from descentcast.language_models import load_model
from descentcast.language_models._adapters import merge_adapter, weights_fingerprint

SYMBOLS = torch.tensor([[3, 4, 0, 7, 9, 1, 5]])


def moved(model, seed):
    """Give LoRA's second matrices, zero at first, some weight."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data = 0.3 * torch.randn(p.shape, generator=generator)
    return model


@pytest.fixture
def adapter(tmp_path):
    """Return a folder as peft writes it, bound to a tiny Llama, and the logits that peft computes with it."""
    base = tiny_llama(20)
    fingerprint = weights_fingerprint(base)
    model = moved(get_peft_model(base, LoraConfig(r=4, lora_alpha=12, target_modules="all-linear")), 1)
    model.save_pretrained(tmp_path / "adapter")
    card = {"base": "tiny", "base_fingerprint": fingerprint}
    (tmp_path / "adapter" / "card.json").write_text(json.dumps(card))
    with torch.no_grad():
        return tmp_path / "adapter", model(SYMBOLS).logits


def test_merging_gives_what_peft_computes(adapter):
    folder, expected = adapter
    network = tiny_llama(20)
    with torch.no_grad():
        plain = network(SYMBOLS).logits
    merge_adapter(network, folder, "tiny")
    with torch.no_grad():
        merged = network(SYMBOLS).logits
    assert torch.allclose(merged, expected, atol=1e-5)
    assert not torch.allclose(plain, expected, atol=1e-2)


def test_fingerprints_tell_weights_not_precision():
    one, other = tiny_llama(20, seed=0), tiny_llama(20, seed=1)
    assert weights_fingerprint(one) == weights_fingerprint(tiny_llama(20, seed=0).to(torch.bfloat16))
    assert weights_fingerprint(one) != weights_fingerprint(other)


def test_another_base_is_refused_by_name(adapter):
    folder, _ = adapter
    with pytest.raises(ModelError, match=r"was trained on tiny \(\w{12}\), not on other"):
        merge_adapter(tiny_llama(20, seed=1), folder, "other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora == True, must be False"),
        ({"use_rslora": True}, "use_rslora"),
        ({"rank_pattern": {"q_proj": 8}}, "ranks that differ"),
    ],
)
def test_other_kinds_of_adapter_are_refused(adapter, change, message):
    folder, _ = adapter
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=message):
        merge_adapter(tiny_llama(20), folder, "tiny")


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors", "card.json"])
def test_a_folder_that_lacks_a_file_is_refused_before_any_weights_are_read(adapter, file):
    folder, _ = adapter
    (folder / file).unlink()
    with pytest.raises(ModelError, match=f"holds no {file}"):
        load_model("smollm2-135m", adapter=folder)


def test_matrices_that_do_not_fit_are_refused(adapter):
    folder, _ = adapter
    matrices = load_file(folder / "adapter_model.safetensors")
    save_file(
        {"base_model.model.nowhere.lora_A.weight": next(iter(matrices.values()))}, folder / "adapter_model.safetensors"
    )
    with pytest.raises(ModelError, match="nowhere does not fit tiny"):
        merge_adapter(tiny_llama(20), folder, "tiny")


def test_weights_cut_short_are_refused(adapter):
    folder, _ = adapter
    whole = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(whole[:300])
    with pytest.raises(ModelError, match="cannot be read"):
        merge_adapter(tiny_llama(20), folder, "tiny")


def test_no_such_adapter_is_an_argument_error():
    with pytest.raises(ArgumentError, match="adapter == 'nowhere', must be 'default', None or the folder"):
        load_model("smollm2-135m", adapter="nowhere")


def test_a_model_with_its_adapter_reads_runs_and_has_another_fingerprint(adapter, tmp_path):
    folder, _ = adapter
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    network = tiny_llama(20)
    assert len(tokenizer) <= 20
    network.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    frozen = load_model(tmp_path / "base")
    trained = load_model(tmp_path / "base", adapter=folder)
    assert (frozen.name, trained.name) == ("base", "base + adapter")
    assert (frozen.restarts, trained.restarts) == (False, True)
    assert frozen.fingerprint != trained.fingerprint


def test_the_same_weights_read_in_another_way_have_another_fingerprint(tmp_path):
    network, tokenizer = tiny_llama(20), make_tokenizer(ONE_DIGIT, 1)
    found = set()
    for name, theta in (("a", 10_000.0), ("b", 10_000.0), ("c", 500.0)):
        network.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        config = json.loads((tmp_path / name / "config.json").read_text())
        config["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        found.add(load_model(tmp_path / name).fingerprint)
    assert len(found) == 2


def test_a_config_that_fits_no_model_is_a_model_error(tmp_path):
    tiny_llama(20).save_pretrained(tmp_path)
    make_tokenizer(ONE_DIGIT, 1).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"num_attention_heads": 7}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(tmp_path)


def test_an_adapter_without_its_scale_is_a_model_error(adapter):
    folder, _ = adapter
    config = json.loads((folder / "adapter_config.json").read_text())
    config.pop("lora_alpha")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="lora_alpha == None, must be a number"):
        merge_adapter(tiny_llama(20), folder, "tiny")


def test_a_decoder_of_its_own_symbols_needs_no_tokenizer_and_knows_its_length(tmp_path):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=4096, descentcast={"begin": 12, "longest": 500},
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.restarts
    assert model.max_length == 499
