"""What a forecast is: the law of every coordinate at each step from each start, and where runs land."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import Edges, RandomState
from descentcast.errors import ArgumentError
from descentcast.forecasts._basins import Basins
from descentcast.forecasts._marginal import Marginal
from descentcast.forecasts._starting import MOST_BYTES

T = TypeVar("T")
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST_ROWS = 20  # of the landing that a forecast shows at a prompt
WORTH_SAYING = 0.05  # share of a forecast's visits to extrapolated rows above which a note says so


@dataclass(frozen=True, eq=False, repr=False)
class Forecast(Shown):
    """Where runs from each start are after 0, 1, ..., `steps` steps, and which basin they are in at the end.

    With one coordinate `density`, `overflow`, `edges`, `basins` and `quantiles` are single values, with several they
    are tuples with one entry a coordinate, each the marginal of a coordinate that moves by itself.

    Attributes:
        marginals: The forecast of each coordinate.
        starts: Starting states, shape (m,), or (m, D) for D coordinates.
        steps: The horizon, in steps of the kernel.
        landing: Probability of being in each basin at the horizon: start, basin, position, probability, low, high, one
            row for each start and basin that a run has seen, and for "nowhere seen" (in basins that no run has seen),
            "elsewhere" (on the grid but in no basin, such as a slope that leads out; only where there is such a place)
            and "diverged" (off the grid). The rows of a start sum to 1. `low` and `high` are the 5 % and 95 %
            quantiles over resampled kernels, NaN where there are none. With several coordinates `start` is a tuple and
            a column `coordinate` tells them apart.
        notes: What the numbers rest on and what to be careful with, in words.
    """

    marginals: tuple[Marginal, ...]
    starts: np.ndarray
    steps: int
    landing: pd.DataFrame
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        about = f"{len(self.starts)} start(s), {self.steps} steps, {', '.join(self.names)}"
        return f"{type(self).__name__}({about})\n{self.landing.to_string(max_rows=MOST_ROWS)}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coordinates."""
        return tuple(m.kernel.name for m in self.marginals)

    @property
    def density(self) -> np.ndarray | tuple[np.ndarray, ...]:
        """Probability of each cell, shape (m, steps + 1, n)."""
        return _single([m.density for m in self.marginals])

    @property
    def overflow(self) -> np.ndarray | tuple[np.ndarray, ...]:
        """Probability of having left the grid below and above, shape (m, steps + 1, 2)."""
        return _single([m.overflow for m in self.marginals])

    @property
    def edges(self) -> Edges | tuple[Edges, ...]:
        """Cell edges, shape (n + 1,)."""
        return _single([m.kernel.edges for m in self.marginals])

    @property
    def basins(self) -> Basins | tuple[Basins, ...]:
        """The basins that `landing` counts in."""
        return _single([m.basins for m in self.marginals])

    @property
    def occupation(self) -> pd.DataFrame:
        """What the forecast rests on: start, coordinate, source, share.

        `share` is the expected share of the steps taken on the grid that were drawn from rows of that source.
        """
        return pd.DataFrame(occupation(self.marginals))

    def quantiles(self, q: float | Sequence[float]) -> np.ndarray | tuple[np.ndarray, ...]:
        """Return quantiles of the state at each step, shape (m, steps + 1, len(q)).

        The distribution function is linear within a cell. Mass that left the grid lies at minus or plus infinity, and
        so does a quantile that falls in it. Where there are resampled kernels, the law is that of `density` mixed with
        the average over them, with a weight of 0.15: intervals hold what is not known of the kernel.

        Args:
            q: Levels, each strictly between 0 and 1.

        Raises:
            ArgumentError: A level that is not between 0 and 1.

        Examples:
            >>> import descentcast as dc
            >>> kernel = dc.TransitionKernel([0, 1, 2], [[0.5, 0.5], [0.0, 1.0]], np.zeros((2, 2)))
            >>> dc.forecast(kernel, [0.5], steps=1).quantiles([0.25, 0.75])[0, -1]
            array([0.5, 1.5])
        """
        levels = np.atleast_1d(_checks.numeric("q", q))
        if levels.ndim != 1 or not ((levels > 0) & (levels < 1)).all():
            raise ArgumentError(f"q == {q!r}, must be levels strictly between 0 and 1")
        return _single([m.quantiles(levels) for m in self.marginals])

    def hitting_time(self, target: Any, coordinate: int | str = 0) -> pd.DataFrame:
        """Return how probably and how soon runs first are in a target.

        With `tau = min {t >= 0: x_t in target}`: `P(tau <= steps)`, and mean and median of tau given that. Cells whose
        centre lies in the target count as in it. The first step interpolates between rows, as in `density`.

        Args:
            target: A basin by label ("basin 1") or number, or an interval (low, high).
            coordinate: Number or name of the coordinate.

        Returns:
            start, probability, low, high, mean, mean_low, mean_high, median: one row a start; NaN where the target is
            never hit. `low` and `high` are the 5 % and 95 % quantiles of the probability over resampled kernels,
            `mean_low` and `mean_high` those of the mean; NaN where there are none.

        Raises:
            ArgumentError: No such basin or coordinate, an interval without a cell centre.

        Examples:
            >>> import descentcast as dc
            >>> kernel = dc.TransitionKernel([0, 1, 2], [[0.5, 0.5], [0.0, 1.0]], np.zeros((2, 2)))
            >>> dc.forecast(kernel, [0.5], steps=2).hitting_time((1, 2))[["start", "probability", "mean", "median"]]
               start  probability      mean  median
            0    0.5         0.75  1.333333     1.0
        """
        return pd.DataFrame(self.marginals[self._coordinate(coordinate)].hitting_times(target))

    def sample(self, n: int, random_state: RandomState = 0) -> np.ndarray:
        """Return n paths from each start, shape (m, n, steps + 1), with a last axis of D where D > 1.

        A path begins at the start itself; later states are uniform within their cell, NaN once the path has left the
        grid. The same seed gives the same paths.

        Args:
            n: Paths a start, at least 1.
            random_state: Seed or generator.

        Raises:
            ArgumentError: `n` below 1, or so large that the paths need more than 4 GB.

        Examples:
            >>> import descentcast as dc
            >>> kernel = dc.TransitionKernel([0, 1, 2], [[0.0, 1.0], [1.0, 0.0]], np.zeros((2, 2)))
            >>> dc.forecast(kernel, [0.5], steps=3).sample(2, random_state=0).astype(int)
            array([[[0, 1, 0, 1],
                    [0, 1, 0, 1]]])
        """
        most = MOST_BYTES // (8 * len(self.marginals) * len(self.starts) * (self.steps + 1))
        n = _checks.integer("n", n, low=1, high=most)
        streams = _checks.generator(random_state).spawn(len(self.marginals))
        paths = [m.sample(n, rng) for m, rng in zip(self.marginals, streams, strict=True)]
        return paths[0] if len(paths) == 1 else np.stack(paths, axis=-1)

    def to_xarray(self) -> xr.Dataset:
        """Return densities, overflow and landing as a dataset.

        Dimensions start, step and, for each coordinate, cell, side and basin; with several coordinates the names of
        the variables and of these dimensions end in `_` and the name of the coordinate.
        """
        sets = []
        for m in self.marginals:
            rows = pd.DataFrame(m.landing())
            labels = list(dict.fromkeys(rows["basin"]))
            one = xr.Dataset(
                {
                    "density": (("start", "step", "cell"), m.density),
                    "overflow": (("start", "step", "side"), m.overflow),
                    **{
                        name: (("start", "basin"), rows[column].to_numpy().reshape(-1, len(labels)))
                        for name, column in (
                            ("landing", "probability"),
                            ("landing_low", "low"),
                            ("landing_high", "high"),
                        )
                    },
                },
                {
                    "cell": m.kernel.centres,
                    "lower_edge": ("cell", m.kernel.edges[:-1]),
                    "upper_edge": ("cell", m.kernel.edges[1:]),
                    "side": ["below", "above"],
                    "basin": labels,
                    "position": ("basin", rows["position"].to_numpy()[: len(labels)]),
                },
            )
            several = len(self.marginals) > 1
            one = one.rename({v: f"{v}_{m.kernel.name}" for v in [*one.variables]} if several else {})
            sets.append(one.assign_coords({f"start_{m.kernel.name}" if several else "start": ("start", m.starts)}))
        merged = xr.merge(sets).assign_coords(step=np.arange(self.steps + 1))
        return merged.assign_attrs(notes=list(self.notes))

    def to_dict(self) -> dict[str, Any]:
        """Return landing, quantiles by step, the density at the horizon and the notes as plain values.

        Whole densities are in `to_xarray`. What does not exist is None: an interval without replicates, a quantile
        that lies off the grid.
        """
        return {
            "steps": self.steps,
            "starts": self.starts.tolist(),
            "landing": [{k: _plain(v) for k, v in row.items()} for row in self.landing.to_dict(orient="records")],
            "coordinates": [
                {
                    "name": m.kernel.name,
                    "edges": m.kernel.edges.tolist(),
                    "basins": m.basins.to_dict(),
                    "levels": list(LEVELS),
                    "quantiles": [_plain(by_step) for by_step in m.quantiles(np.array(LEVELS)).tolist()],
                    "density": m.density[:, -1].tolist(),
                    "overflow": m.overflow.tolist(),
                }
                for m in self.marginals
            ],
            "notes": list(self.notes),
        }

    def _coordinate(self, coordinate: int | str) -> int:
        if isinstance(coordinate, str):
            return self.names.index(_checks.one_of("coordinate", coordinate, self.names))
        return _checks.integer("coordinate", coordinate, low=0, high=len(self.marginals) - 1)


