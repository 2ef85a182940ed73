"""The rest of a partial run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from descentcast import _checks
from descentcast._types import RandomState
from descentcast.encoding import Log
from descentcast.encoding._coordinates import Transform
from descentcast.errors import ArgumentError, DataError
from descentcast.forecasts._basins import minima
from descentcast.forecasts._marginal import INTERVAL, from_starts, masses_of
from descentcast.forecasts._rest import Curves, Past, curves
from descentcast.forecasts._rest_kernel import KernelMember, kernel_member
from descentcast.forecasts._result import LEVELS, Forecast
from descentcast.forecasts._sampled import SampledMarginal
from descentcast.kernels import KernelEstimator, LocalLinearKernel, coordinate_of
from descentcast.trajectories import Trajectories, Trajectory

KERNEL = "kernel"
CELLS = 120
DRAWS, PATHS = 64, 64
LEAST_KNOWN, MOST_STEPS = 8, 100_000
NEGLIGIBLE = 0.01  # a member of less weight is left out
OUTSIDE = 2e-4  # of the paths on either side of the grid
# Where more of the law leaves the grid by the kernel, that is widened by half of it, so often at most.
LEAVES, WIDENINGS = 1e-3, 2


@dataclass(frozen=True, eq=False, repr=False)
class Extension(Forecast):
    """The law of the rest of a partial run: a `Forecast` from its last value, with what it rests on.

    Densities and quantiles are in closed form; hitting times, samples and intervals are those of drawn paths.

    Attributes:
        final: The law at the end: q, value, low, high, one row a quantile; `low` and `high` are the 5 % and 95 %
            quantiles of the quantile over draws of kernels and curves.
        members: What foretells, member and weight: the kinds of curve, "other runs", the kernel.
        transform: The coordinate of the grid and of the kernel: that of most of the weight.
        known: The last recorded step.
        stride: Optimizer steps from one row to the next.
    """

    final: pd.DataFrame
    members: pd.DataFrame
    transform: Transform
    known: int
    stride: int

    @property
    def paths(self) -> np.ndarray:
        """Drawn paths of the rest, shape (draws, paths, steps)."""
        (marginal,) = self.marginals
        assert isinstance(marginal, SampledMarginal)
        return marginal.paths

    def to_dict(self) -> dict[str, Any]:
        """Return the forecast, the law at the end and the members as plain values."""
        return {
            **super().to_dict(),
            "final": self.final.to_dict(orient="records"),
            "members": self.members.to_dict(orient="records"),
            "transform": self.transform.to_dict(),
            "known": self.known,
            "stride": self.stride,
        }


def extend(
    run: Trajectory | Trajectories,
    steps: int,
    runs: Trajectories | None = None,
    estimator: KernelEstimator | None = None,
    coordinate: int | str | None = None,
    low: float | None = None,
    random_state: RandomState = 0,
) -> Extension:
    """Forecast the rest of a run that was recorded up to now, given its past and, if there are, other whole runs.

    The law of `x_{T+k}` given `x_0..x_T`, k = 1, ..., `steps`, is a mixture of

    - curves of the run's own past: a level, power laws and exponentials with and without a floor, the last value, each
      with correlated noise (autoregression or random walk), weighted by the prequential score of all that is known;
      with probability 0.2 the curve moreover wanders as no shape foretells (development curves chose how far);
    - the mean curve of other runs, with a level, a stretch and correlated noise of this run's own, or with a deviation
      that is at each step as large as those of the others there: time-inhomogeneous chains, for schedules and losses
      whose law changes with the step;
    - a kernel fitted to all of them, iterated from the last value: for runs that settle, or choose between minima.

    Each is forecast from several origins within what is known (and each other run from as short a beginning), and has
    the weight that its log scores there give it. Values that were positive throughout are fitted as they are and in
    logarithms, and followed on one scale alone: in logarithms, where zero is never passed, unless these foretell what
    is known far worse (by a factor of 19 in the product of the scores, which are of densities of the values). Nothing
    that came later is used anywhere.

    Args:
        run: The recorded part: at least 8 rows, at an even stride.
        steps: How many rows are to come, at least 1.
        runs: Other whole runs of the same coordinates, aligned by their steps. One that ends before the horizon says
            nothing of what follows.
        estimator: The kernel member; `LocalLinearKernel()` by default. A fresh copy is fitted.
        coordinate: The coordinate; by default the first that is no step size.
        low: A lower end that values never reach, such as 0 for a loss that stays positive: then all is fitted in
            logarithms of the distance from it. `-math.inf`: there is none, such as for a weight, and values are fitted
            as they are. By default the scale is chosen by scores, as above, and a note says which it is.
        random_state: Seed of the drawn paths; the same seed gives the same bytes.

    Returns:
        The forecast, from the last recorded value.

    Raises:
        ArgumentError: Fewer than one step, other runs of other coordinates, an unknown coordinate.
        DataError: Fewer than 8 rows, an uneven stride, values beyond 1e150 or all below 1e-150.

    Examples:
        >>> t = np.arange(200)
        >>> loss = 0.3 + 0.7 * np.exp(-t / 40) + 0.01 * np.random.default_rng(0).normal(size=200)
        >>> rest = extend(Trajectory(loss[:80]), steps=120)
        >>> low, high = rest.quantiles([0.05, 0.95])[0, -1]
        >>> bool(low < loss[-1] < high), rest.density.shape
        (True, (1, 121, 120))
        >>> rest.members["weight"].idxmax(), rest.members["member"].tolist()
        (3, ['level', 'last value', 'power law', 'exponential', 'kernel'])
    """
    past, name, stride, last = gather(run, steps, runs, coordinate, low)
    own = LocalLinearKernel() if estimator is None else estimator
    if not isinstance(own, KernelEstimator):
        raise ArgumentError(f"estimator is a {type(own).__name__}, must be one such as LocalLinearKernel()")
    rng = _checks.generator(random_state)
    found = curves(past).in_one_scale()
    transform = found.transform
    edges = _edges(past, found, transform, rng)
    edges, member = _wide_enough(own, past, found, transform, edges, name)
    share = member.weight if member.weight >= NEGLIGIBLE else 0.0
    values = _draws(found, member, share, past, transform, rng)
    outer = transform.inverse(edges)
    kernel = member.on(outer)
    start = past.values[-1:]
    density, overflow = _laws(found, member, share, outer, past, transform)
    basins = minima(kernel)
    ends = np.stack([_histogram(draw[:, -1], outer) for draw in values])
    replicates = np.stack([masses_of(basins, outer, e[None, 1:-1], e[None, [0, -1]]) for e in ends])
    marginal = SampledMarginal(
        kernel=kernel,
        starts=start,
        basins=basins,
        density=from_starts(kernel, start, density[None]),
        overflow=overflow[None],
        replicates=replicates,
        paths=values,
    )
    return Extension(
        marginals=(marginal,),
        starts=start,
        steps=past.ahead,
        landing=pd.DataFrame(marginal.landing()),
        notes=(*_notes(found, member, share, past, name, len(runs or ())), *_of_the_scale(found, past, name, values)),
        final=_final(marginal),
        members=_members(found, share),
        transform=transform,
        known=last,
        stride=stride,
    )


def gather(
    run: Trajectory | Trajectories,
    steps: int,
    runs: Trajectories | None,
    coordinate: int | str | None,
    low: float | None = None,
) -> tuple[Past, str, int, int]:
    """Return what is known in one coordinate, the coordinate's name, the stride and the last recorded step."""
    if isinstance(run, Trajectories) and len(run) == 1:
        run = run[0]
    if not isinstance(run, Trajectory):
        raise ArgumentError(f"run is a {type(run).__name__}, must be one Trajectory")
    steps = _checks.integer("steps", steps, low=1, high=MOST_STEPS)
    if runs is not None and (not isinstance(runs, Trajectories) or runs.names != run.names):
        found = list(runs.names) if isinstance(runs, Trajectories) else f"a {type(runs).__name__}"
        raise ArgumentError(f"runs: {found}, must be Trajectories of {list(run.names)}")
    index = coordinate_of(Trajectories((run,)), coordinate)
    if len(run) < LEAST_KNOWN:
        raise DataError(f"{run.run}: {len(run)} recorded steps, at least {LEAST_KNOWN} are needed to tell the rest")
    if run.stride is None:
        raise DataError(f"{run.run}: recorded at an uneven stride: take rows at even steps")
    times = np.arange(len(run) + steps, dtype=np.float64)
    at = run.steps[0] + run.stride * times
    values = run.values[:, index]
    whole = [_at(other, index, at) for other in runs or ()]
    others = np.array(whole).reshape(len(whole), len(times))
    others = others[np.isfinite(others[:, : len(values)]).all(axis=1)]
    _checks.squarable(run.names[index], np.concatenate([values, others[np.isfinite(others)]]))
    if low is not None:
        bound = -np.inf if isinstance(low, float) and np.isneginf(low) else _checks.real("low", low)
        least = float(np.nanmin([values.min(), *(o[np.isfinite(o)].min() for o in others)]))
        if bound >= least:
            raise ArgumentError(f"low == {low:g}, must be below all values, the least is {least:g}")
    return Past(values, others, times, low), run.names[index], run.stride, int(run.steps[-1])


