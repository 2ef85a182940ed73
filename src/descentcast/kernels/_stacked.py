"""Several estimators as one: their rows mixed by what each foretold on held-out transitions."""

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import Edges, RandomState
from descentcast.errors import ArgumentError
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._beginnings import Fold, forward_folds
from descentcast.kernels._classical import source_of
from descentcast.kernels._conditional_density import KernelDensityKernel
from descentcast.kernels._discrepancy import learnt, moved, sizes
from descentcast.kernels._fading import faded
from descentcast.kernels._grid import as_trajectories, grids_of, hull_distance
from descentcast.kernels._held_out import HeldOut, covered, score
from descentcast.kernels._in_context import InContextKernel
from descentcast.kernels._kernel import Evidence, TransitionKernel
from descentcast.kernels._local_linear import LocalLinearKernel
from descentcast.kernels._mixing import Mixture, mix, mixture_of, tempered
from descentcast.kernels._one_each import single
from descentcast.kernels._recalibrated import RecalibratedKernel
from descentcast.kernels._resampling import REPLICATES, blocks
from descentcast.trajectories import Trajectories

WORTH_A_NOTE = 0.05  # weight of a member above which its own notes are the stack's
# How fast weights change outside the hull, half way a tenth of a step from it, and drifts fade, half way two steps from
# it. Chosen on development problems.
SHARPNESS, FADING = 10.0, 0.5
# Steps ahead, and the nominal level, at which coverage of held-out values is told.
LAGS, LEVEL = (1, 10), 0.9


@dataclass(frozen=True, eq=False)
class _Coordinate:
    """The stack of one coordinate: its kernel, what each member foretold, and how weights change outside the hull."""

    kernel: TransitionKernel
    held_out: list[HeldOut]
    mixture: Mixture
    iterated: float
    distance: np.ndarray
    beyond: np.ndarray
    coverage: dict[int, tuple[float, int]]

    def rows(self, weights: np.ndarray) -> np.ndarray:
        """Return the weights of each row, shape (n, M), from those in the hull."""
        return _row_weights(weights, self.distance, self.beyond)

    def mixed(self, kernels: list[TransitionKernel], weights: np.ndarray) -> TransitionKernel:
        """Return the members' kernels mixed by weights in the hull; of several the drift fades outside it."""
        return _mixed(kernels, weights, self.distance, self.beyond)


