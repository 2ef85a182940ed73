"""Held-out scores of kernels as they will be used: each fitted to a beginning of the runs, scored on what came next."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from descentcast._types import Edges
from descentcast.kernels._beginnings import Fold
from descentcast.kernels._interpolation import rows_at
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._reading import iterated_score
from descentcast.scoring import pit
from descentcast.scoring._cells import cells_of

# A cell that a kernel calls impossible is scored as this probable.
LEAST_MASS = 1e-12


@dataclass(frozen=True, eq=False)
class HeldOut:
    """How well kernels of the folds foretold the transitions of one coordinate.

    Attributes:
        mass: Probability that each transition's row gave to the cell that came, shape (S,), at least 1e-12.
        density: The same over the cell's width: probability a unit of the coordinate, shape (S,).
        inside: Whether the transition started in the hull of what was known, shape (S,).
        position: Where each transition's second value is, counted through the runs in their order, shape (S,).
        iterated: Log score of the iterated kernels (see `iterated_score`), each on the block it was held out from,
            averaged over blocks by their transitions, nats; NaN where there is none.
    """

    mass: Float[np.ndarray, "S"]
    density: Float[np.ndarray, "S"]
    inside: Bool[np.ndarray, "S"]
    position: Int[np.ndarray, "S"]
    iterated: float

    @property
    def log_score(self) -> float:
        """The average log density of a transition, nats a step; NaN where there is none."""
        return float(np.log(self.density).mean()) if len(self.density) else float("nan")


def score(
    kernels: Sequence[TransitionKernel], folds: Sequence[Fold], columns: Sequence[np.ndarray], edges: Edges
) -> HeldOut:
    """Score kernels, one a fold, on the transitions into the values that the fold holds out.

    Transitions that start off the grid are left out; one that leaves it is scored on the overflow, over the width of
    the outermost cell.

    Args:
        kernels: The kernel fitted to what each fold knows.
        folds: The folds.
        columns: Values of each run, shape (T,) each.
        edges: The grid of the kernels, shape (n + 1,).
    """
    n, values = len(edges) - 1, np.concatenate(columns)
    run = np.repeat(np.arange(len(columns)), [len(c) for c in columns])
    # Columns of a row: below the grid, the cells, above.
    column = cells_of(values, edges) + 1
    widths = np.pad(np.diff(edges), 1, mode="edge")
    masses, targets, inside, iterated = [], [], [], []
    for kernel, fold in zip(kernels, folds, strict=True):
        after = np.arange(fold.known, fold.after)
        after = after[(run[after] == run[after - 1]) & (column[after - 1] > 0) & (column[after - 1] <= n)]
        rows = np.hstack([kernel.overflow[:, :1], kernel.matrix, kernel.overflow[:, 1:]])
        masses.append(rows[column[after - 1] - 1, column[after]])
        targets.append(after)
        low, high = values[: fold.known].min(), values[: fold.known].max()
        inside.append((values[after - 1] >= low) & (values[after - 1] <= high))
        paths = _paths(column, run, fold, n)
        if paths:
            iterated.append((iterated_score(kernel, paths), len(after)))
    at = np.concatenate([np.empty(0, int), *targets])
    mass = np.maximum(np.concatenate([np.empty(0), *masses]), LEAST_MASS)
    scored = np.array(iterated).reshape(-1, 2)
    return HeldOut(
        mass=mass,
        density=mass / widths[column[at]],
        inside=np.concatenate([np.empty(0, bool), *inside]),
        position=at,
        iterated=float(np.average(scored[:, 0], weights=scored[:, 1])) if len(scored) else float("nan"),
    )


def covered(
    kernels: Sequence[TransitionKernel],
    folds: Sequence[Fold],
    columns: Sequence[np.ndarray],
    lag: int,
    level: float,
) -> tuple[float, int]:
    """Return the share of held-out values within central intervals some steps ahead, and how many values that is.

    From every value x_t, the last known one or in the block, the law of x_{t + lag} in the block, of the same run, is
    `P^lag` at x_t, of the kernel that knows nothing of the block.

    Args:
        kernels: The kernel fitted to what each fold knows.
        folds: The folds.
        columns: Values of each run, shape (T,) each.
        lag: Steps ahead.
        level: Nominal coverage.

    Returns:
        The share, NaN where no value is so far in a block, and the number of values.
    """
    values = np.concatenate(columns)
    run = np.repeat(np.arange(len(columns)), [len(c) for c in columns])
    hits = []
    for kernel, fold in zip(kernels, folds, strict=True):
        after = np.arange(fold.known - 1 + lag, fold.after)
        states = values[after - lag]
        kept = (run[after] == run[after - lag]) & (states >= kernel.edges[0]) & (states <= kernel.edges[-1])
        if kept.any():
            laws = rows_at(kernel if lag == 1 else kernel.power(lag), states[kept])
            hits.append(np.abs(pit(laws, kernel.edges, values[after[kept]]) - 0.5) <= level / 2)
    found = np.concatenate([np.empty(0, bool), *hits])
    return (float(found.mean()) if len(found) else float("nan")), len(found)


def _paths(column: np.ndarray, run: np.ndarray, fold: Fold, n: int) -> list[np.ndarray]:
    """Cells of the stretches of a block that stay in one run and on the grid, each from the value before it."""
    at = np.arange(fold.known - 1, fold.after)
    on_grid = (column[at] > 0) & (column[at] <= n)
    breaks = np.flatnonzero((np.diff(run[at]) != 0) | ~on_grid[1:] | ~on_grid[:-1]) + 1
    pieces = np.split(at, breaks)
    return [column[p] - 1 for p in pieces if len(p) > 1]
