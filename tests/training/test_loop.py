"""The loop: the digit model scores what it should, a resumed run equals an uninterrupted one, the schedule ends."""

import copy
import csv
import math

import numpy as np
import pytest
import torch
from training.contexts import Prior, fixed_batch
from training.digit_model import DigitModel
from training.loop import Settings, evaluate, fit
from training.ship import halved
from training.train_adapter import adapted, start_from, symbol_tokens
from training.train_prompt import prompted
from training.train_small import ordered_digits, small_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 4096,
}


def tiny_settings(**changes):
    known = {
        "learning_rate": 1e-2,
        "batch_tokens": 200,
        "micro_tokens": 100,
        "steps": 4,
        "log_every": 1,
        "dev_every": 100,
    }
    return Settings(**{**known, **changes})


@pytest.fixture(autouse=True)
def short_development(monkeypatch):
    monkeypatch.setattr("training.loop.dev_batches", lambda settings: [[fixed_batch(Prior(stream=1), 0, 0, 30, 2)]] * 2)


def test_scores_are_the_restricted_softmax_of_the_full_model():
    model = small_model(TINY, 0)
    drawn = fixed_batch(Prior(), 0, 0, 60, 3)
    symbols, laws = torch.from_numpy(drawn.symbols), torch.from_numpy(drawn.laws)
    logits = model.language_model(input_ids=symbols).logits
    expected = []
    for b, t in np.argwhere(drawn.scored):
        digits = logits[b, t - 1, :10].log_softmax(-1)
        expected.append(-(digits * laws[b, t]).sum().item())
    assert np.allclose(model(symbols, laws).detach().numpy(), expected, atol=1e-5)


def test_model_without_begin_token_reads_the_text_alone():
    language_model = LlamaForCausalLM(LlamaConfig(vocab_size=20, **TINY))
    tokens = list(range(7, 19))
    model = DigitModel(language_model, language_model.model, tokens)
    drawn = fixed_batch(Prior(), 0, 0, 30, 1)
    scores = model(torch.from_numpy(drawn.symbols), torch.from_numpy(drawn.laws))
    logits = language_model(input_ids=torch.from_numpy(drawn.symbols[:, 1:]) + 7).logits[0, :, 7:17].log_softmax(-1)
    expected = [-float(logits[t - 2].detach().numpy() @ drawn.laws[0, t]) for t in np.flatnonzero(drawn.scored[0])]
    assert np.allclose(scores.detach().numpy(), expected, atol=1e-5)


def test_resumed_run_equals_an_uninterrupted_one(tmp_path):
    settings = tiny_settings()
    whole, parts = small_model(TINY, 0), small_model(TINY, 0)
    fit(whole, Prior(), settings, tmp_path / "whole", whole.language_model.save_pretrained)
    fit(parts, Prior(), settings, tmp_path / "parts", parts.language_model.save_pretrained, stop_after=2)
    fresh = small_model(TINY, 99)
    assert fit(fresh, Prior(), settings, tmp_path / "parts", fresh.language_model.save_pretrained) == 4
    one, other = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts"))
    assert one["step"] == other["step"] == 4
    assert one["tokens"] == other["tokens"]
    for name, weight in one["weights"].items():
        assert torch.equal(weight, other["weights"][name]), name
    for index, moments in one["optimizer"]["state"].items():
        assert all(torch.equal(moments[k], other["optimizer"]["state"][index][k]) for k in moments)


def test_training_moves_weights_and_logs_and_exports_a_loadable_model(tmp_path):
    model = small_model(TINY, 0)
    before = {name: p.clone() for name, p in model.named_parameters()}
    fit(model, Prior(), tiny_settings(), tmp_path, model.language_model.save_pretrained)
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert 0 < float(rows[-1]["dev_divergence"]) < math.log(10) + 0.5
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    symbols = torch.tensor([[12, 1, 2, 10]])
    assert torch.allclose(loaded(input_ids=symbols).logits, model.language_model(input_ids=symbols).logits, atol=1e-6)
    assert not list(tmp_path.glob("*.tmp"))


def test_near_digits_start_alike():
    torch.manual_seed(0)
    table = ordered_digits(400)
    distance = torch.cdist(table, table)
    for digit in range(10):
        far = distance[digit][[d for d in range(10) if abs(d - digit) >= 3]]
        near = distance[digit][[d for d in range(10) if abs(d - digit) == 1]]
        assert near.max() < far.min()


def test_passes_do_not_change_the_gradient(tmp_path):
    """Weights after one step are the same whether a batch is one pass or one row a pass."""
    states = []
    for micro in (10_000, 1):
        model = small_model(TINY, 0)
        out = tmp_path / str(micro)
        fit(model, Prior(), tiny_settings(steps=1, micro_tokens=micro), out, model.language_model.save_pretrained)
        states.append(torch.load(out / "state.pt", weights_only=True))
    moments = [state["optimizer"]["state"][0]["exp_avg"] for state in states]
    assert torch.allclose(*moments, atol=1e-6)


