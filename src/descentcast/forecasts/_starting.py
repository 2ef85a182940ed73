"""Starting states: their shape, and what a forecast from them takes."""

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast.errors import ArgumentError

MOST_BYTES = 4_000_000_000  # of the densities of one forecast


def start_points(starts: ArrayLike, coordinates: int) -> np.ndarray:
    """Return starts as states, shape (m, D)."""
    points = _checks.finite("starts", _checks.numeric("starts", starts))
    if coordinates == 1 and points.ndim < 2:
        points = points.reshape(-1, 1)
    if points.ndim != 2 or points.shape[1] != coordinates or not len(points):
        shape = "(m,)" if coordinates == 1 else f"(m, {coordinates})"
        raise ArgumentError(f"starts have shape {np.shape(starts)}, must be {shape} with at least one start")
    return points


def fits_in_memory(starts: int, steps: int, cells: int) -> None:
    """Raise `ArgumentError` where densities of so many starts, steps and cells are too large to hold."""
    if starts * (steps + 1) * cells * 8 > MOST_BYTES:
        raise ArgumentError(
            f"steps == {steps} on {cells} cells from {starts} starts need more than 4 GB of densities, must be at most "
            f"{max(MOST_BYTES // (8 * starts * cells) - 1, 0)} for so many starts and cells"
        )
