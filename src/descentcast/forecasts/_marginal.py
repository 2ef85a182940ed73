"""The forecast of one coordinate: its law over the cells at every step, and what follows from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from descentcast import _checks
from descentcast._shown import Shown
from descentcast.errors import ArgumentError
from descentcast.forecasts._basins import Basins
from descentcast.kernels import TransitionKernel, hitting, propagate
from descentcast.kernels._discrepancy import learnt

INTERVAL = (0.05, 0.95)
UNSEEN, ELSEWHERE, DIVERGED = "nowhere seen", "elsewhere", "diverged"


@dataclass(frozen=True, eq=False, repr=False)
class Marginal(Shown):
    """The law of one coordinate from each start at each step.

    Attributes:
        kernel: The kernel that was iterated.
        starts: Starting states, shape (m,).
        basins: The basins that landings are counted in.
        density: Probability of each cell, shape (m, steps + 1, n).
        overflow: Probability of having left the grid below and above, shape (m, steps + 1, 2).
        replicates: Masses at the horizon (see `masses_of`) by resampled kernels, shape (R, m, B + 3); R may be 0.
        resampled: The resampled kernels themselves, R of them.
        averaged: `density` and `overflow` mixed with the average over the resampled kernels, by a share learnt on
            development problems: the law whose quantiles are the forecast's, wider than that of the one kernel by
            what is not known of it. None where there are no resampled kernels.
    """

    kernel: TransitionKernel
    starts: np.ndarray
    basins: Basins
    density: np.ndarray
    overflow: np.ndarray
    replicates: np.ndarray
    resampled: tuple[TransitionKernel, ...] = ()
    averaged: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def cells(self) -> np.ndarray:
        """The cell of each start, shape (m,)."""
        return start_cells(self.kernel, self.starts)

    @property
    def steps(self) -> int:
        """The horizon."""
        return self.density.shape[1] - 1

    def landing(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the landing table, start by start."""
        masses = masses_of(self.basins, self.kernel.edges, self.density[:, -1], self.overflow[:, -1])
        low, high = np.full((2, *masses.shape), np.nan)
        if len(self.replicates):
            low, high = np.quantile(np.concatenate([masses[None], self.replicates]), INTERVAL, axis=0)
            low, high = np.maximum(low - learnt().margin, 0.0), np.minimum(high + learnt().margin, 1.0)
        labels = [*self.basins.labels, UNSEEN, ELSEWHERE, DIVERGED]
        position = [*self.basins.position.tolist(), np.nan, np.nan, np.nan]
        gaps = not np.allclose(self.basins.shares(self.kernel.edges).sum(axis=1), 1)
        shown = [*self.basins.seen.tolist(), True, gaps, True]
        for i, start in enumerate(self.starts.tolist()):
            for j in np.flatnonzero(shown):
                yield {
                    "start": start,
                    "basin": labels[j],
                    "position": position[j],
                    "probability": min(masses[i, j], 1.0),  # sums round to a little more
                    "low": min(low[i, j], 1.0),
                    "high": min(high[i, j], 1.0),
                }

    def visits_by_source(self) -> dict[str, np.ndarray]:
        """Return how many of the steps are made by rows of each source of evidence, shape (m,) each."""
        return visits(self.kernel, self.density[:, :-1].sum(axis=1))

    def quantiles(self, q: np.ndarray) -> np.ndarray:
        """Return quantiles of the law, uniform within cells, shape (m, steps + 1, len(q)); infinite in overflow.

        Where there are resampled kernels the law is `averaged` over them: intervals hold what is not known of the
        kernel.
        """
        density, overflow = self.averaged or (self.density, self.overflow)
        cumulative = np.concatenate([overflow[..., :1], density], axis=-1).cumsum(axis=-1)
        found = np.empty((*density.shape[:2], len(q)))
        for k, level in enumerate(q):
            j = np.minimum((cumulative[..., 1:] < level).sum(axis=-1), density.shape[-1] - 1)
            mass = np.take_along_axis(density, j[..., None], axis=-1)[..., 0]
            before = np.take_along_axis(cumulative, j[..., None], axis=-1)[..., 0]
            within = np.divide(level - before, mass, out=np.zeros_like(mass), where=mass > 0)
            inside = self.kernel.edges[j] + np.clip(within, 0.0, 1.0) * self.kernel.widths[j]
            # Rounding leaves the last sum a little under 1 although nothing has left the grid.
            above = (cumulative[..., -1] < level) & (overflow[..., 1] > 0)
            found[..., k] = np.where(overflow[..., 0] >= level, -np.inf, np.where(above, np.inf, inside))
        return found

    def hitting_law(self, target: Any) -> np.ndarray:
        """Return the probability of being in `target` first at step t, shape (m, steps + 1).

        A start whose own cell is in the target hits at t = 0. From any other the first step is taken from its
        `start_laws`, whose cells have not hit by being in the target: only their rows count.
        """
        return self._first_hits(self.kernel, self._mask(target))

    def hitting_times(self, target: Any) -> dict[str, np.ndarray]:
        """Return the columns of the table of hitting times, those of intervals by the resampled kernels."""
        mask = self._mask(target)
        law = self._first_hits(self.kernel, mask)
        again = np.array([self._first_hits(k, mask) for k in self.resampled]).reshape(-1, *law.shape)
        (hit, mean), (hit_again, mean_again) = _hits(law), _hits(again)
        half = (law.cumsum(axis=1) >= hit[:, None] / 2).argmax(axis=1)
        (low, high), (mean_low, mean_high) = _interval(hit, hit_again), _interval(mean, mean_again)
        return {
            "start": self.starts,
            "probability": hit,
            "low": low,
            "high": high,
            "mean": mean,
            "mean_low": mean_low,
            "mean_high": mean_high,
            "median": np.where(hit > 0, half, np.nan),
        }

    def _mask(self, target: Any) -> np.ndarray:
        lower, upper = self._interval(target)
        centres = self.kernel.centres
        mask = (centres >= lower) & (centres < upper)
        if not mask.any():
            raise ArgumentError(
                f"target [{lower:g}, {upper:g}) holds no cell centre, must hold one: cells are "
                f"{np.median(self.kernel.widths):.3g} wide on [{self.kernel.edges[0]:g}, {self.kernel.edges[-1]:g}]"
            )
        return mask

    def _first_hits(self, kernel: TransitionKernel, mask: np.ndarray) -> np.ndarray:
        onwards = hitting(kernel, mask, horizon=self.steps - 1).law
        first = propagate(kernel, start_laws(kernel, self.starts), 1)[0][:, 1]
        inside = mask[self.cells]
        return np.column_stack([inside, np.where(inside[:, None], 0.0, first @ onwards)])

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n paths a start, shape (m, n, steps + 1): uniform within cells, NaN once off the grid.

        Each path draws the cell that its first step is taken from out of `start_laws`.
        """
        last = len(self.kernel.matrix) + 1
        rows = np.column_stack([self.kernel.overflow[:, 0], self.kernel.matrix, self.kernel.overflow[:, 1]])
        below = np.maximum(rows, 0.0).cumsum(axis=1)
        below /= below[:, -1:]
        # One sorted array for all rows, row i within [i, i + 1], so that one search draws from every row at once.
        ladder = (below + np.arange(len(rows))[:, None]).ravel()
        paths = np.full((len(self.starts), n, self.steps + 1), np.nan)
        paths[..., 0] = self.starts[:, None]
        cell = np.stack([rng.choice(len(law), size=n, p=law) for law in start_laws(self.kernel, self.starts)])
        alive = np.ones(cell.shape, dtype=bool)
        for t in range(1, self.steps + 1):
            draw = np.searchsorted(ladder, cell + rng.random(cell.shape), side="right") - cell * (last + 1)
            alive &= (draw > 0) & (draw < last)
            cell = np.where(alive, draw - 1, cell)
            states = self.kernel.edges[cell] + rng.random(cell.shape) * self.kernel.widths[cell]
            paths[..., t] = np.where(alive, states, np.nan)
        return paths

    def _interval(self, target: Any) -> tuple[float, float]:
        if isinstance(target, (list, tuple, np.ndarray)):
            return _checks.interval("target", target)
        labels = self.basins.labels
        if isinstance(target, str):
            index = labels.index(_checks.one_of("target", target, labels))
        else:
            index = _checks.integer("target", target, low=0, high=len(labels) - 1)
        return float(self.basins.lower[index]), float(self.basins.upper[index])


def marginal(
    kernel: TransitionKernel, starts: np.ndarray, steps: int, basins: Basins, replicates: list[TransitionKernel]
) -> Marginal:
    """Iterate a kernel and its replicates from every start."""
    density, overflow = _iterated(kernel, starts, steps)
    ends, inside, left = [], np.zeros_like(density), np.zeros_like(overflow)
    for replicate in replicates:
        there, gone = _iterated(replicate, starts, steps)
        ends.append(masses_of(basins, replicate.edges, there[:, -1], gone[:, -1]))
        inside += there
        left += gone
    masses = np.array(ends).reshape(-1, len(starts), len(basins) + 3)
    share = learnt().share
    mixed = [
        (1 - share) * own + share / max(len(replicates), 1) * others
        for own, others in ((density, inside), (overflow, left))
    ]
    averaged = (mixed[0], mixed[1]) if replicates else None
    return Marginal(kernel, starts, basins, density, overflow, masses, tuple(replicates), averaged)


def masses_of(basins: Basins, edges: np.ndarray, density: np.ndarray, overflow: np.ndarray) -> np.ndarray:
    """Return the mass in each basin that was seen (0 in others), in those unseen, in none, and off the grid.

    Shape (m, B + 3); each row sums to 1.
    """
    shares = basins.shares(edges)
    inside = density @ shares
    nowhere = inside[:, ~basins.seen].sum(axis=1)
    elsewhere = density @ np.maximum(1 - shares.sum(axis=1), 0.0)
    return np.column_stack([inside * basins.seen, nowhere, elsewhere, overflow.sum(axis=1)])


def start_cells(kernel: TransitionKernel, starts: np.ndarray) -> np.ndarray:
    """Return the cell of each start; the upper end of the grid belongs to the last cell."""
    low, high = float(kernel.edges[0]), float(kernel.edges[-1])
    outside = (starts < low) | (starts > high)
    if outside.any():
        raise ArgumentError(
            f"start {starts[outside][0]:g} lies outside the grid of {kernel.name}, must be in [{low:g}, {high:g}]"
        )
    return np.minimum(kernel.cell(starts), len(kernel.matrix) - 1)


def start_laws(kernel: TransitionKernel, starts: np.ndarray) -> np.ndarray:
    """Return the law over cells from which each start's first step is taken, shape (m, n).

    A row is the average over its cell; the row of a state between two cell centres is interpolated linearly between
    theirs. Taking the cell's own row instead costs up to half a cell, which near a separatrix is several per cent.
    """
    cells = start_cells(kernel, starts)
    laws = np.zeros((len(starts), len(kernel.matrix)))
    centres = kernel.centres
    left = np.clip(np.searchsorted(centres, starts) - 1, 0, len(centres) - 2)
    share = np.clip((starts - centres[left]) / (centres[left + 1] - centres[left]), 0.0, 1.0)
    np.add.at(laws, (np.arange(len(cells)), left), 1 - share)
    np.add.at(laws, (np.arange(len(cells)), left + 1), share)
    return laws


def from_starts(kernel: TransitionKernel, starts: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Return a density over steps whose step 0 is what it is: the cell of the start."""
    density = density.copy()
    density[:, 0] = np.eye(len(kernel.matrix))[start_cells(kernel, starts)]
    return density


