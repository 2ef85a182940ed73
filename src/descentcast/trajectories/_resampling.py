"""Runs of irregular cadence at a regular one, where that is asked for."""

from typing import Literal

import numpy as np

from descentcast import _checks
from descentcast.errors import DataError

Method = Literal["previous", "linear"]
METHODS: tuple[Method, ...] = ("previous", "linear")
MOST_ROWS = 10_000_000


def resampled(
    steps: np.ndarray, values: np.ndarray, every: int, method: Method, run: str
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return steps `every` apart, the values there, shape (T, D), and what was done in words; see `Trajectory`."""
    every = _checks.integer("every", every, low=1)
    _checks.one_of("method", method, METHODS)
    first, last = int(steps[0]), int(steps[-1])
    count = (last - first) // every + 1
    if count < 2:
        raise DataError(f"{run}: every == {every}, must be at most {last - first}, the steps that were recorded")
    if count > MOST_ROWS:
        raise DataError(f"{run}: every == {every} makes {count} rows, must make at most {MOST_ROWS}")
    at = first + every * np.arange(count)
    row = np.searchsorted(steps, at, side="right") - 1  # The last row at or before each.
    found, between = values[row], steps[row] != at
    if method == "linear":
        after = np.minimum(row + 1, len(steps) - 1)
        share = np.where(between, (at - steps[row]) / np.maximum(steps[after] - steps[row], 1), 0.0)[:, None]
        found = np.where(between[:, None], (1 - share) * found + share * values[after], found)
    how = "the row before" if method == "previous" else "a line between the rows on both sides"
    note = f"resampled to every {every} steps: {int(between.sum())} of {count} rows from {how}"
    return at, found, note if between.any() else ""
