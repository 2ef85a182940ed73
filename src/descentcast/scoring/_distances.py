"""Distances between two laws on the same cells."""

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import Probabilities
from descentcast.errors import ArgumentError
from descentcast.scoring._cells import at_edges, law


def bhattacharyya(p: ArrayLike, q: ArrayLike) -> np.ndarray:
    """Bhattacharyya distance `-log sum_j sqrt(p_j q_j)`, in [0, inf].

    The paper's measure of a learnt kernel. It explodes on laws that hardly overlap, as atoms one cell apart do:
    read it beside `hellinger` and `wasserstein1`.

    Args:
        p: Probabilities, shape (..., n).
        q: Probabilities, shape (..., n).

    Returns:
        The distance, of the common leading shape.

    Raises:
        ArgumentError: Shapes that do not fit, entries that are not probabilities.

    References:
        Bhattacharyya (1943), On a measure of divergence between two statistical populations, Bull. Calcutta Math.
        Soc. 35.

    Examples:
        >>> float(bhattacharyya([0.5, 0.5], [0.5, 0.5]).round(6)), float(bhattacharyya([1, 0], [0, 1]))
        (0.0, inf)
    """
    with np.errstate(divide="ignore"):
        return np.maximum(-np.log(_affinity(p, q)), 0.0)


def hellinger(p: ArrayLike, q: ArrayLike, *, squared: bool = False) -> np.ndarray:
    """Hellinger distance `sqrt(1 - sum_j sqrt(p_j q_j))`, in [0, 1]; its square where `squared`.

    Args:
        p: Probabilities, shape (..., n).
        q: Probabilities, shape (..., n).
        squared: Return the square, `1 - exp(-bhattacharyya)`.

    Returns:
        The distance, of the common leading shape.

    Raises:
        ArgumentError: Shapes that do not fit, entries that are not probabilities.

    Examples:
        >>> float(hellinger([1, 0], [0.64, 0.36], squared=True).round(6))
        0.2
    """
    p, q = _two(p, q)
    # Half the squared difference of square roots, not 1 - affinity: exact where p and q are close.
    square = 0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(axis=-1)
    return square if squared else np.sqrt(square)


def total_variation(p: ArrayLike, q: ArrayLike) -> np.ndarray:
    """Total variation `1/2 sum_j |p_j - q_j|`, in [0, 1]: the largest difference in the probability of any event.

    Args:
        p: Probabilities, shape (..., n).
        q: Probabilities, shape (..., n).

    Returns:
        The distance, of the common leading shape.

    Raises:
        ArgumentError: Shapes that do not fit, entries that are not probabilities.

    Examples:
        >>> float(total_variation([0.5, 0.5, 0.0], [0.5, 0.25, 0.25]))
        0.25
    """
    p, q = _two(p, q)
    return 0.5 * np.abs(p - q).sum(axis=-1)


def wasserstein1(p: ArrayLike, q: ArrayLike, edges: ArrayLike) -> np.ndarray:
    """Wasserstein-1 distance between piecewise-constant laws, exact: `integral of |F(x) - G(x)| dx`.

    Within a cell F - G is linear, from d to d': it adds `w |d + d'| / 2` where the sign stays, and
    `w (d^2 + d'^2) / (2 (|d| + |d'|))` where it changes.

    Args:
        p: Probabilities of the cells, shape (..., n), or (..., n + 2) with the mass below and above the grid.
        q: The same.
        edges: Cell edges, shape (n + 1,).

    Returns:
        The distance in the unit of the coordinate, of the common leading shape.

    Raises:
        ArgumentError: Shapes that do not fit, entries that are not probabilities.

    Examples:
        >>> float(wasserstein1([1, 0, 0], [0, 0, 1], [0, 1, 2, 3]))
        2.0
    """
    p, e = law(p, edges, "p")
    q, _ = law(q, edges, "q")
    p, q = _two(p, q)
    d = at_edges(p) - at_edges(q)
    first, second = d[..., :-1], d[..., 1:]
    size = np.abs(first) + np.abs(second)
    crossing = (first**2 + second**2) / np.where(size > 0, size, 1.0)
    area = 0.5 * np.where(first * second >= 0, size, crossing)
    return (np.diff(e) * area).sum(axis=-1)


def _two(p: ArrayLike, q: ArrayLike) -> tuple[Probabilities, Probabilities]:
    first, second = (np.clip(_checks.distributions(name, v), 0, None) for name, v in (("p", p), ("q", q)))
    if first.shape[-1] != second.shape[-1]:
        raise ArgumentError(f"q has {second.shape[-1]} cells, must have the {first.shape[-1]} of p")
    try:
        np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise ArgumentError(f"q has shape {second.shape}, must broadcast with the shape {first.shape} of p") from None
    return first, second


def _affinity(p: ArrayLike, q: ArrayLike) -> np.ndarray:
    p, q = _two(p, q)
    return np.sqrt(p * q).sum(axis=-1)
