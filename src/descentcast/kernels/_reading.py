"""Rows of one coordinate read off a language model, pooled over views, merged over visits, completed and resampled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from descentcast._types import Edges
from descentcast.densities import (
    RULES,
    WEIGHTS,
    floored_logs,
    lay_out,
    log_pool,
    most_values,
    pool,
    stored_densities,
    within,
)
from descentcast.encoding import draw_views
from descentcast.errors import ArgumentError
from descentcast.kernels._completion import complete
from descentcast.kernels._excerpts import excerpt
from descentcast.kernels._kernel import Evidence, TransitionKernel
from descentcast.language_models import LanguageModel

# Unrefined mass a step, such that at most 1e-3 stays unrefined over a hundred.
PRUNED = 1e-5
REPLICATES = 40
FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class ReadRows:
    """Densities that views read, and the rows that they are of: what kernels are pooled, completed, resampled from.

    Attributes:
        densities: By view, on the cells of the grid, shape (V, p, n).
        of: The cell whose row each density is read for, shape (p,).
        seen: Weight of each density: the context that it has seen, shape (p,).
        cells: Cell of each value of the runs, shape (T,).
        edges: The grid, shape (n + 1,).
        probed: True if every row was read after the whole context, False if rows were read at visits.
    """

    densities: Float[np.ndarray, "V p n"]
    of: np.ndarray
    seen: np.ndarray
    cells: np.ndarray
    edges: Edges
    probed: bool

    def kernel(self, rule: str, completion: str) -> TransitionKernel:
        """Return the kernel that all views give."""
        return self._kernel(pool(self.densities, rule), self.seen, completion)

    def resampled(self, rule: str, lengths: Sequence[int], rng: np.random.Generator) -> TransitionKernel:
        """Return the kernel of views drawn again and, of rows read at visits, of blocks of visits drawn again.

        Args:
            rule: How views are pooled.
            lengths: Values of each run.
            rng: The generator.
        """
        drawn = rng.integers(0, len(self.densities), size=len(self.densities))
        if rule in WEIGHTS:
            pooled = log_pool(self._logs[drawn], rule)
        else:
            pooled = pool(self.densities if rule == "identity" else self.densities[drawn], rule)
        return self._kernel(pooled, self.seen * (1.0 if self.probed else _block_counts(lengths, rng)), "quantile")

    @cached_property
    def _logs(self) -> np.ndarray:
        return floored_logs(self.densities)

    def _kernel(self, densities: Float[np.ndarray, "p n"], weights: np.ndarray, completion: str) -> TransitionKernel:
        """Average the densities of each row by weight, complete the rest, and say what each row rests on."""
        n = len(self.edges) - 1
        visits = np.bincount(self.cells, minlength=n).astype(float)
        inside, total = np.zeros((n, n)), np.bincount(self.of, weights=weights, minlength=n)
        np.add.at(inside, self.of, weights[:, None] * densities)
        known = total > 0
        inside[known] /= inside[known].sum(axis=1, keepdims=True)
        rows = np.pad(inside, ((0, 0), (1, 1)))
        done = complete(self.edges, rows, known, completion, None if self.probed else visits)
        source = np.where(known & self.probed, "probed", done.source)
        return TransitionKernel(
            edges=self.edges,
            matrix=done.rows[:, 1:-1],
            overflow=done.rows[:, [0, -1]],
            evidence=Evidence(visits=visits, source=source, weight=done.weight),
        )


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of one coordinate.

    Attributes:
        kernel: The kernel.
        rows: What it is made of.
        rule: How the views were pooled: the rule of the best `iterated_score` on the context.
        log_score: Average log density of the context's transitions, each as it was read, nats a step.
        outside_mass: Mass outside digits, averaged over a sample of positions.
        pruned_mass: Largest unrefined mass of a density.
        lengths: Values of each run.
        streams: A generator for each replicate; none where there is one view of probed rows: nothing to resample.
    """

    kernel: TransitionKernel
    rows: ReadRows
    rule: str
    log_score: float
    outside_mass: float
    pruned_mass: float
    lengths: list[int]
    streams: list[np.random.Generator]

    @cached_property
    def replicates(self) -> list[TransitionKernel]:
        """Kernels from resampled views and, where rows were read at visits, blocks of visits; made when asked for.

        They are for their spread, so their rows are completed by quantiles: Sinkhorn takes seconds a completion, and
        what it differs by is far below what resampling changes.
        """
        return [self.rows.resampled(self.rule, self.lengths, rng) for rng in self.streams]


def read_kernel(
    model: LanguageModel,
    columns: list[np.ndarray],
    edges: Edges,
    digits: int,
    views: int,
    probed: bool,
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
        probed: Read every row after the whole context rather than at its visits.
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
    of = np.arange(n) if probed else cells  # the cell whose row each density is read for

    read, outside, pruned = [], [], 0.0
    for k, view in enumerate(draw_views(edges[0], edges[-1], views, digits, rng)):
        # Probed rows need no visit of their own, so that runs longer than the model reads are shown in excerpts.
        shown = excerpt(columns, most_values(model, digits), rng) if probed else columns
        context = lay_out(shown, view, model.alphabet)
        points = context.probes(view.encode((edges[:-1] + edges[1:]) / 2)) if probed else context.points
        found = stored_densities(model, context, points, PRUNED)
        # No run in the context has left the grid, so what a model puts there is noise, and would leak at every step.
        read.append(within(view.by_value(found.probs), view.edges, edges))
        outside.append(found.outside)
        pruned = max(pruned, float(found.pruned.max()))
        tick(k + 1)
    seen = np.ones(n) if probed else np.arange(1.0, len(values) + 1)
    rows = ReadRows(np.stack(read), of, seen, cells, edges, probed)
    paths = np.split(cells, np.cumsum([len(c) for c in columns])[:-1])
    # Sinkhorn takes seconds a completion; it is far from what tells rules apart.
    cheap = "quantile" if completion == "sinkhorn" else completion
    tried = {rule: rows.kernel(rule, cheap) for rule in RULES}
    rule = max(RULES, key=lambda rule: iterated_score(tried[rule], paths))
    return Reading(
        kernel=tried[rule] if completion == cheap else rows.kernel(rule, completion),
        rows=rows,
        rule=rule,
        log_score=_one_step_score(pool(rows.densities, rule), probed, cells, paths, edges),
        outside_mass=float(np.concatenate(outside).mean()),
        pruned_mass=pruned,
        lengths=[len(column) for column in columns],
        streams=rng.spawn(0 if probed and views == 1 else REPLICATES),
    )


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


def _one_step_score(
    densities: Float[np.ndarray, "p n"], probed: bool, cells: np.ndarray, paths: list[np.ndarray], edges: Edges
) -> float:
    """Return the average log density of the runs' transitions, as each was read (at its visit, or probed)."""
    last = np.cumsum([len(p) for p in paths]) - 1
    before = np.setdiff1d(np.arange(len(cells)), last)
    read = cells[before] if probed else before
    mass = densities[read, cells[before + 1]] / np.diff(edges)[cells[before + 1]]
    return float(np.log(np.maximum(mass, FLOOR)).mean())


def _block_counts(lengths: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Return how often each visit is drawn when blocks of about sqrt(T) visits are resampled with replacement."""
    blocks = [
        block
        for offset, length in zip(np.cumsum([0, *lengths]), lengths, strict=False)
        for block in np.array_split(offset + np.arange(length), max(1, round(length**0.5)))
    ]
    counts = np.zeros(sum(lengths))
    for i in rng.integers(0, len(blocks), size=len(blocks)):
        counts[blocks[i]] += 1
    return counts
