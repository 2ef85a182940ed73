"""The seam to language models: a forest of symbols goes in, log-probabilities over the answer alphabet come out."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from descentcast._shown import Shown
from descentcast.errors import ArgumentError

SymbolIds = Int[np.ndarray, "..."]
LogProbs = Float[np.ndarray, "... A"]


@dataclass(frozen=True)
class Alphabet:
    """The symbols a model answers with: numbers 0 .. base - 1, then the separator, then the newline.

    Attributes:
        digits_per_symbol: 1 (ten digits) or 3 (000 to 999 in one token).

    Examples:
        >>> Alphabet(1).size, Alphabet(3).separator
        (12, 1000)
    """

    digits_per_symbol: int = 1

    @property
    def base(self) -> int:
        """How many number symbols there are; they are 0 .. base - 1."""
        return 10**self.digits_per_symbol

    @property
    def separator(self) -> int:
        """The symbol between the values of a run."""
        return self.base

    @property
    def newline(self) -> int:
        """The symbol between runs."""
        return self.base + 1

    @property
    def size(self) -> int:
        """Number of symbols A."""
        return self.base + 2


@dataclass(frozen=True, eq=False, repr=False)
class Forest(Shown):
    """A prompt and the branches that hang off its positions: one call of a language model.

    Node i reads the prompt up to and including position `prefix[i]`, then its ancestors, then itself.

    Attributes:
        prompt: Symbols of the prompt, shape (L,), L >= 1.
        asked: Prompt positions whose next-symbol log-probabilities are wanted, shape (k,).
        symbols: Symbol of each node, shape (N,).
        prefix: Prompt position each node's tree hangs off, shape (N,); a child has its parent's.
        parents: Index of each node's parent, -1 for a root, shape (N,); a parent comes before its children.
        mass: Largest factor by which a node's answer is multiplied in what is made of it, shape (N,), at most its
            parent's; 1 by default. A model may answer nodes of little mass less exactly.

    Raises:
        ArgumentError: Arrays that do not fit together.

    Examples:
        >>> forest = Forest(prompt=[1, 10, 2, 10], asked=[1, 3], symbols=[4, 5], prefix=[3, 3], parents=[-1, 0])
        >>> forest.depths
        array([0, 1])
    """

    prompt: SymbolIds
    asked: SymbolIds
    symbols: SymbolIds
    prefix: SymbolIds
    parents: SymbolIds
    mass: Float[np.ndarray, "N"] | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "asked", "symbols", "prefix", "parents"):
            array = np.asarray(getattr(self, name), dtype=np.int64)
            if array.ndim != 1:
                raise ArgumentError(f"{name} has shape {array.shape}, must be one-dimensional")
            object.__setattr__(self, name, array)
        length, nodes = len(self.prompt), len(self.symbols)
        if length == 0:
            raise ArgumentError("prompt is empty, must hold at least one symbol")
        if not len(self.prefix) == len(self.parents) == nodes:
            raise ArgumentError(
                f"symbols, prefix, parents have lengths {nodes}, {len(self.prefix)}, {len(self.parents)}"
            )
        for name in ("asked", "prefix"):
            positions = getattr(self, name)
            if ((positions < 0) | (positions >= length)).any():
                raise ArgumentError(f"{name} must hold prompt positions in [0, {length - 1}]")
        children = np.flatnonzero(self.parents >= 0)
        if (self.parents >= np.arange(nodes)).any() or (self.parents < -1).any():
            raise ArgumentError("parents must come before their children, -1 for roots")
        if (self.prefix[children] != self.prefix[self.parents[children]]).any():
            raise ArgumentError("prefix of a node must be its parent's")
        mass = np.ones(nodes) if self.mass is None else np.asarray(self.mass, dtype=float)
        if mass.shape != (nodes,) or not ((mass >= 0) & (mass <= 1)).all():
            raise ArgumentError(f"mass must hold {nodes} numbers in [0, 1]")
        if (mass[children] > mass[self.parents[children]]).any():
            raise ArgumentError("mass of a node must be at most its parent's")
        object.__setattr__(self, "mass", mass)

    @property
    def depths(self) -> SymbolIds:
        """Number of ancestors of each node, shape (N,)."""
        depths = np.zeros(len(self.parents), dtype=np.int64)
        for i in np.flatnonzero(self.parents >= 0):
            depths[i] = depths[self.parents[i]] + 1
        return depths


@dataclass(frozen=True, eq=False, repr=False)
class ForestLogProbs(Shown):
    """Log-probabilities of the next symbol, normalised over the answer alphabet.

    Attributes:
        prompt: At the asked prompt positions, shape (k, A).
        nodes: At the branch nodes, shape (N, A).
        outside: Probability that the model put outside the alphabet, at a sample of the asked positions.
    """

    prompt: LogProbs
    nodes: LogProbs
    outside: Float[np.ndarray, "s"]


@runtime_checkable
class LanguageModel(Protocol):
    """Next-symbol log-probabilities, nothing else.

    Attributes:
        name: What results call the model.
        alphabet: The symbols that prompts are made of and answers range over.
        restarts: True if the model was trained on several runs in one context, so that a jump is nothing new to it:
            then rows can be probed.
        max_length: Longest prompt plus branch in symbols.
    """

    name: str
    alphabet: Alphabet
    restarts: bool
    max_length: int

    def log_probs(self, forest: Forest) -> ForestLogProbs:
        """Return log-probabilities at the asked prompt positions and at every node of the forest."""
        ...
