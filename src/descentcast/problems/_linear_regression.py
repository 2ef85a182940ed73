"""Least squares on finitely many examples, over- or under-parametrised."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.kernels import TransitionKernel
from descentcast.problems._finite_sum import FiniteSum, check_sizes, minibatch_kernel
from descentcast.problems._projected import projected

EXAMPLES = 24
LABEL_NOISE = 0.5
INTERPOLATES = 1e-9


@dataclass(frozen=True, eq=False)
class LinearRegression(FiniteSum):
    """Linear regression by minibatch SGD: `f(w) = 1/(2 n) * sum of (a_i . w - y_i)^2`.

    Over-parametrised means here that some w fits every example exactly: the noise vanishes at the minimum and, below
    the largest stable step, the iterates converge to a Dirac there. Under-parametrised, the stationary law has positive
    variance; in one coordinate `stationary_variance` gives it exactly (Dieuleveut, Durmus and Bach, arXiv 1707.06386).

    Attributes:
        step_size: Step size, positive.
        batch_size: Examples drawn a step, with replacement.
        over_parametrised: Whether the synthetic labels are free of noise (False by default). With `data` it says
            whether they can be fitted exactly, and is found out if not given.
        dimension: Coordinates of the synthetic problem, 1 by default; with `data` it is that of the features.
        data: Features, shape (n,) or (n, D), and targets, shape (n,), instead of the 24 synthetic examples, which are
            the same every time: Gaussian features and, under-parametrised, Gaussian label noise of deviation 0.5.
        features: The features in use, shape (n, D).
        targets: The targets in use, shape (n,).

    Raises:
        ArgumentError: A parameter outside its range, data that do not fit together, or an `over_parametrised` or
            `dimension` that the data contradict.

    Examples:
        >>> LinearRegression(step_size=0.1, data=([1.0, 2.0], [2.0, 4.0])).minima.tolist()
        [2.0]
        >>> LinearRegression(dimension=2).coordinates
        ('w0', 'w1')
    """

    step_size: float = 0.1
    batch_size: int = 1
    over_parametrised: bool | None = None
    dimension: int | None = None
    data: tuple[ArrayLike, ArrayLike] | None = None
    features: np.ndarray = field(init=False, repr=False)
    targets: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_sizes(self.step_size, self.batch_size)
        if self.over_parametrised not in (None, True, False):
            raise ArgumentError(f"over_parametrised == {self.over_parametrised!r}, must be True, False or None")
        dimension = None if self.dimension is None else _checks.integer("dimension", self.dimension, low=1)
        if self.data is None:
            features, targets = _synthetic(bool(self.over_parametrised), dimension or 1)
        else:
            features, targets = _given(self.data)
        fits = _interpolates(features, targets)
        if self.over_parametrised not in (None, fits):
            raise ArgumentError(
                f"over_parametrised == {self.over_parametrised}, but an exact fit of data {_exists(fits)}"
            )
        if dimension not in (None, features.shape[1]):
            raise ArgumentError(f"dimension == {dimension}, but data have {features.shape[1]} features")
        for name, value in (
            ("over_parametrised", fits),
            ("dimension", features.shape[1]),
            ("features", features),
            ("targets", targets),
        ):
            object.__setattr__(self, name, value)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """`w`, or `w0, w1, ...`."""
        dimension = self.features.shape[1]
        return ("w",) if dimension == 1 else tuple(f"w{k}" for k in range(dimension))

    @property
    def minima(self) -> np.ndarray:
        """The least-squares solution, shape (1,) or (1, D); the one of least norm where there are many."""
        solution = np.linalg.lstsq(self.features, self.targets, rcond=None)[0]
        return solution if len(solution) == 1 else solution[None]

    @property
    def stationary_variance(self) -> float:
        """Exact variance of the stationary law of one coordinate; infinite where there is none.

        With A and B the batch means of a^2 and a y, `w' = (1 - s A) w + s B`, so that the second moment M of w around
        the minimum solves `M = E(1 - s A)^2 M + s^2 E R^2` with the gradient noise `R = B - A w*`:
        `E R^2 = 1/b * 1/n * sum of (a_i (y_i - a_i w*))^2`.

        Raises:
            ArgumentError: The problem has several coordinates.
        """
        if self.features.shape[1] != 1:
            raise ArgumentError(f"stationary_variance needs one coordinate, there are {self.features.shape[1]}")
        a, s, b = self.features[:, 0], self.step_size, self.batch_size
        residual = a * (self.targets - a * self.minima[0])
        squares = a**2
        # Around the minimum the noise is R - s A (w - w*), and the cross moment of A and R is multiplied by E(w - w*),
        # which is zero under the stationary law.
        contraction = (1 - s * squares.mean()) ** 2 + s**2 * squares.var() / b
        return s**2 * (residual**2).mean() / b / (1 - contraction) if contraction < 1 else float("inf")

    def example_losses(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return half the squared residuals."""
        return ((points * features).sum(axis=-1) - targets) ** 2 / 2

    def example_gradients(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return residual times features."""
        return ((points * features).sum(axis=-1) - targets)[..., None] * features

    def kernel(self, edges: Any, **projection: Any) -> TransitionKernel | tuple[TransitionKernel, ...]:
        """Return the kernel; of several coordinates, one projected kernel each.

        Args:
            edges: Cell edges, shape (n + 1,); of several coordinates, one such array each.
            projection: Of several coordinates only: `starts`, `steps`, `draws` and `random_state`, as in
                `ScalarDeepLinear.kernel`.

        Returns:
            The kernel or kernels; the notes state method and error.

        Raises:
            ArgumentError: Edges that do not increase strictly or are not one array a coordinate.
        """
        if self.features.shape[1] > 1:
            return projected(self, edges, **projection)
        if projection:
            raise ArgumentError(f"{', '.join(projection)}: of one coordinate the kernel is exact, nothing is projected")
        return minibatch_kernel(self, edges, affine=True)


def _synthetic(over_parametrised: bool, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    # The data belong to the problem: the same examples every time, whatever seed the runs have.
    generator = np.random.default_rng(1707)
    features = generator.standard_normal((EXAMPLES, dimension))
    weights = np.resize([1.0, -0.5], dimension)
    noise = 0.0 if over_parametrised else LABEL_NOISE
    return features, features @ weights + noise * generator.standard_normal(EXAMPLES)


def _given(data: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise ArgumentError("data must be a pair: features and targets")
    features, targets = _checks.numeric("data[0]", data[0]), _checks.vector("data[1]", data[1])
    features = _checks.finite("data[0]", features[:, None] if features.ndim == 1 else features)
    if features.ndim != 2 or features.shape[1] == 0 or len(features) != len(targets):
        raise ArgumentError(f"data hold features of shape {features.shape} and {len(targets)} targets: one row each")
    return features, targets


def _interpolates(features: np.ndarray, targets: np.ndarray) -> bool:
    solution = np.linalg.lstsq(features, targets, rcond=None)[0]
    return bool(np.abs(features @ solution - targets).max() <= INTERPOLATES * max(1.0, np.abs(targets).max()))


def _exists(fits: bool) -> str:
    return "exists" if fits else "does not exist"
