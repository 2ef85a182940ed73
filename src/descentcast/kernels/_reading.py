"""Rows of one coordinate read off a language model, pooled over views, merged over visits, completed and resampled."""

from collections.abc import Callable
from dataclasses import dataclass
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
class Reading:
    """What was read of one coordinate.

    Attributes:
        kernel: The kernel.
        replicates: Kernels from resampled views and, where rows were read at visits, blocks of visits; none where there
            is one view of probed rows.
        rule: How the views were pooled: the rule of the best `iterated_score` on the context.
        log_score: Average log density of the context's transitions, each as it was read, nats a step.
        outside_mass: Mass outside digits, averaged over a sample of positions.
        pruned_mass: Largest unrefined mass of a density.
    """

    kernel: TransitionKernel
    replicates: list[TransitionKernel]
    rule: str
    log_score: float
    outside_mass: float
    pruned_mass: float


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
    stacked = np.stack(read)  # (V, p, n)
    logs = floored_logs(stacked)

    visits = np.bincount(cells, minlength=n).astype(float)
    seen = np.ones(n) if probed else np.arange(1.0, len(values) + 1)
    # Sinkhorn takes seconds a completion; what it differs by is far below what pooling and resampling change.
    cheap = "quantile" if completion == "sinkhorn" else completion

    def kernel(views_used: np.ndarray, rule: str, weights: np.ndarray, completion: str) -> TransitionKernel:
        if rule in WEIGHTS:
            pooled = log_pool(logs[views_used], rule)
        else:
            pooled = pool(stacked if rule == "identity" else stacked[views_used], rule)
        return _completed(pooled, of, weights, visits, edges, completion, probed)

    everything = np.arange(views)
    paths = np.split(cells, np.cumsum([len(c) for c in columns])[:-1])
    scores = [iterated_score(kernel(everything, rule, seen, cheap), paths) for rule in RULES]
    rule = RULES[int(np.argmax(scores))]
    resamples = [
        kernel(r.integers(0, views, size=views), rule, seen * (1.0 if probed else _block_counts(columns, r)), cheap)
        for r in rng.spawn(0 if probed and views == 1 else REPLICATES)
    ]
    return Reading(
        kernel=kernel(everything, rule, seen, completion),
        replicates=resamples,
        rule=rule,
        log_score=_one_step_score(pool(stacked, rule), probed, cells, paths, edges),
        outside_mass=float(np.concatenate(outside).mean()),
        pruned_mass=pruned,
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


def _completed(
    densities: Float[np.ndarray, "p n"],
    of: np.ndarray,
    weights: np.ndarray,
    visits: np.ndarray,
    edges: Edges,
    completion: str,
    probed: bool,
) -> TransitionKernel:
    """Average the densities of each row by weight, complete the rest, and say what each row rests on."""
    n = len(edges) - 1
    inside, total = np.zeros((n, n)), np.bincount(of, weights=weights, minlength=n)
    np.add.at(inside, of, weights[:, None] * densities)
    known = total > 0
    inside[known] /= inside[known].sum(axis=1, keepdims=True)
    rows = np.pad(inside, ((0, 0), (1, 1)))
    done = complete(edges, rows, known, completion, visits if not probed else None)
    source = np.where(known & probed, "probed", done.source)
    return TransitionKernel(
        edges=edges,
        matrix=done.rows[:, 1:-1],
        overflow=done.rows[:, [0, -1]],
        evidence=Evidence(visits=visits, source=source, weight=done.weight),
    )


def _block_counts(columns: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Return how often each visit is drawn when blocks of about sqrt(T) visits are resampled with replacement."""
    blocks = [
        block
        for offset, column in zip(np.cumsum([0, *map(len, columns)]), columns, strict=False)
        for block in np.array_split(offset + np.arange(len(column)), max(1, round(len(column) ** 0.5)))
    ]
    counts = np.zeros(sum(map(len, columns)))
    for i in rng.integers(0, len(blocks), size=len(blocks)):
        counts[blocks[i]] += 1
    return counts
