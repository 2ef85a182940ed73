"""Models for the tests: tiny random ones with hand-made tokenizers, and the real ones of the catalogue."""

import os

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from descentcast.language_models import load_model
from descentcast.language_models._base import Alphabet, Forest, ForestLogProbs
from descentcast.language_models._transformers import TransformersModel

# A test is about what is computed now. Those of the density store turn it on, each in a folder of its own.
os.environ["DESCENTCAST_CACHE_MB"] = "0"

ONE_DIGIT, THREE_DIGITS, BY_PAIRS = r"\d|,|\n", r"\d{1,3}|,|\n", r"\d{1,2}|,|\n"


def make_tokenizer(pattern: str, digits: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer that cuts numbers as the pattern says, and knows the numbers of up to `digits` digits."""
    words = [f"{i:0{width}d}" for width in range(1, digits + 1) for i in range(10**width)]
    vocabulary = {word: i for i, word in enumerate([",", "\n", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def tiny_llama(vocabulary: int, seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=4096,
            initializer_range=0.3,
            attn_implementation="sdpa",
        )
    )


def tiny_gemma(vocabulary: int, window: int) -> Gemma3ForCausalLM:
    torch.manual_seed(1)
    return Gemma3ForCausalLM(
        Gemma3TextConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            sliding_window=window,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            max_position_embeddings=4096,
            initializer_range=0.3,
            attn_implementation="sdpa",
        )
    )


def one_by_one(model: TransformersModel, forest: Forest) -> tuple[np.ndarray, np.ndarray]:
    """Answer a forest as its definition says: one plain forward pass per position and per branch, nothing shared."""

    def after(symbols: list[int]) -> np.ndarray:
        ids = torch.tensor([[*model._scheme.begin, *model._scheme.token_ids[symbols]]])
        with torch.inference_mode():
            logits = model._network(ids, use_cache=False, logits_to_keep=1).logits[0, -1]
        return logits[torch.as_tensor(model._scheme.token_ids)].double().log_softmax(-1).numpy()

    prompt = forest.prompt.tolist()
    asked = [after(prompt[: position + 1]) for position in forest.asked]
    nodes = []
    for node in range(len(forest.symbols)):
        chain, at = [], node
        while at >= 0:
            chain.append(int(forest.symbols[at]))
            at = int(forest.parents[at])
        nodes.append(after(prompt[: forest.prefix[node] + 1] + chain[::-1]))
    return np.array(asked), np.array(nodes)


class FakeModel:
    """A language model with known answers: the next number follows a Gaussian AR(1) law of the last value read."""

    name, max_length = "fake", 1 << 20

    def __init__(self, slope: float = 0.8, sd: float = 4.0, digits: int = 2, restarts: bool = True) -> None:
        self.alphabet, self.restarts = Alphabet(1), restarts
        self.slope, self.sd, self.digits = slope, sd, digits

    def law(self, code: int) -> np.ndarray:
        """Return the law of the next code after `code`, shape (10^digits,)."""
        n = 10**self.digits
        z = (np.arange(n) - (n / 2 + self.slope * (code - n / 2))) / self.sd
        weights = np.exp(-0.5 * z**2) + 1e-12
        return weights / weights.sum()

    def log_probs(self, forest: Forest) -> ForestLogProbs:
        def answer(symbols: list[int]) -> np.ndarray:
            probs = np.full(12, 1e-6)
            tail = len(symbols) - 1 - max((i for i, s in enumerate(symbols) if s >= 10), default=-1)
            last = symbols[: len(symbols) - tail]
            if tail >= self.digits or len(last) <= self.digits or last[-1] != 10:
                probs[10] = 1.0
            else:
                code = int("".join(map(str, last[-1 - self.digits : -1])))
                law = self.law(code).reshape((10,) * self.digits)
                for digit in symbols[len(symbols) - tail :]:
                    law = law[digit]
                probs[:10] += law.reshape(10, -1).sum(axis=1) / law.sum()
            return np.log(probs / probs.sum())

        prompt, nodes = forest.prompt.tolist(), []
        asked = [answer(prompt[: position + 1]) for position in forest.asked]
        for node in range(len(forest.symbols)):
            chain, at = [], node
            while at >= 0:
                chain.append(int(forest.symbols[at]))
                at = int(forest.parents[at])
            nodes.append(answer(prompt[: forest.prefix[node] + 1] + chain[::-1]))
        shape = (-1, 12)
        return ForestLogProbs(
            np.array(asked).reshape(shape), np.array(nodes).reshape(shape), np.zeros(min(4, len(asked)))
        )


@pytest.fixture
def fake_model() -> FakeModel:
    return FakeModel()


@pytest.fixture(scope="session")
def tiny_model() -> TransformersModel:
    tokenizer = make_tokenizer(ONE_DIGIT, 1)
    return TransformersModel(tiny_llama(len(tokenizer)), tokenizer, "tiny")


@pytest.fixture(scope="session")
def smollm2() -> TransformersModel:
    return load_model("smollm2-135m", adapter=None)  # pyright: ignore[reportReturnType]


@pytest.fixture(scope="session")
def gemma3() -> TransformersModel:
    return load_model("gemma3-270m")  # pyright: ignore[reportReturnType]
