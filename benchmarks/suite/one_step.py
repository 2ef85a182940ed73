"""One step ahead: next-value laws given a history, against the true law at the last value, on the same cells.

A context is the first T values of a run; laws are read at up to 20 evenly spaced steps of its last third. The cells
come from what was known: at the first of these steps `default_edges` of the values so far (hull, margins, 100 cells),
and again where a value comes so near the end of the grid that the next may leave it. Views of a language model are
drawn around the same range. How views are pooled is chosen, as `next_densities` does, by the log score on earlier
steps: on twelve evenly spaced ones before the last third (from a sixth of the context on) and those read so far. With
all views, what `recalibrate_densities` makes of the densities read at every step so far is shown too.
"""

from dataclasses import dataclass

import numpy as np
from benchmarks.suite.chains import CELLS, Chain, generator, rows_of
from benchmarks.suite.measures import averaged, compare

import descentcast as dc
from descentcast.densities import RULES, Densities, lay_out, read_densities, within
from descentcast.densities._densities import PRUNED
from descentcast.densities._grids import FLOOR
from descentcast.densities._pooling import candidates, running_choice
from descentcast.encoding import draw_views
from descentcast.kernels import ClassicalKernel, default_edges
from descentcast.kernels._grid import one_step_spread
from descentcast.language_models import LanguageModel
from descentcast.trajectories import Trajectories

LENGTHS = (30, 100, 300)
SWEEP = (10, 20, 50, 100, 200, 300, 400, 600)
READ, REHEARSED = 20, 12
VIEWS, DIGITS = 4, 2
# A grid is renewed when fewer one-step spreads than this are left to its end.
ROOM = 2.0

CLASSICAL: dict[str, ClassicalKernel] = {
    "local-linear": dc.LocalLinearKernel(),
    "local-linear, residual noise": dc.LocalLinearKernel(noise="residual"),
    "conditional density": dc.KernelDensityKernel(),
    "AR(1)": dc.AutoregressiveKernel(),
    "AR(1), residual noise": dc.AutoregressiveKernel(noise="residual"),
}
GRID, RECALIBRATED = "true kernel, same cells", f"{VIEWS} views, recalibrated"
# Classical estimators that are shown recalibrated too, as in the whole kernels.
MENDED = ("local-linear", "conditional density")


@dataclass(frozen=True, eq=False)
class Stretch:
    """Steps that share a grid: the law of value t + 1 is read for each t of `steps`."""

    steps: np.ndarray
    edges: np.ndarray


def read_steps(length: int) -> np.ndarray:
    """Return the steps t that are read of `length` values: up to 20 of the last third, the last one too."""
    first = int(np.ceil(2 * length / 3))
    return np.unique(np.linspace(first, length - 1, min(READ, length - first)).round().astype(int))


