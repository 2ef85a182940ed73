"""Kernels of the beginnings of runs, all read in one context: a model that reads forward has not seen what follows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from descentcast._types import Edges
from descentcast.densities import RULES, Context, Points, lay_out, stored_densities, within
from descentcast.encoding import draw_views
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._reading import PRUNED, ReadRows, iterated_score
from descentcast.language_models import LanguageModel


def read_beginnings(
    model: LanguageModel,
    columns: list[np.ndarray],
    edges: Edges,
    digits: int,
    views: int,
    probed: bool,
    completion: str,
    known: Sequence[int],
    rng: np.random.Generator,
    tick: Callable[[int], Any],
) -> list[TransitionKernel]:
    """Read the kernel of each beginning of the runs, of one coordinate.

    A density read at a visit depends on the values up to it only, so the densities of the whole context serve: those
    of later visits are dropped. Probes hang off the last value that is known. How views are pooled is chosen anew for
    each beginning, on what it knows. With the generator that a fit began with, the views are those of the fit, and
    densities at visits come from the store.

    Args:
        model: The language model.
        columns: Values of each run, shape (T,) each, all within `edges`.
        edges: The grid, shape (n + 1,).
        digits: Digits a value.
        views: How many views.
        probed: Read every row after what is known rather than at its visits.
        completion: How rows that were not read are completed.
        known: How many values each beginning holds.
        rng: For views.
        tick: Called with the number of views read so far.

    Returns:
        One kernel a beginning.
    """
    n, values = len(edges) - 1, np.concatenate(columns)
    cells = np.minimum(np.searchsorted(edges, values, side="right") - 1, n - 1)
    read = []
    for k, view in enumerate(draw_views(edges[0], edges[-1], views, digits, rng)):
        context = lay_out(columns, view, model.alphabet)
        codes = view.encode((edges[:-1] + edges[1:]) / 2)
        points = _probes(context, codes, known) if probed else context.points
        found = stored_densities(model, context, points, PRUNED)
        read.append(within(view.by_value(found.probs), view.edges, edges))
        tick(k + 1)
    stacked = np.stack(read)  # (V, p, n)

    kernels = []
    for i, count in enumerate(known):
        paths = [p for p in np.split(cells[:count], np.cumsum([len(c) for c in columns])[:-1]) if len(p) > 1]
        part = stacked[:, i * n : (i + 1) * n] if probed else stacked[:, :count]
        of, seen = (np.arange(n), np.ones(n)) if probed else (cells[:count], np.arange(1.0, count + 1))
        rows = ReadRows(part, of, seen, cells[:count], edges, probed)
        by_rule = [rows.kernel(rule, completion) for rule in RULES]
        kernels.append(max(by_rule, key=lambda kernel: iterated_score(kernel, paths)))
    return kernels


def _probes(context: Context, codes: np.ndarray, known: Sequence[int]) -> Points:
    """Points that read the row of each state after each beginning: newline, state, separator, as after the whole."""
    chains = context.probes(codes).chains
    # A point inside a run is its separator; the value ends before it. At a run's end the separator is a branch.
    ends = [int(context.points.prefix[k - 1]) - (not context.points.chains[k - 1]) for k in known]
    return Points(np.repeat(ends, len(codes)), chains * len(known))
