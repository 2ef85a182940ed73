"""Proper scores of one-step densities: the log score and the CRPS, both as losses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from descentcast._types import Probabilities
from descentcast.errors import ArgumentError
from descentcast.scoring._cells import at_edges, cells_of_law, law, paired, take


def log_score(probs: ArrayLike, edges: ArrayLike, observed: ArrayLike) -> np.ndarray:
    """Score densities by the negative logarithm of the density at what was observed.

    The score is `-log(probs[c] / width[c])`, with c the cell of the observed value: a loss in nats, lower is better
    (the sign convention of `scoringrules.logs_*`). It depends on the unit of the coordinate, so only differences on the
    same coordinate mean something; they do not depend on the grid where densities are resolved by it.

    Args:
        probs: Probabilities of the cells, shape (..., n), or (..., n + 2) with the mass below and above the grid.
        edges: Cell edges, shape (n + 1,).
        observed: What was observed, a shape that broadcasts with the leading axes of `probs`.

    Returns:
        The losses, of the common leading shape; infinite where the observed cell has no mass. A value beyond the
        grid is scored on the overflow mass, taken over the width of the outermost cell; infinite without it.

    Raises:
        ArgumentError: Shapes that do not fit, entries that are not probabilities.

    References:
        Good (1952), Rational decisions, J. R. Stat. Soc. B 14; Gneiting, Raftery (2007), Strictly proper scoring
        rules, prediction, and estimation, JASA 102.

    Examples:
        >>> float(log_score([0.25, 0.75], [0, 1, 2], 1.5).round(4))
        0.2877
    """
    p, e = law(probs, edges)
    y = paired("observed", observed, p)
    cell = cells_of_law(y, e, edges)
    n = len(e) - 1
    overflow = p.shape[-1] != np.size(edges) - 1
    inside = np.clip(cell, 0, n - 1)
    density = np.clip(take(p, inside), 0, None) / np.diff(e)[inside]
    if not overflow:
        density = np.where((cell >= 0) & (cell < n), density, 0.0)
    with np.errstate(divide="ignore"):
        return -np.log(density)


def prequential_log_score(
    probs: Sequence[Probabilities], edges: ArrayLike, columns: Sequence[np.ndarray]
) -> np.ndarray:
    """Score sequential densities step by step: row t of a run, given its values up to t, on its value at t + 1.

    The sum of the result is the prequential log score `-sum_t log f_t(x_{t+1} | x_0..x_t)`; the difference of two
    estimators' sums is the logarithm of a Bayes factor.

    Args:
        probs: For each run the densities, shape (T - 1, n) or (T - 1, n + 2).
        edges: Cell edges, shape (n + 1,).
        columns: For each run its values of the coordinate, shape (T,).

    Returns:
        The losses of all steps, run after run, shape (sum of T - 1,).

    Raises:
        ArgumentError: Runs and densities that do not match.

    References:
        Dawid (1984), Statistical theory: the prequential approach, J. R. Stat. Soc. A 147.

    Examples:
        >>> rows = np.array([[0.5, 0.5], [0.25, 0.75]])
        >>> prequential_log_score([rows], [0, 1, 2], [np.array([0.5, 0.5, 1.5])]).round(3)
        array([0.693, 0.288])
    """
    lengths, steps = [len(p) for p in probs], [len(c) - 1 for c in columns]
    if lengths != steps:
        raise ArgumentError(f"probs hold {lengths} rows, must hold one row a step of the runs: {steps}")
    return np.concatenate([log_score(p, edges, c[1:]) for p, c in zip(probs, columns, strict=True)])


def crps(probs: ArrayLike, edges: ArrayLike, observed: ArrayLike) -> np.ndarray:
    """Score densities by the continuous ranked probability score, in closed form.

    `CRPS(F, y) = integral of (F(x) - 1{x >= y})^2 dx`, with F linear within cells: a cell of width w in which F goes
    from a to b adds `w (a^2 + a b + b^2) / 3` left of y, and the same of 1 - F right of y. A loss in the unit of the
    coordinate, lower is better; for an atom it is the absolute error.

    Args:
        probs: Probabilities of the cells, shape (..., n), or (..., n + 2) with the mass below and above the grid.
        edges: Cell edges, shape (n + 1,).
        observed: What was observed, a shape that broadcasts with the leading axes of `probs`.

    Returns:
        The losses, of the common leading shape.

    Raises:
        ArgumentError: Shapes that do not fit, entries that are not probabilities.

    References:
        Matheson, Winkler (1976), Scoring rules for continuous probability distributions, Management Science 22.

    Examples:
        >>> float(crps([0.5, 0.5], [0, 1, 2], 1.0).round(4))
        0.1667
    """
    p, e = law(probs, edges)
    y = paired("observed", observed, p)[..., None]
    cdf = at_edges(p)
    a, b, w = cdf[..., :-1], cdf[..., 1:], np.diff(e)
    left = np.clip((y - e[:-1]) / w, 0, 1)
    at_y = a + left * (b - a)
    below = left * (a**2 + a * at_y + at_y**2)
    above = (1 - left) * ((1 - at_y) ** 2 + (1 - at_y) * (1 - b) + (1 - b) ** 2)
    beyond = np.maximum(e[0] - y, 0) + np.maximum(y - e[-1], 0)
    return (w * (below + above) / 3).sum(axis=-1) + beyond[..., 0]