def occupation(marginals: tuple[Marginal, ...]) -> list[dict[str, Any]]:
    """Return the rows of `Forecast.occupation`."""
    rows = []
    for m in marginals:
        visits = m.visits_by_source()
        total = np.sum(list(visits.values()), axis=0)
        for i, start in enumerate(m.starts.tolist()):
            for source, steps in sorted(visits.items()):
                resting = float(steps[i] / total[i])
                rows.append({"start": start, "coordinate": m.kernel.name, "source": source, "share": resting})
    return rows


def landing_table(marginals: Sequence[Marginal], points: np.ndarray) -> pd.DataFrame:
    """Return the table of landings from starts, shape (m, D): see `Forecast.landing`."""
    tables = [pd.DataFrame(m.landing()) for m in marginals]
    if len(tables) == 1:
        return tables[0]
    for table, m in zip(tables, marginals, strict=True):
        table["start"] = [tuple(p) for p in np.repeat(points, len(table) // len(points), axis=0).tolist()]
        table.insert(1, "coordinate", m.kernel.name)
    return pd.concat(tables, ignore_index=True)


def extrapolated(marginals: Sequence[Marginal]) -> list[str]:
    """Return notes on starts much of whose forecast rests on rows where no run has been."""
    notes = []
    for m in marginals:
        resting = [r for r in occupation((m,)) if r["source"] == "extrapolated" and r["share"] > WORTH_SAYING]
        if resting:
            worst = max(resting, key=lambda r: r["share"])
            notes.append(
                f"{m.kernel.name}: from {len(resting)} of {len(m.starts)} starts, up to {worst['share']:.0%} of the "
                f"visits (from {worst['start']:.4g}) rest on extrapolated rows, where no run has been"
            )
    return notes


def _single(values: Sequence[T]) -> T | tuple[T, ...]:
    return values[0] if len(values) == 1 else tuple(values)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value