def _iterated(kernel: TransitionKernel, starts: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    density, overflow = propagate(kernel, start_laws(kernel, starts), steps)
    return from_starts(kernel, starts, density), overflow


def _hits(law: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of a hit, and the mean time given one (NaN where there is none), from laws (..., T)."""
    hit = law.sum(axis=-1)
    mean = np.divide(law @ np.arange(law.shape[-1]), hit, out=np.full_like(hit, np.nan), where=hit > 0)
    return np.minimum(hit, 1.0), mean


def _interval(point: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """Return the 5 % and 95 % quantiles over point and resamples, shape (2, m); NaN where there are no resamples."""
    if not len(resampled):
        return np.full((2, len(point)), np.nan)
    known = np.concatenate([point[None], resampled])
    # A resample that never hits has no time of hitting: it says nothing of the mean.
    return np.array([_quantile(column[np.isfinite(column)]) for column in known.T]).T


def _quantile(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, INTERVAL) if len(values) else np.full(2, np.nan)


def visits(kernel: TransitionKernel, masses: np.ndarray) -> dict[str, np.ndarray]:
    """Return the mass, shape (m, n) over cells, that rests on rows of each source of a kernel's evidence."""
    source = kernel.evidence.source
    return {name: masses[:, source == name].sum(axis=1) for name in np.unique(source).tolist()}
