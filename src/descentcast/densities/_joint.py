"""Laws of the next state of several coordinates, by a digit tree D times as deep: read whole, at one state, or drawn.

A state's digits adjoin, so the tree of D coordinates of d digits has D * d levels, and `p(x') = p(x'_1) p(x'_2 | x'_1)
...`, digit by digit: nothing is assumed of how coordinates depend on each other. With a weight w, each digit's law is
raised to the power w and normalised: above 1 it is sharper than the model's own.
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
    model: LanguageModel, context: Context, view: JointView, states: np.ndarray, bound: float, weight: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Read the whole density of the next state at each state, probed after the context.

    Args:
        model: The language model.
        context: Runs, laid out in the view.
        view: The encoding.
        states: Shape (p, D), within the view.
        bound: Largest mass at a state that may go unrefined; it is spread within its own branch.
        weight: The power of each digit's law.

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
    return view.by_value(_sharpened(found.probs, context.alphabet.base, context.groups, weight)), found.pruned


def log_masses(
    model: LanguageModel,
    contexts: Sequence[Context],
    codes: Sequence[Cells],
    following: Sequence[Cells],
    weights: Sequence[float] = (1.0,),
) -> tuple[list[np.ndarray], float]:
    """Return the log probability of one next state at each state: one branch each, no whole density.

    Args:
        model: The language model.
        contexts: Runs laid out in each of several views.
        codes: Codes of the states in each view.
        following: Codes of the next states.
        weights: Powers of each digit's law, W of them.

    Returns:
        Log probabilities for each context, shape (W, p), and the mass that the model put on anything but a digit,
        averaged over all that were read.
    """
    groups, base = contexts[0].groups, contexts[0].alphabet.base
    powers = base ** np.arange(groups - 1, -1, -1)
    written = [np.asarray(f)[:, None] // powers % base for f in following]
    logs, stray = _laws(model, contexts, codes, written)
    told = [
        [np.take_along_axis(_raised(law, w), digits[..., None], axis=2)[..., 0].sum(axis=1) for w in weights]
        for law, digits in zip(logs, written, strict=True)
    ]
    return [np.array(some) for some in told], stray


def draw_next(
    model: LanguageModel,
    contexts: Sequence[Context],
    codes: Sequence[Cells],
    rng: np.random.Generator,
    weight: float = 1.0,
) -> list[np.ndarray]:
    """Draw the next state of each state from its exact law, digit by digit.

    All states are read in the same passes, one pass a digit; those that begin alike share what is read.

    Args:
        model: The language model.
        contexts: Runs laid out in each of several views.
        codes: Codes of the states to go on from in each view; a code may occur many times.
        rng: Each draw takes one number a digit from it.
        weight: The power of each digit's law.

    Returns:
        Codes of the next states in each view.
    """
    groups, base = contexts[0].groups, contexts[0].alphabet.base
    drawn = [np.zeros((len(some), 0), dtype=np.int64) for some in codes]
    for _ in range(groups):
        laws, _ = _laws(model, contexts, codes, drawn, last_only=True)
        for k, law in enumerate(laws):
            below = np.exp(_raised(law[:, -1], weight)).cumsum(axis=1)
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


def _raised(logs: np.ndarray, weight: float) -> np.ndarray:
    """Return log laws of a digit (last axis) raised to a power and normalised."""
    return logs if weight == 1 else weight * logs - np.logaddexp.reduce(weight * logs, axis=-1, keepdims=True)


def _sharpened(probs: np.ndarray, base: int, groups: int, weight: float) -> np.ndarray:
    """Return laws over codes (last axis) with the law of each digit, given those before it, raised to a power."""
    if weight == 1:
        return probs
    found, before = np.ones((len(probs), 1)), np.ones((len(probs), 1))
    for level in range(1, groups + 1):
        masses = probs.reshape(len(probs), base**level, -1).sum(axis=2)
        # Where no mass is, any law of the next digit will do.
        shares = np.divide(
            masses.reshape(-1, base),
            before.reshape(-1, 1),
            where=before.reshape(-1, 1) > 0,
            out=np.full((masses.size // base, base), 1.0 / base),
        )
        shares = shares**weight
        found = (found.reshape(-1, 1) * shares / shares.sum(axis=1, keepdims=True)).reshape(len(probs), -1)
        before = masses
    return found
