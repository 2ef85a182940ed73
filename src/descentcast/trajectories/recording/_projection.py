"""Random projections of all weights at once, without a matrix over them."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from descentcast import _checks
from descentcast.trajectories.recording._host import HostArrays, on_host
from descentcast.trajectories.recording._state import HALF, Meter, State

BLOCK = 2**22  # Entries of a half-precision weight that are converted at a time.


@dataclass(frozen=True)
class Projection:
    """A seeded random projection of the parameters to a few coordinates.

    Each parameter is read as a matrix W, shape (m, n) (its first dimension, all others; a vector is one row), and

        p_k = K^(-1/2) * sum over parameters of r_k' W c_k,    k = 1..K,

    with random signs r_k (m) and c_k (n) of each parameter's own. So E |p|^2 is the squared norm of the parameters, and
    differences of iterates keep their squared lengths in expectation; the memory is K (m + n) signs a parameter, and a
    row costs one reading of the weights in the computer's memory, elsewhere one a coordinate. Signs that factor make
    single coordinates heavier-tailed than a dense Gaussian matrix does (kurtosis at most 9 instead of 3).

    The signs depend on the seed and the parameter's name alone: every device draws the same.

    Attributes:
        dimensions: The number of coordinates, columns `projection:0`, `projection:1`, ...
        seed: Which projection.
    """

    dimensions: int
    seed: int = 0

    def bind(self, state: State) -> Meter:
        """Return the meter of the projection."""
        count = _checks.integer("dimensions", self.dimensions, low=1)
        seed = _checks.integer("seed", self.seed, low=0)
        parts = [(p, *_signs(name, p, count, seed)) for name, p in state.parameters.items()]
        names = tuple(f"projection:{k}" for k in range(count))
        if on_host(tensors := list(state.parameters.values())):
            measure = _at_once(tensors, [[s.T.numpy() for s in signs] for _, *signs in parts])
            return Meter(names, measure, lambda measured: measured / np.sqrt(count), plain=True)

        def measure_each(_: State) -> list[torch.Tensor]:
            return [_project(p, left, right) for p, left, right in parts]

        def finish(measured: np.ndarray) -> np.ndarray:
            return measured.reshape(len(measured), -1, count).sum(axis=1) / np.sqrt(count)

        return Meter(names, measure_each, finish)


def _at_once(tensors: list[torch.Tensor], signs: list[list[np.ndarray]]) -> Callable[[State], list[float]]:
    """Return what projects all parameters in the computer's memory: a product of each with all its rows' signs."""
    arrays = HostArrays(tensors, lambda array: [array.reshape(array.shape[0] if array.ndim > 1 else 1, -1).T])
    left, right = [rows for rows, _ in signs], np.ascontiguousarray(np.concatenate([columns for _, columns in signs]))
    products = np.empty_like(right)  # Of all parameters, shape (columns in all, K).
    ends = np.cumsum([columns.shape[0] for _, columns in signs]).tolist()
    parts = [products[a:b] for a, b in pairwise([0, *ends])]

    def measure(_: State) -> list[float]:
        for array, rows, part in zip(arrays(), left, parts, strict=True):
            np.dot(array, rows, part)
        return np.einsum("nk,nk->k", products, right).tolist()

    return measure


def _signs(name: str, parameter: torch.Tensor, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the signs of rows, shape (count, m), and of columns, shape (count, n)."""
    rows, columns = _shape(parameter)
    draw = np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))
    signs = draw.integers(0, 2, (count, rows + columns), dtype=np.int8) * 2 - 1
    dtype = torch.float32 if parameter.dtype in HALF else parameter.dtype
    both = torch.as_tensor(signs).to(parameter.device, dtype)
    return both[:, :rows].contiguous(), both[:, rows:].contiguous()


def _shape(parameter: torch.Tensor) -> tuple[int, int]:
    return (parameter.shape[0], parameter[0].numel()) if parameter.ndim > 1 else (1, parameter.numel())


def _project(parameter: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return r_k' W c_k for each k.

    Matrix times vector, not matrix times matrix: for those, the precision that users set may be lower than single.
    """
    matrix = parameter.detach().reshape(_shape(parameter))
    if parameter.dtype not in HALF:
        return (torch.stack([matrix.mv(c) for c in right]) * left).sum(dim=1)
    rows = max(1, BLOCK // matrix.shape[1])
    blocks = zip(matrix.split(rows), left.split(rows, dim=1), strict=True)
    parts = [
        (torch.stack([single.mv(c) for c in right]) * r).sum(dim=1) for single, r in ((b.float(), r) for b, r in blocks)
    ]
    return torch.stack(parts).sum(dim=0)