def _at(run: Trajectory, index: int, steps: np.ndarray) -> np.ndarray:
    """Return a run at given steps, linear between its rows, NaN outside them."""
    return np.interp(steps, run.steps, run.values[:, index], left=np.nan, right=np.nan)


def _edges(past: Past, found: Curves, transform: Transform, rng: np.random.Generator) -> np.ndarray:
    """Return a grid over what is known and all but a share of what the curves foretell, in a coordinate."""
    counts = np.maximum(np.rint(found.weights * DRAWS), found.weights > NEGLIGIBLE).astype(int)
    drawn = [c.draw(n, 16, past.ahead, rng).ravel() for c, n in zip(found.candidates, counts, strict=True) if n]
    values = np.concatenate(drawn)
    paths = transform.forward(values[transform.holds(values)])
    low, high = np.quantile(paths, [OUTSIDE, 1 - OUTSIDE])
    known = transform.forward(np.concatenate([past.values, past.others[np.isfinite(past.others)]]))
    low, high = min(low, known.min()), max(high, known.max())
    # Runs that never change: cells must stay wide beside the rounding of values.
    margin = max(0.02 * (high - low), 1e-6 * max(abs(low), abs(high))) or 1.0
    return np.linspace(low - margin, high + margin, CELLS + 1)


