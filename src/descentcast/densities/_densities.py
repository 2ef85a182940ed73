"""Next-value densities of one run, read off a language model in several views."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks, language_models
from descentcast._shown import Shown
from descentcast._types import Edges, Probabilities, RandomState
from descentcast.densities._context import lay_out, most_values
from descentcast.densities._grids import RULES, regrid, within
from descentcast.densities._pooling import candidates, running_choice
from descentcast.densities._store import stored_densities
from descentcast.encoding import View, draw_views
from descentcast.errors import ArgumentError
from descentcast.language_models import LanguageModel

# What may go unrefined in a density that is not iterated.
PRUNED = 1e-3
# Without a range, a view starts from this many values and leaves this share of their width free on either side.
PREFIX, MARGIN = 8, 0.5


@dataclass(frozen=True, eq=False, repr=False)
class Densities(Shown):
    """Next-value densities of one run.

    Attributes:
        probs: Row t is the density of values[t + 1] given values[0 .. t], shape (T, n); the last row is the forecast of
            the value that has not come yet. Each row sums to 1.
        edges: Cell edges, shape (n + 1,).
        rules: The pooling rule that each row used, shape (T,).
        outside_mass: Mass that the model put on anything but digits, at a sample of positions (DESIGN: measured, then
            renormalised away).
        pruned_mass: Largest mass of a row that was not refined to the last digit.
        notes: Numerical outcomes in words.
    """

    probs: Probabilities
    edges: Edges
    rules: np.ndarray
    outside_mass: np.ndarray
    pruned_mass: float
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return the densities as plain values."""
        return {
            "probs": self.probs.tolist(),
            "edges": self.edges.tolist(),
            "rules": self.rules.tolist(),
            "outside_mass": self.outside_mass.tolist(),
            "pruned_mass": self.pruned_mass,
            "notes": list(self.notes),
        }


def next_densities(
    values: ArrayLike,
    model: str | LanguageModel = "smollm2-135m",
    digits: int = 2,
    views: int = 1,
    range: tuple[float, float] | None = None,
    random_state: RandomState = 0,
) -> Densities:
    """Read the density of every next value of a run off a language model (Hierarchy-PDF, arXiv 2402.00795).

    The estimand of row t is `p(x_{t+1} | x_0, ..., x_t)` as probabilities of the cells of a grid: products of digit
    probabilities along the branches of a digit tree, renormalised over digits, pooled over views.

    Args:
        values: One run, shape (T,), T >= 2.
        model: A catalogue name, folder, GGUF or hub id, or a loaded model.
        digits: Digits a value is written with: 10^digits cells.
        views: How many encodings are pooled; the first is the identity, the others are drawn at random.
        range: (low, high) that the views must hold. By default it starts from the first 8 values with a margin, and
            widens when a value leaves it: no row from the eighth on knows the values to come. (The first seven know how
            far the first eight go; a value that widens the range had no mass.)
        random_state: Seed of the random views.

    Returns:
        Densities on the grid of the identity view (of the last one, where the range widened).

    Raises:
        ArgumentError: Fewer than two values, values that are not finite or outside `range`, digits or views out of
            range.
        DataError: Values beyond 1e150, or all below 1e-150.
        ModelError: The model cannot be had.

    Examples:
        >>> from descentcast.language_models import Alphabet, ForestLogProbs
        >>> class Uniform:
        ...     name, alphabet, restarts, max_length = "uniform", Alphabet(1), False, 10_000
        ...     def log_probs(self, forest):
        ...         level = -np.log(12.0)
        ...         shape = len(forest.asked), len(forest.symbols)
        ...         return ForestLogProbs(*(np.full((k, 12), level) for k in shape), outside=np.zeros(1))
        >>> densities = next_densities([0.0, 1.0, 0.5], model=Uniform(), range=(-1, 2))
        >>> densities.probs.shape, round(float(densities.probs[0].sum()), 6)
        ((3, 100), 1.0)
    """
    values = _checks.vector("values", values, least=2)
    _checks.squarable("values", values)
    digits = _checks.integer("digits", digits, low=1, high=4)
    count = _checks.integer("views", views, low=1, high=64)
    rng = _checks.generator(random_state)
    stretches = _stretches(values) if range is None else [(0, *_checks.interval("range", range))]
    # By way of the package, so that torch comes only with a model.
    loaded = language_models.loaded(model)

    grid = View(*stretches[-1][1:], digits)
    if not grid.holds(values).all():
        bad = values[~grid.holds(values)][0]
        raise ArgumentError(f"range == {range}, must hold all values, {bad} among them")
    ends = [start for start, *_ in stretches[1:]] + [len(values)]
    rows, rules, outside, pruned = [], [], [], 0.0
    running = np.zeros(len(RULES))
    room = most_values(loaded, digits)
    for (start, low, high), end in zip(stretches, ends, strict=True):
        # Each stretch is pooled and scored on its own grid: a range that widens later must not change these rows.
        own = View(low, high, digits)
        read = []
        for view in draw_views(low, high, count, digits, rng):
            parts = []
            for first, row, stop in _windows(start, end, room):
                context = lay_out([values[first:stop]], view, loaded.alphabet)
                points = context.points.take(np.arange(row - first, stop - first))
                parts.append(stored_densities(loaded, context, points, PRUNED))
            probs = np.concatenate([part.probs for part in parts])
            read.append(within(view.by_value(probs), view.edges, own.edges))
            outside += [part.outside for part in parts]
            pruned = max(pruned, *(float(part.pruned.max()) for part in parts))
        pooled = candidates(np.stack(read))
        # The last row of a stretch is the density of a value that its range may not hold: it scores nothing.
        choice, running = running_choice(pooled, own.encode(values[start + 1 : end]), running)
        rows.append(regrid(pooled[choice, np.arange(end - start)], own.edges, grid.edges)[0])
        rules += [RULES[c] for c in choice]
    return Densities(
        probs=np.concatenate(rows),
        edges=grid.edges,
        rules=np.array(rules),
        outside_mass=np.concatenate(outside),
        pruned_mass=pruned,
        notes=(f"{loaded.name} reads {room} values: later rows rest on the {room // 2} to {room} before them",)
        if room < len(values)
        else (),
    )


def _windows(start: int, end: int, room: int) -> list[tuple[int, int, int]]:
    """Return (first value shown, first row read, end) of the windows that read rows [start, end) of a run.

    One where the model reads that many values; else every row but the first ones sees at least half of what fits.
    """
    if end <= room or room < 2:
        return [(0, start, end)]
    windows, row = [], start
    while row < end:
        stop = min(end, max(row + (room + 1) // 2, room))
        windows.append((max(stop - room, 0), row, stop))
        row = stop
    return windows


def _stretches(values: np.ndarray) -> list[tuple[int, float, float]]:
    """Return (first row, low, high) of each stretch of rows read with one range, none of which knows later values."""
    seen = values[: min(PREFIX, len(values))]
    stretches = [(0, *_around(seen))]
    for t in np.arange(len(seen), len(values)):
        _, low, high = stretches[-1]
        if not low <= values[t] <= high:
            wider = _around(values[: t + 1])
            stretches.append((int(t), min(low, wider[0]), max(high, wider[1])))
    return stretches


def _around(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = MARGIN * (high - low) or max(abs(low), 1.0) * MARGIN
    return low - margin, high + margin
