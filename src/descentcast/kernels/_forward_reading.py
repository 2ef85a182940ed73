"""Kernels of the beginnings of runs, all read in one context: a model that reads forward has not seen what follows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from descentcast._types import Edges
from descentcast.densities import Context, Points, lay_out, stored_densities, within
from descentcast.encoding import draw_views
from descentcast.kernels._grid import hull_distance
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._read_rows import mixed
from descentcast.kernels._reading import PROBED, PRUNED, VISITED, best_rule, parts_of
from descentcast.language_models import LanguageModel


def read_beginnings(
    model: LanguageModel,
    columns: list[np.ndarray],
    edges: Edges,
    digits: int,
    views: int,
    rows: str,
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
        rows: "visited", "probed" or "both", as in `read_kernel`.
        completion: How rows that were not read are completed.
        known: How many values each beginning holds.
        rng: For views.
        tick: Called with the number of views read so far.

    Returns:
        One kernel a beginning.
    """
    n, values = len(edges) - 1, np.concatenate(columns)
    cells = np.minimum(np.searchsorted(edges, values, side="right") - 1, n - 1)
    visits = 0 if rows == PROBED else len(values)  # densities read at visits
    read = []
    for k, view in enumerate(draw_views(edges[0], edges[-1], views, digits, rng)):
        context = lay_out(columns, view, model.alphabet)
        points = context.points
        if rows != VISITED:
            probes = _probes(context, view.encode((edges[:-1] + edges[1:]) / 2), known)
            points = probes if rows == PROBED else points.joined(probes)
        found = stored_densities(model, context, points, PRUNED)
        read.append(within(view.by_value(found.probs), view.edges, edges))
        tick(k + 1)
    stacked = np.stack(read)  # (V, p, n)

    kernels = []
    for i, count in enumerate(known):
        probed = stacked[:, visits + i * n : visits + (i + 1) * n]  # none where rows were read at visits alone
        some = np.concatenate([stacked[:, : min(visits, count)], probed], axis=1)
        lengths = np.diff(np.minimum(np.cumsum([0, *map(len, columns)]), count)).tolist()
        parts = parts_of(some, cells[:count], edges, rows)
        before = np.split(values[:count], np.cumsum(lengths)[:-1])
        kernels.append(mixed([best_rule(part, completion, lengths)[1] for part in parts], hull_distance(before, edges)))
    return kernels


def _probes(context: Context, codes: np.ndarray, known: Sequence[int]) -> Points:
    """Points that read the row of each state after each beginning: newline, state, separator, as after the whole."""
    chains = context.probes(codes).chains
    # A point inside a run is its separator; the value ends before it. At a run's end the separator is a branch.
    ends = [int(context.points.prefix[k - 1]) - (not context.points.chains[k - 1]) for k in known]
    return Points(np.repeat(ends, len(codes)), chains * len(known))
