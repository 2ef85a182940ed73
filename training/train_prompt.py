"""Train a soft prompt for a pretrained language model on the prior: the adapter's budget spent on a few input vectors.

    python -m training.train_prompt --config training/prompt.toml --base FOLDER --hours 0.5 --out out/prompt

A finding, not a product: nothing loads what comes out. docs/findings.md has the figures.
"""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.contexts import Prior
from training.digit_model import DigitModel
from training.loop import Settings, fit
from training.train_adapter import symbol_tokens


class Prompted(nn.Module):
    """A frozen decoder that reads `vectors` learnt input vectors before every context.

    They start as embeddings of random tokens, as is usual (Lester et al., arXiv 2104.08691).
    """

    def __init__(self, decoder: nn.Module, embeddings: nn.Embedding, vectors: int, seed: int) -> None:
        super().__init__()
        self.decoder, self.embeddings = decoder, embeddings
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(len(embeddings.weight), (vectors,), generator=generator)
        self.prompt = nn.Parameter(embeddings.weight[drawn].detach().float().clone())

    def forward(self, input_ids: Tensor) -> "Prompted.Output":
        """Return the hidden states of the context, shape (B, T, H)."""
        text = self.embeddings(input_ids)
        prompt = self.prompt.to(text.dtype).expand(len(text), -1, -1)
        hidden = self.decoder(inputs_embeds=torch.cat([prompt, text], dim=1)).last_hidden_state
        return Prompted.Output(hidden[:, prompt.shape[1] :])

    class Output:
        """What a decoder returns."""

        def __init__(self, last_hidden_state: Tensor) -> None:
            self.last_hidden_state = last_hidden_state


def prompted(base: nn.Module, token_ids: Sequence[int], vectors: int, seed: int) -> DigitModel:
    """Return `base`, frozen, behind a soft prompt."""
    base.requires_grad_(False)
    decoder = Prompted(base.model, base.get_input_embeddings(), vectors, seed)
    return DigitModel(base, decoder, token_ids)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw contexts ahead, for a GPU")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    given = parser.parse_args(arguments)
    config = tomllib.loads(given.config.read_text())
    torch.set_num_threads(given.threads)
    settings = Settings(**config["training"], hours=given.hours, workers=given.workers)
    base = AutoModelForCausalLM.from_pretrained(given.base, dtype=getattr(torch, given.dtype))
    tokens = symbol_tokens(AutoTokenizer.from_pretrained(given.base))
    model = prompted(base, tokens, config["prompt"]["vectors"], settings.seed)
    model.to("cuda" if torch.cuda.is_available() else "cpu")

    def export(folder: Path) -> None:
        folder.mkdir()
        save_file({"prompt": model.decoder.prompt.detach()}, folder / "prompt.safetensors")

    fit(model, Prior(**config.get("prior", {})), settings, given.out, export)


if __name__ == "__main__":
    main()
