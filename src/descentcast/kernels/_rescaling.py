"""A kernel at another step size or batch size: the push-forward of each row."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from descentcast.kernels import _chains


def rescaled(
    edges: np.ndarray, matrix: np.ndarray, overflow: np.ndarray, step: float, batch: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and overflow at `step` times the step size and `batch` times the batch size.

    Row i, of mean `m_i` and variance `v_i`, is mapped by `y = M_i + s_i (x' - m_i)` onto mean
    `M_i = c_i + step (m_i - c_i)` and variance `u_i + step^2 sigma_i^2 / batch`. A row is a cell average, x uniform in
    its cell of width h, so `v_i = b_i^2 h^2 / 12 + sigma_i^2` with `b` the slope of the row means, and
    `u_i = (1 + step (b_i - 1))^2 h^2 / 12`. A row without noise (`sigma_i = 0`) is moved and keeps its shape.

    The distribution function is known at the edges and interpolated by monotone cubics: straight lines would make
    each cell's mass uniform and so add h^2 / 6 to the variance, 10 % of it at the default grid. Overflow mass is taken
    to lie in one more cell on either side, of the width of the median standard deviation of the rows.
    """
    matrix, overflow = _chains.proper(matrix, overflow)
    centres, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    tail = max(widths.max(), np.median(_spread(matrix, centres)))
    knots = np.concatenate([[edges[0] - tail], edges, [edges[-1] + tail]])
    middles, gauges = (knots[:-1] + knots[1:]) / 2, np.diff(knots)
    rows = np.column_stack([overflow[:, 0], matrix, overflow[:, 1]])

    mean = rows @ middles
    # Sheppard's correction: mass put at the middles of its cells has the variance of the smooth law plus h^2 / 12.
    variance = (rows * (middles - mean[:, None]) ** 2).sum(axis=1) - rows @ gauges**2 / 12
    slope = np.clip(np.gradient(mean, centres), -1, 1)  # clipped: row means of an estimated kernel are noisy
    within = slope**2 * widths**2 / 12
    noise = np.maximum(variance - within, 0.0)
    wanted = (1 + step * (slope - 1)) ** 2 * widths**2 / 12 + step**2 * noise / batch
    moved = noise <= 1e-9 * widths**2
    scale = np.sqrt(np.divide(wanted, within + noise, out=np.ones_like(noise), where=~moved))

    target = centres + step * (mean - centres)
    back = mean[:, None] + (edges - target[:, None]) / scale[:, None]
    below = _distribution(knots, rows, np.clip(back, knots[0], knots[-1]))
    return np.diff(below, axis=1), np.column_stack([below[:, 0], 1 - below[:, -1]])


def caveats(setting: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what makes a rescaled kernel an approximation, given the setting of its runs."""
    optimizer, stride = str(setting.get("optimizer", "sgd")), setting.get("stride", 1)
    notes = []
    if optimizer.lower() != "sgd" or setting.get("momentum", 0):
        notes.append(f"rescaled as if by plain SGD, the runs were made with {optimizer} and its momentum")
    if stride != 1:
        notes.append(f"rescaled as if a step at a time, the kernel is of {stride} steps at once")
    if (schedule := setting.get("schedule", "constant")) != "constant":
        notes.append(f"rescaled as if at one step size, that of the runs followed a schedule ({schedule})")
    return tuple(notes)


def _spread(matrix: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Standard deviation of each row that has mass on the grid, given that it stays there."""
    mass = matrix.sum(axis=1)
    rows = matrix[mass > 0] / mass[mass > 0, None]
    if not len(rows):
        return np.zeros(1)
    return np.sqrt((rows * (centres - (rows @ centres)[:, None]) ** 2).sum(axis=1))


def _distribution(knots: np.ndarray, rows: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distribution function of row i at `points[i]`, by monotone cubics through its values at the knots."""
    cumulative = np.column_stack([np.zeros(len(rows)), np.cumsum(rows, axis=1)])
    with np.errstate(over="ignore"):  # harmonic means of slopes near 0
        curves = PchipInterpolator(knots, cumulative, axis=1)
    piece = np.clip(np.searchsorted(knots, points, side="right") - 1, 0, len(knots) - 2)
    offset, row = points - knots[piece], np.arange(len(rows))[:, None]
    value = np.zeros_like(points)
    for coefficients in curves.c:  # (pieces, rows) of the highest power first
        value = value * offset + coefficients[piece, row]
    return np.maximum.accumulate(np.clip(value, 0.0, 1.0), axis=1)