def _wide_enough(
    own: KernelEstimator, past: Past, found: Curves, transform: Transform, edges: np.ndarray, name: str
) -> tuple[np.ndarray, KernelMember]:
    """Return the grid, widened by cells of the same size on the side where the kernel leaves it, and its member."""
    start = float(transform.forward(past.values[-1:])[0])
    member = kernel_member(own, past, found, transform, edges, name)
    for _ in range(WIDENINGS):
        if member.weight < NEGLIGIBLE:
            break
        leaving = member.weight * member.laws(start, past.ahead)[1][-1] > LEAVES
        if not leaving.any():
            break
        below, above = (CELLS // 2 * int(side) for side in leaving)
        edges = edges[0] + (edges[1] - edges[0]) * np.arange(-below, len(edges) + above)
        member = kernel_member(own, past, found, transform, edges, name)
    return edges, member


def _draws(
    found: Curves, member: KernelMember, share: float, past: Past, transform: Transform, rng: np.random.Generator
) -> np.ndarray:
    """Return drawn paths of all members in numbers that go by their weights, shape (draws, paths, steps)."""
    weights = np.append((1 - share) * found.weights, share)
    counts = np.diff(np.rint(np.concatenate([[0.0], np.cumsum(weights)]) * DRAWS)).astype(int)
    parts = [c.draw(n, PATHS, past.ahead, rng) for c, n in zip(found.candidates, counts, strict=False) if n]
    if counts[-1]:
        start = float(transform.forward(past.values[-1:])[0])
        parts.append(transform.inverse(member.draw(int(counts[-1]), PATHS, start, past.ahead, rng)))
    return np.concatenate(parts)


def _laws(
    found: Curves, member: KernelMember, share: float, edges: np.ndarray, past: Past, transform: Transform
) -> tuple[np.ndarray, np.ndarray]:
    """Return density and overflow at each step, step 0 left to the start."""
    below = found.below(np.arange(1, past.ahead + 1), edges)
    density, overflow = np.zeros((past.ahead + 1, len(edges) - 1)), np.zeros((past.ahead + 1, 2))
    density[1:] = (1 - share) * np.diff(below, axis=1)
    overflow[1:] = (1 - share) * np.column_stack([below[:, 0], 1 - below[:, -1]])
    if share:
        there, gone = member.laws(float(transform.forward(past.values[-1:])[0]), past.ahead)
        density[1:] += share * there[1:]
        overflow[1:] += share * gone[1:]
    return np.maximum(density, 0.0), np.maximum(overflow, 0.0)


def _histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the shares below the grid, in each cell, and above it; what has left it is NaN and counts as above."""
    place = np.searchsorted(edges, values, side="right")
    return np.bincount(place, minlength=len(edges) + 1) / len(values)


def _final(marginal: SampledMarginal) -> pd.DataFrame:
    levels = np.array(LEVELS)
    by_draw = np.quantile(marginal.paths[:, :, -1], levels, axis=1)
    low, high = np.quantile(by_draw, INTERVAL, axis=1)
    value = marginal.quantiles(levels)[0, -1]
    return pd.DataFrame({"q": levels, "value": value, "low": low, "high": high})


def _members(found: Curves, share: float) -> pd.DataFrame:
    rows: dict[str, float] = {}
    for weight, candidate in zip(found.weights, found.candidates, strict=True):
        for name, part in candidate.fit.groups.items():
            rows[name] = rows.get(name, 0.0) + (1 - share) * float(weight) * part
    rows[KERNEL] = share
    return pd.DataFrame({"member": list(rows), "weight": list(rows.values())})


def _notes(found: Curves, member: KernelMember, share: float, past: Past, name: str, given: int) -> tuple[str, ...]:
    table = _members(found, share)
    shares = ", ".join(f"{m} {w:.2f}" for m, w in zip(table["member"], table["weight"], strict=True) if w >= 0.005)
    notes = [f"{name}: the rest by {shares}"]
    if len(past.others) < given:
        notes.append(
            f"{given - len(past.others)} other run(s) left out: they do not hold the steps that are known of this"
        )
    if len(past.others):
        ended = int((~np.isfinite(past.others[:, -1])).sum())
        notes.append(
            f"{len(past.others)} other run(s)" + (f", {ended} of them shorter than the horizon" if ended else "")
        )
    else:
        notes.append("no other runs: what no part of this one shows, such as a later drop of the step size, is unknown")
    if past.ahead > 4 * len(past.values):
        notes.append(f"{past.ahead} steps from {len(past.values)} known ones: more than curves can tell")
    return (*notes, *(f"{KERNEL}: {note}" for note in member.kernel.notes if share))


def _of_the_scale(found: Curves, past: Past, name: str, values: np.ndarray) -> tuple[str, ...]:
    """Return what was chosen for values that were positive throughout, and how much of the law lies below zero."""
    if past.low is not None or len(past.transforms) == 1:
        return ()
    if isinstance(found.transform, Log):
        return (f"{name}: positive throughout, followed in logarithms; low=-math.inf if it may pass zero",)
    below = float((values[..., -1] <= 0).mean())
    return (
        f"{name}: followed as it is, logarithms foretell far worse; {below:.1%} of the law at the end lies below zero, "
        "where no value was: low=0 if it cannot",
    )
