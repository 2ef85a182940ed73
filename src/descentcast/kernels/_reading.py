"""The kernel of one coordinate read off a language model: which rows are read where, and how views are pooled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from descentcast._types import Edges
from descentcast.densities import RULES, lay_out, most_values, stored_densities, within
from descentcast.encoding import draw_views
from descentcast.errors import ArgumentError
from descentcast.kernels._excerpts import excerpt
from descentcast.kernels._grid import hull_distance
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._read_rows import ReadRows, block_counts, mixed
from descentcast.language_models import LanguageModel

# Unrefined mass a step, such that at most 1e-3 stays unrefined over a hundred.
PRUNED = 1e-5
REPLICATES = 40
FLOOR = 1e-12
VISITED, PROBED, BOTH = "visited", "probed", "both"


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of one coordinate.

    Attributes:
        kernel: The kernel.
        parts: What it is made of: rows read at visits, or probed, or both, in this order.
        rules: How the views of each part were pooled: the rule of the best `iterated_score` on the context.
        log_score: Average log density of the context's transitions, each as it was read, nats a step.
        outside_mass: Mass outside digits, averaged over a sample of positions.
        pruned_mass: Largest unrefined mass of a density.
        lengths: Values of each run.
        distance: Of each cell from the hull of the visited ones, in typical steps, shape (n,).
        streams: A generator for each replicate; none where there is one view of probed rows: nothing to resample.
    """

    kernel: TransitionKernel
    parts: list[ReadRows]
    rules: list[str]
    log_score: float
    outside_mass: float
    pruned_mass: float
    lengths: list[int]
    distance: np.ndarray
    streams: list[np.random.Generator]

    @property
    def rule(self) -> str:
        """The rules in words."""
        return self.rules[0] if len(self.rules) == 1 else f"{self.rules[0]} at visits, {self.rules[1]} probed"

    @cached_property
    def replicates(self) -> list[TransitionKernel]:
        """Kernels from resampled views and, where rows were read at visits, blocks of visits; made when asked for.

        They are for their spread, so their rows are completed by quantiles: Sinkhorn takes seconds a completion, and
        what it differs by is far below what resampling changes.
        """
        found, views = [], len(self.parts[0].densities)
        for rng in self.streams:
            drawn, counts = rng.integers(0, views, size=views), block_counts(self.lengths, rng)
            pairs = zip(self.parts, self.rules, strict=True)
            found.append(mixed([part.resampled(rule, drawn, counts) for part, rule in pairs], self.distance))
        return found


