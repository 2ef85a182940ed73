"""Piecewise-constant densities moved between grids and pooled on one."""

import numpy as np

from descentcast._types import Edges, Probabilities

# Log pooling needs no cell at exactly zero; a view that excludes a cell still vetoes it, to this density.
FLOOR = 1e-12
WEIGHTS = {"log": 1.0, "log 1.5": 1.5, "log 2": 2.0, "log 3": 3.0}
RULES = (*WEIGHTS, "linear", "identity")


def within(probs: Probabilities, edges: Edges, onto: Edges) -> Probabilities:
    """Move probabilities to a grid within theirs; what lies outside is given back to its cells in proportion."""
    inside, _ = regrid(probs, edges, onto)
    return inside / inside.sum(axis=-1, keepdims=True)


def regrid(probs: Probabilities, edges: Edges, onto: Edges) -> tuple[Probabilities, np.ndarray]:
    """Move probabilities of cells to another grid, uniform within each cell.

    The distribution function is interpolated linearly between edges, so mass is kept exactly.

    Args:
        probs: Shape (..., n) over the cells of `edges`.
        edges: Shape (n + 1,).
        onto: Shape (k + 1,).

    Returns:
        Probabilities over the cells of `onto`, shape (..., k), and the mass below and above them, shape (..., 2).

    Examples:
        >>> inside, outside = regrid(np.array([0.5, 0.5]), np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.0, 1.5]))
        >>> inside.tolist(), outside.tolist()
        ([0.25, 0.25], [0.25, 0.25])
    """
    if len(edges) == len(onto) and (edges == onto).all():
        return probs, np.zeros((*probs.shape[:-1], 2))
    cumulative = np.concatenate([np.zeros((*probs.shape[:-1], 1)), np.cumsum(probs, axis=-1)], axis=-1)
    cell = np.clip(np.searchsorted(edges, onto, side="right") - 1, 0, len(edges) - 2)
    share = np.clip((onto - edges[cell]) / (edges[cell + 1] - edges[cell]), 0.0, 1.0)
    at = cumulative[..., cell] * (1 - share) + cumulative[..., cell + 1] * share
    outside = np.stack([at[..., 0], cumulative[..., -1] - at[..., -1]], axis=-1)
    return np.maximum(np.diff(at, axis=-1), 0), np.maximum(outside, 0)


def pool(probs: Probabilities, rule: str) -> Probabilities:
    """Pool densities of several views, stacked on the first axis, on one grid.

    Args:
        probs: Shape (views, ..., n), each a distribution over the last axis.
        rule: One of `RULES`. "log": the normalised geometric mean. "log 1.5", "log 2", "log 3": the same with a total
            weight above 1, `p proportional to (product over V views of p_v)^(w / V)` (a generalised logarithmic pool,
            for densities that are too flat). "linear": the mean, the rule for discrete laws, whose atoms a geometric
            mean of views that do not coincide destroys. "identity": the first view alone.

    Returns:
        Shape (..., n), distributions.

    Examples:
        >>> views = np.array([[0.5, 0.5], [0.8, 0.2]])
        >>> pool(views, "linear").round(2).tolist(), pool(views, "log").round(2).tolist()
        ([0.65, 0.35], [0.67, 0.33])
    """
    if rule == "identity":
        return probs[0]
    if rule == "linear":
        return probs.mean(axis=0)
    return log_pool(floored_logs(probs), rule)


def floored_logs(probs: Probabilities) -> np.ndarray:
    """Return the logarithms that log pools average: most of their cost, and the same for every choice of views."""
    return np.log(np.maximum(probs, FLOOR))


def log_pool(logs: np.ndarray, rule: str) -> Probabilities:
    """Pool densities by one of the rules in `WEIGHTS`, given their `floored_logs`, shape (views, ..., n)."""
    mean = WEIGHTS[rule] * logs.mean(axis=0)
    weights = np.exp(mean - mean.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
