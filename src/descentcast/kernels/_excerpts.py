"""Runs longer than a model reads: another excerpt in every view, spread over the whole of what was recorded."""

import numpy as np

from descentcast.errors import ModelError

PIECES = 8


def excerpt(columns: list[np.ndarray], most: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut at most `most` values out of runs: all of them where they fit, else pieces from evenly spread places.

    The values are divided into `PIECES` stretches of equal length, and one piece of `most / PIECES` values is taken at
    random in each, so that views which draw excerpts of their own see the whole of a run between them. A piece that
    goes over the end of a run goes on in the next; what it holds of each is a run of its own to what reads it.

    Args:
        columns: Values of each run, shape (T,) each.
        most: How many values may be kept.
        rng: For the places.

    Raises:
        ModelError: Fewer than 2 * PIECES may be kept.

    Examples:
        >>> pieces = excerpt([np.arange(1000.0)], 80, np.random.default_rng(0))
        >>> [len(piece) for piece in pieces], bool(np.all(np.diff(pieces[0]) == 1))
        ([10, 10, 10, 10, 10, 10, 10, 10], True)
    """
    lengths = np.array([len(column) for column in columns])
    if lengths.sum() <= most:
        return columns
    size = most // PIECES
    if size < 2:
        raise ModelError(f"the model reads {most} values, must read {2 * PIECES} at least of runs that are longer")
    values, ends = np.concatenate(columns), np.cumsum(lengths)
    stretch = len(values) / PIECES
    pieces = []
    for k in range(PIECES):
        first = int(k * stretch + rng.uniform(0, max(stretch - size, 0)))
        first -= int(first + 1 in ends)  # the last value of a run says nothing by itself
        inner = ends[(ends > first) & (ends < first + size)]
        pieces += [part for part in np.split(values[first : first + size], inner - first) if len(part) > 1]
    return pieces
