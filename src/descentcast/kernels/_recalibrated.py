"""Any estimator of kernels, its rows evened out, then moved and widened to where the transitions say they are."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import Edges
from descentcast.errors import ArgumentError
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._beginnings import beginning
from descentcast.kernels._grid import as_trajectories, hull_distance, never_moves
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._normal_scores import Correction, Transitions
from descentcast.kernels._one_each import several, single
from descentcast.kernels._resampling import REPLICATES
from descentcast.kernels._residual_law import ResidualLaw
from descentcast.kernels._smoothing import smoothed
from descentcast.trajectories import Trajectories

# Scores that a law is made of are further out than those that move rows: here no single one moves everything.
LEAST_LEFT = 1e-6


class RecalibratedKernel(KernelEstimator):
    """An estimator whose rows are corrected by the transitions that it was fitted to.

    Rows that were read, or averaged, err each on its own. So first, where an estimator's rows do, the law of a step
    `x' - x` is smoothed along the state, by local-linear regression of its quantiles, with Gaussian weights times
    `1 / (1 + d)` for a row d typical steps outside the hull of the visited states.

    Then, under the true kernel the normal scores `z_t = Phi^-1(F(x_{t+1} | x_t))` of a run's transitions, F the
    distribution function of a row, are independent standard normal draws. Where an estimator is off they are not: rows
    that lie too high by a(x) of their standard deviations give scores around -a(x), rows too wide give scores too near
    0. So

        z_t = a(x_t) + b(x_t) e_t,   a ~ GP(0, tau^2 exp(-(x - x')^2 / (2 l^2))),   e_t ~ N(0, 1),

    is fitted, averaged over tau, l and b by marginal likelihood, and a row F becomes

        G(Phi^-1(F')),   F' = Phi((Phi^-1(F) - E a(x)) / sqrt(b(x)^2 + Var a(x))).

    F' is the posterior predictive law. Rows that were right stay as they are (tau is near 0 then); a state far from
    every visit keeps its row, widened by what a may be there. The estimator is the prior mean, the runs are the data: a
    language model's rows, which know what dynamics look like but read a state only roughly, gain most. b(x)^2 averages
    the squared residuals of nearby transitions and five of size 1. G is the law that noise has in common: of the normal
    scores under F' a kernel density estimate, shrunk to the standard normal law; its width, and how far it is shrunk,
    are averaged over by leave-one-out likelihood. Normal scores leave F'; skewed noise, or minibatches of few kinds,
    give every row their shape.

    Args:
        estimator: What is fitted, with a kernel a coordinate, such as `InContextKernel()` or `LocalLinearKernel()`.
        smoothing: Standard deviation of the Gaussian weights, in spans of the grid, from 0 (none) to 1. By default 0.08
            for `InContextKernel` and `KernelDensityKernel`, 0 for estimators that draw lines already.

    Attributes:
        kernel_: The corrected kernel, or a tuple of them, one a coordinate.
        estimator_: The fitted estimator, as it is by itself.
        shift_: E a at each cell's centre, in standard deviations of the row, shape (n,), or a tuple of them.
        scale_: The factor by which each row was widened, shape (n,), or a tuple of them.
        replicates_: The estimator's replicates (its kernel where it has none), each corrected anew with a drawn from
            its posterior, G as it is: 40 kernels, in the form of `kernel_`; made when first asked for.

    Raises:
        ArgumentError: No estimator of kernels, or one whose kernel is of all coordinates together, at `fit`.

    References:
        Gneiting, Balabdaoui, Raftery (2007), Probabilistic forecasts, calibration and sharpness, J. R. Stat. Soc. B 69;
        Rasmussen, Williams (2006), Gaussian processes for machine learning, eq. 2.25 and 2.30; Kennedy, O'Hagan (2001),
        Bayesian calibration of computer models, J. R. Stat. Soc. B 63 (a process for what a model is off by);
        Silverman (1986), Density estimation for statistics and data analysis (G); Petersen, Mueller (2019), Frechet
        regression for random objects with Euclidean predictors, Ann. Stat. 47 (smoothing laws by their quantiles).

    Examples:
        >>> from descentcast.kernels import AutoregressiveKernel
        >>> rng, x = np.random.default_rng(0), [2.0]
        >>> for _ in range(400):
        ...     x.append(x[-1] - 0.2 * (x[-1] ** 3 - x[-1]) + 0.1 * rng.normal())
        >>> fitted = RecalibratedKernel(AutoregressiveKernel()).fit(Trajectories.from_arrays([x]))
        >>> drift = lambda k: np.abs(k.matrix @ k.centres - 1.2 * k.centres + 0.2 * k.centres**3).mean()
        >>> bool(drift(fitted.kernel_) < drift(fitted.estimator_.kernel_))
        True
    """

    def __init__(self, estimator: KernelEstimator, smoothing: float | None = None) -> None:
        self.estimator = estimator
        self.smoothing = smoothing

    def fit(self, trajectories: Trajectories, edges: ArrayLike | Sequence[ArrayLike] | None = None) -> Self:
        """Fit the estimator, and correct its kernel.

        Args:
            trajectories: The runs.
            edges: Cell edges, as in `KernelEstimator.fit`.

        Returns:
            The estimator itself.

        Raises:
            ArgumentError: As the class says, and what the estimator raises.
        """
        runs = as_trajectories(trajectories)
        self._check_parameters()
        return self._corrected(copy.copy(self.estimator).fit(runs, edges), runs)

    def fit_forward(
        self, trajectories: Trajectories, edges: ArrayLike | Sequence[ArrayLike], known: Sequence[int]
    ) -> list[TransitionKernel | tuple[TransitionKernel, ...]]:
        """Fit to all the runs, and return the kernels of their beginnings, each corrected by what it knew."""
        runs = as_trajectories(trajectories)
        self._check_parameters()
        inner = copy.copy(self.estimator)
        earlier = inner.fit_forward(runs, edges, known)
        self._corrected(inner, runs)
        return [
            single([mended(c, k, self._width).kernel for c, k in zip(_columns(part), several(kernel), strict=True)])
            for part, kernel in ((beginning(runs, count), k) for count, k in zip(known, earlier, strict=True))
        ]

    @cached_property
    def replicates_(self) -> list[TransitionKernel] | list[tuple[TransitionKernel, ...]]:
        """Kernels that may be the true one, in the form of `kernel_`.

        Raises:
            AttributeError: The estimator is not fitted.
        """
        if not hasattr(self, "estimator_"):
            raise AttributeError("RecalibratedKernel has no replicates_ before fit")
        resampled = list(getattr(self.estimator_, "replicates_", None) or [self.estimator_.kernel_])
        found = []
        for r, rng in enumerate(np.random.default_rng(0).spawn(REPLICATES)):
            kernels = several(resampled[r % len(resampled)])
            found.append(single([part.drawn(k, rng) for part, k in zip(self._mended, kernels, strict=True)]))
        return found

    @property
    def label(self) -> str:
        """The estimator, and that it was recalibrated."""
        return f"recalibrated {self.estimator.label}"

    def _corrected(self, inner: KernelEstimator, runs: Trajectories) -> Self:
        kernels = several(inner.kernel_)
        if not all(isinstance(kernel, TransitionKernel) for kernel in kernels):
            raise ArgumentError(f"estimator {inner.label} has no kernel a coordinate, must have one to be recalibrated")
        vars(self).pop("replicates_", None)
        self._mended = [mended(c, k, self._width) for c, k in zip(_columns(runs), kernels, strict=True)]
        self.estimator_ = inner
        self.n_features_in_, self.edges_ = inner.n_features_in_, inner.edges_
        self.shift_ = single([part.correction.shift for part in self._mended])
        self.scale_ = single([part.correction.scale for part in self._mended])
        self.kernel_ = single([part.kernel for part in self._mended])
        return self

    def _fit_coordinate(self, index: int, columns: list[np.ndarray], edges: Edges) -> TransitionKernel:
        kernel = self.estimator._fit_coordinate(index, columns, edges)
        return mended(columns, kernel, self._width).kernel

    @property
    def _width(self) -> float:
        return self.estimator.unevenness if self.smoothing is None else self.smoothing

    def _check_parameters(self) -> None:
        if not isinstance(self.estimator, KernelEstimator):
            kind = type(self.estimator).__name__
            raise ArgumentError(f"estimator is a {kind}, must be an estimator of kernels such as LocalLinearKernel()")
        if self.smoothing is not None:
            _checks.real("smoothing", self.smoothing, low=0, high=1)
        self.estimator._check_parameters()
        together = getattr(self.estimator, "coordinates", "independent")
        if together != "independent":
            raise ArgumentError(f"estimator has coordinates == {together!r}, must have a kernel a coordinate")


@dataclass(frozen=True, eq=False)
class Mended:
    """A kernel whose rows were evened out, moved and widened by a correction, and given the law of what was left.

    Attributes:
        seen: The transitions that say where rows should lie.
        window: Standard deviation of the weights that rows were evened out with, in the units of the state.
        weights: How much each row counted there, shape (n,).
        correction: Shift and scale of each row.
        law: What normal scores have in common.
        kernel: The kernel.
        still: Whether the coordinate never moved: then there is nothing to correct by, and rows stay as they are.
    """

    seen: Transitions
    window: float
    weights: Float[np.ndarray, "n"]
    correction: Correction
    law: ResidualLaw
    kernel: TransitionKernel
    still: bool = False

    def drawn(self, kernel: TransitionKernel, rng: np.random.Generator) -> TransitionKernel:
        """Return another kernel mended the same way, with a shift that may be the true one."""
        if self.still:
            return kernel
        even = smoothed(kernel, self.window, self.weights)
        return self.law.apply(self.seen.drawn(even, rng).apply(even))


def mended(
    columns: Sequence[np.ndarray],
    kernel: TransitionKernel,
    smoothing: float,
    weights: Float[np.ndarray, "n"] | None = None,
) -> Mended:
    """Correct a kernel of one coordinate by the transitions that were seen.

    Args:
        columns: Values of each run, shape (T,) each.
        kernel: The kernel.
        smoothing: As in `RecalibratedKernel`.
        weights: How much each row counts where rows are evened out, shape (n,); by default, by its distance from the
            hull of the visited states.
    """
    seen, window = Transitions.of(columns, kernel.edges), smoothing * float(kernel.edges[-1] - kernel.edges[0])
    weights = _row_weights(columns, kernel.edges) if weights is None else weights
    if never_moves(np.concatenate(columns)):
        unmoved = Correction(np.zeros(len(kernel.matrix)), np.ones(len(kernel.matrix)))
        return Mended(seen, window, weights, unmoved, ResidualLaw.of(np.empty(0)), kernel, still=True)
    even = smoothed(kernel, window, weights)
    correction = seen.correction(even)
    moved = correction.apply(even)
    law = ResidualLaw.of(seen.scores(moved, LEAST_LEFT))
    return Mended(seen, window, weights, correction, law, law.apply(moved))


def _row_weights(columns: Sequence[np.ndarray], edges: Edges) -> Float[np.ndarray, "n"]:
    distance = hull_distance(columns, edges)
    # Where no run was on the grid every row is as far away as any other.
    return 1 / (1 + distance) if np.isfinite(distance).all() else np.ones_like(distance)


def _columns(runs: Trajectories) -> list[list[np.ndarray]]:
    return [runs.coordinate(i) for i in range(len(runs.names))]
