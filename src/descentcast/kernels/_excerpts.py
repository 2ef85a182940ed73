"""Runs longer than a model reads: another excerpt in every view, spread over the whole of what was recorded."""

import numpy as np

PIECES = 8


def excerpt(columns: list[np.ndarray], most: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut at most `most` values out of runs: all of them where they fit, else pieces from evenly spread places.

    The values are divided into `PIECES` stretches of equal length, and one piece of `most / PIECES` values is taken at
    random in each, so that views which draw excerpts of their own see the whole of a run between them. A piece stays
    within one run; each is a run of its own to what reads it.

    Args:
        columns: Values of each run, shape (T,) each.
        most: How many values may be kept, at least 2 * PIECES.
        rng: For the places.

    Examples:
        >>> pieces = excerpt([np.arange(1000.0)], 80, np.random.default_rng(0))
        >>> [len(piece) for piece in pieces], bool(np.all(np.diff(pieces[0]) == 1))
        ([10, 10, 10, 10, 10, 10, 10, 10], True)
    """
    lengths = np.array([len(column) for column in columns])
    if lengths.sum() <= most:
        return columns
    size = most // PIECES
    ends = np.cumsum(lengths)
    stretch = lengths.sum() / PIECES
    pieces = []
    for k in range(PIECES):
        first = int(k * stretch + rng.uniform(0, max(stretch - size, 0)))
        run = int(np.searchsorted(ends, first, side="right"))
        at = first - (int(ends[run]) - int(lengths[run]))
        # A piece that would run over the end of its run begins earlier in it.
        piece = columns[run][max(min(at, int(lengths[run]) - size), 0) :][:size]
        pieces += [piece] if len(piece) > 1 else []
    return pieces
