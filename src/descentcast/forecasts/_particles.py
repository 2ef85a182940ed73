"""Forecasts by particles: of kernels that move several coordinates together, which no density a coordinate can hold."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike
from scipy.stats import beta, norm

from descentcast import _checks
from descentcast._types import RandomState
from descentcast.errors import ArgumentError
from descentcast.forecasts._basins import minima, named
from descentcast.forecasts._marginal import DIVERGED, ELSEWHERE, INTERVAL, UNSEEN, Marginal, marginal, masses_of
from descentcast.forecasts._result import Forecast, extrapolated, landing_table
from descentcast.forecasts._starting import fits_in_memory, start_points
from descentcast.kernels import REDRAWS, JointKernel, PrincipalKernel, TransitionKernel
from descentcast.scoring._cells import cells_of

# Each particle of a joint kernel is read off a language model; those of principal components are drawn from matrices.
JOINT_PARTICLES, PRINCIPAL_PARTICLES, REPLICATE_PARTICLES = 512, 4096, 512
WORTH_SAYING = 0.01  # share of particles that left the grid above which a note says so


@dataclass(frozen=True, eq=False, repr=False)
class ParticleMarginal(Marginal):
    """The law of one coordinate as shares of particles; `kernel` is not iterated: it holds the grid and its basins.

    Attributes:
        states: The coordinate of each particle, NaN once the particle has left, shape (m, n, steps + 1).
    """

    states: np.ndarray | None = None

    def landing(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the landing table, with `standard_error`.

        Where there are no replicates, intervals are of the particles' number alone.
        """
        for row in super().landing():
            share, error, low, high = _share(np.array(row["probability"]), self._states.shape[1])
            known = np.isfinite(row["low"])
            interval = {} if known else {"low": float(low), "high": float(high)}
            yield {**row, **interval, "standard_error": float(error), "probability": float(share)}

    def hitting_law(self, target: Any) -> np.ndarray:
        """Return the share of particles that are in `target` first at step t, shape (m, steps + 1)."""
        lower, upper = self._interval(target)
        inside = (self._states >= lower) & (self._states < upper)
        first = inside & (inside.cumsum(axis=2) == 1)
        return first.mean(axis=1)

    def hitting_times(self, target: Any) -> dict[str, np.ndarray]:
        """Return the columns of the table of hitting times; intervals are of the particles' number alone."""
        law = self.hitting_law(target)
        steps, count = np.arange(law.shape[1]), self._states.shape[1]
        hit, error, low, high = _share(law.sum(axis=1), count)
        given = np.divide(law, hit[:, None], out=np.full_like(law, np.nan), where=hit[:, None] > 0)
        mean = given @ steps
        spread = np.sqrt(np.maximum(given @ steps**2 - mean**2, 0) / np.maximum(hit * count, 1))
        half = (law.cumsum(axis=1) >= hit[:, None] / 2).argmax(axis=1)
        return {
            "start": self.starts,
            "probability": hit,
            "low": low,
            "high": high,
            "mean": mean,
            "mean_low": mean + norm.ppf(INTERVAL[0]) * spread,
            "mean_high": mean + norm.ppf(INTERVAL[1]) * spread,
            "median": np.where(hit > 0, half, np.nan),
            "standard_error": error,
        }

    def basin_labels(self) -> np.ndarray:
        """Return where each particle is at the horizon, by name, shape (m, n)."""
        ends = self._states[..., -1]
        found = np.full(ends.shape, ELSEWHERE, dtype=object)
        for label, basin in zip(self.basins.labels, self.basins, strict=True):
            found[(ends >= basin.lower) & (ends < basin.upper)] = label if basin.seen else UNSEEN
        found[np.isnan(ends)] = DIVERGED
        return found

    @property
    def _states(self) -> np.ndarray:
        assert self.states is not None
        return self.states