class StackedKernel(KernelEstimator):
    """Bayes mixture of estimators on one grid, weighted by held-out log score.

    Every member is fitted to the first third of the values (through the runs in their order), and its kernel scored on
    the transitions of the next block; then to all before the block after that; four blocks in all. With p_m(t) the
    probability that member m's row gave to the cell that came, the weights are

        w_m = exp(sum over t of log p_m(t)) / sum over all members of the same,

    equal where nothing could be held out. What is scored is what is used: rows of kernels, read or fitted as those of
    the final fit, never densities that know the history of a run. The mixture with the weights of each moment has a
    held-out log score within log(M) of the best of the M members', whatever the runs do.

    The kernel mixes the members' rows, overflow too: `P_ij = sum over m of w_im P_ij^m`. In the hull of the visited
    states w_im = w_m. Outside it little says which member is right: at distance d from the hull
    `w_im = tau w_m + (1 - tau) b_m` with `tau = 1 / (1 + 10 d / s)`, s the typical one-step spread, and b_m even over
    the members that read every row (a language model that is probed), where there are such: the others extrapolate,
    and on development problems what they say there makes landings worse. Without such members b_m = 1 / M, so that
    rows widen where members disagree about what nobody has seen. Nor is a drift known there: the mixed row
    is mixed once more, by `d / (d + 2 s)`, with itself moved until its median is the state that it starts from. (A
    stack of one is that one.)

    Args:
        members: Estimators; by default `descent-small` in context, a local-linear and a conditional-density
            kernel, each recalibrated.
        random_state: Seed of the default language model's views and of the resampled weights.

    Attributes:
        kernel_: The mixed kernel, or a tuple of them, one a coordinate.
        members_: The members, each fitted to all the runs.
        weights_: The weights w_m, shape (M,), or a tuple of them, one a coordinate.
        row_weights_: The weights w_im of each row, shape (n, M), or a tuple of them.
        held_out_scores_: coordinate, member, weight, log_score, iterated, transitions: one row a member and one for the
            stack itself. `log_score` is the average held-out log density one step ahead, `iterated` that of the
            iterated kernel (lags 1, 2, 4, ...), nats, higher is better. Of the stack `log_score` is that of the mixture
            with the weights of each moment, as above, `iterated` that of the kernel it would have been then.
        held_out_coverage_: coordinate, lag, level, coverage, steps: the share of held-out values within the 90 %
            intervals 1 and 10 steps ahead of the kernel that the stack would have been then, before forecasts widen
            them; NaN where blocks are too short.
        replicates_: Kernels of 40 resamples, in the form of `kernel_`: the members' own replicates, mixed by weights
            from resampled blocks of held-out transitions, and moved by a random smooth field, whose size was learnt on
            development problems, for what no resample shows. Made when first asked for.

    Raises:
        ArgumentError: No members, or something among them that is not an estimator, at `fit`.

    References:
        Dawid (1984), Statistical theory: the prequential approach, J. R. Stat. Soc. A 147; Vovk (1990), Aggregating
        strategies, COLT.

    Examples:
        >>> import descentcast as dc
        >>> rng, x = np.random.default_rng(0), [2.0]
        >>> for _ in range(200):
        ...     x.append(0.8 * x[-1] + 0.1 * rng.normal())
        >>> stack = StackedKernel([dc.LocalLinearKernel(), dc.CountKernel()]).fit(Trajectories.from_arrays([x]))
        >>> stack.weights_.round(3)
        array([1., 0.])
        >>> stack.held_out_scores_["member"].tolist()
        ['LocalLinearKernel', 'CountKernel', 'stack']
    """

    def __init__(self, members: Sequence[KernelEstimator] | None = None, random_state: RandomState = 0) -> None:
        self.members = members
        self.random_state = random_state

    def fit(self, trajectories: Trajectories, edges: ArrayLike | Sequence[ArrayLike] | None = None) -> Self:
        """Fit and score every member, and mix their kernels.

        Args:
            trajectories: The runs, in the order in which they become known.
            edges: Cell edges, shape (n + 1,), or one array a coordinate; by default the grid rule of `default_edges`.

        Returns:
            The estimator itself.

        Raises:
            ArgumentError: No members, members that are no estimators, runs that are not `Trajectories`, and what
                members raise.
        """
        runs = as_trajectories(trajectories)
        self._check_parameters()
        grids, notes = grids_of(runs, edges)
        folds = forward_folds([len(run) for run in runs])
        members = [copy.copy(member) for member in self._members()]
        labels = _distinct([member.label for member in members])
        known = [member.fit_forward(runs, list(grids), [fold.known for fold in folds]) for member in members]
        parts = []
        for i, grid in enumerate(grids):
            kernels = [_of(member.kernel_, i) for member in members]
            earlier = [[_of(kernel, i) for kernel in forward] for forward in known]
            part = _stack(kernels, earlier, folds, runs.coordinate(i), grid)
            told = _notes(part, labels, kernels)
            kernel = self._finished(replace(part.kernel, notes=told), runs, i, notes[i])
            parts.append(replace(part, kernel=replace(kernel, notes=tuple(dict.fromkeys(kernel.notes)))))
        vars(self).pop("replicates_", None)
        self._parts = parts
        self.n_features_in_ = len(grids)
        self.edges_ = single(grids)
        self.members_ = members
        self.kernel_ = single([part.kernel for part in parts])
        self.weights_ = single([part.mixture.weights for part in parts])
        self.row_weights_ = single([part.rows(part.mixture.weights) for part in parts])
        self.held_out_scores_ = pd.concat(
            [_table(name, labels, part) for name, part in zip(runs.names, parts, strict=True)], ignore_index=True
        )
        self.held_out_coverage_ = pd.DataFrame(
            [
                {"coordinate": name, "lag": lag, "level": LEVEL, "coverage": share, "steps": steps}
                for name, part in zip(runs.names, parts, strict=True)
                for lag, (share, steps) in part.coverage.items()
            ]
        )
        return self

    @property
    def label(self) -> str:
        """What the stack is called in tables."""
        return f"StackedKernel({', '.join(member.label for member in self._members())})"

    @cached_property
    def replicates_(self) -> list[TransitionKernel] | list[tuple[TransitionKernel, ...]]:
        """Kernels of resampled members and weights, in the form of `kernel_`.

        Raises:
            AttributeError: The estimator is not fitted.
        """
        if not hasattr(self, "kernel_"):
            raise AttributeError("StackedKernel has no replicates_ before fit")
        resampled = [list(getattr(member, "replicates_", None) or [member.kernel_]) for member in self.members_]
        size = learnt()
        scales = [sizes(part.kernel, part.distance, size) for part in self._parts]
        found = []
        for r, rng in enumerate(_checks.generator(self.random_state).spawn(REPLICATES)):
            kernels = [own[r % len(own)] for own in resampled]
            mixed = [
                part.mixed([_of(k, i) for k in kernels], _redrawn_weights(part, rng))
                for i, part in enumerate(self._parts)
            ]
            found.append(tuple(moved(k, scale, size.length, rng) for k, scale in zip(mixed, scales, strict=True)))
        return [kernels[0] for kernels in found] if len(self._parts) == 1 else found

    def _fit_coordinate(self, index: int, columns: list[np.ndarray], edges: Edges) -> TransitionKernel:
        return _of(
            StackedKernel(self.members, self.random_state).fit(Trajectories.from_arrays(columns), edges).kernel_, 0
        )

    def _members(self) -> list[KernelEstimator]:
        if self.members is not None:
            return list(self.members)
        # Rows nearly as good as those of `smollm2-135m` with its adapter, a twentieth of the time (docs/findings.md).
        reader = InContextKernel("descent-small", random_state=self.random_state)
        return [RecalibratedKernel(member) for member in (reader, LocalLinearKernel(), KernelDensityKernel())]

    def _check_parameters(self) -> None:
        _checks.generator(self.random_state)
        if not isinstance(self.members, Iterable | None):
            raise ArgumentError(f"members is a {type(self.members).__name__}, must be a list of estimators of kernels")
        members = self._members()
        wrong = [type(member).__name__ for member in members if not isinstance(member, KernelEstimator)]
        if not members or wrong:
            found = f"hold a {wrong[0]}" if wrong else "are none"
            raise ArgumentError(
                f"members {found}, must be at least one estimator of kernels, such as LocalLinearKernel()"
            )
        for member in members:
            member._check_parameters()


