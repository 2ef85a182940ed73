"""Cutting a forest into packed passes: every pass holds whole ancestries, sorted so that short prefixes go together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from descentcast.language_models._base import Forest


@dataclass(frozen=True, eq=False)
class Pass:
    """One packed pass.

    Attributes:
        nodes: Nodes computed in the pass, ancestors included, shape (q,).
        wanted: Positions within `nodes` that this pass answers for (the others were added as ancestors).
        sees: Which nodes of the pass each node sees, its ancestors and itself, shape (q, q).
        depths: Number of ancestors of each node, shape (q,).
        visible: How many prompt positions any node of the pass sees.
    """

    nodes: np.ndarray
    wanted: np.ndarray
    sees: np.ndarray
    depths: np.ndarray
    visible: int


def passes(forest: Forest, size: int) -> Iterator[Pass]:
    """Yield packed passes of about `size` nodes that together answer for every node once.

    Nodes are taken in order of their prefix and, within a tree, depth first; ancestors outside the cut are added
    (computed again), so a pass never depends on another and its mask stays small.
    """
    if len(forest.symbols) == 0:
        return
    lineage = _lineage(forest)
    order = np.lexsort((*lineage.T[::-1], forest.prefix))
    depths = (lineage >= 0).sum(axis=1) - 1
    for start in range(0, len(order), size):
        wanted = order[start : start + size]
        ancestors = lineage[wanted]
        nodes = np.unique(ancestors[ancestors >= 0])
        slot = np.full(len(forest.symbols), -1)
        slot[nodes] = np.arange(len(nodes))
        sees = np.zeros((len(nodes), len(nodes)), dtype=bool)
        for column in lineage[nodes].T:
            present = column >= 0
            sees[np.flatnonzero(present), slot[column[present]]] = True
        yield Pass(nodes, slot[wanted], sees, depths[nodes], int(forest.prefix[nodes].max()) + 1)


def _lineage(forest: Forest) -> np.ndarray:
    """Return the path from the root to each node, padded with -1, shape (N, depth + 1)."""
    chain = [np.arange(len(forest.symbols))]
    while (chain[-1] >= 0).any():
        above = chain[-1]
        chain.append(np.where(above >= 0, forest.parents[above], -1))
    upward = np.stack(chain[:-1], axis=1)
    lengths = (upward >= 0).sum(axis=1)
    columns = lengths[:, None] - 1 - np.arange(upward.shape[1])
    return np.where(columns >= 0, np.take_along_axis(upward, np.maximum(columns, 0), axis=1), -1)
