"""Laws of the next state of several coordinates, by a digit tree D times as deep: read whole, at one state, or drawn.

A state's digits adjoin, so the tree of D coordinates of d digits has D * d levels, and `p(x') = p(x'_1) p(x'_2 | x'_1)
...`, digit by digit: nothing is assumed of how coordinates depend on each other.
"""

from collections.abc import Sequence

import numpy as np

from descentcast._types import Cells
from descentcast.densities._context import Context
from descentcast.densities._digit_tree import _answers, _Trie
from descentcast.densities._store import stored_densities
from descentcast.encoding import JointView
from descentcast.errors import ArgumentError
from descentcast.language_models import LanguageModel

# Cells of a density that is held whole: three coordinates of two digits.
MOST_CELLS = 1_000_000


def read_joint(
    model: LanguageModel, context: Context, view: JointView, states: np.ndarray, bound: float
) -> tuple[np.ndarray, np.ndarray]:
    """Read the whole density of the next state at each state, probed after the context.

    Args:
        model: The language model.
        context: Runs, laid out in the view.
        view: The encoding.
        states: Shape (p, D), within the view.
        bound: Largest mass at a state that may go unrefined; it is spread within its own branch.

    Returns:
        Probabilities of cells in order of value, one axis a coordinate, shape (p, 10^digits, ..., 10^digits), and the
        mass that went unrefined, shape (p,).

    Raises:
        ArgumentError: States outside the view; a density of more than a million cells.
    """
    if 10**view.digits > MOST_CELLS:
        raise ArgumentError(
            f"a density of {len(view.views)} coordinates in {view.views[0].digits} digits each has 10^{view.digits} "
            "cells, must have at most 10^6: draw from it instead, or read fewer digits"
        )
    found = stored_densities(model, context, context.probes(view.encode(states)), bound)
    return view.by_value(found.probs), found.pruned


def log_masses(
    model: LanguageModel, contexts: Sequence[Context], codes: Sequence[Cells], following: Sequence[Cells]
) -> tuple[list[np.ndarray], float]:
    """Return the log probability of one next state at each state: one branch each, no whole density.

    Args:
        model: The language model.
        contexts: Runs laid out in each of several views.
        codes: Codes of the states in each view.
        following: Codes of the next states.

    Returns:
        Log probabilities for each context, and the mass that the model put on anything but a digit, averaged over all
        that were read.
    """
    groups, base = contexts[0].groups, contexts[0].alphabet.base
    powers = base ** np.arange(groups - 1, -1, -1)
    written = [np.asarray(f)[:, None] // powers % base for f in following]
    logs, stray = _laws(model, contexts, codes, written)
    told = [
        np.take_along_axis(law, digits[..., None], axis=2)[..., 0].sum(axis=1)
        for law, digits in zip(logs, written, strict=True)
    ]
    return told, stray


def draw_next(
    model: LanguageModel, contexts: Sequence[Context], codes: Sequence[Cells], rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw the next state of each state from its exact law, digit by digit.

    All states are read in the same passes, one pass a digit; those that begin alike share what is read.

    Args:
        model: The language model.
        contexts: Runs laid out in each of several views.
        codes: Codes of the states to go on from in each view; a code may occur many times.
        rng: Each draw takes one number a digit from it.

    Returns:
        Codes of the next states in each view.
    """
    groups, base = contexts[0].groups, contexts[0].alphabet.base
    drawn = [np.zeros((len(some), 0), dtype=np.int64) for some in codes]
    for _ in range(groups):
        laws, _ = _laws(model, contexts, codes, drawn, last_only=True)
        for k, law in enumerate(laws):
            below = np.exp(law[:, -1]).cumsum(axis=1)
            digit = (below < rng.random(len(below))[:, None] * below[:, -1:]).sum(axis=1)
            drawn[k] = np.column_stack([drawn[k], digit])
    powers = base ** np.arange(groups - 1, -1, -1)
    return [digits @ powers for digits in drawn]


def _laws(
    model: LanguageModel,
    contexts: Sequence[Context],
    codes: Sequence[Cells],
    written: Sequence[np.ndarray],
    last_only: bool = False,
) -> tuple[list[np.ndarray], float]:
    """Return the log law of each digit along what was written after each state.

    Args:
        model: The language model.
        contexts: The prompts.
        codes: Codes of the states in each.
        written: Digits of the next states so far, shape (p, l) each.
        last_only: Of the next digit alone; else of each of the l digits, given those before it.

    Returns:
        Log probabilities over digits, shape (p, 1 or l, base) for each context, and the mean mass outside digits.
    """
    forests, ends = [], []
    for context, some, digits in zip(contexts, codes, written, strict=True):
        # States in the same cell with the same digits so far are one branch.
        keys, which = np.unique(np.column_stack([some, digits]), axis=0, return_inverse=True)
        chains = context.probes(keys[:, 0]).chains
        trie, at = _Trie(), len(context.prompt) - 1
        lengths = [keys.shape[1] - 1] if last_only else range(keys.shape[1] - 1)
        nodes = [
            [trie.add(at, chain, tuple(row[:length]), 1.0) for length in lengths]
            for chain, row in zip(chains, keys[:, 1:].tolist(), strict=True)
        ]
        forests.append(trie.forest(context.prompt, np.empty(0, dtype=np.int64)))
        ends.append(np.array(nodes, dtype=np.int64).reshape(len(keys), -1)[which.ravel()])
    base, found, inside = contexts[0].alphabet.base, [], []
    for answer, at in zip(_answers(model, forests), ends, strict=True):
        logs = answer.nodes[at][..., :base]
        total = np.logaddexp.reduce(logs, axis=-1, keepdims=True)
        found.append(logs - total)
        inside.append(np.exp(total).ravel())
    return found, float(1 - np.concatenate(inside).mean()) if sum(map(len, inside)) else 0.0