def test_schedule_warms_up_and_falls_to_one_percent():
    settings = tiny_settings(warm_up=0.1)
    assert settings.rate(0.1) == pytest.approx(1e-2)
    assert settings.rate(0.05) < settings.rate(0.1)
    assert settings.rate(0.55) == pytest.approx(1e-2 * (0.01 + 0.99 / 2))
    assert settings.rate(1.0) == pytest.approx(1e-4)


def test_a_budget_in_hours_ends_by_time():
    settings = Settings(learning_rate=1.0, batch_tokens=1, micro_tokens=1, hours=0.5)
    assert settings.progress(10**6, 900.0) == pytest.approx(0.5)
    assert settings.progress(0, 1800.0) == 1.0


def test_adapter_trains_only_its_own_matrices(tmp_path):
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(vocab_size=20, **TINY))
    frozen = {name: p.clone() for name, p in base.named_parameters()}
    model = adapted(base, range(12), {"r": 2, "lora_alpha": 4}, seed=0)
    fit(model, Prior(), tiny_settings(steps=2), tmp_path, model.language_model.save_pretrained)
    after = {name.replace(".base_layer", ""): p for name, p in base.named_parameters() if "lora" not in name}
    assert all(torch.equal(frozen[name], after[name]) for name in frozen)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["weights"]
    assert all("lora" in name for name in state["weights"])
    assert any(w.abs().sum() > 0 for name, w in state["weights"].items() if "lora_B" in name)
    assert (tmp_path / "adapter_model.safetensors").exists()


def test_a_model_that_knows_every_law_has_no_divergence():
    """The evaluation of a table of the laws themselves is zero; of a uniform guess, the entropy that is missing."""
    drawn = fixed_batch(Prior(), 0, 0, 60, 3)
    known = drawn.laws[drawn.scored].astype(float)
    entropies = -(known * np.log(np.maximum(known, 1e-300))).sum(1)

    def oracle(symbols, laws):
        target = laws[laws.any(-1)]
        return torch.special.entr(target).sum(-1)

    def uniform(symbols, laws):
        return torch.full((int(laws.any(-1).sum()),), math.log(10))

    oracle.parameters = uniform.parameters = lambda: iter([torch.zeros(1)])
    assert evaluate(oracle, [drawn], tiny_settings()) == pytest.approx(0, abs=1e-6)
    assert evaluate(uniform, [drawn], tiny_settings()) == pytest.approx(math.log(10) - entropies.mean(), abs=1e-5)


def test_training_goes_on_from_an_adapter(tmp_path):
    """Weights that were shipped in float16 come back, layer by layer."""
    base = LlamaForCausalLM(LlamaConfig(vocab_size=20, **TINY))
    before = adapted(copy.deepcopy(base), range(12), {"r": 2, "lora_alpha": 4}, seed=0)
    fit(before, Prior(), tiny_settings(steps=2), tmp_path, before.language_model.save_pretrained)
    halved(tmp_path / "adapter_model.safetensors", tmp_path / "adapter_model.safetensors")
    after = adapted(copy.deepcopy(base), range(12), {"r": 2, "lora_alpha": 4}, seed=1)
    start_from(after, tmp_path)
    drawn = fixed_batch(Prior(), 0, 0, 30, 1)
    one, two = (m(torch.from_numpy(drawn.symbols), torch.from_numpy(drawn.laws)) for m in (before, after))
    assert torch.allclose(one, two, atol=1e-3)
    assert all(p.dtype == torch.float32 for p in after.parameters() if p.requires_grad)


class _Letters:
    """A tokenizer that writes one character a token, after `begin`."""

    def __init__(self, begin):
        self.begin = begin

    def __call__(self, text):
        return {"input_ids": self.begin + [ord(c) for c in text]}

    def decode(self, ids):
        return "".join(chr(i) for i in ids)


def test_symbol_tokens_with_and_without_begin():
    symbols = [ord(c) for c in "0123456789,\n"]
    assert symbol_tokens(_Letters([])) == symbols
    assert symbol_tokens(_Letters([1])) == [*symbols, 1]


def test_tokenizers_that_join_digits_are_refused():
    class Pairs(_Letters):
        def __call__(self, text):
            return {"input_ids": [ord(c) for c in text[::2]]}

    with pytest.raises(ValueError, match="single tokens"):
        symbol_tokens(Pairs([]))


def test_a_soft_prompt_is_read_before_the_text_and_nothing_else_is_trained(tmp_path):
    """Vectors that are embeddings of tokens are those tokens; after training the base is what it was."""
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(vocab_size=20, **TINY))
    frozen = {name: p.clone() for name, p in base.named_parameters()}
    model = prompted(base, range(13), vectors=3, seed=0)
    tokens = torch.randint(20, (3,), generator=torch.Generator().manual_seed(0))
    text = torch.tensor([[12, 3, 4, 10, 5]])
    whole = base.model(torch.cat([tokens[None], text], dim=1)).last_hidden_state[:, 3:]
    assert torch.allclose(model.decoder(text).last_hidden_state, whole, atol=1e-6)
    before = model.decoder.prompt.detach().clone()
    fit(model, Prior(), tiny_settings(steps=2), tmp_path, lambda folder: folder.mkdir())
    assert not torch.equal(before, model.decoder.prompt)
    assert all(torch.equal(frozen[name], p) for name, p in base.named_parameters())
