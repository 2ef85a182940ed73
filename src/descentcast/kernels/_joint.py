"""The kernel of several coordinates together, read off a language model state by state: no matrix could hold it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import Edges, RandomState
from descentcast.densities import Context, draw_next, lay_out, log_masses, most_values, read_joint, regrid
from descentcast.encoding import JointView, draw_joint_views
from descentcast.errors import ArgumentError
from descentcast.kernels._excerpts import excerpt
from descentcast.kernels._grid import CELLS_PER_SPREAD, one_step_spread
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._local_linear import LocalLinearKernel
from descentcast.language_models import LanguageModel
from descentcast.trajectories import Trajectories

PRUNED = 1e-5
# A particle drawn outside so often has hardly any of its law inside.
REDRAWS = 20
# A model is flatter than what it was shown, the more so in several coordinates: sharper laws may score better.
WEIGHTS = (1.0, 1.25, 1.5, 2.0)
# Transitions that a weight is chosen on: each is read in every view.
SCORED = 200


@dataclass(frozen=True, eq=False, repr=False)
class JointKernel(Shown):
    """Transition kernel of D coordinates, `p(x' | x) = 1/V sum over V views of p_v(x' | x)`.

    After the runs, laid out in a view with the digits of all coordinates adjoining, the state is written as the start
    of a new run; p_v is the law of the D * digits digits that come next, each raised to a power and normalised. It is
    drawn from, digit by digit, or read at states; within the cell of a code it is uniform.

    Attributes:
        model: The language model.
        views: Encodings of a state, the first one that of the box itself.
        contexts: The runs in each.
        marginals: A local-linear kernel of each coordinate by itself on the same runs: its grid is the range of the
            coordinate, its drift tells basins, its visits where runs have been. It is not iterated.
        weight: The power that each digit's law is raised to: above 1 the kernel is sharper than the model.
        notes: Numerical outcomes worth knowing, in words.
    """

    model: LanguageModel
    views: tuple[JointView, ...]
    contexts: tuple[Context, ...]
    marginals: tuple[TransitionKernel, ...]
    weight: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coordinates."""
        return tuple(kernel.name for kernel in self.marginals)

    @property
    def low(self) -> np.ndarray:
        """Lower end of each coordinate, shape (D,)."""
        return np.array([kernel.edges[0] for kernel in self.marginals])

    @property
    def high(self) -> np.ndarray:
        """Upper end of each coordinate, shape (D,)."""
        return np.array([kernel.edges[-1] for kernel in self.marginals])

    def density(self, states: ArrayLike, bound: float = PRUNED) -> tuple[np.ndarray, np.ndarray]:
        """Return the law of the next state at each state, on 10^digits equal cells a coordinate.

        Args:
            states: Shape (p, D), within the box.
            bound: Largest mass of a law that may go unrefined in a view, spread within its own branch.

        Returns:
            Probabilities, shape (p, 10^digits, ..., 10^digits), and the mass outside the box, shape (p,).

        Raises:
            ArgumentError: States outside the box, or laws of more than a million cells.
        """
        points = self._within(states)
        edges = [view.edges for view in self.views[0].views]
        total = np.zeros((len(points), *self.views[0].shape))
        for context, view in zip(self.contexts, self.views, strict=True):
            probs, _ = read_joint(self.model, context, view, points, bound, self.weight)
            for axis, (own, onto) in enumerate(zip(view.views, edges, strict=True), start=1):
                inside, _ = regrid(np.moveaxis(probs, axis, -1), own.edges, onto)
                probs = np.moveaxis(inside, -1, axis)
            total += probs / len(self.views)
        return total, np.maximum(1 - total.reshape(len(points), -1).sum(axis=1), 0.0)

    def log_density(self, states: ArrayLike, following: ArrayLike) -> np.ndarray:
        """Return `log p(x' | x)` of pairs of states, in units of the coordinates, shape (p,).

        One branch a pair and view is read, whatever the number of coordinates.

        Raises:
            ArgumentError: States outside the box, or not as many of one as of the other.
        """
        before, after = self._within(states), self._within(following)
        if before.shape != after.shape:
            raise ArgumentError(f"following has shape {after.shape}, must be that of states, {before.shape}")
        return self._log_density(before, after, (self.weight,))[0][0]

    def step(self, states: np.ndarray, rng: np.random.Generator, redraws: int = REDRAWS) -> tuple[np.ndarray, float]:
        """Draw the next state of each particle, the views shared out among the particles at random.

        Every law is exact: one pass a digit for all particles together, those that begin alike read once. No run has
        left the box, and what a model puts outside is mostly noise that would leak at every step; so a particle whose
        draw lies outside is drawn again, which makes its law that given the box. If `redraws` more draws all lie
        outside, it has left: the coordinates that left are infinite from then on, and the others NaN.

        Args:
            states: Shape (p, D).
            rng: Where the draws come from.
            redraws: How often; 0 takes the model at its word.

        Returns:
            The next states, shape (p, D), and the share of the first draws that lay outside.
        """
        moved = states.copy()
        pending = alive = np.flatnonzero(np.isfinite(states).all(axis=1))
        first = 0
        for attempt in range(redraws + 1):
            moved[pending] = self._drawn(states[pending], rng)
            pending = pending[np.isinf(self._side(moved[pending])).any(axis=1)]
            first = len(pending) if attempt == 0 else first
            if not len(pending):
                break
        moved[pending] = self._side(moved[pending])
        return moved, first / max(len(alive), 1)

    def paths(
        self, starts: np.ndarray, steps: int, n: int, rng: np.random.Generator, redraws: int = REDRAWS
    ) -> tuple[np.ndarray, float]:
        """Return n paths from each start, shape (m, n, steps + 1, D), and the largest share of `step` on the way."""
        points = self._within(starts)
        states = np.repeat(points, n, axis=0)
        found, outside = [states], 0.0
        for _ in range(steps):
            states, share = self.step(states, rng, redraws)
            found.append(states)
            outside = max(outside, share)
        return np.stack(found, axis=1).reshape(len(points), n, steps + 1, -1), outside

    def to_dict(self) -> dict[str, Any]:
        """Return model, views, marginal kernels and notes as plain values."""
        return {
            "model": self.model.name,
            "views": [view.to_dict() for view in self.views],
            "weight": self.weight,
            "marginals": [kernel.to_dict() for kernel in self.marginals],
            "notes": list(self.notes),
        }

    def _drawn(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        shares = np.array_split(rng.permutation(len(states)), len(self.views))
        # Views without a particle are left out: a model is not asked about nothing.
        used = [k for k, share in enumerate(shares) if len(share)]
        codes = [self.views[k].encode(states[shares[k]]) for k in used]
        moved = np.empty_like(states)
        drawn = draw_next(self.model, [self.contexts[k] for k in used], codes, rng, self.weight) if used else []
        for k, some in zip(used, drawn, strict=True):
            moved[shares[k]] = self.views[k].places(some, rng)
        return moved

    def _side(self, states: np.ndarray) -> np.ndarray:
        """Return minus or plus infinity where a coordinate is below or above its range, else NaN."""
        return np.where(states < self.low, -np.inf, np.where(states > self.high, np.inf, np.nan))

    def _log_density(self, before: np.ndarray, after: np.ndarray, weights: Sequence[float]) -> tuple[np.ndarray, float]:
        codes, following = ([view.encode(states) for view in self.views] for states in (before, after))
        logs, stray = log_masses(self.model, self.contexts, codes, following, weights)
        densities = [log - np.log(view.volume) for log, view in zip(logs, self.views, strict=True)]
        return np.logaddexp.reduce(densities, axis=0) - np.log(len(self.views)), stray

    def _within(self, states: ArrayLike) -> np.ndarray:
        points = _checks.finite("states", _checks.numeric("states", states))
        return in_box("state", points, self.marginals)


@dataclass(frozen=True, eq=False)
class JointFit:
    """What a fit of the joint kernel came to.

    Attributes:
        kernel: The kernel.
        log_score: Average log density of the context's own transitions (of 200 of them, evenly spread, where there are
            more), nats a step of all coordinates, in sample; the kernel's weight is that of the best.
        outside_mass: Mass that the model put on anything but digits along them.
    """

    kernel: JointKernel
    log_score: float
    outside_mass: float


def fit_joint(
    model: LanguageModel,
    runs: Trajectories,
    grids: Sequence[Edges],
    digits: int,
    views: int,
    random_state: RandomState,
) -> JointFit:
    """Lay runs out in joint views, and read how well they foretell their own transitions.

    Args:
        model: The language model.
        runs: The runs.
        grids: Cell edges of each coordinate, whose ends are the box.
        digits: Digits a coordinate.
        views: How many views.
        random_state: Seed of the views, and of the excerpts that are shown where the runs are longer than the model
            reads.

    Raises:
        ArgumentError: Values outside the box, digits that the model cannot write.
        ModelError: The model reads too few symbols.
    """
    symbol = model.alphabet.digits_per_symbol
    if digits % symbol:
        raise ArgumentError(f"digits == {digits}, must be a multiple of the {symbol} that {model.name} reads at once")

    marginals = marginal_kernels(runs, grids)
    for run in runs:
        in_box(f"{run.run}: value", run.values, marginals)
    rng = _checks.generator(random_state)
    low, high = [float(grid[0]) for grid in grids], [float(grid[-1]) for grid in grids]
    drawn = draw_joint_views(low, high, views, digits, rng)
    most = most_values(model, digits * len(grids))
    shown = [excerpt([run.values for run in runs], most, rng) for _ in drawn]
    contexts = tuple(lay_out(some, view, model.alphabet) for some, view in zip(shown, drawn, strict=True))
    kernel = JointKernel(model, tuple(drawn), contexts, marginals, notes=_notes(model, runs, grids, digits))
    before = np.concatenate([run.values[:-1] for run in runs])
    after = np.concatenate([run.values[1:] for run in runs])
    scored = np.linspace(0, len(before) - 1, min(len(before), SCORED)).round().astype(int)
    scores, stray = kernel._log_density(before[scored], after[scored], WEIGHTS)
    best = int(scores.mean(axis=1).argmax())
    return JointFit(replace(kernel, weight=WEIGHTS[best]), float(scores[best].mean()), stray)


def marginal_kernels(runs: Trajectories, grids: Sequence[Edges]) -> tuple[TransitionKernel, ...]:
    """Return a local-linear kernel of each coordinate by itself: a grid, a drift and visits."""
    found = LocalLinearKernel().fit(runs, list(grids)).kernel_
    return found if isinstance(found, tuple) else (found,)


def in_box(what: str, points: np.ndarray, marginals: Sequence[TransitionKernel]) -> np.ndarray:
    """Return points, shape (p, D), if all lie within the grids of the coordinates."""
    if points.ndim != 2 or points.shape[1] != len(marginals):
        raise ArgumentError(f"{what}s have shape {points.shape}, must be (p, {len(marginals)})")
    for kernel, column in zip(marginals, points.T, strict=True):
        low, high = float(kernel.edges[0]), float(kernel.edges[-1])
        outside = (column < low) | (column > high)
        if outside.any():
            raise ArgumentError(
                f"{what} {column[outside][0]:g} lies outside the grid of {kernel.name}, must be in [{low:g}, {high:g}]"
            )
    return points


def _notes(model: LanguageModel, runs: Trajectories, grids: Sequence[Edges], digits: int) -> tuple[str, ...]:
    notes = []
    for index, grid in enumerate(grids):
        width = float(grid[-1] - grid[0]) / 10**digits
        spread = one_step_spread(*runs.transitions(index))
        if spread < CELLS_PER_SPREAD * width:
            notes.append(
                f"{runs.names[index]}: {digits} digits write cells of {width:.3g}, wide beside a typical step of "
                f"{spread:.3g}: read more digits"
            )
    if not model.restarts:
        notes.append(f"{model.name} was not trained on several runs in one context: what it says of new starts is poor")
    return tuple(notes)
