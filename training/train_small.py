"""Train `descent-small`: a Llama-architecture decoder of a few million parameters, from scratch on the prior.

    python -m training.train_small --config training/small.toml --hours 1.3 --threads 1 --out out/descent-small

Stopped and started again with the same `--out`, it goes on where it was. The folder is loaded by
`transformers.AutoModelForCausalLM.from_pretrained`.
"""

import argparse
import dataclasses
import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from training.contexts import BEGIN, LONGEST, Prior
from training.digit_model import DigitModel
from training.fused import fuse
from training.loop import Settings, fit

VOCABULARY = 16  # thirteen symbols, padded


def small_model(shape: dict[str, Any], seed: int) -> DigitModel:
    """Return a decoder of `shape` (arguments of LlamaConfig) with weights drawn from `seed`."""
    torch.manual_seed(seed)
    language_model = LlamaForCausalLM(small_config(shape))
    with torch.no_grad():
        for table in (language_model.model.embed_tokens.weight, language_model.lm_head.weight):
            table[:10] = ordered_digits(table.shape[1]) * table.std()
    return DigitModel(language_model, language_model.model, range(BEGIN + 1))


def ordered_digits(width: int) -> torch.Tensor:
    """Return random vectors of the ten digits of which near ones are alike, entries of unit size, shape (10, width).

    They are sums of the discrete cosine waves over 0 to 9, slow ones first: a model that starts from them need not
    find out the order of the digits.
    """
    frequency = torch.arange(10)
    waves = torch.cos(math.pi * frequency * (torch.arange(10)[:, None] + 0.5) / 10) / (1 + frequency)
    table = waves[:, 1:] @ torch.randn(9, width)
    return table / table.std()


def small_config(shape: dict[str, Any]) -> LlamaConfig:
    """Return the configuration: symbols are tokens, the begin symbol is BOS."""
    shape = dict(shape)
    theta = shape.pop("rope_theta", 10000.0)
    return LlamaConfig(
        vocab_size=VOCABULARY,
        bos_token_id=BEGIN,
        eos_token_id=None,
        pad_token_id=None,
        tie_word_embeddings=False,
        use_cache=False,
        attn_implementation="sdpa",
        rope_parameters={"rope_type": "default", "rope_theta": theta},
        descentcast={"begin": BEGIN, "longest": LONGEST},  # how the package knows it for one of its own
        **shape,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw contexts ahead, for a GPU")
    parser.add_argument("--init", type=Path, help="a decoder to go on from, with a fresh optimizer and schedule")
    given = parser.parse_args(arguments)
    config = tomllib.loads(given.config.read_text())
    torch.set_num_threads(given.threads)
    settings = Settings(**config["training"], hours=given.hours, workers=given.workers)
    model = small_model(config["model"], settings.seed).to("cuda" if torch.cuda.is_available() else "cpu")
    if given.init:
        model.language_model.load_state_dict(load_file(given.init / "model.safetensors"))
    fuse(model)
    steps = fit(model, Prior(**config.get("prior", {})), settings, given.out, model.language_model.save_pretrained)
    print(f"{steps} steps, {sum(p.numel() for p in model.parameters())} parameters, {dataclasses.asdict(settings)}")


if __name__ == "__main__":
    main()
