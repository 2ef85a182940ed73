"""What a predicted law is held against: the true law on the same cells, and the value that came."""

import numpy as np

from descentcast import scoring

# Mass that every law spreads evenly over cells and overflow, so that no score is infinite.
LEAST = 1e-6
MEASURES = ("bhattacharyya", "hellinger", "w1", "excess", "expected_excess", "log_score")


def floored(laws: np.ndarray) -> np.ndarray:
    """Return laws with `LEAST` of their mass spread evenly."""
    return (1 - LEAST) * laws + LEAST / laws.shape[-1]


def compare(
    laws: np.ndarray, truth: np.ndarray, edges: np.ndarray, spread: np.ndarray, observed: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return every measure of each law.

    Args:
        laws: Predicted, shape (Q, n + 2).
        truth: True, shape (Q, n + 2).
        edges: The grid, shape (n + 1,).
        spread: Standard deviation of each true law, shape (Q,).
        observed: What came, shape (Q,): for the log score (a loss, nats a step) and its excess over the true law's.

    Returns:
        Arrays of shape (Q,): bhattacharyya, hellinger, w1 (Wasserstein-1 over spread), expected_excess (what the true
        law expects `excess` to be: the Kullback-Leibler divergence on the cells); with `observed` log_score and excess.
    """
    laws, possible = floored(laws), floored(truth)
    found = {
        "bhattacharyya": scoring.bhattacharyya(laws, truth),
        "hellinger": scoring.hellinger(laws, truth),
        "w1": scoring.wasserstein1(laws, truth, edges) / spread,
        "expected_excess": (possible * np.log(possible / laws)).sum(axis=-1),
    }
    if observed is not None:
        found["log_score"] = scoring.log_score(laws, edges, observed)
        found["excess"] = found["log_score"] - scoring.log_score(possible, edges, observed)
    return found


def averaged(found: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Return the mean of each measure over all points of several comparisons."""
    return {name: float(np.concatenate([f[name] for f in found]).mean()) for name in found[0]}