def _stack(
    kernels: list[TransitionKernel],
    earlier: list[list[TransitionKernel]],
    folds: list[Fold],
    columns: list[np.ndarray],
    edges: Edges,
) -> _Coordinate:
    """Score the members' earlier kernels on what came next, and mix their final ones."""
    held_out = [score(forward, folds, columns, edges) for forward in earlier]
    mixture = mixture_of(np.log(np.stack([h.mass for h in held_out])))
    visits, distance, beyond = _visits(columns, edges), hull_distance(columns, edges), _beyond(kernels)
    rows = _row_weights(mixture.weights, distance, beyond)
    weight = (rows * np.column_stack([kernel.evidence.weight for kernel in kernels])).sum(axis=1)
    alone = kernels[0].evidence if len(kernels) == 1 else None
    kernel = replace(
        _mixed(kernels, mixture.weights, distance, beyond),
        evidence=alone or Evidence(visits, source_of(visits), np.clip(weight, 0, 1)),
        projected=any(kernel.projected for kernel in kernels),
    )
    forward = _mixed_forward(earlier, held_out, folds, columns, edges)
    return _Coordinate(
        kernel=kernel,
        held_out=held_out,
        mixture=mixture,
        iterated=score(forward, folds, columns, edges).iterated,
        distance=distance,
        beyond=beyond,
        coverage={lag: covered(forward, folds, columns, lag, LEVEL) for lag in LAGS},
    )


def _mixed_forward(
    earlier: list[list[TransitionKernel]],
    held_out: list[HeldOut],
    folds: list[Fold],
    columns: list[np.ndarray],
    edges: Edges,
) -> list[TransitionKernel]:
    """Return the stack's kernel for each block, as it would be of what was known before it."""
    mixed, values, ends = [], np.concatenate(columns), np.cumsum([len(column) for column in columns])
    for f, fold in enumerate(folds):
        start = int((held_out[0].position < fold.known).sum())
        weights = mixture_of(np.log(np.stack([h.mass[:start] for h in held_out]))).weights
        kernels = [forward[f] for forward in earlier]
        known = np.split(values[: fold.known], ends[ends < fold.known])
        mixed.append(_mixed(kernels, weights, hull_distance(known, edges), _beyond(kernels)))
    return mixed