def read_kernel(
    model: LanguageModel,
    columns: list[np.ndarray],
    edges: Edges,
    digits: int,
    views: int,
    rows: str,
    completion: str,
    rng: np.random.Generator,
    tick: Callable[[int], Any],
) -> Reading:
    """Read the kernel of one coordinate.

    Args:
        model: The language model.
        columns: Values of each run, shape (T,) each, all within `edges`.
        edges: The grid, shape (n + 1,).
        digits: Digits a value.
        views: How many views.
        rows: "visited": read rows at their visits; "probed": every row after the whole context; "both": the mixture
            of the two, even where runs went (see `mixed`), or probed rows alone where the runs are longer than the
            model reads.
        completion: How rows that were not read are completed.
        rng: For views and resamples.
        tick: Called with the number of views read so far.

    Raises:
        ArgumentError: A value outside the grid.
    """
    n = len(edges) - 1
    values = np.concatenate(columns)
    cells = np.minimum(np.searchsorted(edges, values, side="right") - 1, n - 1)
    if (values < edges[0]).any() or (values > edges[-1]).any():
        raise ArgumentError(f"edges span [{edges[0]}, {edges[-1]}], must hold all values of the runs")
    if rows == BOTH and len(values) > most_values(model, digits):
        rows = PROBED

    read, outside, pruned = [], [], 0.0
    for k, view in enumerate(draw_views(edges[0], edges[-1], views, digits, rng)):
        # Probed rows need no visit of their own, so that runs longer than the model reads are shown in excerpts.
        shown = excerpt(columns, most_values(model, digits), rng) if rows == PROBED else columns
        context = lay_out(shown, view, model.alphabet)
        points = context.points
        if rows != VISITED:
            probes = context.probes(view.encode((edges[:-1] + edges[1:]) / 2))
            points = probes if rows == PROBED else points.joined(probes)
        found = stored_densities(model, context, points, PRUNED)
        # No run in the context has left the grid, so what a model puts there is noise, and would leak at every step.
        read.append(within(view.by_value(found.probs), view.edges, edges))
        outside.append(found.outside)
        pruned = max(pruned, float(found.pruned.max()))
        tick(k + 1)
    lengths, distance = [len(column) for column in columns], hull_distance(columns, edges)
    # Sinkhorn takes seconds a completion; it is far from what tells rules apart.
    cheap = "quantile" if completion == "sinkhorn" else completion
    parts = parts_of(np.stack(read), cells, edges, rows)
    rules, kernels = [], []
    for part in parts:
        rule, kernel = best_rule(part, cheap, lengths)
        rules.append(rule)
        kernels.append(kernel if completion == cheap else part.kernel(rule, completion))
    given = np.mean([part.foretold(rule, lengths) for part, rule in zip(parts, rules, strict=True)], axis=0)
    arrived = np.setdiff1d(np.arange(len(cells)), np.cumsum([0, *lengths]))
    return Reading(
        kernel=mixed(kernels, distance),
        parts=parts,
        rules=rules,
        log_score=float(np.log(np.maximum(given, FLOOR) / np.diff(edges)[cells[arrived]]).mean()),
        outside_mass=float(np.concatenate(outside).mean()),
        pruned_mass=pruned,
        lengths=lengths,
        distance=distance,
        streams=rng.spawn(0 if rows == PROBED and views == 1 else REPLICATES),
    )


def parts_of(densities: np.ndarray, cells: np.ndarray, edges: Edges, rows: str) -> list[ReadRows]:
    """Return densities by view, at visits first, then probed, as the rows that they are of.

    Args:
        densities: Shape (V, p, n), with p the T values, the n probes, or both.
        cells: Cell of each value, shape (T,).
        edges: The grid, shape (n + 1,).
        rows: "visited", "probed" or "both".
    """
    n, parts = len(edges) - 1, []
    if rows != PROBED:
        seen = np.arange(1.0, len(cells) + 1)
        parts.append(ReadRows(densities[:, : len(cells)], cells, seen, cells, edges, False))
    if rows != VISITED:
        parts.append(ReadRows(densities[:, -n:], np.arange(n), np.ones(n), cells, edges, True))
    return parts


def best_rule(part: ReadRows, completion: str, lengths: Sequence[int]) -> tuple[str, TransitionKernel]:
    """Return the rule of pooling whose kernel has the best `iterated_score` on the runs, and that kernel."""
    paths = [path for path in np.split(part.cells, np.cumsum(lengths)[:-1]) if len(path) > 1]
    kernels = {rule: part.kernel(rule, completion) for rule in RULES}
    return max(kernels.items(), key=lambda tried: iterated_score(tried[1], paths))


def iterated_score(kernel: TransitionKernel, paths: list[np.ndarray]) -> float:
    """Return the log score of a kernel as forecasts use it: iterated.

    `mean over lags k = 1, 2, 4, ... of mean over t of log (P^k)(x_t, x_{t+k}) / width`, for lags up to half of the
    longest run. A kernel can score well at one step and badly after many: a little mass spread everywhere costs
    nothing at one step and forgets the start after fifty.

    Args:
        kernel: The kernel.
        paths: Cells of each run.
    """
    scores, power, lag = [], kernel.matrix, 1
    while lag <= max(map(len, paths)) // 2:
        before = np.concatenate([p[:-lag] for p in paths if len(p) > lag])
        after = np.concatenate([p[lag:] for p in paths if len(p) > lag])
        scores.append(np.log(np.maximum(power[before, after], FLOOR) / kernel.widths[after]).mean())
        power, lag = power @ power, 2 * lag
    return float(np.mean(scores))
