"""What an observable may look at, and what it becomes once training starts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch

from descentcast.errors import ArgumentError

Measured: TypeAlias = float | torch.Tensor | Sequence[float] | Sequence[torch.Tensor]


def unchanged(values: np.ndarray) -> np.ndarray:
    """Return the values."""
    return values


@dataclass
class State:
    """Where training is, at the moment of an observation.

    Attributes:
        step: Optimizer steps taken so far: the step of the row that is being recorded.
        model: The model, as it was given.
        optimizer: The optimizer, as it was given.
        parameters: The tensors that the optimizer moves, by name. Look, don't touch.
        heard: The loss whose gradient the step takes, where it is known: a number, or a scalar on its device.
    """

    step: int
    model: Any
    optimizer: Any
    parameters: Mapping[str, torch.Tensor]
    heard: float | torch.Tensor | None = None

    @property
    def scale(self) -> torch.Tensor | None:
        """What the gradients are to be divided by, where an optimizer unscales them itself."""
        return getattr(self.optimizer, "grad_scale", None)

    @property
    def loss(self) -> torch.Tensor | None:
        """The loss whose gradient the step takes, a detached scalar; None before `backward` was called."""
        heard = self.heard
        return heard if heard is None or isinstance(heard, torch.Tensor) else torch.tensor(heard, dtype=torch.float64)

    @property
    def gradients(self) -> list[torch.Tensor]:
        """The gradients there are, in the order of the parameters; of sparse ones the stored entries."""
        found = [p.grad for p in self.parameters.values() if p.grad is not None]
        return [g.coalesce().values() if g.is_sparse else g for g in found]


@dataclass(frozen=True)
class Meter:
    """An observable bound to one training.

    Attributes:
        names: The names of its columns.
        measure: From the state to numbers or tensors, always equally many. Tensors stay where they are until a chunk is
            written, so that recording does not wait for a device.
        finish: From what was measured, shape (rows, numbers), to the columns, shape (rows, names).
        moment: `"parameters"`: measured before a step; `"gradients"`: once the gradients of the step are there.
        every: Measured at every so many-th recorded step.
        plain: Whether measuring takes no operation of torch, so that autograd need not be told.
    """

    names: tuple[str, ...]
    measure: Callable[[State], Measured | None]
    finish: Callable[[np.ndarray], np.ndarray] = unchanged
    moment: Literal["parameters", "gradients"] = "parameters"
    every: int = 1
    plain: bool = False


@runtime_checkable
class Observable(Protocol):
    """Something that can be recorded of a training."""

    def bind(self, state: State) -> Meter:
        """Return the meter for the training that is about to start in `state`."""
        ...


HALF = (torch.float16, torch.bfloat16)


def norms(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the Euclidean norm of each tensor, at least in single precision, without leaving the device."""
    if not tensors:
        return []
    half = [t.dtype in HALF for t in tensors]
    if not any(half):
        return list(torch._foreach_norm(list(tensors)))  # pyright: ignore[reportPrivateImportUsage]
    few = [t for t, h in zip(tensors, half, strict=True) if h]
    low = iter(torch._foreach_norm(few, 2, torch.float32))  # pyright: ignore[reportPrivateImportUsage]
    high = iter(norms([t for t, h in zip(tensors, half, strict=True) if not h]))
    return [next(low if h else high) for h in half]


def total(values: np.ndarray) -> np.ndarray:
    """Return the norm of all from the norms of the parts: shape (rows, parts) to (rows, 1)."""
    return np.linalg.norm(values, axis=1, keepdims=True)


def named_parameters(model: torch.nn.Module, groups: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Return the tensors of an optimizer's groups by the names that the model gives them.

    Raises:
        ArgumentError: No tensor at all, or one that is spread over several processes.
    """
    names = {id(p): name.removeprefix("_orig_mod.") for name, p in model.named_parameters(remove_duplicate=False)}
    found = {
        names.get(id(p), f"group{g}.{i}"): p for g, group in enumerate(groups) for i, p in enumerate(group["params"])
    }
    if not found:
        raise ArgumentError("optimizer holds no parameters")
    for name, p in found.items():
        if hasattr(p, "device_mesh"):
            raise ArgumentError(f"parameter {name!r} is spread over several processes, which is not recorded")
    return found
