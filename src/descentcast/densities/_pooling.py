"""Which pool of the views to use: chosen by the prequential log score on what was observed, never on what will be."""

import numpy as np

from descentcast._types import Cells, Probabilities
from descentcast.densities._grids import FLOOR, RULES, WEIGHTS, floored_logs, log_pool, pool


def candidates(probs: Probabilities) -> Probabilities:
    """Return the densities by each of the R `RULES`, stacked: views (V, T, n), identity first, become (R, T, n)."""
    logs = floored_logs(probs)
    return np.stack([log_pool(logs, rule) if rule in WEIGHTS else pool(probs, rule) for rule in RULES])


def running_choice(pooled: Probabilities, observed: Cells, earlier: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each row, the rule with the best total log score on the rows before it.

    Args:
        pooled: Densities by each rule, shape (R, T, n); row t is the density of value t + 1.
        observed: Cell of value t + 1, shape (T - 1,).
        earlier: Total log score of each rule on what came before these rows, shape (R,).

    Returns:
        Index of a rule for each of the T rows: row t knows the outcomes of rows 0 .. t - 1, and the first rule wins
        ties; and the total log score of each rule after all of them, shape (R,).

    Examples:
        >>> sharp, flat = np.array([[0.9, 0.1]] * 3), np.array([[0.5, 0.5]] * 3)
        >>> running_choice(np.stack([flat, sharp, flat]), np.array([0, 0]), np.zeros(3))[0].tolist()
        [0, 1, 1]
    """
    rows = np.arange(len(observed))
    scores = np.log(np.maximum(pooled[:, rows, observed], FLOOR))
    totals = np.concatenate([earlier[:, None], earlier[:, None] + np.cumsum(scores, axis=1)], axis=1)
    return totals.argmax(axis=0), totals[:, -1]