@dataclass(frozen=True, eq=False, repr=False)
class ParticleForecast(Forecast):
    """A forecast whose laws are shares of particles that moved in all coordinates together.

    What a `Forecast` has, with a column `standard_error`, `sqrt(p (1 - p) / n)` for n particles, in `landing` and the
    tables of hitting times. `low` and `high` are over resampled kernels where there are any; else they are the 5 % and
    95 % quantiles of the probability's posterior given the particles (Jeffreys' prior), which holds nothing of what
    chance in the runs did to the kernel. A particle that left the grid by another coordinate counts half below and half
    above a coordinate's own.

    Attributes:
        particles: States, NaN once a particle has left the grid, shape (m, n, steps + 1, D).
    """

    particles: np.ndarray

    @property
    def joint_landing(self) -> pd.DataFrame:
        """Where particles land in all coordinates together, one row for each start and combination of basins.

        Columns are start, the basin by coordinate, probability, standard_error, low, high. Combinations that no
        particle is in are left out.
        """
        labels = np.stack([m.basin_labels() for m in _particle_marginals(self.marginals)], axis=-1)
        combinations = sorted({tuple(row) for row in labels.reshape(-1, labels.shape[-1]).tolist()})
        rows = []
        for start, own in zip(self.starts.tolist(), labels, strict=True):
            for combination in combinations:
                hit = float((own == np.array(combination, dtype=object)).all(axis=1).mean())
                share, error, low, high = (float(v) for v in _share(np.array(hit), len(own)))
                rows.append(
                    {
                        "start": tuple(start) if isinstance(start, list) else start,
                        **dict(zip(self.names, combination, strict=True)),
                        "probability": share,
                        "standard_error": error,
                        "low": low,
                        "high": high,
                    }
                )
        return pd.DataFrame(rows)

    def sample(self, n: int, random_state: RandomState = 0) -> np.ndarray:
        """Return n of the particles' paths from each start, shape (m, n, steps + 1), with a last axis of D where D > 1.

        Args:
            n: Paths a start, at least 1, at most the number of particles; none is returned twice.
            random_state: Seed or generator.

        Raises:
            ArgumentError: `n` below 1 or above the number of particles.
        """
        count = self.particles.shape[1]
        n = _checks.integer("n", n, low=1, high=count)
        rng = _checks.generator(random_state)
        paths = np.stack([own[rng.permutation(count)[:n]] for own in self.particles])
        return paths[..., 0] if paths.shape[-1] == 1 else paths

    def to_xarray(self) -> xr.Dataset:
        """Return what `Forecast.to_xarray` returns, and `particles` by start, particle, step and coordinate."""
        found = super().to_xarray().assign_coords(coordinate=list(self.names))
        return found.assign(particles=(("start", "particle", "step", "coordinate"), self.particles))

    def to_dict(self) -> dict[str, Any]:
        """Return what `Forecast.to_dict` returns, with the number of particles and the joint landing."""
        joint = self.joint_landing.to_dict("records")
        return super().to_dict() | {"particles": self.particles.shape[1], "joint_landing": joint}


def forecast_particles(
    fitted_or_kernel: Any,
    starts: ArrayLike,
    steps: int,
    particles: int | None = None,
    basins: Iterable[Any] | None = None,
    redraws: int = REDRAWS,
    random_state: RandomState = 0,
) -> ParticleForecast:
    """Forecast several coordinates together, by particles.

    From each start n particles move by the kernel's own laws: those of a `JointKernel` are read off the language model
    at every particle's state after the same context, all particles of a step together, and drawn exactly, digit by
    digit; those of a `PrincipalKernel` move by the kernels of the components and are mapped back. No state is clipped.
    A particle of components that leaves the range of the grids has diverged; one of a joint kernel is drawn again, as
    no run has left them and a model puts a little mass everywhere, and has diverged where that does not help.

    Args:
        fitted_or_kernel: A `JointKernel` or `PrincipalKernel`, or an estimator that was fitted to one.
        starts: Starting states, shape (m, D).
        steps: Number of steps of the kernel, at least 1.
        particles: Particles a start; by default 512 for a joint kernel, 4,096 for principal components.
        basins: As in `forecast`, one entry a coordinate; by default those of a local-linear kernel of each coordinate
            by itself, on the same runs.
        redraws: How often a particle of a joint kernel is drawn again; 0 takes the model at its word.
        random_state: Seed or generator.

    Raises:
        ArgumentError: Another kernel, starts outside the grids or that do not fit the coordinates, fewer than one step
            or particle, basins that do not fit.
    """
    kernel = getattr(fitted_or_kernel, "kernel_", fitted_or_kernel)
    if not isinstance(kernel, (JointKernel, PrincipalKernel)):
        raise ArgumentError(
            f"fitted_or_kernel is a {type(fitted_or_kernel).__name__}, must be an estimator fitted with coordinates "
            "'joint' or 'pca', or its kernel"
        )
    steps = _checks.integer("steps", steps, low=1)
    usual = JOINT_PARTICLES if isinstance(kernel, JointKernel) else PRINCIPAL_PARTICLES
    count = usual if particles is None else _checks.integer("particles", particles, low=1)
    names, own = kernel.names, kernel.marginals
    points = start_points(starts, len(names))
    fits_in_memory(len(points), steps, sum(len(k.matrix) for k in own) + count * len(names))
    wanted: list[Any] = [None] * len(own) if basins is None else [basins] if len(own) == 1 else list(basins)
    if len(wanted) != len(own):
        raise ArgumentError(f"basins have {len(wanted)} entries, must have one for each of {len(own)} coordinates")
    counted = [named(k, which) for k, which in zip(own, wanted, strict=True)]
    redraws = _checks.integer("redraws", redraws, low=0)
    rng = _checks.generator(random_state)
    outside = 0.0
    if isinstance(kernel, JointKernel):
        (paths, outside), again = kernel.paths(points, steps, count, rng, redraws), []
    else:
        paths = _component_paths(kernel, kernel.kernels, points, steps, count, rng)
        resampled = getattr(fitted_or_kernel, "replicates_", None) or []
        again = [
            _component_paths(kernel, _several(r), points, steps, REPLICATE_PARTICLES, stream)
            for r, stream in zip(resampled, rng.spawn(len(resampled)), strict=True)
        ]
    inside = np.where(np.isinf(paths), np.nan, paths)
    marginals = []
    for d, (k, found) in enumerate(zip(own, counted, strict=True)):
        ends = [_shares(k.edges, replicate[:, :, -1:, d]) for replicate in again]
        masses = [masses_of(found, k.edges, density[:, 0], gone[:, 0]) for density, gone in ends]
        density, overflow = _shares(k.edges, paths[..., d])
        marginals.append(
            ParticleMarginal(
                kernel=k,
                starts=points[:, d],
                basins=found,
                density=density,
                overflow=overflow,
                replicates=np.array(masses).reshape(-1, len(points), len(found) + 3),
                states=inside[..., d],
            )
        )
    return ParticleForecast(
        marginals=tuple(marginals),
        starts=points[:, 0] if len(names) == 1 else points,
        steps=steps,
        landing=landing_table(marginals, points),
        notes=_notes(kernel, marginals, wanted, count, bool(again), outside if redraws else 0.0),
        particles=inside,
    )


