"""Refusing networks that cannot be branched, or whose answers this engine would get wrong."""

from typing import Any

import numpy as np
import torch

from descentcast.errors import ModelError
from descentcast.language_models._base import Forest


def check_attention(network: Any, name: str) -> None:
    """Refuse decoders whose past is not just keys and values."""
    config = network.config
    kinds: set[str] = set(getattr(config, "layer_types", None) or [])
    recurrent = getattr(network, "_is_stateful", False) or hasattr(config, "layers_block_type")
    if recurrent or kinds - {"full_attention", "sliding_attention"}:
        raise ModelError(
            f"{name}: a {config.model_type} model carries a recurrent or chunked state, which an attention mask cannot "
            "branch; take a decoder with full or sliding-window attention"
        )


@torch.inference_mode()
def check_answers(model: Any, name: str) -> None:
    """Refuse a model whose own answers are not what the restricted head and packed attention give."""
    network, separator = model._network, model.alphabet.separator
    texts = np.array([[1, separator, 2], [1, separator, 3]])
    begin = np.tile(model._begin, (2, 1))
    ids = torch.as_tensor(np.concatenate([begin, model._scheme.token_ids[texts]], axis=1), device=model.device)
    own = network(ids, use_cache=False).logits[:, -1, model._answers].float()
    ours = model._logits(network.base_model(ids, use_cache=False).last_hidden_state[:, -1], model._head[model._answers])
    error = float((own - ours).abs().max())
    if not error <= 1e-2 * (1 + float(own.abs().max())):
        raise ModelError(f"{name}: its output head scales logits in an unknown way (off by {error:.3g})")
    answers = model.log_probs(Forest(texts[0], *(np.array([value]) for value in (2, 3, 1, -1))))
    packed = np.exp(np.stack([answers.prompt[0], answers.nodes[0]]))
    error = float(np.abs(packed - np.exp(model._normalised(own))).max())
    if not error <= (1e-3 if model.dtype == torch.float32 else 1e-1):
        raise ModelError(f"{name}: its attention is not one that can be packed (probabilities off by {error:.3g})")
