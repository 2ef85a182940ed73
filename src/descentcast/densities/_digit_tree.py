"""Hierarchy-PDF (Liu et al., arXiv 2402.00795): densities over codes from digit probabilities, refined by mass.

The probability of a code is the product of its digits' probabilities along the branch that writes it. A branch is
refined only if it carries mass: what is pruned is bounded, and is spread uniformly within its own subtree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from descentcast.densities._context import Context, Points
from descentcast.language_models import Forest, ForestLogProbs, LanguageModel

# Prompts of this many symbols are read at once: more saves nothing, and takes memory.
TOGETHER = 4096
# Where so few branches are to be read, the next digit is asked for before it is known which of them carry mass: a pass
# costs more than they do.
AHEAD = 64


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
    return read_views(model, [context], [points], bound)[0]


def read_views(
    model: LanguageModel, contexts: Sequence[Context], points: Sequence[Points], bound: float
) -> list[CodeDensities]:
    """Read densities under several contexts, level by level, each level in one call of a model that takes several.

    Args:
        model: The language model.
        contexts: The prompts, of one alphabet and number of groups.
        points: Where to read in each.
        bound: Largest mass at a point that may go unrefined.

    Returns:
        What `read_densities` returns for each.
    """
    found: list[CodeDensities] = []
    together: list[_View] = []
    for context, some in zip(contexts, points, strict=True):
        if together and sum(len(view.context.prompt) for view in together) + len(context.prompt) > TOGETHER:
            found += _read(model, together, bound)
            together = []
        together.append(_View(context, some))
    return found + _read(model, together, bound)


def _read(model: LanguageModel, views: "list[_View]", bound: float) -> list[CodeDensities]:
    ahead = sum(view.branches for view in views) <= AHEAD and hasattr(model, "log_probs_of")
    for level in range(max((view.context.groups for view in views), default=0)):
        forests = [view.forest(bound, ahead and level == 0) for view in views]
        for view, forest, answer in zip(views, forests, _answers(model, forests), strict=True):
            view.take(forest, answer, first=level == 0)
    return [CodeDensities(view.probs, view.pruned, view.outside) for view in views]


def _answers(model: LanguageModel, forests: list[Forest]) -> list[ForestLogProbs]:
    several = getattr(model, "log_probs_of", None)
    return several(forests) if several else [model.log_probs(forest) for forest in forests]


class _View:
    """The densities of one context while they are refined.

    Attributes:
        context: The prompt.
        probs: Probabilities of the codes of the digits read so far, shape (p, codes).
        pruned: As in `CodeDensities`.
        outside: As in `CodeDensities`.
    """

    def __init__(self, context: Context, points: Points) -> None:
        self.context, self._points = context, points
        self.probs = np.ones((len(points), 1))
        self.pruned = np.zeros(len(points))
        self.outside = np.empty(0)
        self._level = 0
        self._keep = np.ones((len(points), 1), dtype=bool)
        self._at = np.empty(0, dtype=np.int64)

    @property
    def branches(self) -> int:
        """How many branches the first digits are."""
        return len(self._points) * self.context.alphabet.base

    def forest(self, bound: float, ahead: bool) -> Forest:
        """Return what has to be asked for the next digit; `ahead`: and, if there is one, for the digit after it."""
        base, points = self.context.alphabet.base, self._points
        if self._level:
            self._keep = _keep(self.probs, bound / (self.context.groups - 1))
            self.pruned = self.pruned + np.where(self._keep, 0, self.probs).sum(axis=1)
        trie = _Trie()
        mass = np.nan_to_num(self.probs, nan=1.0)
        ends = [
            trie.add(int(points.prefix[p]), points.chains[p], _path(code, self._level, base), float(mass[p, code]))
            for p, code in np.argwhere(self._keep)
        ]
        self._at = np.array(ends, dtype=np.int64)
        if ahead and self.context.groups > 1:
            for at, trunk in zip(points.prefix.tolist(), points.chains, strict=True):
                for digit in range(base):
                    trie.add(at, trunk, (digit,), 1.0)
        asked = np.unique(-1 - self._at[self._at < 0])
        if self._level == 0 and len(asked) == 0:
            # Nothing but branches: mass outside numbers is measured at the context's own separators.
            own = self.context.points
            asked = own.prefix[[not chain for chain in own.chains]]
        return trie.forest(self.context.prompt, asked)

    def take(self, forest: Forest, answer: ForestLogProbs, first: bool) -> None:
        """Refine the densities by the laws of the next digit."""
        base, at = self.context.alphabet.base, self._at
        logs = np.empty((len(at), self.context.alphabet.size))
        logs[at >= 0] = answer.nodes[at[at >= 0]]
        logs[at < 0] = answer.prompt[np.searchsorted(forest.asked, -1 - at[at < 0])]
        mass = np.exp(logs[:, :base])
        total = mass.sum(axis=1)
        if first:
            # The model's mass outside numbers, at a sample of the asked positions: outside the alphabet, and within it.
            sampled = np.linspace(0, len(forest.asked) - 1, len(answer.outside)).round().astype(int)
            inside = np.exp(answer.prompt[sampled][:, :base]).sum(axis=1)
            self.outside = 1 - (1 - answer.outside) * inside
        else:
            # What the model puts on a separator or newline after a first digit counts as much as after none: a number
            # is written where it is on digits at every level.
            stray = float((self.probs[self._keep] * (1 - total)).sum() / len(self._points))
            self.outside = 1 - (1 - self.outside) * (1 - stray)
        below = np.full((*self.probs.shape, base), 1.0 / base)
        below[self._keep] = mass / total[:, None]
        self.probs = (self.probs[..., None] * below).reshape(len(self._points), -1)
        self._level += 1


@dataclass
class _Trie:
    """Branches under construction; equal beginnings share their nodes."""

    symbols: list[int] = field(default_factory=list)
    prefix: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    mass: list[float] = field(default_factory=list)
    index: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def add(self, prefix: int, trunk: tuple[int, ...], digits: tuple[int, ...], mass: float) -> int:
        """Return the node that ends trunk and digits, -1 - prefix where both are empty: the prompt position itself.

        Args:
            prefix: The prompt position that they hang off.
            trunk: Symbols before the value; all that follows rests on them.
            digits: The first digits of the value.
            mass: Their probability.
        """
        node = -1 - prefix
        for i, symbol in enumerate(trunk + digits):
            key = (prefix, node, symbol)
            parent, weight = node, 1.0 if i < len(trunk) else mass
            node = self.index.setdefault(key, len(self.symbols))
            if node == len(self.symbols):
                self.symbols.append(symbol)
                self.prefix.append(prefix)
                self.parents.append(max(parent, -1))
                self.mass.append(weight)
            elif weight > self.mass[node]:
                self.mass[node] = weight
        return node

    def forest(self, prompt: np.ndarray, asked: np.ndarray) -> Forest:
        """Return them as a forest."""
        symbols, prefix, parents = (np.array(a, dtype=np.int64) for a in (self.symbols, self.prefix, self.parents))
        return Forest(prompt, asked, symbols, prefix, parents, mass=np.minimum(self.mass, 1.0))


def _keep(probs: np.ndarray, bound: float) -> np.ndarray:
    """Return which branches to refine: all but the lightest, whose masses sum to at most `bound` at each point."""
    order = np.argsort(probs, axis=1, kind="stable")
    light = np.cumsum(np.take_along_axis(probs, order, axis=1), axis=1) <= bound
    keep = np.ones(probs.shape, dtype=bool)
    np.put_along_axis(keep, order, ~light, axis=1)
    return keep


def _path(code: int, length: int, base: int) -> tuple[int, ...]:
    return tuple(int(code) // base**i % base for i in range(length - 1, -1, -1))
