"""Linear layers in two precisions, their weights laid out as the processor's matrix product wants them.

oneDNN lays a weight out anew at every call, unless it has been laid out before: then its product takes two thirds of
the time for a few rows, and 5 to 20 % less for many.
"""

from typing import Any

import torch

# Rows that the layout is chosen for; it is good for one as for a thousand.
ROWS = 256


class TwoPrecisions:
    """Switches the linear layers of a network between float32 and bfloat16; everything else stays in float32.

    Args:
        network: On a processor and in float32; its linear layers are replaced.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self.half = False
        self._layers: list[Linear] = []
        for module in list(network.modules()):
            for name, layer in list(module.named_children()):
                if isinstance(layer, torch.nn.Linear):
                    self._layers.append(Linear(layer, self))
                    setattr(module, name, self._layers[-1])

    @property
    def largest(self) -> tuple[int, int]:
        """Shape of the largest weight."""
        shapes = [(layer.out_features, layer.in_features) for layer in self._layers]
        return max(shapes, key=lambda shape: shape[0] * shape[1])

    def drop(self) -> None:
        """Free what bfloat16 takes."""
        for layer in self._layers:
            layer.drop()


class Linear(torch.nn.Module):
    """A linear layer whose weight is kept laid out, in float32, and in bfloat16 once that has been asked for.

    Args:
        layer: What it stands for.
        precisions: Says which precision is wanted.
    """

    def __init__(self, layer: torch.nn.Linear, precisions: TwoPrecisions) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, layer.bias
        self._precisions = precisions
        self._packed = packed(layer.weight.detach())
        self._half: tuple[torch.Tensor, torch.Tensor | None] | None = None

    @property
    def weight(self) -> torch.Tensor:
        """The weight, shape (out, in), copied out of its layout."""
        return self._packed.to_dense() if self._packed.is_mkldnn else self._packed

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return inputs W^T + b."""
        if not self._precisions.half:
            return product(inputs, self._packed, self.bias)
        if self._half is None:  # only where it is used does it take memory
            self._half = (packed(self.weight.bfloat16()), None if self.bias is None else self.bias.bfloat16())
        return product(inputs.bfloat16(), *self._half).float()

    def drop(self) -> None:
        """Free what bfloat16 takes."""
        self._half = None

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.weight


def packed(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight laid out for `product`, or as it is where torch does not come with oneDNN's products."""
    return torch.ops.mkldnn._reorder_linear_weight(weight, ROWS) if ONEDNN else weight


def product(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return inputs W^T + b for a weight that was `packed`."""
    if weight.is_mkldnn:
        return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return torch.nn.functional.linear(inputs, weight, bias)


def _works() -> bool:
    """Return whether torch has these operators, as they are called here."""
    try:
        weight, inputs = torch.arange(6.0).reshape(2, 3), torch.ones(1, 3)
        laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        found = torch.ops.mkldnn._linear_pointwise(inputs, laid_out, None, "none", [], "")
        return torch.equal(laid_out.to_dense(), weight) and torch.equal(found, inputs @ weight.T)
    except (AttributeError, RuntimeError, TypeError):
        return False


ONEDNN = torch.backends.mkldnn.is_available() and _works()
