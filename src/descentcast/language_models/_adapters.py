"""Low-rank adapters: found, bound to the base weights they were trained on, and merged into them.

An adapter is a folder as peft writes it (`adapter_config.json`, `adapter_model.safetensors`) with a `card.json` that
says which weights it is for. Merged, it costs nothing at run time: W + (alpha / r) B A.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from descentcast.errors import ModelError

SAMPLED = 1024
WEIGHTS, CONFIG, CARD = "adapter_model.safetensors", "adapter_config.json", "card.json"
# What peft can do that a plain merge does not.
PLAIN = {"use_dora": False, "use_rslora": False, "bias": "none", "modules_to_save": None, "fan_in_fan_out": False}


@torch.no_grad()
def weights_fingerprint(network: torch.nn.Module) -> str:
    """Return a hash of a network's weights: names, shapes and about a thousand entries of each, rounded to bfloat16.

    The same weights have the same fingerprint in float32 and bfloat16, in whatever files they came; fine-tuned weights
    have another one, as training moves nearly every entry.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}\n".encode())
        flat = weight.flatten()
        sample = flat[:: max(1, flat.numel() // SAMPLED)].to(torch.bfloat16)
        digest.update(sample.contiguous().view(torch.int16).cpu().numpy().tobytes())
    return digest.hexdigest()


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of an adapter.

    Raises:
        ModelError: The folder holds no adapter, or no card that says which weights it is for.
    """
    lacking = [file for file in (CONFIG, WEIGHTS, CARD) if not (folder / file).is_file()]
    if lacking:
        raise ModelError(f"adapter {str(folder)!r}: the folder holds no {lacking[0]}")
    card = _json(folder / CARD)
    if not isinstance(card.get("base_fingerprint"), str) or not isinstance(card.get("base"), str):
        raise ModelError(f"adapter {str(folder)!r}: card.json must name 'base' and 'base_fingerprint'")
    return card


@torch.no_grad()
def merge_adapter(network: torch.nn.Module, folder: Path, base: str) -> str:
    """Merge the adapter in `folder` into `network`, in place; return a hash of the adapter's files.

    Args:
        network: The base model.
        folder: The adapter.
        base: What the base is called, for errors.

    Raises:
        ModelError: The adapter was trained on other weights, or is not a plain LoRA of linear layers.
    """
    card, config = read_card(folder), _json(folder / CONFIG)
    given = weights_fingerprint(network)
    if card["base_fingerprint"] != given:
        raise ModelError(
            f"adapter {folder.name!r} was trained on {card['base']} ({card['base_fingerprint'][:12]}), not on {base} "
            f"({given[:12]}): load {card['base']}, train one for {base} (training/NOTES.md), or take adapter=None"
        )
    for key, plain in PLAIN.items():
        if config.get(key, plain) != plain:
            raise ModelError(f"adapter {folder.name!r}: {key} == {config[key]!r}, must be {plain!r}")
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        raise ModelError(f"adapter {folder.name!r}: ranks that differ between layers cannot be merged")
    try:
        matrices = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"adapter {folder.name!r}: {WEIGHTS} cannot be read: {error}") from error
    for key in ("lora_alpha", "r"):
        if not isinstance(config.get(key), int | float) or not config[key]:
            raise ModelError(f"adapter {folder.name!r}: {key} == {config.get(key)!r}, must be a number")
    scale = config["lora_alpha"] / config["r"]
    modules = dict(network.named_modules())
    for key in sorted(k for k in matrices if k.endswith(".lora_A.weight")):
        name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        down, up = matrices.pop(key).float(), matrices.pop(key.replace(".lora_A.", ".lora_B."), None)
        weight = getattr(modules.get(name), "weight", None)
        if up is None or weight is None or weight.shape != (up.shape[0], down.shape[1]):
            raise ModelError(f"adapter {folder.name!r}: {name} does not fit {base}")
        weight.copy_(weight.float() + scale * (up.float() @ down).to(weight.device))
    if matrices:
        raise ModelError(f"adapter {folder.name!r}: {sorted(matrices)[0]} cannot be merged")
    return hashlib.sha256((folder / WEIGHTS).read_bytes() + (folder / CONFIG).read_bytes()).hexdigest()


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: must hold an object")
    return content
