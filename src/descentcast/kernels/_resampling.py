"""Runs drawn again: what the recorded runs could have been by chance."""

import numpy as np

from descentcast._types import Values

REPLICATES = 40
# With fewer runs than this, drawing whole runs would mostly leave one out: blocks within runs are drawn instead.
LEAST_RUNS = 5


def blocks(lengths: list[int]) -> list[tuple[int, int, int]]:
    """Return the units that are drawn: (run, first transition, transition after the last).

    Whole runs where there are at least five; otherwise blocks of about sqrt(T) transitions of each run of T: long
    enough to keep most of the dependence of a step on those before, short enough that there are many.

    Args:
        lengths: Transitions of each run.

    Examples:
        >>> blocks([9])
        [(0, 0, 3), (0, 3, 6), (0, 6, 9)]
        >>> blocks([3, 2, 4, 2, 1])[2]
        (2, 0, 4)
    """
    if len(lengths) >= LEAST_RUNS:
        return [(run, 0, length) for run, length in enumerate(lengths)]
    return [
        (run, int(piece[0]), int(piece[-1]) + 1)
        for run, length in enumerate(lengths)
        for piece in np.array_split(np.arange(length), max(1, round(length**0.5)))
        if len(piece)
    ]


def redrawn(runs: list[Values], rng: np.random.Generator) -> list[Values]:
    """Return runs made of as many `blocks` as there are, drawn with replacement, each a run of its own.

    Args:
        runs: Values of each run, shape (T, D), at least two rows each.
        rng: The generator.

    Returns:
        Pieces of runs; a block of k transitions holds the k + 1 values that make them.
    """
    units = blocks([len(values) - 1 for values in runs])
    drawn = rng.integers(0, len(units), size=len(units))
    return [runs[run][first : after + 1] for run, first, after in (units[i] for i in drawn)]
