"""Forest against one branch a forward: the same densities, side by side in one run.

    python benchmarks/forest.py [--values 60] [--model smollm2-135m] [--json]

The baseline is the public reference's way: the prompt is read once into a cache, then each branch is one forward pass
of one token against a copy of that cache, cut to its prefix. Both read all ten branches of the first digit at every
step (two digits), in float32. Set OMP_NUM_THREADS to the number of cores.
"""

import argparse
import copy
import json
import time

import numpy as np
import torch
from transformers import DynamicCache

from descentcast.densities import lay_out
from descentcast.encoding import View
from descentcast.language_models import Alphabet, Forest, load_model


def build(values: int) -> Forest:
    """Return the forest of a two-digit tree at every step of an AR(1) run."""
    rng = np.random.default_rng(0)
    x = np.zeros(values)
    for t in range(1, values):
        x[t] = 0.8 * x[t - 1] + rng.normal()
    context = lay_out([x], View(x.min() - 0.1, x.max() + 0.1, 2), Alphabet(1))
    inner = [p for p, chain in zip(context.points.prefix, context.points.chains, strict=True) if not chain]
    prefix = np.repeat(inner, 10)
    return Forest(context.prompt, np.array(inner), np.tile(np.arange(10), len(inner)), prefix, np.full(len(prefix), -1))


@torch.inference_mode()
def branch_by_branch(model, forest: Forest) -> np.ndarray:
    """Answer every branch with one cached forward pass of one token."""
    begin = list(model._scheme.begin)
    ids = torch.as_tensor([[*begin, *model._scheme.token_ids[forest.prompt]]])
    cache = DynamicCache()
    model._network(ids, cache=cache, use_cache=True, logits_to_keep=1)
    answers = torch.as_tensor(model._scheme.token_ids)
    out = []
    for symbol, prefix in zip(forest.symbols, forest.prefix, strict=True):
        branch = copy.deepcopy(cache)
        branch.crop(-(len(forest.prompt) - 1 - int(prefix)) or 0)
        token = torch.as_tensor([[model._scheme.token_ids[symbol]]])
        logits = model._network(token, cache=branch, use_cache=True).logits[0, -1]
        out.append(logits[answers].double().log_softmax(-1).numpy())
    return np.array(out)


def main() -> None:
    """Time both, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=60)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    model = load_model(arguments.model, dtype="float32", device="cpu", adapter=None)
    forest = build(arguments.values)
    model.log_probs(build(5))  # the first pass of a process pays for starting threads
    started = time.perf_counter()
    packed = model.log_probs(forest).nodes
    packed_seconds = time.perf_counter() - started
    started = time.perf_counter()
    single = branch_by_branch(model, forest)
    single_seconds = time.perf_counter() - started
    result = {
        "model": arguments.model,
        "values": arguments.values,
        "tokens": len(forest.prompt) + len(forest.symbols),
        "threads": torch.get_num_threads(),
        "forest_seconds": round(packed_seconds, 2),
        "branch_by_branch_seconds": round(single_seconds, 2),
        "times_faster": round(single_seconds / packed_seconds, 1),
        "largest_difference_in_probability": float(np.abs(np.exp(packed) - np.exp(single)).max()),
    }
    print(json.dumps(result) if arguments.json else "\n".join(f"{k:36} {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
