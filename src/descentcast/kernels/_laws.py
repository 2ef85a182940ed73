"""Location-scale and mixture laws as masses: below the grid, of each cell, and above the grid."""

import numpy as np
from scipy.special import ndtr, stdtr

from descentcast._types import Edges, Probabilities

# With fewer transitions than this neither slope nor scale can be told.
LEAST_PAIRS = 3
# A Gaussian holds all but 1e-15 of its mass within so many standard deviations.
REACH = 8.0


def student(mean: np.ndarray, scale: np.ndarray, dof: np.ndarray, edges: Edges) -> Probabilities:
    """Return the masses of Student-t laws, shape (Q, n + 2).

    With `scale` the standard error of prediction, this is the predictive law of Gaussian noise whose mean and variance
    were estimated: heavier tails where little was seen, Gaussian in the limit.
    """
    z = (edges - mean[:, None]) / _floored(scale, edges)[:, None]
    # Each mass is the difference of the nearer tail's probabilities, so that none is lost to rounding.
    tail = stdtr(dof[:, None], -np.abs(z))
    left, right = tail[:, :-1], tail[:, 1:]
    across = (z[:, :-1] <= 0) & (z[:, 1:] > 0)
    between = np.where(across, 1 - left - right, np.abs(right - left))
    below, above = tail[:, :1], tail[:, -1:]
    return np.hstack([np.where(z[:, :1] > 0, 1 - below, below), between, np.where(z[:, -1:] < 0, 1 - above, above)])


def residual(
    mean: np.ndarray,
    scale: np.ndarray,
    dof: np.ndarray,
    weights: np.ndarray,
    residuals: np.ndarray,
    edges: Edges,
) -> Probabilities:
    """Return the masses of the weighted law of residuals, smoothed, moved to `mean` and stretched to `scale`.

    The residuals, (Q, N) with weights (Q, N), are standardised, and smoothed by a Gaussian of b = 1.06 m^(-1/5) with m
    their effective number; shrinking by sqrt(1 - b^2) keeps the variance at scale^2 (the smoothed bootstrap of
    Silverman and Young, 1987). The tails are those of `student`, by `tailed`.
    """
    spread = np.sqrt((weights * residuals**2).sum(axis=1))
    z = residuals / np.where(spread > 0, spread, 1.0)[:, None]
    number = effective(weights)
    b = np.minimum(1.06 * number**-0.2, 1.0)
    rows = mixture(weights, mean[:, None] + (scale * np.sqrt(1 - b**2))[:, None] * z, scale * b, edges)
    return tailed(rows, number, student(mean, scale, dof, edges))


def tailed(rows: Probabilities, number: np.ndarray, tails: Probabilities) -> Probabilities:
    """Mix in `tails` with the weight of one observation more: a sum of Gaussians would call what is new impossible."""
    share = (1 / (number + 1))[:, None]
    return (1 - share) * rows + share * tails


def mixture(weights: np.ndarray, centres: np.ndarray, scale: np.ndarray, edges: Edges) -> Probabilities:
    """Return the masses of Gaussian mixtures: weights and centres of shape (Q, N), one scale a mixture, shape (Q,)."""
    rows = np.empty((len(weights), len(edges) + 1))
    ends = np.concatenate([[-np.inf], edges, [np.inf]])
    for row, w, c, s in zip(rows, weights, centres, _floored(scale, edges), strict=True):
        # Weights this small would not change a row, and there are many.
        kept = w > 1e-12 * w.max()
        w, c = w[kept] / w[kept].sum(), c[kept]
        # Each Gaussian is evaluated only on the cells that it reaches, from the last end below to the first above.
        first = np.searchsorted(edges, c - REACH * s)
        last = np.searchsorted(edges, c + REACH * s) + 1
        window = np.minimum(first[:, None] + np.arange((last - first).max() + 1), len(ends) - 1)
        masses = np.diff(ndtr((ends[window] - c[:, None]) / s), axis=1)
        row[:] = np.bincount(window[:, :-1].ravel(), (w[:, None] * masses).ravel(), minlength=len(ends))[:-1]
    return rows / rows.sum(axis=1, keepdims=True)


def ignorance(queries: np.ndarray, edges: Edges) -> Probabilities:
    """Return the law used before anything is known: Cauchy around the present value, a tenth of the grid wide."""
    wide = np.full(len(queries), (edges[-1] - edges[0]) / 10)
    return student(queries, wide, np.ones(len(queries)), edges)


def effective(weights: np.ndarray) -> np.ndarray:
    """Return Kish's effective number of observations, `(sum w)^2 / sum w^2`, of each row of weights."""
    return weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)


def _floored(scale: np.ndarray, edges: Edges) -> np.ndarray:
    """Keep noiseless laws finite: a scale far below a cell puts all the mass into one."""
    return np.maximum(scale, 1e-9 * (edges[-1] - edges[0]))