def _component_paths(
    kernel: PrincipalKernel,
    kernels: tuple[TransitionKernel, ...],
    points: np.ndarray,
    steps: int,
    n: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return paths of components mapped back, shape (m, n, steps + 1, D), marked as `JointKernel.step` marks them."""
    components, z = kernel.components, kernel.components.forward(points)
    streams = rng.spawn(len(kernels))
    columns = [
        marginal(k, z[:, i], steps, minima(k), []).sample(n, stream)
        for i, (k, stream) in enumerate(zip(kernels, streams, strict=True))
    ]
    # One component off its grid takes the whole particle with it.
    paths = components.inverse(np.stack(columns, axis=-1)) + components.rest(points)[:, None, None]
    low, high = (np.array([k.edges[end] for k in kernel.marginals]) for end in (0, -1))
    paths[:, :, 0] = points[:, None]
    side = np.where(paths < low, -np.inf, np.where(paths > high, np.inf, 0.0))
    gone = np.maximum.accumulate(np.isinf(side).any(axis=-1) | np.isnan(paths).any(axis=-1), axis=2)
    # What was marked when a particle left stays.
    when = gone.argmax(axis=2)
    marks = np.take_along_axis(side, when[:, :, None, None], axis=2)
    return np.where(gone[..., None], np.where(np.isinf(marks), marks, np.nan), paths)


def _shares(edges: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return shares of particles in each cell, shape (m, T, cells), and off either end, (m, T, 2); states (m, n, T).

    NaN, a particle that left by another coordinate, counts half and half.
    """
    m, n, length = states.shape
    cells = len(edges) - 1
    column = cells_of(states, edges)
    on = np.isfinite(states)
    place = (np.arange(m)[:, None, None] * length + np.arange(length)) * cells + column
    density = np.bincount(place[on], minlength=m * length * cells).reshape(m, length, cells) / n
    lost = np.isnan(states).mean(axis=1) / 2
    overflow = np.stack([np.isneginf(states).mean(axis=1) + lost, np.isposinf(states).mean(axis=1) + lost], axis=-1)
    return density, overflow


def _share(share: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a share of `count` particles with its standard error and its interval by Jeffreys' prior."""
    share = np.clip(share, 0.0, 1.0)
    a, b = share * count + 0.5, (1 - share) * count + 0.5
    low, high = (beta.ppf(level, a, b) for level in INTERVAL)
    error = np.sqrt(share * (1 - share) / count)
    # By the usual modification the interval of 0 begins at 0, and that of 1 ends at 1.
    return share, error, np.where(share == 0, 0.0, low), np.where(share == 1, 1.0, high)


def _notes(
    kernel: JointKernel | PrincipalKernel,
    marginals: list[ParticleMarginal],
    wanted: list[Any],
    count: int,
    intervals: bool,
    outside: float,
) -> tuple[str, ...]:
    notes = [f"{count} particles a start: standard_error is of their number alone"]
    if not intervals:
        notes.append("low and high hold the particles' number alone, not what chance in the runs did to the kernel")
    notes += kernel.notes
    by_default = [m.kernel.name for m, which in zip(marginals, wanted, strict=True) if which is None]
    if by_default:
        notes.append(f"basins of {', '.join(by_default)}: those of a local-linear kernel of the coordinate by itself")
    if outside > WORTH_SAYING:
        notes.append(
            f"up to {outside:.1%} of the draws of a step lay outside the grids, where no run was, and were drawn again"
        )
    lost = max(float(m.overflow[:, -1].sum(axis=1).max()) for m in marginals)
    if lost > WORTH_SAYING:
        notes.append(f"up to {lost:.0%} of the particles from a start left the range of the grids")
    notes += [f"{m.kernel.name}: {note}" for m in marginals for note in m.basins.notes]
    return tuple(notes + extrapolated(marginals))


def _particle_marginals(marginals: tuple[Marginal, ...]) -> list[ParticleMarginal]:
    return [m for m in marginals if isinstance(m, ParticleMarginal)]


def _several(kernels: Any) -> tuple[TransitionKernel, ...]:
    return kernels if isinstance(kernels, tuple) else (kernels,)
