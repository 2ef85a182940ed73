r"""Contexts of the prior: runs of one random problem written as digits, and batches of them without padding.

Layout: fixed-width digits with leading zeros, coordinates adjoining, values separated by ",", runs by a newline:
"12,13,13\n80,77,75". Symbols 0 to 9 are digits, 10 is ",", 11 the newline, 12 the begin symbol.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, SeedSequence

from training.fields import TRAINING_FIELDS
from training.loss_curves import SHAPES, random_loss_curves
from training.problems import random_problem
from training.runs import Run
from training.views import View, loss_view, state_view

SEPARATOR, NEWLINE, BEGIN = 10, 11, 12
MOST_RUNS = 8
LONGEST = 2400  # symbols: 600 values of 4


@dataclass(frozen=True)
class Prior:
    """What contexts are drawn from.

    Attributes:
        fields: Families of gradient fields.
        loss_share: Share of contexts that are loss curves.
        three_digits: Share of contexts with three digits a coordinate instead of two.
        several: Share of contexts that show two or three coordinates.
        probes: Share of contexts that end in short runs from anywhere in the view.
        stream: Seed stream: 0 for training, another for held-out draws.
    """

    fields: tuple[str, ...] = TRAINING_FIELDS
    loss_share: float = 0.12
    three_digits: float = 0.2
    several: float = 0.1
    probes: float = 0.4
    stream: int = 0


@dataclass(frozen=True)
class Batch:
    """Contexts of one length.

    Attributes:
        symbols: The begin symbol and the text, shape (B, T + 1).
        laws: What each symbol is scored against, shape (B, T + 1, 10): the law of the digit, or certainty of the one
            that came; zero where it carries no loss (separators, a run's start).
    """

    symbols: np.ndarray
    laws: np.ndarray

    @property
    def scored(self) -> np.ndarray:
        """Whether each symbol carries loss, shape (B, T + 1)."""
        return self.laws.any(-1)


def batch(prior: Prior, seed: int, index: int, tokens: int) -> Batch:
    """Draw batch number `index`: contexts of one random length, about `tokens` symbols together.

    The same arguments give the same bytes; every context has a seed of its own.
    """
    length = random_length(np.random.default_rng(SeedSequence((seed, prior.stream, index))))
    return fixed_batch(prior, seed, index, length, max(1, round(tokens / (length + 1))))


def fixed_batch(prior: Prior, seed: int, index: int, length: int, contexts: int) -> Batch:
    """Draw `contexts` contexts of exactly `length` symbols each."""
    rows = [context(prior, SeedSequence((seed, prior.stream, index, row + 1)), length) for row in range(contexts)]
    begin = np.full((contexts, 1), BEGIN)
    return Batch(
        symbols=np.concatenate([begin, np.stack([symbols for symbols, _ in rows])], axis=1),
        laws=np.pad(np.stack([laws for _, laws in rows]), ((0, 0), (1, 0), (0, 0))),
    )


def random_length(rng: Generator) -> int:
    """Draw the symbols of a context: mostly 10 to 200 values, some up to 600, of 3 or 4 symbols each."""
    low, high = [(10, 200), (100, 300), (200, 600)][rng.choice(3, p=[0.5, 0.25, 0.25])]
    return int(np.exp(rng.uniform(np.log(low), np.log(high))) * rng.choice([3, 4], p=[0.8, 0.2]))


def context(prior: Prior, seed: SeedSequence, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one context of exactly `length` symbols: the symbols, shape (T,), and their laws, shape (T, 10).

    A problem whose runs leave their view before the context is full is dropped for another one.
    """
    rng = np.random.default_rng(seed)
    while True:
        digits = 3 if rng.random() < prior.three_digits else 2
        observed = int(rng.choice([2, 3])) if rng.random() < prior.several else 1
        is_loss = rng.random() < prior.loss_share
        values = length // ((1 if is_loss else observed) * digits + 1) + 1
        if is_loss:
            view, runs = _loss_runs(rng, values, digits)
        else:
            view, runs = _state_runs(rng, prior, values, observed, digits)
        if sum(map(len, runs)) >= values:
            symbols, laws = write(
                [view.cells(run.values) for run in runs], [view.digit_laws(run) for run in runs], digits
            )
            return symbols[:length], laws[:length]


def write(runs: Sequence[np.ndarray], laws: Sequence[np.ndarray], digits: int) -> tuple[np.ndarray, np.ndarray]:
    """Write cell numbers, one array of shape (T, D) a run, as symbols; return them and their laws.

    No separator follows the last value of a run.

    Examples:
        >>> laws = [np.ones((2, 2, 10)), np.ones((1, 2, 10))]
        >>> symbols, laws = write([np.array([[12], [3]]), np.array([[80]])], laws, digits=2)
        >>> "".join("0123456789,;"[s] for s in symbols), laws[:, 0].astype(int).tolist()
        ('12,03;80', [1, 1, 0, 1, 1, 0, 1, 1])
    """
    powers = 10 ** np.arange(digits - 1, -1, -1)
    cells, known = np.concatenate(runs), np.concatenate(laws)
    symbols = np.full((len(cells), cells.shape[1] * digits + 1), SEPARATOR)
    symbols[:, :-1] = (cells[:, :, None] // powers % 10).reshape(len(cells), -1)
    symbols[np.cumsum([len(run) for run in runs]) - 1, -1] = NEWLINE
    written = np.zeros((*symbols.shape, 10), dtype=np.float32)
    written[:, :-1] = known
    return symbols.ravel()[:-1], written.reshape(-1, 10)[:-1]


def _state_runs(rng: Generator, prior: Prior, values: int, observed: int, digits: int) -> tuple[View, list[Run]]:
    """Run one problem: long runs from spread starts, then short ones, by plan or where those left the view."""
    problem = random_problem(rng, prior.fields, observed)
    tail = int(rng.integers(4, max(5, values // 3))) if values >= 24 and rng.random() < prior.probes else 0
    lengths = _partition(rng, values - tail)
    centre = rng.uniform(-0.6, 0.6, problem.coordinates)
    radius = 0.01 if rng.random() < 0.15 else np.exp(rng.uniform(np.log(0.05), np.log(1.2)))

    starts = centre + radius * rng.uniform(-1, 1, (len(lengths), problem.coordinates))
    planned = problem.run(rng, starts, lengths, observed)
    known = max(1, int(rng.uniform(0.05, 0.6) * lengths[0]))
    view = state_view(rng, starts[:, :observed], planned[0].values[:known], problem.jump, digits)
    runs = _kept(view, planned)

    missing = values - sum(map(len, runs))
    if 0 < missing <= tail + values // 3:
        # A long gap is filled by few runs, a short one by probes of two or three values.
        length = int(rng.integers(2, 4)) if missing < 80 else missing // 5
        count = min(2 * missing // length + 2, 60)
        hidden = centre + radius * rng.uniform(-1, 1, (count, problem.coordinates))
        hidden[:, :observed] = rng.uniform(view.low, view.high, (count, observed))
        runs += _kept(view, problem.run(rng, hidden, [length] * count, observed))
    return view, runs


def _loss_runs(rng: Generator, values: int, digits: int) -> tuple[View, list[Run]]:
    """Draw the loss curves of a few seeds of one setting."""
    lengths = _partition(rng, values)
    log = bool(rng.random() < 0.4)
    curves = random_loss_curves(rng, str(rng.choice(list(SHAPES))), MOST_RUNS, max(lengths), log)
    known = max(1, int(rng.uniform(0.05, 0.6) * lengths[0]))
    starts = np.stack([curve.values[0] for curve in curves[: len(lengths)]])
    view = loss_view(rng, starts, curves[0].values[:known], digits, log)
    planned = [curve.cut(length) for curve, length in zip(curves, lengths, strict=False)]
    # Seeds to spare stand in for what was cut off the planned ones.
    return view, _kept(view, [*planned, *curves[len(lengths) :]])


def _kept(view: View, runs: Sequence[Run]) -> list[Run]:
    """Cut runs where they leave the view; drop those of which only the start is left, as nothing in them is scored."""
    return [run.cut(inside) for run in runs if (inside := view.inside(run.values)) > 1]


def _partition(rng: Generator, values: int) -> list[int]:
    """Split `values` among 1 to 8 runs of at least two values."""
    most = min(MOST_RUNS, values // 4)
    count = 1 if most < 2 or rng.random() < 0.35 else int(rng.integers(2, most + 1))
    shares = rng.dirichlet(np.full(count, 2.0))
    lengths = 2 + np.floor(shares * (values - 2 * count)).astype(int)
    lengths[0] += values - lengths.sum()
    return lengths.tolist()
