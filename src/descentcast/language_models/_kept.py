"""Prompts that were read, kept with what hangs off them: while they are kept, nothing is computed twice."""

from dataclasses import dataclass, field

import numpy as np
import torch

# Rows of room for what a prompt and its branches grow by.
SLACK = 256
# What the rows of branches of one prompt may take; beyond it only those that are still needed stay.
BRANCH_BYTES = 1 << 27
BRANCHES = 200_000
# A prompt that shares this many tokens, and half of its own, with one that was read starts from them.
WORTH_COPYING = 16


class Rows:
    """Keys and values of a growing number of tokens, layer by layer."""

    def __init__(self) -> None:
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def write(self, layer: int, start: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Put keys and values, shape (heads, tokens, size), at rows start and after."""
        stop = start + keys.shape[1]
        held = self._layers.get(layer)
        if held is None or held[0].shape[1] < stop:
            before = held or (None, None)
            held = self._layers[layer] = (_grown(before[0], keys, start), _grown(before[1], values, start))
        held[0][:, start:stop] = keys
        held[1][:, start:stop] = values

    def of(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values, shape (heads, at least as many rows as were written, size)."""
        return self._layers[layer]

    def take(self, rows: np.ndarray) -> "Rows":
        """Return a copy of some rows, in the order given."""
        taken = Rows()
        for layer, (keys, values) in self._layers.items():
            at = torch.as_tensor(rows, device=keys.device)
            taken._layers[layer] = (keys[:, at], values[:, at])
        return taken

    @property
    def bytes(self) -> int:
        """What they take."""
        return sum(keys.nbytes + values.nbytes for keys, values in self._layers.values())


@dataclass(eq=False)
class KeptPrompt:
    """A prompt with the keys, values and last hidden states of its tokens, and the nodes that hung off it.

    Attributes:
        ids: Its tokens, shape (L,).
        rows: Keys and values of its tokens.
        hidden: Hidden states of the tokens that were computed so far, shape (at most L, H).
        numbers: Number of each node by its parent's number, -1 - prefix for a root, and its symbol.
        answers: Log-probabilities of each node, NaN where there are none yet, shape (nodes, A).
        rough: Which answers are of reduced precision, shape (nodes,).
        slots: Row of each node in `branches`, -1 where it is not kept, shape (nodes,).
        branches: Keys and values of nodes.
        filled: How many rows of `branches` are used.
    """

    ids: np.ndarray
    rows: Rows
    hidden: torch.Tensor
    numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    answers: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    rough: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    slots: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    branches: Rows = field(default_factory=Rows)
    filled: int = 0

    @property
    def bytes(self) -> int:
        """What keys and values take."""
        return self.rows.bytes + self.branches.bytes

    def number(self, symbols: np.ndarray, prefix: np.ndarray, parents: np.ndarray, size: int) -> np.ndarray:
        """Return the number of each node of a forest, shape (N,); those never met get one, with room for an answer."""
        found: list[int] = []
        for symbol, at, parent in zip(symbols.tolist(), prefix.tolist(), parents.tolist(), strict=True):
            key = (found[parent] if parent >= 0 else -1 - at, symbol)
            found.append(self.numbers.setdefault(key, len(self.numbers)))
        new = len(self.numbers) - len(self.slots)
        self.answers = np.concatenate([self.answers.reshape(-1, size), np.full((new, size), np.nan)])
        self.rough = np.concatenate([self.rough, np.zeros(new, dtype=bool)])
        self.slots = np.concatenate([self.slots, np.full(new, -1)])
        return np.array(found, dtype=np.int64)

    def place(self, numbers: np.ndarray) -> int:
        """Give nodes the next rows of `branches`; return the first."""
        first = self.filled
        self.slots[numbers] = first + np.arange(len(numbers))
        self.filled += len(numbers)
        return first

    def shed(self, needed: np.ndarray) -> None:
        """Where branches take too much, keep only the rows of the nodes with these numbers."""
        if self.branches.bytes > BRANCH_BYTES:
            needed = needed[self.slots[needed] >= 0]
            self.branches = self.branches.take(self.slots[needed])
            self.slots[:] = -1
            self.filled = 0
            self.place(needed)

    def forget_branches(self) -> None:
        """Drop all nodes."""
        self.numbers, self.slots, self.filled = {}, self.slots[:0], 0
        self.answers, self.rough, self.branches = self.answers[:0], self.rough[:0], Rows()


class KeptPrompts:
    """The prompts that were read last.

    Args:
        count: How many are kept.
        size: Bytes that their keys and values may take; the last one is kept in any case.
    """

    def __init__(self, count: int, size: int) -> None:
        self._count, self._size = count, size
        self._kept: list[KeptPrompt] = []

    def find(self, ids: np.ndarray, nothing: torch.Tensor) -> KeptPrompt:
        """Return a prompt that begins with `ids`: kept, or one that grows to it, or a new one.

        Args:
            ids: Tokens, shape (L,).
            nothing: Hidden states of no tokens, shape (0, H).
        """
        shared = [_common(kept.ids, ids) for kept in self._kept]
        best = max(range(len(shared)), key=shared.__getitem__, default=-1)
        common = shared[best] if shared else 0
        if common == len(ids):
            found = self._kept.pop(best)
        elif shared and common == len(self._kept[best].ids):
            found = self._kept.pop(best)
            found.ids = ids
        elif len(ids) / 2 <= common <= len(self._kept[best].hidden) and common >= WORTH_COPYING:
            kept = self._kept[best]
            found = KeptPrompt(ids, kept.rows.take(np.arange(common)), kept.hidden[:common])
        else:
            found = KeptPrompt(ids, Rows(), nothing)
        self._kept.append(found)
        return found

    def forget(self) -> None:
        """Drop all of them."""
        self._kept.clear()

    def trim(self) -> None:
        """Drop those used longest ago that are too many or too large, and branches that are too many."""
        for kept in self._kept:
            if len(kept.numbers) > BRANCHES:
                kept.forget_branches()
        while len(self._kept) > 1 and (
            len(self._kept) > self._count or sum(kept.bytes for kept in self._kept) > self._size
        ):
            del self._kept[0]


def _grown(old: torch.Tensor | None, new: torch.Tensor, start: int) -> torch.Tensor:
    """Return a tensor with room for `new` at `start`, and the rows before it."""
    room = start + new.shape[1]
    grown = new.new_empty((new.shape[0], room + max(SLACK, room // 4), new.shape[2]))
    if old is not None:
        grown[:, :start] = old[:, :start]
    return grown


def _common(one: np.ndarray, two: np.ndarray) -> int:
    """Return how many tokens two prompts begin with alike."""
    length = min(len(one), len(two))
    differ = np.flatnonzero(one[:length] != two[:length])
    return int(differ[0]) if len(differ) else length
