"""The forecast of one coordinate by a chain whose kernel changes with time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from descentcast.forecasts._basins import Basins
from descentcast.forecasts._marginal import Marginal, from_starts, masses_of, start_laws, visits
from descentcast.kernels import PhasedKernel


@dataclass(frozen=True, eq=False, repr=False)
class PhasedMarginal(Marginal):
    """The law of one coordinate under a schedule; `kernel` is the one that makes the last step.

    Attributes:
        chain: The chain that was iterated; `resampled` holds chains too.
    """

    chain: PhasedKernel | None = None

    def hitting_law(self, target: Any) -> np.ndarray:
        """Return the probability of being in `target` first at step t, shape (m, steps + 1)."""
        return self._first_hits(self.chain, self._mask(target))

    def _first_hits(self, kernel: Any, mask: np.ndarray) -> np.ndarray:
        # Marginal asks for those of `kernel` too, whose place the chain takes.
        chain = kernel if isinstance(kernel, PhasedKernel) else self.chain
        assert chain is not None
        inside = mask[self.cells]
        law = np.zeros((len(self.starts), self.steps + 1))
        law[:, 0] = inside
        alive = start_laws(self.kernel, self.starts)
        for t in range(self.steps):
            alive = alive @ chain.at(t).matrix
            law[:, t + 1] = np.where(inside, 0.0, alive[:, mask].sum(axis=1))
            alive[:, mask] = 0.0
        return law

    def visits_by_source(self) -> dict[str, np.ndarray]:
        """Return how many of the steps are made by rows of each source of evidence, each step by its own kernel."""
        assert self.chain is not None
        found: dict[str, np.ndarray] = {}
        made = self.chain.schedule[np.minimum(np.arange(self.steps), len(self.chain.schedule) - 1)]
        for i in np.unique(made):
            for name, mass in visits(self.chain.kernels[i], self.density[:, :-1][:, made == i].sum(axis=1)).items():
                found[name] = found.get(name, 0.0) + mass
        return found

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n paths a start, shape (m, n, steps + 1): uniform within cells, NaN once off the grid."""
        assert self.chain is not None
        edges, widths = self.kernel.edges, self.kernel.widths
        paths = np.full((len(self.starts), n, self.steps + 1), np.nan)
        paths[..., 0] = self.starts[:, None]
        cell = np.stack([rng.choice(len(law), size=n, p=law) for law in start_laws(self.kernel, self.starts)])
        alive, ladders = np.ones(cell.shape, dtype=bool), [_ladder(kernel) for kernel in self.chain.kernels]
        last = len(edges)
        for t in range(self.steps):
            ladder = ladders[self.chain.schedule[min(t, len(self.chain.schedule) - 1)]]
            draw = np.searchsorted(ladder, cell + rng.random(cell.shape), side="right") - cell * (last + 1)
            alive &= (draw > 0) & (draw < last)
            cell = np.where(alive, draw - 1, cell)
            paths[..., t + 1] = np.where(alive, edges[cell] + rng.random(cell.shape) * widths[cell], np.nan)
        return paths


def phased_marginal(
    chain: PhasedKernel, starts: np.ndarray, steps: int, basins: Basins, replicates: Sequence[PhasedKernel]
) -> PhasedMarginal:
    """Iterate a chain and its replicates from every start."""
    kernel = chain.at(steps - 1)
    laws = start_laws(kernel, starts)
    density, overflow = chain.propagate(laws, steps)
    masses = []
    for replicate in replicates:
        there, gone = replicate.propagate(laws, steps)
        masses.append(masses_of(basins, kernel.edges, there[:, -1], gone[:, -1]))
    return PhasedMarginal(
        kernel=kernel,
        starts=starts,
        basins=basins,
        density=from_starts(kernel, starts, density),
        overflow=overflow,
        replicates=np.array(masses).reshape(-1, len(starts), len(basins) + 3),
        resampled=tuple(replicates),  # pyright: ignore[reportArgumentType]
        chain=chain,
    )


def _ladder(kernel: Any) -> np.ndarray:
    """Return the running sums of all rows in one sorted array, row i within [i, i + 1]."""
    rows = np.column_stack([kernel.overflow[:, 0], kernel.matrix, kernel.overflow[:, 1]])
    below = np.maximum(rows, 0.0).cumsum(axis=1)
    return (below / below[:, -1:] + np.arange(len(rows))[:, None]).ravel()
