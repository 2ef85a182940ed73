"""Parameters in the computer's memory as NumPy arrays: where a step is short, torch's calls cost more than the sums.

A call of torch's takes two to four microseconds whatever it computes, one of NumPy's less than one. NumPy's products
are also those of its BLAS, in full precision, whatever `torch.set_float32_matmul_precision` says.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

NAMES = {torch.float32: np.float32, torch.float64: np.float64}
MOST_PLACES = 16  # of one gradient in memory, that arrays are kept over
BLOCK = 2**16  # Entries summed at a time: blocks stay in the cache, and what is added up in single precision is short.


class HostArrays:
    """Views of parameters as arrays, made anew where a parameter was given other memory.

    Args:
        tensors: Parameters for which `on_host` holds.
        cut: From the array of one parameter to the arrays wanted of it, views all.
    """

    def __init__(self, tensors: Sequence[torch.Tensor], cut: Callable[[np.ndarray], list[np.ndarray]]) -> None:
        self._tensors, self._cut = tensors, cut
        self._places: list[int] = []
        self._arrays: list[np.ndarray] = []

    def __call__(self) -> list[np.ndarray]:
        """Return the arrays, over the memory where the parameters are now."""
        places = [t.data_ptr() for t in self._tensors]
        if places != self._places:
            whole = [t.detach().cpu().numpy() for t in self._tensors]
            self._arrays = [array for one in whole for array in self._cut(one)]
            self._places = places if on_host(self._tensors) else []  # What had to be copied is copied each time.
        return self._arrays


class HostGradients:
    """The gradients of parameters as flat blocks.

    Gradients are new tensors in every step, but torch gives them the memory of those before them: arrays over it are
    kept by its address, and looked at only while a gradient is there.

    Args:
        tensors: Parameters for which `on_host` holds.
    """

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._kind = tensors[0].dtype
        self._parts: list[tuple[torch.Tensor, dict[int, list[np.ndarray]]]] = [(t, {}) for t in tensors if t.numel()]

    def __call__(self) -> list[np.ndarray] | None:
        """Return the gradients there are, None where one is not a plain array like its parameter."""
        found, kind = [], self._kind
        for tensor, known in self._parts:
            gradient = tensor.grad
            if gradient is None:
                continue
            if gradient.dtype is not kind or not gradient.is_cpu or gradient.layout is not torch.strided:
                return None
            if gradient.requires_grad or not gradient.is_contiguous():
                return None
            at = gradient.data_ptr()
            if at not in known:
                if len(known) >= MOST_PLACES:
                    known.clear()
                known[at] = blocks(_array_at(at, gradient))
            found += known[at]
        return found


def _array_at(address: int, tensor: torch.Tensor) -> np.ndarray:
    """Return an array over the memory of a contiguous tensor that does not keep it."""
    raw: Any = (ctypes.c_char * (tensor.numel() * tensor.element_size())).from_address(address)
    return np.frombuffer(raw, dtype=NAMES[tensor.dtype])


def on_host(tensors: Sequence[torch.Tensor]) -> bool:
    """Return whether all tensors are plain arrays of one precision, single or double, in the computer's memory."""
    first = tensors[0].dtype
    return first in NAMES and all(
        t.is_cpu and t.dtype == first and t.layout == torch.strided and t.is_contiguous() for t in tensors
    )


def blocks(array: np.ndarray) -> list[np.ndarray]:
    """Return an array as flat blocks."""
    flat = array.reshape(-1)
    return [flat[at : at + BLOCK] for at in range(0, flat.size, BLOCK)]


def norm(arrays: Sequence[np.ndarray]) -> float:
    """Return the Euclidean norm of all flat arrays together; sums of blocks are added in double precision."""
    return sum([float(a.dot(a)) for a in arrays]) ** 0.5


def distance(arrays: Sequence[np.ndarray], starts: Sequence[np.ndarray], scratch: Sequence[np.ndarray]) -> float:
    """Return the Euclidean distance of all flat arrays together from as many others; differences go to `scratch`."""
    found = 0.0
    for a, start, difference in zip(arrays, starts, scratch, strict=True):
        np.subtract(a, start, difference)
        found += float(difference.dot(difference))
    return found**0.5
