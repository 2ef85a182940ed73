"""The grid rule: a hull with a margin, and cells narrower than the noise of one step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import Edges
from descentcast.errors import ArgumentError, DataError
from descentcast.trajectories import Trajectories

USUAL_CELLS, MOST_CELLS, FEWEST_CELLS = 100, 400, 20
CELLS_PER_SPREAD = 1.3
MARGIN_HULL, MARGIN_SPREADS = 0.1, 3.0
# Of a value: float64 tells a few thousand of such steps apart, enough for the cells of a grid.
RESOLUTION = 1e-12


def default_edges(
    trajectories: Trajectories, coordinate: int = 0, cells: int | None = None
) -> tuple[Edges, str | None]:
    """Choose equal cells for one coordinate such that averaging over a cell hardly blurs the chain.

    Averaging a row over a cell of width h adds up to h^2 / 12 to the variance sigma^2 of one step, so the rule is
    `sigma / h >= 1.3` (at most 5 % inflation), with sigma the typical one-step spread of `one_step_spread`. The grid
    covers the hull of the recorded values, and beyond it on each side 10 % of the hull and 3 sigma, so that one step
    from the outermost state stays inside. There are 100 cells, or as many more as the rule needs, up to 400.

    Args:
        trajectories: The runs.
        coordinate: Index of the coordinate.
        cells: A number of cells to use instead, 20 to 400.

    Returns:
        The edges, shape (n + 1,), and a note in plain words where the rule cannot be met (else None).

    Raises:
        ArgumentError: A coordinate that is not there, or a number of cells out of range.
        DataError: Values beyond 1e150, or so close to each other and to 0 that cells would be narrower than 1e-150.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> edges, note = default_edges(Trajectories.from_arrays([rng.normal(size=200)]))
        >>> len(edges), note
        (101, None)
    """
    runs = as_trajectories(trajectories)
    index = _checks.integer("coordinate", coordinate, low=0, high=len(runs.names) - 1)
    values = np.concatenate(runs.coordinate(index))
    low, high = float(values.min()), float(values.max())
    _checks.squarable(runs.names[index], values)
    spread = one_step_spread(*runs.transitions(index))
    resolution = RESOLUTION * max(abs(low), abs(high), 1e-300)
    margin = MARGIN_HULL * (high - low) + MARGIN_SPREADS * spread
    still = never_moves(values)
    if still:
        margin = 0.5 * (abs(low) or 1.0)
    length = high - low + 2 * margin
    if cells is None:
        needed = length * CELLS_PER_SPREAD / max(spread, resolution)
        n = int(np.clip(np.ceil(needed), USUAL_CELLS, MOST_CELLS))
    else:
        n = _checks.integer("cells", cells, low=FEWEST_CELLS, high=MOST_CELLS)
    if length / n < _checks.NARROWEST:
        raise DataError(
            f"{runs.names[index]}: cells would be {length / n:.3g} wide, must be at least 1e-150: rescale the values"
        )
    edges = np.linspace(low - margin, high + margin, n + 1)
    return edges, _still(runs.names[index], high - low, high) if still else _note(
        runs.names[index], spread, length / n, n
    )


def never_moves(values: np.ndarray) -> bool:
    """Return whether all values are the same, but for what float64 hardly tells apart.

    Examples:
        >>> never_moves(np.array([0.3, 0.1 + 0.2])), never_moves(np.array([1e6, 1e6 + 1]))
        (True, False)
    """
    return bool(np.ptp(values) <= RESOLUTION * np.abs(values).max())


def one_step_spread(present: np.ndarray, following: np.ndarray) -> float:
    """Estimate the typical standard deviation of x_{t+1} given x_t, whatever the drift.

    Pairs are sorted by x_t, and each x_{t+1} is compared with the line through its two neighbours': a locally linear
    drift cancels. The scaled pseudo-residuals `(y_i - a y_{i-1} - b y_{i+1}) / sqrt(1 + a^2 + b^2)` have the noise's
    standard deviation, estimated by 1.4826 times their median absolute value: where the noise depends on the state,
    the spread at a typical visit.

    Args:
        present: Values x_t, shape (N,).
        following: Values x_{t+1}, shape (N,).

    Returns:
        The spread; from two pairs or fewer the root mean square of the increments, as there is nothing better.

    References:
        Gasser, Sroka, Jennen-Steinmetz (1986), Residual variance and residual pattern in nonlinear regression,
        Biometrika 73.

    Examples:
        >>> x = np.linspace(0, 1, 11)
        >>> one_step_spread(x, 0.5 * x + 3) < 1e-12
        True
    """
    if len(present) < 3:
        return float(np.sqrt(np.mean((following - present) ** 2)))
    order = np.argsort(present, kind="stable")
    x, y = present[order], following[order]
    gap = x[2:] - x[:-2]
    share = np.where(gap > 0, (x[1:-1] - x[:-2]) / np.where(gap > 0, gap, 1.0), 0.5)
    residuals = y[1:-1] - (1 - share) * y[:-2] - share * y[2:]
    return float(1.4826 * np.median(np.abs(residuals) / np.sqrt(1 + share**2 + (1 - share) ** 2)))


def as_trajectories(value: Any) -> Trajectories:
    """Return `value` if it is `Trajectories`, else raise `ArgumentError` saying how to make them."""
    if not isinstance(value, Trajectories):
        raise ArgumentError(
            f"trajectories is a {type(value).__name__}, must be Trajectories "
            "(Trajectories.from_arrays makes them from arrays)"
        )
    return value


def grids_of(
    runs: Trajectories, edges: ArrayLike | Sequence[ArrayLike] | None
) -> tuple[tuple[Edges, ...], tuple[str | None, ...]]:
    """Return the grid of each coordinate, given or by the default rule, and the note on each."""
    count = len(runs.names)
    if edges is None:
        chosen = [default_edges(runs, i) for i in range(count)]
        return tuple(grid for grid, _ in chosen), tuple(note for _, note in chosen)
    given: list[Any] = [edges] if np.ndim(_first(edges)) == 0 else [*edges]  # pyright: ignore[reportGeneralTypeIssues]
    if len(given) != count:
        raise ArgumentError(f"edges holds {len(given)} grid(s), must hold one for each of {count} coordinate(s)")
    names = ["edges"] if count == 1 else [f"edges[{i}]" for i in range(count)]
    return tuple(_checks.edges(name, grid) for name, grid in zip(names, given, strict=True)), (None,) * count


def _still(name: str, hull: float, value: float) -> str:
    if hull == 0:
        return f"{name}: always {value:g} in these runs: nothing but staying there can be foretold"
    return (
        f"{name}: always {value:g} to one part in {1 / RESOLUTION:.0e}: nothing but staying there can be foretold; "
        "subtract an offset if smaller steps matter"
    )


def _note(name: str, spread: float, width: float, n: int) -> str | None:
    if spread >= CELLS_PER_SPREAD * width * (1 - 1e-9):
        return None
    advice = "use a log coordinate, record every k-th step only, or forecast with particles"
    if spread <= 0.1 * width:
        return f"{name}: one step has hardly any noise beside the range of the runs, so {n} cells blur it: {advice}"
    return (
        f"{name}: the typical one-step spread ({spread:.3g}) is only {spread / width:.2g} of {n} cells, below "
        f"{CELLS_PER_SPREAD:g}: a row's variance is inflated by up to {(width / spread) ** 2 / 12:.0%}: {advice}"
    )


def _first(edges: Any) -> Any:
    """Return the first entry: a number for one grid, an array for a sequence of grids."""
    if np.ndim(edges) == 0 if not isinstance(edges, (list, tuple)) else not edges:
        raise ArgumentError(f"edges == {edges!r}, must be an array of cell edges, or one such array a coordinate")
    return edges[0]


def hull_distance(columns: Sequence[np.ndarray], edges: Edges) -> np.ndarray:
    """Return how far each cell is from the hull of the visited ones, in typical steps, shape (n,).

    Of its centre: 0 in the hull; infinite everywhere where no value lies on the grid.

    Args:
        columns: Values of each run, shape (T,) each.
        edges: Cell edges, shape (n + 1,).

    Examples:
        >>> hull_distance([np.array([0.5, 1.5, 0.5, 1.5])], np.arange(5.0))
        array([0. , 0. , 0.5, 1.5])
    """
    seen = np.flatnonzero(np.histogram(np.concatenate(columns), edges)[0])
    if not len(seen):
        return np.full(len(edges) - 1, np.inf)
    present, following = np.concatenate([c[:-1] for c in columns]), np.concatenate([c[1:] for c in columns])
    scale = max(one_step_spread(present, following), float(np.diff(edges).max()))
    centres = (edges[:-1] + edges[1:]) / 2
    outside = np.maximum(np.maximum(edges[seen[0]] - centres, centres - edges[seen[-1] + 1]), 0.0)
    return outside / scale
