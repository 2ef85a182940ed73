"""Densities that views read off a language model, and the rows they are of: pooled, merged, completed, resampled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from descentcast._types import Edges
from descentcast.densities import WEIGHTS, floored_logs, log_pool, pool
from descentcast.kernels._completion import complete
from descentcast.kernels._kernel import Evidence, TransitionKernel
from descentcast.kernels._mixing import mix


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

    def resampled(self, rule: str, views: np.ndarray, counts: np.ndarray) -> TransitionKernel:
        """Return the kernel of views drawn again and, of rows read at visits, of visits drawn again.

        Args:
            rule: How views are pooled.
            views: The views that were drawn.
            counts: How often each value of the runs was drawn, shape (T,): see `block_counts`.
        """
        if rule in WEIGHTS:
            pooled = log_pool(self._logs[views], rule)
        else:
            pooled = pool(self.densities if rule == "identity" else self.densities[views], rule)
        return self._kernel(pooled, self.seen * (1.0 if self.probed else counts), "quantile")

    def foretold(self, rule: str, lengths: Sequence[int]) -> np.ndarray:
        """Return the mass that each transition of the runs was given as it was read: at its visit, or probed.

        Args:
            rule: How views are pooled.
            lengths: Values of each run.
        """
        before = np.setdiff1d(np.arange(len(self.cells)), np.cumsum(lengths) - 1)
        read = self.cells[before] if self.probed else before
        return pool(self.densities, rule)[read, self.cells[before + 1]]

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


def mixed(kernels: Sequence[TransitionKernel], distance: Float[np.ndarray, "n"]) -> TransitionKernel:
    """Return the kernel of rows read once, or the mixture of those read at visits and those probed, in this order.

    Rows read at visits weigh `1/2 / (1 + d)`, with d the distance from the hull of the visited states in typical steps
    (`hull_distance`): outside it they are extrapolated, and a probe is not. A mixed row rests on its visits where it
    has any, else on its probe.
    """
    if len(kernels) == 1:
        return kernels[0]
    visited, probed = kernels
    visits, weight = visited.evidence.visits, 0.5 / (1 + distance)
    shares = np.column_stack([weight, 1 - weight])
    evidence = Evidence(
        visits=visits,
        source=np.where(visits > 0, "visited", "probed"),
        weight=weight * visited.evidence.weight + (1 - weight) * probed.evidence.weight,
    )
    return replace(mix(kernels, shares), evidence=evidence)


def block_counts(lengths: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Return how often each value is drawn when blocks of about sqrt(T) values are resampled with replacement."""
    blocks = [
        block
        for offset, length in zip(np.cumsum([0, *lengths]), lengths, strict=False)
        for block in np.array_split(offset + np.arange(length), max(1, round(length**0.5)))
    ]
    counts = np.zeros(sum(lengths))
    for i in rng.integers(0, len(blocks), size=len(blocks)):
        counts[blocks[i]] += 1
    return counts
