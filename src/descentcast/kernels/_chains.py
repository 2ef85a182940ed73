"""Linear algebra of absorbing chains without a subtraction: accurate in every entry, however nearly disconnected.

Solving `(I - P) x = b` with a general solver loses all digits once the chance to leave a set of states nears 1e-16. The
elimination of Grassmann, Taksar and Heyman (1985) never forms `1 - P_kk`: it adds up the ways out of state k instead,
so that each entry of the solution keeps its relative accuracy (O'Cinneide 1993).
"""

import numpy as np
from scipy.sparse.csgraph import connected_components

NEVER = 1e-200  # a smaller probability is one that never happens: keeps reciprocals of products finite


def proper(matrix: np.ndarray, overflow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and overflow without rounding's negative entries, together of row sum exactly 1.

    A kernel may be off by 1e-6 in a row; iterated or inverted, that would add up.
    """
    rows = np.hstack([matrix, overflow])
    rows = _normalised(np.where(rows < NEVER, 0.0, rows))
    return rows[:, :-2], rows[:, -2:]


def power(matrix: np.ndarray, overflow: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and overflow of k steps, the overflow absorbing; rows keep their sum of 1 however large k is."""
    n = len(matrix)
    base, result = np.eye(n + 2), np.eye(n + 2)
    base[:n, :n], base[:n, n:] = proper(matrix, overflow)
    while k:
        if k & 1:
            result = _normalised(result @ base)
        base, k = _normalised(base @ base), k >> 1
    return result[:n, :n], result[:n, n:]


def solve(inner: np.ndarray, leave: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return `x` of `(I - inner) x = right`, where row i of `inner` and `leave[i]` sum to 1.

    Args:
        inner: Probabilities within a set of states that are all left at last, shape (n, n). The diagonal is not read.
        leave: Probabilities of leaving the set, shape (n,), not negative.
        right: Right-hand sides, not negative, shape (n,) or (n, k).

    Returns:
        The solution, of the shape of `right`: expected sums of `right` over the visits before the set is left.
    """
    p, out, x = inner.copy(), leave.astype(np.float64), right.astype(np.float64)
    x = x[:, None] if right.ndim == 1 else x
    exits = np.empty(len(p))
    for k in range(len(p) - 1, -1, -1):
        exits[k] = max(p[k, :k].sum() + out[k], NEVER)
        share = p[:k, k] / exits[k]
        p[:k, :k] += np.outer(share, p[k, :k])
        out[:k] += share * out[k]
        x[:k] += np.outer(share, x[k])
    for k in range(len(p)):
        x[k] = (x[k] + p[k, :k] @ x[:k]) / exits[k]
    return x.reshape(right.shape)


def closed_classes(matrix: np.ndarray, leave: np.ndarray) -> list[np.ndarray]:
    """Return the communicating classes that are never left, each as an array of cell indices."""
    count, label = connected_components(matrix > 0, directed=True, connection="strong")
    onward = leave > 0
    np.logical_or(onward, ((matrix > 0) & (label[:, None] != label)).any(axis=1), out=onward)
    is_open = np.bincount(label, weights=onward, minlength=count) > 0
    return [np.flatnonzero(label == c) for c in np.flatnonzero(~is_open)]


def reaching(matrix: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return the mask of states from which a state of the mask `goal` can be reached, those of `goal` among them."""
    reached, links = goal.copy(), matrix > 0
    while True:
        grown = reached | links[:, reached].any(axis=1)
        if (grown == reached).all():
            return reached
        reached = grown


def _normalised(rows: np.ndarray) -> np.ndarray:
    return rows / rows.sum(axis=1, keepdims=True)
