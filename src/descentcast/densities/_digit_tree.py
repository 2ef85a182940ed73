"""Hierarchy-PDF (Liu et al., arXiv 2402.00795): densities over codes from digit probabilities, refined by mass.

The probability of a code is the product of its digits' probabilities along the branch that writes it. A branch is
refined
only if it carries mass: what is pruned is bounded, and is spread uniformly within its own subtree.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from descentcast.densities._context import Context, Points
from descentcast.language_models import Forest, LanguageModel


@dataclass(frozen=True, eq=False)
class CodeDensities:
    """Densities over codes at a set of points.

    Attributes:
        probs: Shape (p, base^groups), distributions.
        pruned: Mass at each point that was not refined to the last digit, shape (p,).
        outside: Mass that the model put on anything but a number, at a sample of the points, shape (s,); what goes to a
            separator or newline before the last digit counts too, averaged over all points.
    """

    probs: Float[np.ndarray, "p codes"]
    pruned: Float[np.ndarray, "p"]
    outside: Float[np.ndarray, "s"]


def read_densities(model: LanguageModel, context: Context, points: Points, bound: float) -> CodeDensities:
    """Read the density of the next value at each point.

    Args:
        model: The language model.
        context: The prompt.
        points: Where to read.
        bound: Largest mass at a point that may go unrefined; 0 refines everything.

    Returns:
        Probabilities renormalised over numbers, with what was pruned and what lay outside numbers.
    """
    base, groups = context.alphabet.base, context.groups
    trie = _Trie()
    ends = [trie.add(int(p), chain) for p, chain in zip(points.prefix, points.chains, strict=True)]
    probs, _, outside = _numbers(model, context, points, trie, ends)
    pruned = np.zeros(len(points))
    for level in range(1, groups):
        keep = _keep(probs, bound / (groups - 1))
        pruned = pruned + np.where(keep, 0, probs).sum(axis=1)
        trie = _Trie()
        leaves = [
            trie.add(int(points.prefix[p]), (*points.chains[p], *_path(code, level, base)))
            for p, code in np.argwhere(keep)
        ]
        below = np.full((*probs.shape, base), 1.0 / base)
        below[keep], stray = _numbers(model, context, points, trie, leaves)[:2]
        # What the model puts on a separator or newline after a first digit counts as much as after none: a number is
        # written where it is on digits at every level.
        outside = 1 - (1 - outside) * (1 - float((probs[keep] * stray).sum() / len(points)))
        probs = (probs[..., None] * below).reshape(len(points), -1)
    return CodeDensities(probs, pruned, outside)


@dataclass
class _Trie:
    """Branches under construction; equal beginnings share their nodes."""

    symbols: list[int] = field(default_factory=list)
    prefix: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    index: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def add(self, prefix: int, chain: tuple[int, ...]) -> int:
        """Return the node that ends `chain`, or -1 - prefix where the chain is empty: the prompt position itself."""
        node = -1
        for symbol in chain:
            key = (prefix, node, symbol)
            if key not in self.index:
                self.index[key] = len(self.symbols)
                self.symbols.append(symbol)
                self.prefix.append(prefix)
                self.parents.append(node)
            node = self.index[key]
        return node if chain else -1 - prefix

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return symbols, prefix and parents of all nodes."""
        return np.array(self.symbols, int), np.array(self.prefix, int), np.array(self.parents, int)


def _numbers(
    model: LanguageModel, context: Context, points: Points, trie: _Trie, ends: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return laws of the next number symbol at each end, with the mass that was not on numbers.

    That mass is within the alphabet at each end, and within the whole vocabulary at a sample of prompt positions.
    """
    at = np.array(ends, dtype=np.int64)
    asked = np.unique(-1 - at[at < 0])
    if len(asked) == 0:  # nothing but branches: mass outside numbers is measured at the context's own separators
        asked = context.points.prefix[[not chain for chain in context.points.chains]]
    forest = Forest(context.prompt, asked, *trie.arrays())
    answer = model.log_probs(forest)
    logs = np.empty((len(at), context.alphabet.size))
    logs[at >= 0] = answer.nodes[at[at >= 0]]
    logs[at < 0] = answer.prompt[np.searchsorted(asked, -1 - at[at < 0])]
    base = context.alphabet.base
    mass = np.exp(logs[:, :base])
    total = mass.sum(axis=1, keepdims=True)
    sampled = np.linspace(0, len(asked) - 1, len(answer.outside)).round().astype(int)
    inside = np.exp(answer.prompt[sampled][:, :base]).sum(axis=1)
    return mass / total, 1 - total[:, 0], 1 - (1 - answer.outside) * inside


def _keep(probs: np.ndarray, bound: float) -> np.ndarray:
    """Return which branches to refine: all but the lightest, whose masses sum to at most `bound` at each point."""
    order = np.argsort(probs, axis=1, kind="stable")
    light = np.cumsum(np.take_along_axis(probs, order, axis=1), axis=1) <= bound
    keep = np.ones(probs.shape, dtype=bool)
    np.put_along_axis(keep, order, ~light, axis=1)
    return keep


def _path(code: int, length: int, base: int) -> tuple[int, ...]:
    return tuple(int(code) // base**i % base for i in range(length - 1, -1, -1))
