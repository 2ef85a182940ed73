"""What the machine can do, and how many operations a model executes: matrix products, counted as they are called."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from unittest.mock import patch

import torch

from descentcast.language_models import _attention
from descentcast.language_models._linear import Linear, packed, product
from descentcast.language_models._transformers import TransformersModel

SIZE, REPEATS = 2048, 7


def rates() -> dict[str, float]:
    """Return the best rate of square matrix products of this size, operations a second, by precision.

    The faster of two ways counts: torch's product, and the one that linear layers are computed with.
    """
    one, two = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    halves = one.bfloat16(), two.bfloat16()
    products: dict[str, list[Callable[[], Any]]] = {
        "float32": [lambda: one @ two],
        "bfloat16": [lambda: halves[0] @ halves[1]],
    }
    for name, (left, right) in {"float32": (one, two), "bfloat16": halves}.items():
        laid_out = packed(right)
        products[name].append(lambda left=left, laid_out=laid_out: product(left, laid_out, None))
    with torch.inference_mode():
        return {
            name: 2 * SIZE**3 / min(_seconds(run) for run in runs for _ in range(REPEATS))
            for name, runs in products.items()
        }


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


@dataclass
class Executed:
    """Counts what a model executes while it is entered: multiplications and additions of matrix products.

    Attributes:
        model: The model.
        tokens: Tokens that went through the layers.
        layers: Operations of linear layers in float32.
        halves: Those in bfloat16.
        attention: Operations of attention, scores and values; of a causal square, half.
        head: Operations of the output head.
    """

    model: TransformersModel
    tokens: int = 0
    layers: float = 0.0
    halves: float = 0.0
    attention: float = 0.0
    head: float = 0.0

    @property
    def total(self) -> float:
        """All operations."""
        return self.layers + self.halves + self.attention + self.head

    def __enter__(self) -> Self:
        network = self.model._network.base_model
        self._hooks = [
            module.register_forward_pre_hook(self._linear)
            for module in network.modules()
            if isinstance(module, torch.nn.Linear | Linear)
        ]
        self._hooks.append(network.get_input_embeddings().register_forward_pre_hook(self._embedding))
        attend, logits = _attention.attend, self.model._logits

        def counted(queries, keys, values, scale, mask=None, causal=False):
            groups, per, count, size = queries.shape
            pairs = count * (count + 1) / 2 if causal else count * keys.shape[1]
            self.attention += 4 * groups * per * pairs * size
            return attend(queries, keys, values, scale, mask, causal)

        def headed(hidden, head):
            self.head += 2 * hidden.shape[0] * head.numel()
            return logits(hidden, head)

        self._patches = [
            patch.object(_attention, "attend", counted),
            patch.object(self.model, "_logits", headed, create=True),
        ]
        for each in self._patches:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        for each in self._patches:
            each.stop()

    def _linear(self, module: Any, inputs: tuple[torch.Tensor]) -> None:
        operations = 2 * inputs[0].numel() * module.out_features
        if inputs[0].dtype != torch.float32 or getattr(getattr(module, "_precisions", None), "half", False):
            self.halves += operations
        else:
            self.layers += operations

    def _embedding(self, _: Any, inputs: tuple[torch.Tensor]) -> None:
        self.tokens += inputs[0].numel()
