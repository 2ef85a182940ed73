"""What a language model says of the next value after contexts of growing length, in one view, as the paper reads it."""

import time

import numpy as np
from benchmarks.paper.series import FiniteChain, Series

from descentcast import scoring
from descentcast.densities import lay_out, read_densities
from descentcast.encoding import View
from descentcast.language_models import LanguageModel

# Mass that may go unrefined to the last digit.
PRUNED = 1e-3
# Lengths are averaged over bins, five a decade, in each of which at most so many are read.
FIRST, BINS_A_DECADE, A_BIN = 10, 5, 12
# Points of a cell that a law is averaged over.
IN_A_CELL = 32


def bins(longest: int) -> np.ndarray:
    """Return the edges of the bins of context lengths from 10 to `longest`: the last bin ends there."""
    count = max(1, round(BINS_A_DECADE * float(np.log10(longest / FIRST))))
    edges = np.round(FIRST * 10 ** (np.arange(count + 1) / BINS_A_DECADE)).astype(int)
    return np.append(edges[:-1], longest)


def lengths_read(longest: int) -> np.ndarray:
    """Return the context lengths that are read: at most `A_BIN` evenly spaced ones of every bin."""
    edges = bins(longest)
    ends = [*edges[1:-1].tolist(), longest + 1]
    return np.unique(
        np.concatenate(
            [
                np.linspace(low, high - 1, min(A_BIN, high - low)).round().astype(int)
                for low, high in zip(edges[:-1].tolist(), ends, strict=True)
            ]
        )
    )


def by_bin(lengths: np.ndarray, distances: np.ndarray, longest: int) -> list[dict[str, float]]:
    """Return the mean distance of every bin and its length: the geometric mean of those read."""
    place = np.clip(np.searchsorted(bins(longest), lengths, side="right") - 1, 0, len(bins(longest)) - 2)
    return [
        {"length": float(np.exp(np.log(lengths[place == b]).mean())), "distance": float(distances[place == b].mean())}
        for b in np.unique(place)
    ]


def series_distances(model: LanguageModel, series: Series, values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the Bhattacharyya distance of the next-value density to the true one after each context length.

    The true law is that given what the model can see of the last value: its two digits. So it is averaged over their
    cell, and a perfect reader is at zero.

    Args:
        model: The language model.
        series: The family.
        values: A run, shape (T,).
        lengths: How many values each context holds, at most T.
    """
    view = View(*series.range(values), 2)
    laws = _read(model, values, view, lengths)
    return scoring.bhattacharyya(laws, written_law(series, values[lengths - 1], view))


def written_law(series: Series, values: np.ndarray, view: View) -> np.ndarray:
    """Return the law of what follows each value, averaged over the cell that its digits name, shape (Q, n)."""
    cells, share = view.encode(values), (np.arange(IN_A_CELL) + 0.5) / IN_A_CELL
    points = view.edges[cells, None] + np.diff(view.edges)[cells, None] * share
    return series.law(points.ravel(), view.edges).reshape(len(values), IN_A_CELL, -1).mean(axis=1)


def chain_distances(
    model: LanguageModel, chain: FiniteChain, path: np.ndarray, lengths: np.ndarray, digits: int
) -> np.ndarray:
    """Return the Bhattacharyya distance of the next-state law to the true row after each context length.

    A state is written as the digit that it is. With two digits states are spread over 00 to 99, and a code counts for
    the nearest state.
    """
    truth = chain.matrix[path[lengths - 1]]
    if digits == 1:
        laws = _read(model, path, View(-0.5, 9.5, 1), lengths)
        truth = np.pad(truth, ((0, 0), (0, 10 - chain.states)))
    else:
        view = View(-0.5, chain.states - 0.5, digits)
        codes = _read(model, path, view, lengths)
        nearest = np.round(view.decode(np.arange(view.cells))).astype(int)
        laws = codes @ np.eye(chain.states)[nearest]
    return scoring.bhattacharyya(laws, truth)


def _read(model: LanguageModel, values: np.ndarray, view: View, lengths: np.ndarray) -> np.ndarray:
    context = lay_out([np.asarray(values, dtype=float)], view, model.alphabet)
    return read_densities(model, context, context.points.take(lengths - 1), PRUNED).probs


class Stopwatch:
    """Processor seconds of this process since it was made."""

    def __init__(self) -> None:
        self._start = time.process_time()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.process_time() - self._start
