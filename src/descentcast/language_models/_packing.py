"""Cutting branches into blocks of queries that see nearly the same: neighbours in a tree, close in their prefixes.

Shapes: N nodes of a forest, T of them packed together, b blocks, q queries a block.
"""

import numpy as np

QUERIES_PER_BLOCK = 32
# Prompt rows that the prefixes of a block may spread over.
SPREAD = 192


def lineage(parents: np.ndarray) -> np.ndarray:
    """Return the path from the root to each node, itself last, padded with -1, shape (N, depth + 1)."""
    chain = [np.arange(len(parents))]
    while (chain[-1] >= 0).any():
        above = chain[-1]
        chain.append(np.where(above >= 0, parents[above], -1))
    upward = np.stack(chain[:-1], axis=1) if len(parents) else np.empty((0, 0), dtype=np.int64)
    lengths = (upward >= 0).sum(axis=1)
    columns = lengths[:, None] - 1 - np.arange(upward.shape[1])
    return np.where(columns >= 0, np.take_along_axis(upward, np.maximum(columns, 0), axis=1), -1)


def in_order(prefix: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Return all nodes sorted by prefix and, within a tree, depth first: parents before their children.

    Args:
        prefix: Last prompt position that each node reads, shape (N,).
        paths: Their `lineage`.
    """
    return np.lexsort((*paths.T[::-1], prefix))


class Blocks:
    """Which branch nodes go together, and what each block of them sees besides the prompt rows that all of it see.

    Args:
        prefix: Last prompt row that each node sees, ascending, shape (T,).
        rows: Branch rows of each node's ancestors and of itself, root first, padded with -1, shape (T, depth + 1); none
            for a query that is the prompt row `prefix` itself.

    Attributes:
        positions: Position of each node, shape (T,).
        groups: (start, stop, shared): nodes start .. stop - 1 all see prompt rows 0 .. shared - 1.
        members: Nodes of each block, the last repeated, shape (b, q).
        places: Where each node is within the flattened blocks, shape (T,).
        tail: Prompt rows after those shared that some of a block see, padded, shape (b, s).
        rows: Branch rows that some of a block see, padded, shape (b, r).
    """

    def __init__(self, prefix: np.ndarray, rows: np.ndarray) -> None:
        self.positions = prefix + (rows >= 0).sum(axis=1)
        edges = _cuts(prefix)
        starts, stops = edges[:-1], edges[1:]
        size = int((stops - starts).max())
        first, last = prefix[starts], prefix[stops - 1]
        self.groups = _joined(edges, first + 1)
        self.members = np.minimum(starts[:, None] + np.arange(size), stops[:, None] - 1)
        self.places = np.arange(len(prefix)) + np.repeat(np.arange(len(starts)) * size - starts, stops - starts)

        ends = prefix[self.members]
        tail = first[:, None] + 1 + np.arange(int((last - first).max()))
        self._sees_tail = tail[:, None] <= ends[..., None]
        self.tail = np.minimum(tail, last[:, None])

        seen = [np.unique(block[block >= 0]) for block in rows[self.members]]
        widest = max(map(len, seen))
        self.rows = np.stack([np.pad(some, (0, widest - len(some))) for some in seen])
        self._sees_rows = np.zeros((*self.members.shape, widest), dtype=bool)
        self._rows_at = np.zeros(self.rows.shape, dtype=np.int64)  # the position of each
        for b, some in enumerate(seen):
            for depth, column in enumerate(rows[self.members[b]].T):
                there = np.flatnonzero(column >= 0)
                at = np.searchsorted(some, column[there])
                self._sees_rows[b, there, at] = True
                self._rows_at[b, at] = ends[b, there] + 1 + depth

    def sees(self, window: int | None) -> np.ndarray:
        """Return which tail and branch rows of its block each query sees, shape (b, q, s + r).

        Args:
            window: How many positions a query sees, itself included; None: all.
        """
        sees = np.concatenate([self._sees_tail, self._sees_rows], axis=2)
        if window is None:
            return sees
        at = np.concatenate([self.tail, self._rows_at], axis=1)
        return sees & (self.positions[self.members][..., None] - at[:, None] < window)


def _cuts(prefix: np.ndarray) -> np.ndarray:
    """Return where blocks begin, and the end: at most so many queries, whose prefixes spread no further than said."""
    cuts = [0]
    while cuts[-1] < len(prefix):
        far = int(np.searchsorted(prefix, prefix[cuts[-1]] + SPREAD, side="right"))
        cuts.append(min(cuts[-1] + QUERIES_PER_BLOCK, far))
    return np.array(cuts)


def _joined(edges: np.ndarray, shared: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (start, stop, shared) of blocks, neighbours that share as much put together."""
    cut = np.flatnonzero(np.diff(shared)) + 1
    starts, stops = np.r_[0, cut], np.r_[cut, len(shared)]
    return [(int(edges[a]), int(edges[b]), int(shared[a])) for a, b in zip(starts, stops, strict=True)]
