"""Beginnings of recorded runs, and the blocks that come after them: what is known and what is held out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from descentcast.trajectories import Trajectories

FOLDS = 4
# Nothing is scored before a third of the values, and at least so many, are known.
FIRST_SHARE, LEAST_KNOWN = 1 / 3, 8


@dataclass(frozen=True, eq=False)
class Fold:
    """Values known and values scored, counted through the runs in their order.

    Attributes:
        known: The first so many values are known.
        after: The values from `known` up to this one are scored.
    """

    known: int
    after: int


def forward_folds(lengths: Sequence[int]) -> list[Fold]:
    """Cut runs, one after the other, into a beginning and four blocks: what lies before a block is known.

    Blocks go forward through the runs in their order, so that a model that reads them in that order has not seen a
    block when it is scored on it, and one reading serves all folds.

    Args:
        lengths: Values of each run.

    Returns:
        The folds, in order; fewer where there are few values, none where fewer than ten.

    Examples:
        >>> [(fold.known, fold.after) for fold in forward_folds([30, 30])]
        [(20, 30), (30, 40), (40, 50), (50, 60)]
        >>> forward_folds([5])
        []
    """
    total = sum(lengths)
    first = max(LEAST_KNOWN, round(FIRST_SHARE * total))
    if total - first < 2:
        return []
    cuts = np.unique(np.linspace(first, total, FOLDS + 1).round().astype(int))
    return [Fold(int(a), int(b)) for a, b in pairwise(cuts)]


def beginning(runs: Trajectories, known: int) -> Trajectories:
    """Return the first `known` values of the runs, in their order; a run of which one value is left is left out."""
    kept, before = [], 0
    for run in runs:
        length = min(len(run), known - before)
        if length >= 2:
            kept.append(replace(run, values=run.values[:length], steps=run.steps[:length]))
        before += len(run)
    return Trajectories(tuple(kept))