def _mixed(
    kernels: list[TransitionKernel], weights: Float[np.ndarray, "M"], distance: np.ndarray, beyond: np.ndarray
) -> TransitionKernel:
    """Return the members' kernels mixed by weights in the hull; of several the drift fades outside it."""
    kernel = mix(kernels, _row_weights(weights, distance, beyond))
    return kernel if len(kernels) == 1 else faded(kernel, 1 - 1 / (1 + FADING * distance))


def _row_weights(weights: np.ndarray, distance: np.ndarray, beyond: np.ndarray) -> Float[np.ndarray, "n M"]:
    """Return the weights of each row from those in the hull."""
    return tempered(weights, 1 / (1 + SHARPNESS * distance), beyond)


def _visits(columns: list[np.ndarray], edges: Edges) -> np.ndarray:
    """Return how many values lie in each cell, shape (n,)."""
    return np.histogram(np.concatenate(columns), edges)[0].astype(np.float64)


def _beyond(kernels: list[TransitionKernel]) -> np.ndarray:
    """Return the weights far from the hull, shape (M,): even over the members whose rows are all read there."""
    sources = [kernel.evidence.source for kernel in kernels]
    reads = np.array([(s == "probed").any() and np.isin(s, ("probed", "visited")).all() for s in sources])
    return reads / reads.sum() if reads.any() else np.full(len(kernels), 1 / len(kernels))


def _redrawn_weights(part: _Coordinate, rng: np.random.Generator) -> Float[np.ndarray, "M"]:
    """Return the weights by as many blocks of held-out transitions as there are, drawn with replacement."""
    log_mass = np.log(np.stack([h.mass for h in part.held_out]))
    if not log_mass.shape[1]:
        return part.mixture.weights
    units = blocks([log_mass.shape[1]])
    drawn = [units[i] for i in rng.integers(0, len(units), size=len(units))]
    return mixture_of(np.hstack([log_mass[:, first:after] for _, first, after in drawn])).weights


def _notes(part: _Coordinate, labels: list[str], kernels: list[TransitionKernel]) -> tuple[str, ...]:
    weights = part.mixture.weights
    if len(labels) == 1:
        return kernels[0].notes
    shares = ", ".join(f"{label} {weight:.2f}" for label, weight in zip(labels, weights, strict=True))
    count = len(part.held_out[0].mass)
    if count:
        first = f"weights {shares}, by log score on {count} held-out transitions"
    else:
        first = f"weights {shares}: too few steps to hold any out"
    notes = [first]
    if (part.distance > 0).any():
        edges, inside = part.kernel.edges, np.flatnonzero(part.distance == 0)
        low, high = (edges[inside[0]], edges[inside[-1] + 1]) if len(inside) else (np.nan, np.nan)
        to = ", ".join(label for label, weight in zip(labels, part.beyond, strict=True) if weight)
        to = "equal ones" if (part.beyond > 0).all() else f"{to}, which reads every row"
        where = f"outside [{low:.4g}, {high:.4g}], where runs have been"
        notes.append(f"{where}, the weights go towards {to}, and drifts fade")
    for label, weight, kernel in zip(labels, weights, kernels, strict=True):
        notes += [f"{label}: {note}" for note in kernel.notes if weight >= WORTH_A_NOTE]
    return tuple(notes)


def _table(coordinate: str, labels: list[str], part: _Coordinate) -> pd.DataFrame:
    scores = [(h.log_score, h.iterated) for h in part.held_out]
    widths = np.log(part.held_out[0].mass) - np.log(part.held_out[0].density)
    own = float((part.mixture.log_mass - widths).mean()) if len(widths) else float("nan")
    rows = [*zip(labels, part.mixture.weights.tolist(), scores, strict=True), ("stack", np.nan, (own, part.iterated))]
    return pd.DataFrame(
        {
            "coordinate": coordinate,
            "member": [label for label, _, _ in rows],
            "weight": [weight for _, weight, _ in rows],
            "log_score": [one for _, _, (one, _) in rows],
            "iterated": [many for _, _, (_, many) in rows],
            "transitions": len(widths),
        }
    )


def _distinct(labels: list[str]) -> list[str]:
    """Number labels that occur more than once."""
    total, seen = Counter(labels), Counter()
    named = []
    for label in labels:
        seen[label] += 1
        named.append(f"{label} {seen[label]}" if total[label] > 1 else label)
    return named


def _of(kernels: TransitionKernel | tuple[TransitionKernel, ...], coordinate: int) -> TransitionKernel:
    return kernels if isinstance(kernels, TransitionKernel) else kernels[coordinate]
