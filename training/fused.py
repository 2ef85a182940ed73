"""The same networks with fewer and larger operations: on an accelerator small ones cost as much as large ones.

transformers normalises in eight operations, and peft adds a low-rank product to every linear layer in a dozen.
"""

from types import MethodType

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm


def fuse(network: nn.Module) -> None:
    """Replace, in place, what the norms and the adapted linear layers of `network` do, by operations that equal it."""
    for module in network.modules():
        if isinstance(module, LlamaRMSNorm):
            module.forward = MethodType(_norm, module)
        if isinstance(module, LoraLinear):
            module.forward = MethodType(_linear, module)


def _norm(self: LlamaRMSNorm, x: Tensor) -> Tensor:
    out = nn.functional.rms_norm(x, self.weight.shape, self.weight, self.variance_epsilon)
    # What follows is a product: rounded once here, not once a product.
    return out.to(torch.get_autocast_dtype(x.device.type)) if torch.is_autocast_enabled(x.device.type) else out


def _linear(self: LoraLinear, x: Tensor) -> Tensor:
    """Return x (W + s B A)^T: the sum of weights is small beside the values of thousands of symbols."""
    (name,) = self.active_adapters
    low_rank = self.lora_B[name].weight @ self.lora_A[name].weight
    weight = self.base_layer.weight + (self.scaling[name] * low_rank).to(self.base_layer.weight.dtype)
    return nn.functional.linear(x, weight, self.base_layer.bias)
