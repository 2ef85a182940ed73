r"""Laying runs out as symbols, and the points from which densities are read.

Runs are separated by a newline, values by the separator: `12,13,13\n80,77`. The density read after the separator that
follows x_t is the density of x_{t+1}: it belongs to the row of x_t. After the last value of a run that separator is a
branch of its own, since the prompt goes on with a newline.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import Cells
from descentcast.encoding import JointView, View
from descentcast.errors import ArgumentError
from descentcast.language_models import Alphabet, LanguageModel


@dataclass(frozen=True, eq=False, repr=False)
class Points(Shown):
    """Places from which next-value densities are read.

    Attributes:
        prefix: Last prompt position that each reads, shape (p,).
        chains: Symbols read after it, a tuple a point; empty where the prompt itself holds the separator.
    """

    prefix: np.ndarray
    chains: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.prefix)

    def take(self, where: np.ndarray) -> "Points":
        """Return the points at the given positions."""
        return Points(self.prefix[where], tuple(self.chains[i] for i in where))

    def joined(self, others: "Points") -> "Points":
        """Return these points, then others of the same prompt."""
        return Points(np.concatenate([self.prefix, others.prefix]), self.chains + others.chains)


@dataclass(frozen=True, eq=False, repr=False)
class Context(Shown):
    """Runs as one prompt.

    Attributes:
        prompt: Symbols, shape (L,).
        points: One point a value, in the order of the runs: the density of what follows that value.
        alphabet: The symbols.
        groups: Number symbols a value.
    """

    prompt: np.ndarray
    points: Points
    alphabet: Alphabet
    groups: int

    def probes(self, codes: Cells) -> Points:
        """Return the points that read the row of each state: newline, state, separator, after the whole context."""
        numbers = _symbols(codes, self.groups, self.alphabet)
        chains = tuple((self.alphabet.newline, *row, self.alphabet.separator) for row in numbers.tolist())
        return Points(np.full(len(numbers), len(self.prompt) - 1), chains)


def most_values(model: LanguageModel, digits: int) -> int:
    """Return how many values of one run, or of a few, a model reads with a probed row after them."""
    groups = digits // model.alphabet.digits_per_symbol
    probe = 2 * groups + 2
    return max((model.max_length - probe) // (groups + 1), 0)


def lay_out(columns: Sequence[np.ndarray], view: View | JointView, alphabet: Alphabet) -> Context:
    """Lay runs out as a prompt.

    Args:
        columns: Values of each run, shape (T,) each; (T, D) for a view of D coordinates.
        view: Their encoding; must hold every value.
        alphabet: The model's symbols.

    Raises:
        ArgumentError: A value outside the view, or digits that the alphabet cannot write.
    """
    if view.digits % alphabet.digits_per_symbol:
        raise ArgumentError(
            f"digits == {view.digits}, must be a multiple of {alphabet.digits_per_symbol} for a model that reads "
            f"{alphabet.digits_per_symbol} digits a token"
        )
    groups = view.digits // alphabet.digits_per_symbol
    prompts: list[np.ndarray] = []
    prefix: list[np.ndarray] = []
    chains: list[tuple[int, ...]] = []
    length = 0
    for column in columns:
        numbers = _symbols(view.encode(column), groups, alphabet)
        written = np.pad(numbers, ((0, 0), (0, 1)), constant_values=alphabet.separator).ravel()
        written[-1] = alphabet.newline  # the separator after a run's last value is a branch
        ends = length + (groups + 1) * np.arange(1, len(column) + 1) - 1
        ends[-1] -= 1
        prompts.append(written)
        prefix.append(ends)
        chains += [()] * (len(column) - 1) + [(alphabet.separator,)]
        length += len(written)
    return Context(np.concatenate(prompts)[:-1], Points(np.concatenate(prefix), tuple(chains)), alphabet, groups)


def _symbols(codes: Cells, groups: int, alphabet: Alphabet) -> np.ndarray:
    _checks.integer("groups", groups, low=1)
    powers = alphabet.base ** np.arange(groups - 1, -1, -1)
    return np.asarray(codes, dtype=np.int64)[..., None] // powers % alphabet.base
