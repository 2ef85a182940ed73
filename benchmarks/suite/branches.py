"""The public reference's way to read densities: the prompt once into a cache, then one forward pass a branch."""

import time

import numpy as np
import torch
from transformers import DynamicCache

from descentcast.language_models import Forest
from descentcast.language_models._packing import lineage
from descentcast.language_models._transformers import TransformersModel


@torch.inference_mode()
def one_by_one(model: TransformersModel, forest: Forest, nodes: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Answer some nodes, each by a forward pass of its one token against a cache that holds all before it.

    Args:
        model: The model.
        forest: The forest.
        nodes: Which nodes.

    Returns:
        Seconds of the prompt's pass, seconds a node, and probabilities, shape (nodes, A). The cache of what a node
        follows is cut from the prompt's without a copy and is not timed, nor are its ancestors.
    """
    begin, ids = list(model._scheme.begin), model._scheme.token_ids
    answers = torch.as_tensor(ids)
    started = time.perf_counter()
    cache = DynamicCache()
    model._network(torch.as_tensor([[*begin, *ids[forest.prompt]]]), cache=cache, use_cache=True, logits_to_keep=1)
    prompt_seconds = time.perf_counter() - started
    paths, seconds, out = lineage(forest.parents), 0.0, []
    for node in nodes:
        branch, length = DynamicCache(), len(begin) + int(forest.prefix[node]) + 1
        for i, layer in enumerate(cache.layers):
            branch.update(layer.keys[:, :, :length], layer.values[:, :, :length], i)
        above = [n for n in paths[node] if n >= 0][:-1]
        if above:
            model._network(torch.as_tensor(ids[forest.symbols[above]])[None], cache=branch, use_cache=True)
        token = torch.as_tensor([[ids[forest.symbols[node]]]])
        started = time.perf_counter()
        logits = model._network(token, cache=branch, use_cache=True).logits[0, -1]
        law = model._normalised(logits[answers][None].float())[0]
        seconds += time.perf_counter() - started
        out.append(np.exp(law))
    return prompt_seconds, seconds / len(nodes), np.array(out)
