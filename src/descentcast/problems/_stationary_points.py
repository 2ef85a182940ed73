"""Zeros of a gradient in one coordinate."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

GRID = 4001


def zeros(gradient: Callable[[np.ndarray], np.ndarray], low: float, high: float, *, rising: bool) -> np.ndarray:
    """Return where a gradient changes sign in `[low, high]`: upwards (minima) if `rising`, else downwards (maxima).

    Two zeros closer than 1/4000 of the interval may be missed.
    """
    grid = np.linspace(low, high, GRID)
    sign = np.sign(gradient(grid)) * (1 if rising else -1)
    left = np.flatnonzero((sign[:-1] < 0) & (sign[1:] >= 0))
    return np.array([brentq(lambda x: float(gradient(np.array(x))), grid[i], grid[i + 1], xtol=1e-14) for i in left])
