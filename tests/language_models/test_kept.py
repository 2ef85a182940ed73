"""What is kept of prompts changes no answer, and spares the work."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import ONE_DIGIT, make_tokenizer, one_by_one, tiny_gemma, tiny_llama
from tests.language_models.test_forest import random_forest

from descentcast.language_models import Forest, _attention, _kept
from descentcast.language_models import _transformers as engine
from descentcast.language_models._kept import KeptPrompts, Rows
from descentcast.language_models._transformers import TransformersModel

NOTHING = np.array([], dtype=int)


class Counter:
    """Counts the tokens that a model computes."""

    def __init__(self, model: TransformersModel) -> None:
        self.tokens: list[int] = []
        model._network.get_input_embeddings().register_forward_pre_hook(
            lambda module, args: self.tokens.append(args[0].shape[1])
        )

    def taken(self) -> int:
        tokens, self.tokens = sum(self.tokens), []
        return tokens


@pytest.fixture
def model() -> TransformersModel:
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    return TransformersModel(tiny_llama(len(tokenizer)), tokenizer, "tiny")


def close(answer, expected) -> None:
    np.testing.assert_allclose(np.exp(answer.prompt), np.exp(expected[0]), atol=1e-5)
    if len(expected[1]):
        np.testing.assert_allclose(np.exp(answer.nodes), np.exp(expected[1]), atol=1e-5)


def chains(prompt: np.ndarray, prefix: int, *chains: tuple[int, ...]) -> Forest:
    symbols, parents = [], []
    for chain in chains:
        parent = -1
        for symbol in chain:
            symbols.append(symbol)
            parents.append(parent)
            parent = len(symbols) - 1
    return Forest(prompt, np.array([prefix]), np.array(symbols), np.full(len(symbols), prefix), np.array(parents))


def test_a_prompt_that_grows_costs_its_new_tokens_only(model):
    prompt = np.random.default_rng(0).integers(0, 12, size=200)
    counter = Counter(model)
    model.log_probs(Forest(prompt[:190], np.array([189]), NOTHING, NOTHING, NOTHING))
    assert counter.taken() == 190
    grown = Forest(prompt, np.array([3, 189, 199]), NOTHING, NOTHING, NOTHING)
    answer = model.log_probs(grown)
    assert counter.taken() == 10
    model.log_probs(Forest(prompt[:50], np.array([20, 49]), NOTHING, NOTHING, NOTHING))
    assert counter.taken() == 0
    close(answer, one_by_one(model, grown))


def test_nodes_are_answered_once_and_their_children_start_from_them(model):
    prompt = np.random.default_rng(1).integers(0, 12, size=40)
    model.log_probs(chains(prompt, 39, (1, 2)))
    counter = Counter(model)
    deeper = chains(prompt, 39, (1, 2, 3), (1, 4))
    answer = model.log_probs(deeper)
    # 1, 2 and the second 1 are known; 3 and 4 are not.
    assert counter.taken() == 2
    close(answer, one_by_one(model, deeper))
    # The branches hang off the same prefix of a longer prompt.
    longer = chains(np.r_[prompt, 5, 6], 39, (1, 2, 3))
    counter.taken()
    answer = model.log_probs(longer)
    assert counter.taken() == 2
    close(answer, one_by_one(model, longer))


@pytest.mark.parametrize("short", [0, 1024])
def test_a_run_that_grows_is_read_in_one_pass(model, monkeypatch, short):
    """New prompt tokens and the branches behind them, as when one more value has come."""
    monkeypatch.setattr(_attention, "SHORT", short)
    prompt = np.random.default_rng(3).integers(0, 12, size=90)
    for length in (60, 63, 66, 90):
        forest = chains(prompt[:length], length - 1, *[(10, digit) for digit in range(10)])
        counter = Counter(model)
        answer = model.log_probs(forest)
        assert len(counter.tokens) == 1
        close(answer, one_by_one(model, forest))


def test_a_prompt_that_departs_starts_from_what_it_shares(model):
    rng = np.random.default_rng(2)
    one = rng.integers(0, 12, size=100)
    two = np.r_[one[:80], (one[80] + 1) % 12, one[81:]]
    model.log_probs(Forest(one, np.array([99]), NOTHING, NOTHING, NOTHING))
    counter = Counter(model)
    answer = model.log_probs(Forest(two, np.array([90]), NOTHING, NOTHING, NOTHING))
    assert counter.taken() == 20
    again = model.log_probs(Forest(one, np.array([90]), NOTHING, NOTHING, NOTHING))
    assert counter.taken() == 0
    for prompt, found in ((one, again), (two, answer)):
        close(found, one_by_one(model, Forest(prompt, np.array([90]), NOTHING, NOTHING, NOTHING)))


def test_forests_of_several_prompts_share_passes(model):
    forests = [random_forest(np.random.default_rng(seed), 10 + seed, 7) for seed in range(4)]
    forests.append(Forest(np.r_[forests[3].prompt, 7, 8], np.array([14]), NOTHING, NOTHING, NOTHING))
    counter = Counter(model)
    answers = model.log_probs_of(forests)
    # 10 + 11 + 12 + 13 tokens of prompts, two more of the last, which begins with the one before it, and 4 x 7 nodes.
    assert counter.tokens == [46 + 2 + 28]
    for forest, answer in zip(forests, answers, strict=True):
        close(answer, one_by_one(model, forest))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 40),
    prompts=st.integers(1, 3),
    branch_bytes=st.sampled_from([0, 10_000, 1 << 27]),
    branches=st.sampled_from([0, 20, 1000]),
    gemma=st.booleans(),
)
def test_answers_do_not_depend_on_what_was_asked_before(seed, size, prompts, branch_bytes, branches, gemma):
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    network = tiny_gemma(len(tokenizer), window=8) if gemma else tiny_llama(len(tokenizer))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "NODES_PER_PASS", size)
        patch.setattr(engine, "KEPT_PROMPTS", prompts)
        patch.setattr(_kept, "BRANCH_BYTES", branch_bytes)
        patch.setattr(_kept, "BRANCHES", branches)
        model = TransformersModel(network, tokenizer, "tiny")
        rng = np.random.default_rng(seed)
        whole = rng.integers(0, 12, size=40)
        for _ in range(5):
            length = int(rng.integers(1, 41))
            forest = random_forest(rng, length, int(rng.integers(0, 25)), symbols=3)
            prompt = whole.copy()
            if rng.random() < 0.4:
                prompt[rng.integers(0, 40)] = rng.integers(0, 12)
            forest = Forest(prompt[:length], forest.asked, forest.symbols, forest.prefix, forest.parents)
            close(model.log_probs(forest), one_by_one(model, forest))


def test_an_interrupted_pass_leaves_nothing_behind(model):
    forest = chains(np.arange(10), 9, (1, 2), (3,))
    layer = model._network.base_model.layers[1]

    def interrupt(*_):
        raise KeyboardInterrupt

    hook = layer.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.log_probs(forest)
    hook.remove()
    close(model.log_probs(forest), one_by_one(model, forest))


def test_kept_prompts_are_few_and_small():
    import torch

    kept = KeptPrompts(count=3, size=100_000)
    for start in range(5):
        found = kept.find(np.arange(start * 100, start * 100 + 50), torch.empty((0, 4)))
        found.rows.write(0, 0, torch.zeros(1, 50, 4), torch.zeros(1, 50, 4))
        kept.trim()
    assert len(kept._kept) == 3
    found.rows.write(1, 0, torch.zeros(10, 1000, 4), torch.zeros(10, 1000, 4))
    assert found.bytes > 100_000
    kept.trim()
    assert kept._kept == [found]


def test_rows_grow_and_are_taken_in_order():
    import torch

    rows, values = Rows(), torch.arange(300.0).reshape(1, 300, 1)
    for start in range(0, 300, 7):
        stop = min(start + 7, 300)
        rows.write(0, start, values[:, start:stop], -values[:, start:stop])
    torch.testing.assert_close(rows.of(0)[0][:, :300], values)
    taken = rows.take(np.array([299, 5]))
    assert taken.of(0)[1].flatten().tolist() == [-299, -5]
