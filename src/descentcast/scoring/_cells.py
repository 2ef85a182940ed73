"""Laws on cells: checked, with the mass beyond the grid in cells of its own, and their distribution function."""

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import Edges, Probabilities
from descentcast.errors import ArgumentError


def law(probs: ArrayLike, edges: ArrayLike, name: str = "probs") -> tuple[Probabilities, Edges]:
    """Return probabilities, and edges with one edge more than them: the grid's, extended where there is overflow."""
    p, e = _checks.distributions(name, probs), _checks.edges("edges", edges)
    n = len(e) - 1
    if p.shape[-1] == n:
        return p, e
    if p.shape[-1] == n + 2:
        return p, np.concatenate([[2 * e[0] - e[1]], e, [2 * e[-1] - e[-2]]])
    raise ArgumentError(
        f"{name} has {p.shape[-1]} entries in the last axis, must have {n} cells or {n + 2} with overflow"
    )


def at_edges(probs: Probabilities) -> Probabilities:
    """Return the distribution function at every edge, 0 at the first and 1 at the last: shape (..., n + 1)."""
    total = np.cumsum(np.clip(probs, 0, None), axis=-1)
    return np.concatenate([np.zeros_like(total[..., :1]), total / total[..., -1:]], axis=-1)


def paired(name: str, value: ArrayLike, probs: Probabilities) -> np.ndarray:
    """Return observed values, finite and of a shape that broadcasts with the leading axes of `probs`."""
    observed = _checks.finite(name, _checks.numeric(name, value))
    try:
        np.broadcast_shapes(observed.shape, probs.shape[:-1])
    except ValueError:
        raise ArgumentError(
            f"{name} has shape {observed.shape}, must broadcast with the leading shape {probs.shape[:-1]} of probs"
        ) from None
    return observed


def cells_of_law(observed: np.ndarray, edges: Edges, own: ArrayLike) -> np.ndarray:
    """Return the cell of each value on the edges that `law` returns; the last cell of the grid `own` holds its end."""
    end = np.asarray(own, dtype=np.float64)[-1]
    return np.where(observed == end, np.searchsorted(edges, end) - 1, cells_of(observed, edges))


def cells_of(observed: np.ndarray, edges: Edges) -> np.ndarray:
    """Return the cell of each value, -1 below and n above; the last cell includes its right edge."""
    cell = np.searchsorted(edges, observed, side="right") - 1
    return np.where(observed == edges[-1], len(edges) - 2, cell)


def take(array: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return `array[..., cell]`, leading axes broadcast against the shape of `cell`."""
    shape = np.broadcast_shapes(array.shape[:-1], cell.shape)
    full = np.broadcast_to(array, (*shape, array.shape[-1]))
    return np.take_along_axis(full, np.broadcast_to(cell, shape)[..., None], axis=-1)[..., 0]
