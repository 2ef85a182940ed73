"""Train a LoRA adapter for a pretrained language model on the prior; the same loop, budget and log as `train_small`.

    python -m training.train_adapter --config training/adapter.toml --base FOLDER --hours 3 --out out/adapter

The base is a folder or hub name of a causal language model whose tokenizer writes numbers digit by digit (SmolLM2,
Gemma, Llama 2, Qwen); weights may be bfloat16 where the hardware is fast at it (`--dtype bfloat16`). The folder that
comes out is a peft adapter.
"""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.contexts import Prior
from training.digit_model import DigitModel
from training.fused import fuse
from training.loop import Settings, fit


def adapted(base: nn.Module, token_ids: Sequence[int], adapter: dict[str, Any], seed: int) -> DigitModel:
    """Return `base`, frozen, with fresh LoRA matrices on all linear layers; `adapter` holds arguments of LoraConfig."""
    torch.manual_seed(seed)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", **adapter))
    # What is trained is kept in float32: steps of 1e-3 relative size are lost in bfloat16.
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data.float()
    return DigitModel(model, model.get_base_model().model, token_ids)


def start_from(model: DigitModel, folder: Path) -> None:
    """Give an adapter the weights of one that was trained before."""
    report = set_peft_model_state_dict(model.language_model, load_file(folder / "adapter_model.safetensors"))
    if report.unexpected_keys:
        raise ValueError(f"{folder} does not fit: {report.unexpected_keys[0]} is unknown")


def symbol_tokens(tokenizer: Any) -> list[int]:
    """Return the token of each symbol, the begin token last if the tokenizer has one that it writes.

    Raises:
        ValueError: The tokenizer does not write digits, "," and newline as single distinct tokens.
    """
    text = "0123456789,\n5"
    ids = list(tokenizer(text)["input_ids"])
    begin = ids[: len(ids) - len(text)]
    symbols = ids[len(begin) : -1]
    if (
        len(set(symbols)) != 12
        or tokenizer.decode(ids[len(begin) :]) != text
        or ids[-1] != symbols[5]
        or len(begin) > 1
    ):
        raise ValueError(f"tokenizer writes {text!r} as {ids}: digits, ',' and newline must be single tokens")
    return symbols + begin


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw contexts ahead, for a GPU")
    parser.add_argument("--init", type=Path, help="an adapter to go on from, with a fresh optimizer and schedule")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    given = parser.parse_args(arguments)
    config = tomllib.loads(given.config.read_text())
    torch.set_num_threads(given.threads)
    settings = Settings(**config["training"], hours=given.hours, workers=given.workers)
    base = AutoModelForCausalLM.from_pretrained(given.base, dtype=getattr(torch, given.dtype))
    tokens = symbol_tokens(AutoTokenizer.from_pretrained(given.base))
    model = adapted(base, tokens, config["adapter"], settings.seed)
    if given.init:
        start_from(model, given.init)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    if torch.cuda.is_available():  # on a processor the products of the low rank are cheaper than those of its sum
        fuse(model)
    fit(model, Prior(**config.get("prior", {})), settings, given.out, model.language_model.save_pretrained)


if __name__ == "__main__":
    main()
