"""What forests need computed beyond what is kept, cut into passes of a bounded number of tokens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from descentcast.language_models._attention import BranchQueries, PackedPass, PromptQueries
from descentcast.language_models._base import Forest
from descentcast.language_models._kept import KeptPrompt
from descentcast.language_models._packing import QUERIES_PER_BLOCK, in_order, lineage

# Fewer light nodes than these are not worth a pass of their own.
FEW = 64


@dataclass(frozen=True, eq=False)
class Work:
    """What one forest needs.

    Attributes:
        prompt: The prompt, with what is kept of it.
        symbols: Symbol of each node, shape (N,).
        prefix: Last prompt row that each node sees, shape (N,).
        paths: Lineage of the nodes.
        numbers: Number of each node in the prompt, shape (N,).
        missing: Nodes to be computed, those without an answer, or an exact one, and their ancestors whose keys and
            values were dropped. First those to be computed exactly, then the light ones; each sorted by prefix, parents
            first.
        exact: How many of them are to be computed exactly.
    """

    prompt: KeptPrompt
    symbols: np.ndarray
    prefix: np.ndarray
    paths: np.ndarray
    numbers: np.ndarray
    missing: np.ndarray
    exact: int

    @staticmethod
    def of(prompt: KeptPrompt, forest: Forest, offset: int, size: int, light: float) -> "Work":
        """Find out what a forest needs.

        Args:
            prompt: Its prompt.
            forest: The forest.
            offset: How many tokens come before its prompt.
            size: Symbols of the answer alphabet.
            light: Nodes with less mass are light.
        """
        prefix, paths = forest.prefix + offset, lineage(forest.parents)
        numbers = prompt.number(forest.symbols, prefix, forest.parents, size)
        heavy = np.asarray(forest.mass) >= light
        answers = prompt.answers[numbers]
        needed = np.isnan(answers[:, 0]) | (prompt.rough[numbers] & heavy)
        above = np.unique(paths[needed])
        above = above[above >= 0]
        needed[above[prompt.slots[numbers[above]] < 0]] = True
        order = in_order(prefix, paths)
        order = order[needed[order]]
        order = np.concatenate([order[heavy[order]], order[~heavy[order]]])
        return Work(prompt, forest.symbols, prefix, paths, numbers, order, int(heavy[order].sum()))

    def together(self) -> "Work":
        """Return the same work with its light nodes among the others, to be computed exactly too."""
        order = in_order(self.prefix, self.paths)
        return replace(self, missing=order[np.isin(order, self.missing)], exact=len(self.missing))


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of a pass: prompt rows, or missing nodes, start .. stop - 1 of one piece of work."""

    work: Work
    is_prompt: bool
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def nodes(self) -> np.ndarray:
        """The nodes of the forest; none if it is of the prompt."""
        return self.work.missing[: 0 if self.is_prompt else self.stop][self.start :]

    @property
    def tokens(self) -> np.ndarray:
        """Tokens of the prompt, or symbols of the nodes."""
        return self.work.prompt.ids[self.start : self.stop] if self.is_prompt else self.work.symbols[self.nodes]

    @property
    def positions(self) -> np.ndarray:
        """Position of each token."""
        if self.is_prompt:
            return np.arange(self.start, self.stop)
        return self.work.prefix[self.nodes] + (self.work.paths[self.nodes] >= 0).sum(axis=1)

    def queries(self) -> PromptQueries:
        """Return how prompt rows attend."""
        return PromptQueries(self.work.prompt.rows, self.start, self.stop)

    def branches(self, rows: range = range(0)) -> BranchQueries:
        """Return how nodes attend, prompt rows before them; they get rows for their keys and values."""
        work, prompt = self.work, self.work.prompt
        first = prompt.place(work.numbers[self.nodes])
        paths = work.paths[self.nodes]
        lineages = np.where(paths >= 0, prompt.slots[work.numbers[paths]], -1)
        return BranchQueries(prompt.rows, prompt.branches, first, work.prefix[self.nodes], lineages, rows)

    def finish(self, hidden: torch.Tensor, answer: Callable[[torch.Tensor], np.ndarray], rough: bool) -> None:
        """Keep hidden states of a prompt, or answers of nodes, and drop rows that nothing needs where they are many.

        Args:
            hidden: Its hidden states.
            answer: Makes answers of hidden states.
            rough: Whether they are of reduced precision.
        """
        work, prompt = self.work, self.work.prompt
        if self.is_prompt:
            prompt.hidden = torch.cat([prompt.hidden, hidden])
            return
        numbers = work.numbers[self.nodes]
        better = np.isnan(prompt.answers[numbers, 0]) | (not rough)
        prompt.answers[numbers[better]] = answer(hidden)[better]
        prompt.rough[numbers[better]] = rough
        ahead = np.unique(work.paths[work.missing[self.stop :]])
        prompt.shed(work.numbers[ahead[ahead >= 0]])


@dataclass(frozen=True, eq=False)
class Pass:
    """Pieces to be computed together; `light`: reduced precision is good enough."""

    pieces: list[Piece]
    light: bool

    def queries(self) -> PackedPass:
        """Return how they attend: a few prompt rows together with the nodes that hang off the last of them."""
        stretches: list[tuple[PromptQueries | BranchQueries, int]] = []
        before: Piece | None = None  # prompt rows that may be joined by nodes
        for piece in self.pieces:
            if before is not None and _joins(before, piece):
                stretches.append((piece.branches(range(before.start, before.stop)), len(before) + len(piece)))
                before = None
                continue
            if before is not None:
                stretches.append((before.queries(), len(before)))
            before = piece if piece.is_prompt else None
            if not piece.is_prompt:
                stretches.append((piece.branches(), len(piece)))
        if before is not None:
            stretches.append((before.queries(), len(before)))
        return PackedPass(*zip(*stretches, strict=True))


def _joins(rows: Piece, nodes: Piece) -> bool:
    """Return whether nodes come right after a few prompt rows, with prefixes that are not before the last of them."""
    few = len(rows) + len(nodes) <= QUERIES_PER_BLOCK and rows.start > 0
    return few and nodes.work is rows.work and int(nodes.work.prefix[nodes.nodes[0]]) >= rows.stop - 1


def passes(works: Sequence[Work], size: int) -> Iterator[Pass]:
    """Cut what is missing into passes of at most `size` tokens, prompts before their branches, works packed together.

    A piece may see what earlier pieces of its own pass computed: within a layer all keys and values are written before
    any are read.
    """
    apart = sum(len(work.missing) - work.exact for work in works) >= FEW
    works = works if apart else [work.together() for work in works]
    needs = [(work, True, len(work.prompt.hidden), len(work.prompt.ids)) for work in works]
    nodes = [(work, False, 0, work.exact) for work in works]
    both = [need for pair in zip(needs, nodes, strict=True) for need in pair]
    light = [(work, False, work.exact, len(work.missing)) for work in works]
    yield from (Pass(pieces, False) for pieces in _filled(both, size))
    yield from (Pass(pieces, True) for pieces in _filled(light, size))


def _filled(needs: list[tuple[Work, bool, int, int]], size: int) -> Iterator[list[Piece]]:
    """Yield lists of pieces that hold `size` tokens, the last one fewer."""
    pieces: list[Piece] = []
    room = size
    for work, is_prompt, done, end in needs:
        while done < end:
            piece = Piece(work, is_prompt, done, min(end, done + room))
            pieces.append(piece)
            done, room = piece.stop, room - len(piece)
            if room == 0:
                yield pieces
                pieces, room = [], size
    if pieces:
        yield pieces