def rehearsal_steps(length: int) -> np.ndarray:
    """Return the earlier steps on which the pooling rule is chosen, before the last third."""
    first, end = max(2, length // 6), int(np.ceil(2 * length / 3)) - 1
    return np.unique(np.linspace(first, end, min(REHEARSED, end - first + 1)).round().astype(int))


def stretches(values: np.ndarray, steps: np.ndarray) -> list[Stretch]:
    """Give each step a grid that knows no later value."""
    found: list[Stretch] = []
    for t in steps:
        known = values[: t + 1]
        if found:
            edges = found[-1].edges
            room = ROOM * one_step_spread(known[:-1], known[1:])
            if (
                edges[0] <= known.min()
                and known.max() <= edges[-1]
                and edges[0] + room <= known[-1] <= edges[-1] - room
            ):
                found[-1] = Stretch(np.append(found[-1].steps, t), edges)
                continue
        edges, _ = default_edges(Trajectories.from_arrays([known]), 0, CELLS)
        found.append(Stretch(np.array([t]), edges))
    return found


def classical_laws(estimator: ClassicalKernel, values: np.ndarray, stretch: Stretch) -> np.ndarray:
    """Return the prequential laws of a classical estimator at some steps, shape (Q, n + 2)."""
    # The last value is followed by nothing yet: a stand-in makes a window of it, and is never used as a value.
    x, y = estimator._pairs([np.append(values, values[-1])])
    return np.concatenate([estimator._law(x[:t], y[:t], x[t : t + 1], stretch.edges) for t in stretch.steps])


def recalibrated_laws(estimator: ClassicalKernel, values: np.ndarray, stretch: Stretch) -> np.ndarray:
    """Return the present rows of a classical estimator's recalibrated kernels of what was known, shape (Q, n + 2)."""
    found = []
    for t in stretch.steps:
        fitted = dc.RecalibratedKernel(estimator).fit(Trajectories.from_arrays([values[: t + 1]]), stretch.edges)
        found.append(rows_of(fitted.kernel_)[_cells(values[t], stretch.edges)])
    return np.stack(found)


def view_laws(
    model: LanguageModel, values: np.ndarray, stretch: Stretch, views: int, rng: np.random.Generator
) -> np.ndarray:
    """Return a language model's laws at some steps in several views, shape (views, Q, n)."""
    known, (low, high) = values[: stretch.steps[-1] + 1], stretch.edges[[0, -1]]
    read = []
    for view in draw_views(float(low), float(high), views, DIGITS, rng):
        context = lay_out([known], view, model.alphabet)
        found = read_densities(model, context, context.points.take(stretch.steps), PRUNED)
        read.append(within(view.by_value(found.probs), view.edges, stretch.edges))
    return np.stack(read)


def model_laws(
    model: LanguageModel,
    values: np.ndarray,
    rehearsed: np.ndarray,
    scored: list[Stretch],
    rng: np.random.Generator,
    views: tuple[int, ...] = (1, VIEWS),
    mend: bool = True,
) -> dict[str, list[np.ndarray]]:
    """Return, by label, a language model's pooled laws (Q, n + 2) on each scored stretch.

    The identity view is the first of the several, so all are read once. The steps `rehearsed` come before the first
    stretch and are read with its grid, so from the same prompts: what they choose is used later than all it knows. To
    `mend` too, every step before the last is read.
    """
    running = {count: np.zeros(len(RULES)) for count in views}
    laws: dict[str, list[np.ndarray]] = {name: [] for name in (*map(label, views), *[RECALIBRATED] * mend)}
    for i, stretch in enumerate(scored):
        early = 0 if i else len(rehearsed)
        steps = np.concatenate([rehearsed[:early], stretch.steps])
        read = np.arange(steps[-1] + 1) if mend else steps
        every = view_laws(model, values, Stretch(read, stretch.edges), max(views), rng)
        if mend:
            laws[RECALIBRATED].append(corrected(every, values[: len(read)], stretch))
        stacked = every[:, np.searchsorted(read, steps)]
        following, rows = values[steps + 1], np.arange(len(steps))
        cells = np.clip(np.searchsorted(stretch.edges, following, side="right") - 1, 0, len(stretch.edges) - 2)
        # A value beyond the grid has no cell: it speaks for no rule.
        inside = (following >= stretch.edges[0]) & (following <= stretch.edges[-1])
        for count in views:
            pooled = candidates(stacked[:count])
            scores = np.where(inside, np.log(np.maximum(pooled[:, rows, cells], FLOOR)), 0.0)
            totals = running[count][:, None] + np.cumsum(np.pad(scores, ((0, 0), (1, 0))), axis=1)
            running[count] = totals[:, -1]
            chosen = pooled[totals[:, :-1].argmax(axis=0), rows]
            laws[label(count)].append(np.pad(chosen[early:], ((0, 0), (1, 1))))
    return laws


def corrected(every: np.ndarray, values: np.ndarray, stretch: Stretch) -> np.ndarray:
    """Return the recalibrated laws of a stretch, shape (Q, n + 2), from the densities of every step, (views, T, n)."""
    pooled = candidates(every)
    choice, _ = running_choice(pooled, _cells(values[1:], stretch.edges), np.zeros(len(RULES)))
    rules, read = np.array(RULES)[choice], pooled[choice, np.arange(len(values))]
    found = dc.recalibrate_densities(Densities(read, stretch.edges, rules, np.zeros(1), 0.0), values)
    return np.pad(found.probs[stretch.steps], ((0, 0), (1, 1)))


def one_step(
    chain: Chain, seed: int, model: LanguageModel | None, lengths: tuple[int, ...] = LENGTHS, mend: bool = True
) -> dict:
    """Compare one-step laws on one run of a chain.

    Args:
        chain: The chain.
        seed: Seed of the run: every estimator sees the same one.
        model: A language model, or None for the classical estimators and the floor.
        lengths: Numbers of values of the contexts, all beginnings of the same run.
        mend: Whether recalibrated laws are wanted too: they take reading every step.

    Returns:
        Measures by length and estimator.
    """
    rng = generator("one-step", chain.name, seed)
    run = chain.paths(rng.uniform(*chain.starts, size=1), max(lengths), rng)[0]
    found: dict[str, dict] = {}
    for length in lengths:
        values = run[: length + 1]
        scored = stretches(values[:length], read_steps(length))
        laws: dict[str, list[np.ndarray]] = {}
        if model is None:
            for name, estimator in CLASSICAL.items():
                laws[name] = [classical_laws(estimator, values[:length], s) for s in scored]
            for name in MENDED if mend else ():
                laws[f"{name}, recalibrated"] = [recalibrated_laws(CLASSICAL[name], values[:length], s) for s in scored]
            laws[GRID] = [chain.cell_laws(_cells(values[s.steps], s.edges), s.edges) for s in scored]
        else:
            rng = generator("views", chain.name, seed)
            laws = model_laws(model, values, rehearsal_steps(length), scored, rng, mend=mend)
        truth = [chain.law(values[s.steps], s.edges) for s in scored]
        spread = [chain.spread(values[s.steps]) for s in scored]
        found[str(length)] = {
            name: averaged(
                [
                    compare(law, true, s.edges, sd, values[s.steps + 1])
                    for law, true, s, sd in zip(each, truth, scored, spread, strict=True)
                ]
            )
            for name, each in laws.items()
        }
    return found


def label(views: int) -> str:
    """Return what tables call an estimator of so many views."""
    return f"{views} view{'s' if views > 1 else ''}"


def _cells(values: np.ndarray | float, edges: np.ndarray) -> np.ndarray:
    return np.minimum(np.searchsorted(edges, values, side="right") - 1, len(edges) - 2)
