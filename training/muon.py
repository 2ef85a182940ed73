"""Muon: momentum whose matrices are orthogonalised before each step (Jordan et al. 2024), in float32.

torch.optim.Muon orthogonalises in bfloat16, which processors without bfloat16 arithmetic emulate: on such a one it
costs more than the gradient. Updates are scaled to the size of AdamW's (Liu et al., arXiv 2502.16982), so that one
learning rate serves both.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Muon for matrices: W <- (1 - lr wd) W - lr 0.2 sqrt(max(m, n)) U V', where U S V' is the momentum's SVD."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[Any, list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for shape, matrices in by_shape.items():
                directions = orthogonalised(torch.stack([self._direction(p, group["momentum"]) for p in matrices]))
                size = group["lr"] * 0.2 * max(shape) ** 0.5
                for p, direction in zip(matrices, directions, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction, alpha=size)

    def _direction(self, p: nn.Parameter, momentum: float) -> Tensor:
        """Return the Nesterov direction after taking the gradient into the momentum."""
        assert p.grad is not None
        mean = self.state[p].setdefault("mean", torch.zeros_like(p))
        mean.lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(mean, momentum)


def orthogonalised(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Return about U V' of each matrix U S V', shape (count, m, n): singular values end up between 0.7 and 1.2.

    Five quintic Newton-Schulz iterations X <- a X + (b A + c A^2) X, A = X X', from X of Frobenius norm 1.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.mT
