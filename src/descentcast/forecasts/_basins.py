"""Where runs settle: the basins of a kernel's effective potential, or those that a caller names."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from descentcast import _checks
from descentcast._shown import Shown
from descentcast.errors import ArgumentError
from descentcast.forecasts._potential import Potential
from descentcast.kernels import TransitionKernel

PERSISTENCE = 0.5
KNOWN = ("exact", "simulated")  # rows that rest on the problem itself: nothing about them is unseen


class Basin(NamedTuple):
    """One basin: a row of `Basins`."""

    position: float
    lower: float
    upper: float
    depth: float
    seen: bool


@dataclass(frozen=True, eq=False, repr=False)
class Basins(Shown):
    """The basins of one coordinate, a table ordered by position: "basin 0", "basin 1", ...

    Attributes:
        position: The attractor of each, shape (B,): where the drift changes sign from right to left.
        lower: Where each begins, shape (B,).
        upper: Where each ends, shape (B,). Where two basins do not meet, what lies between belongs to none.
        depth: Height of the lower of a basin's two rims above its attractor in the effective potential, shape (B,):
            a rim `d` above is of the order of `exp(d)` times less probable. The end of the grid counts as a rim.
        seen: Whether a run visited a cell that lies mostly in the basin, shape (B,). All True for kernels that were
            computed from the problem, and for those that record no visits (then a note says so).
        centres: Cell centres of the kernel, shape (n,).
        potential: The effective potential there, 0 at its lowest, shape (n,).
        name: The coordinate.
        notes: What to know, in words.
    """

    position: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    depth: np.ndarray
    seen: np.ndarray
    centres: np.ndarray
    potential: np.ndarray
    name: str = "x"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.position)

    def __iter__(self) -> Iterator[Basin]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Basin:
        position, lower, upper, depth = (
            float(column[index]) for column in (self.position, self.lower, self.upper, self.depth)
        )
        return Basin(position, lower, upper, depth, bool(self.seen[index]))

    def __str__(self) -> str:
        return str(self.table)

    @property
    def labels(self) -> list[str]:
        """The names of the basins: "basin 0" is the leftmost."""
        return [f"basin {i}" for i in range(len(self))]

    @property
    def table(self) -> pd.DataFrame:
        """Position, lower, upper, depth and seen, one row a basin."""
        columns = {name: getattr(self, name) for name in Basin._fields}
        return pd.DataFrame(columns, index=pd.Index(self.labels, name="basin", dtype=object))

    def to_frame(self) -> pd.DataFrame:
        """Return the table: position, lower, upper, depth and seen, one row a basin."""
        return self.table

    def shares(self, edges: np.ndarray) -> np.ndarray:
        """Return the share of each cell that lies in each basin, shape (n, B)."""
        below = np.minimum(self.upper, edges[1:, None]) - np.maximum(self.lower, edges[:-1, None])
        return np.maximum(below, 0.0) / np.diff(edges)[:, None]

    def to_dict(self) -> dict[str, Any]:
        """Return basins, potential and notes as plain values."""
        return {
            "name": self.name,
            "basins": [{"basin": label, **basin._asdict()} for label, basin in zip(self.labels, self, strict=True)],
            "centres": self.centres.tolist(),
            "potential": self.potential.tolist(),
            "notes": list(self.notes),
        }


def minima(kernel: TransitionKernel, persistence: float = PERSISTENCE) -> Basins:
    """Return the basins that a kernel's drift leads to.

    Attractors are the states where the drift `E[x' | x] - x` changes sign from right to left; the rim between two of
    them is the highest point of the effective potential `V(x) = -2 * integral of drift / spread^2` on the way, put at
    the nearest cell edge, so that a cell belongs to one basin. An attractor less than `persistence` below the rim
    towards a deeper neighbour is an artefact of a noisy estimate and is merged into that neighbour (topological
    persistence, the smallest first). A slope that leads out of the grid is no basin: what lies on it belongs to none.

    Args:
        kernel: Kernel of one coordinate.
        persistence: Least height of a rim, in units of V, at least 0. The default of 0.5 means a rim at least 1.6
            times less probable than the shallower of the minima that it divides.

    Returns:
        The basins, ordered by position. There is none where the drift leads out of the grid from everywhere: a note
        says so.

    Raises:
        ArgumentError: `kernel` is no `TransitionKernel`, `persistence` is negative, spreads of the kernel over- or
            underflow when squared.

    References:
        Edelsbrunner, Letscher, Zomorodian (2002), Topological Persistence and Simplification.

    Examples:
        >>> rows = [[0.6, 0.39, 0.01, 0], [0.4, 0.6, 0, 0], [0, 0, 0.5, 0.5], [0, 0.01, 0.49, 0.5]]
        >>> found = minima(TransitionKernel([0, 1, 2, 3, 4], rows, np.zeros((4, 2))))
        >>> found.position.round(2), found.lower.round(2), found.upper.round(2)
        (array([0.99, 3.01]), array([0., 2.]), array([2., 4.]))
    """
    _kernel("kernel", kernel)
    persistence = _checks.real("persistence", persistence, low=0)
    potential = Potential(kernel)
    inside = [c.position for c in potential.crossings if c.attracts]
    rims = [c.position for c in _rims(potential)]
    below, above = potential.leads_out
    low, high = float(kernel.edges[0]), float(kernel.edges[-1])
    sinks = [low] * below + inside + [high] * above

    # An outward slope is a sink like any other while sinks are merged, and dropped afterwards.
    while rims:
        level = potential(sinks)
        heights = potential(rims) - np.maximum(level[:-1], level[1:])
        k = int(np.argmin(heights))
        if heights[k] >= persistence:
            break
        del rims[k], sinks[k if level[k] > level[k + 1] else k + 1]

    divides = [_nearest(kernel.edges, rim) for rim in rims]
    bounds = zip(sinks, [low, *divides], [*divides, high], strict=True)
    found = [(sink, lower, upper) for sink, lower, upper in bounds if low < sink < high]
    notes = () if found else ("the drift leads out of the grid from everywhere: no basin on it",)
    return _described(kernel, potential, found, notes)


def named(kernel: TransitionKernel, basins: Basins | Iterable[Any] | None) -> Basins:
    """Return the basins that a caller asks for.

    Args:
        kernel: Kernel of one coordinate.
        basins: None for `minima(kernel)`; basins; positions, with rims at the highest potential between them (half-way
            where there is no rim) and the outer ones reaching to the ends of the grid; or intervals (lower, upper).

    Raises:
        ArgumentError: Positions or intervals off the grid, positions twice the same, intervals that overlap, anything
            else.
    """
    if basins is None or isinstance(basins, Basins):
        return minima(kernel) if basins is None else basins
    if isinstance(basins, str) or not isinstance(basins, Iterable):
        raise ArgumentError(f"basins == {basins!r}, must be basins, positions or (lower, upper) intervals")
    entries = list(basins)
    values = _checks.finite("basins", _checks.numeric("basins", entries))
    potential = Potential(kernel)
    if values.ndim == 1 and len(values):
        return _described(kernel, potential, _around(potential, np.sort(values)), ())
    if values.ndim == 2 and len(values) and values.shape[1] == 2:
        pairs = sorted(_checks.interval(f"basins[{i}]", pair) for i, pair in enumerate(values))
        for (_, end), (begin, _) in pairwise(pairs):
            if begin < end:
                raise ArgumentError(f"basins overlap between {begin:g} and {end:g}, must have nothing in common")
        low, high = kernel.edges[[0, -1]]
        for lower, upper in pairs:
            if upper <= low or lower >= high:
                raise ArgumentError(f"basins hold ({lower:g}, {upper:g}), must reach into the grid [{low:g}, {high:g}]")
        return _described(kernel, potential, [(_lowest(potential, *pair), *pair) for pair in pairs], ())
    raise ArgumentError(f"basins have shape {values.shape}, must be positions (B,) or intervals (B, 2), B at least 1")


def _around(potential: Potential, positions: np.ndarray) -> list[tuple[float, float, float]]:
    low, high = float(potential.edges[0]), float(potential.edges[-1])
    if positions[0] < low or positions[-1] > high:
        outside = positions[0] if positions[0] < low else positions[-1]
        raise ArgumentError(f"basins hold position {outside:g}, must lie on the grid [{low:g}, {high:g}]")
    if (np.diff(positions) == 0).any():
        raise ArgumentError(f"basins hold position {positions[int(np.argmin(np.diff(positions)))]:g} twice")
    rims = []
    for a, b in pairwise(positions.tolist()):
        between = [r.position for r in _rims(potential) if a < r.position < b]
        rim = max(between, key=potential) if between else (a + b) / 2
        edge = _nearest(potential.edges, rim)
        rims.append(edge if a < edge < b else rim)
    return list(zip(positions.tolist(), [low, *rims], [*rims, high], strict=True))


def _lowest(potential: Potential, lower: float, upper: float) -> float:
    """The lowest attractor of an interval, or the lower of its ends where it has none."""
    inside = [c.position for c in potential.crossings if c.attracts and lower < c.position < upper]
    ends = np.clip([lower, upper], potential.edges[0], potential.edges[-1]).tolist()
    return min(inside or ends, key=potential)


def _nearest(edges: np.ndarray, x: float) -> float:
    """The cell edge nearest to x: between two adjacent centres it is always the edge that parts them."""
    return float(edges[np.abs(edges - x).argmin()])


def _rims(potential: Potential) -> list[Any]:
    return [c for c in potential.crossings if not c.attracts]


def _described(
    kernel: TransitionKernel, potential: Potential, found: list[tuple[float, float, float]], notes: tuple[str, ...]
) -> Basins:
    position, lower, upper = np.array(found, dtype=np.float64).reshape(-1, 3).T
    rims = np.clip([lower, upper], kernel.edges[0], kernel.edges[-1])
    basins = Basins(
        position=position,
        lower=lower,
        upper=upper,
        depth=np.maximum(potential(rims).min(axis=0) - potential(position), 0.0),
        seen=np.ones(len(position), dtype=bool),
        centres=kernel.centres,
        potential=potential.values - potential.values.min(),
        name=kernel.name,
    )
    visits, known = kernel.evidence.visits, np.isin(kernel.evidence.source, KNOWN)
    if not visits.any() and not known.any():
        return replace(basins, notes=(*notes, "the kernel records no visits: whether a run saw a basin is not known"))
    here = (visits > 0) | known
    seen = (here[:, None] & (basins.shares(kernel.edges) >= 0.5)).any(axis=0)
    unseen = [f"{basins.labels[i]} at {position[i]:.4g}: no run has been there" for i in np.flatnonzero(~seen)]
    return replace(basins, seen=seen, notes=(*notes, *unseen))


def _kernel(name: str, value: Any) -> TransitionKernel:
    if not isinstance(value, TransitionKernel):
        raise ArgumentError(f"{name} is a {type(value).__name__}, must be a TransitionKernel of one coordinate")
    return value
