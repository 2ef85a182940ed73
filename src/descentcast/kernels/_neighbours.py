"""Weights of known transitions around a state: what the smoothing estimators average over."""

import numpy as np

from descentcast._types import Edges

# Where states are sparse, the bandwidth reaches at least so many known transitions.
NEAREST = 5


def bandwidth_of(x: np.ndarray, edges: Edges, given: float | None, power: float) -> float:
    """Return the bandwidth given, or `1.06 min(sd, IQR / 1.349) N^power`, and at least half a cell."""
    half_cell = (edges[-1] - edges[0]) / (2 * (len(edges) - 1))
    return max(reference_bandwidth(x, power) if given is None else given, half_cell)


def reference_bandwidth(x: np.ndarray, power: float) -> float:
    """Return the normal-reference bandwidth `1.06 min(sd, IQR / 1.349) N^power`."""
    low, high = np.quantile(x, [0.25, 0.75])
    spread = min(float(x.std()), float(high - low) / 1.349) or float(x.std())
    return 1.06 * spread * len(x) ** power


def local_weights(x: np.ndarray, states: np.ndarray, bandwidth: float) -> tuple[np.ndarray, np.ndarray]:
    """Weigh known transitions by a Gaussian of their distance in x_t from each state.

    Args:
        x: Present values of the known transitions, shape (N,).
        states: States, shape (Q,).
        bandwidth: The bandwidth; wider where fewer than `NEAREST` transitions lie within it.

    Returns:
        Weights that sum to 1 over the transitions, shape (Q, N), and the bandwidth of each state, shape (Q,).
    """
    distance = np.abs(x - states[:, None])
    k = min(NEAREST, len(x)) - 1
    reach = np.partition(distance, k, axis=1)[:, k]
    h = np.maximum(bandwidth, reach)
    weights = np.exp(-0.5 * (distance / h[:, None]) ** 2)
    return weights / weights.sum(axis=1, keepdims=True), h


def own_share(x: np.ndarray, edges: Edges, bandwidth: float) -> np.ndarray:
    """Return the share of the weight at each cell's centre that its own visits have, shape (n,)."""
    centres = np.clip((edges[:-1] + edges[1:]) / 2, x.min(), x.max())
    weights, _ = local_weights(x, centres, bandwidth)
    own = (x >= edges[:-1, None]) & (x < edges[1:, None])
    return (weights * own).sum(axis=1)
