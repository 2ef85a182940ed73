"""Rows averaged along the state: what each row errs by on its own is gone, how a step changes with the state stays."""

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._normal_scores import edge_scores, with_tails

# Levels at which quantiles are averaged, as normal scores; beyond the last ones a row goes on as a normal law.
LEVELS = np.linspace(-4.5, 4.5, 181)
# Below this many cells of window there is nothing to average.
LEAST_CELLS = 0.25


def smoothed(kernel: TransitionKernel, window: float, weights: Float[np.ndarray, "n"]) -> TransitionKernel:
    """Return the kernel with each row's step smoothed along the state by local-linear regression.

    A row at state x is read as the law of a step `x' - x`, by its quantiles at fixed levels. Each is replaced by the
    value at x of the line through those of all rows, weighted by

        w(x_j) exp(-(x - x_j)^2 / (2 window^2)).

    That is the Wasserstein-2 barycenter of the neighbours' laws of a step, with the trend removed: rows whose quantiles
    are linear in the state stay as they are, and what rows err by independently of each other averages out.

    Args:
        kernel: The kernel. Where a row has no mass beyond one end of the grid, the smoothed one has none either.
        window: Standard deviation of the weights along the state, in the units of the state; less than a quarter of a
            cell leaves the kernel as it is.
        weights: How much each row counts, shape (n,), some of it positive.

    References:
        Cleveland, Devlin (1988), Locally weighted regression, J. Am. Stat. Assoc. 83; Petersen, Mueller (2019),
        Frechet regression for random objects, Ann. Stat. 47 (local regression of laws by their quantiles).
    """
    if window < LEAST_CELLS * kernel.widths.min():
        return kernel
    centres, edges = kernel.centres, kernel.edges
    scores = edge_scores(kernel)
    steps = np.stack([_quantiles(row, edges) for row in scores]) - centres[:, None]
    quantiles = np.sort(_local_lines(centres, window, weights) @ steps + centres[:, None], axis=1)
    moved = np.stack([_scores(row, edges) for row in quantiles])
    lower, upper = ndtr(moved), ndtr(-moved)
    # What lies beyond an end that the row kept to is in its last cell.
    kept_low, kept_high = kernel.overflow[:, 0] == 0, kernel.overflow[:, 1] == 0
    lower[kept_low, 0], upper[kept_low, 0] = 0.0, 1.0
    lower[kept_high, -1], upper[kept_high, -1] = 1.0, 0.0
    return with_tails(kernel, moved, lower, upper)


def _local_lines(x: np.ndarray, window: float, weights: np.ndarray) -> Float[np.ndarray, "n n"]:
    """Return the matrix that takes values at x to those of the local lines there; each row sums to 1.

    Where next to nothing is near, the nearest rows serve: weights are taken relative to the largest one.
    """
    apart = x - x[:, None]
    with np.errstate(divide="ignore"):
        logs = np.log(weights) - (apart / window) ** 2 / 2
    share = np.exp(logs - logs.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    mean = (share * apart).sum(axis=1, keepdims=True)
    variance = (share * (apart - mean) ** 2).sum(axis=1, keepdims=True)
    # One row alone has no slope: its variance is rounding.
    slope = np.divide(-mean, variance, out=np.zeros_like(mean), where=variance > (1e-6 * window) ** 2)
    return share * (1 + slope * (apart - mean))


def _quantiles(scores: np.ndarray, edges: np.ndarray) -> Float[np.ndarray, "q"]:
    """Return where a row whose edges have these normal scores reaches each of `LEVELS`."""
    known = np.clip(scores, -40.0, 40.0)
    inside = np.interp(LEVELS, known, edges)
    unit = _unit(np.interp([-1.0, 1.0], known, edges), edges)
    inside = np.where(known[0] > LEVELS, edges[0] - unit * (known[0] - LEVELS), inside)
    return np.where(known[-1] < LEVELS, edges[-1] + unit * (LEVELS - known[-1]), inside)


def _scores(quantiles: np.ndarray, edges: np.ndarray) -> Float[np.ndarray, "n+1"]:
    """Return the normal score of every edge under a law with these quantiles at `LEVELS`."""
    unit = _unit(np.interp([-1.0, 1.0], LEVELS, quantiles), edges)
    inside = np.interp(edges, quantiles, LEVELS)
    inside = np.where(edges < quantiles[0], LEVELS[0] - (quantiles[0] - edges) / unit, inside)
    return np.where(edges > quantiles[-1], LEVELS[-1] + (edges - quantiles[-1]) / unit, inside)


def _unit(ends: np.ndarray, edges: np.ndarray) -> float:
    """Return half the distance of the quantiles at one standard deviation, at least a tenth of a cell."""
    return max(float(ends[1] - ends[0]) / 2, 0.1 * float(np.diff(edges).min()))
