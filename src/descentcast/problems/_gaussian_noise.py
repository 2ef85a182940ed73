"""Gradient descent on a potential of one coordinate with additive Gaussian gradient noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.kernels import Evidence, TransitionKernel
from descentcast.problems._cell_averages import GaussianNoise, average_below, bend, rows, subdivide
from descentcast.problems._problem import Problem
from descentcast.problems._stationary_points import zeros

PARTS = 16


class GaussianNoiseProblem(Problem):
    """The chain `x' = x - step * (f'(x) + noise * xi)`, xi standard normal."""

    step_size: float
    noise: float

    @property
    def coordinates(self) -> tuple[str, ...]:
        """One coordinate, `x`."""
        return ("x",)

    @property
    def setting(self) -> Mapping[str, Any]:
        """The step size; there are no examples, hence no batch."""
        return {"step": self.step_size}

    @property
    def sampling(self) -> str:
        """One sentence: how a step draws its noise."""
        return (
            f"Each step adds fresh Gaussian noise of standard deviation {self.noise:g} to the full gradient, "
            "so the iterates are a Markov chain."
        )

    def advance(self, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return where one optimizer step takes each point, shape (m, 1) to (m, 1)."""
        return self._drift(points) - self.step_size * self.noise * generator.standard_normal(points.shape)

    def kernel(self, edges: ArrayLike) -> TransitionKernel:
        """Return the kernel as cell averages, in closed form for each of 16 subcells on which the drift is a chord.

        Args:
            edges: Cell edges, shape (n + 1,), strictly increasing.

        Returns:
            The kernel; its notes bound the error of a row in total variation by `d / (sigma * sqrt(2 pi))`, where d is
            how far the drift leaves its chords and sigma = step * noise: zero for an affine drift.

        Raises:
            ArgumentError: Edges that do not increase strictly.
        """
        edges = _checks.edges("edges", edges)
        scale = self.step_size * self.noise
        ends = subdivide(edges, PARTS)
        images = self._drift(ends)
        below = average_below(GaussianNoise(scale), edges, images[:, :-1], images[:, 1:]).mean(axis=1)
        matrix, overflow = rows(below)
        error = bend(images, self._drift((ends[:, :-1] + ends[:, 1:]) / 2)) / (scale * np.sqrt(2 * np.pi))
        return TransitionKernel(
            edges=edges,
            matrix=matrix,
            overflow=overflow,
            evidence=Evidence.uniform("exact", len(matrix)),
            name=self.coordinates[0],
            setting=self.setting,
            notes=(
                f"Cell averages of Gaussian noise in closed form, the drift linear on {PARTS} subcells a cell: "
                f"each row is within {max(error, 1e-8):.1g} of the truth in total variation.",
            ),
        )

    def _drift(self, x: np.ndarray) -> np.ndarray:
        return x - self.step_size * self.gradient(x)


@dataclass(frozen=True, eq=False)
class Quadratic(GaussianNoiseProblem):
    """A quadratic with Gaussian gradient noise: an autoregression of order one.

    `f(x) = curvature * (x - minimum)^2 / 2` and `x' = x - step * (curvature * (x - minimum) + noise * xi)`. With
    a = 1 - step * curvature in (-1, 1), the stationary law is Gaussian around the minimum with variance
    `(step * noise)^2 / (1 - a^2)`.

    Attributes:
        step_size: Step size, positive.
        noise: Standard deviation of the gradient noise, positive.
        curvature: Second derivative, positive.
        minimum: Where the minimum is.

    Raises:
        ArgumentError: A parameter outside its range.

    Examples:
        >>> problem = Quadratic(step_size=0.5, noise=1.0)
        >>> round(problem.stationary_variance, 4)
        0.3333
        >>> problem.kernel([-3.0, 0.0, 3.0]).matrix.round(2).tolist()
        [[0.87, 0.13], [0.13, 0.87]]
    """

    step_size: float = 0.1
    noise: float = 1.0
    curvature: float = 1.0
    minimum: float = 0.0

    def __post_init__(self) -> None:
        _checks.real("step_size", self.step_size, low=0, open_low=True)
        _checks.real("noise", self.noise, low=0, open_low=True)
        _checks.real("curvature", self.curvature, low=0, open_low=True)
        _checks.real("minimum", self.minimum)

    @property
    def minima(self) -> np.ndarray:
        """The minimum, shape (1,)."""
        return np.array([self.minimum])

    @property
    def stationary_variance(self) -> float:
        """Variance of the stationary law, infinite where the step is too large for one."""
        slope = 1 - self.step_size * self.curvature
        return (self.step_size * self.noise) ** 2 / (1 - slope**2) if abs(slope) < 1 else float("inf")

    def loss(self, x: ArrayLike) -> np.ndarray:
        """Return `curvature * (x - minimum)^2 / 2`."""
        return self.curvature * (_checks.numeric("x", x) - self.minimum) ** 2 / 2

    def gradient(self, x: ArrayLike) -> np.ndarray:
        """Return `curvature * (x - minimum)`."""
        return self.curvature * (_checks.numeric("x", x) - self.minimum)


@dataclass(frozen=True, eq=False)
class DoubleWell(GaussianNoiseProblem):
    """Two equal wells with Gaussian gradient noise: `f(x) = height * ((x / half_width)^2 - 1)^2`.

    Attributes:
        step_size: Step size, positive.
        noise: Standard deviation of the gradient noise, positive.
        height: Height of the barrier at zero, positive.
        half_width: The minima are at plus and minus this, positive.

    Raises:
        ArgumentError: A parameter outside its range.

    Examples:
        >>> DoubleWell(half_width=2.0).minima.tolist()
        [-2.0, 2.0]
    """

    step_size: float = 0.1
    noise: float = 0.8
    height: float = 0.25
    half_width: float = 1.0

    def __post_init__(self) -> None:
        for name in ("step_size", "noise", "height", "half_width"):
            _checks.real(name, getattr(self, name), low=0, open_low=True)

    @property
    def minima(self) -> np.ndarray:
        """The two minima, shape (2,)."""
        return np.array([-self.half_width, self.half_width])

    def loss(self, x: ArrayLike) -> np.ndarray:
        """Return `height * ((x / half_width)^2 - 1)^2`."""
        return self.height * ((_checks.numeric("x", x) / self.half_width) ** 2 - 1) ** 2

    def gradient(self, x: ArrayLike) -> np.ndarray:
        """Return the derivative of the loss."""
        u = _checks.numeric("x", x) / self.half_width
        return 4 * self.height / self.half_width * u * (u**2 - 1)


@dataclass(frozen=True, eq=False)
class TiltedTripleWell(GaussianNoiseProblem):
    """Three unequal wells with Gaussian gradient noise.

    `f(x) = tilt * x + bowl * x^2 / 2 - height * cos(2 pi x / spacing)`: a cosine in a tilted bowl. The gradient is
    linear far away, so that runs come back from any start while `step * bowl < 2`.

    Attributes:
        step_size: Step size, positive.
        noise: Standard deviation of the gradient noise, positive.
        tilt: Slope that makes the wells unequal.
        bowl: Curvature of the bowl, positive.
        height: Half the height of a barrier of the cosine, positive.
        spacing: Distance between wells of the cosine, positive.

    Raises:
        ArgumentError: A parameter outside its range, or parameters under which the loss has not three minima.

    Examples:
        >>> TiltedTripleWell().minima.round(2).tolist()
        [-0.89, -0.01, 0.86]
    """

    step_size: float = 0.1
    noise: float = 0.7
    tilt: float = 0.05
    bowl: float = 0.5
    height: float = 0.1
    spacing: float = 1.0

    def __post_init__(self) -> None:
        for name in ("step_size", "noise", "bowl", "height", "spacing"):
            _checks.real(name, getattr(self, name), low=0, open_low=True)
        _checks.real("tilt", self.tilt)
        if len(self.minima) != 3:
            raise ArgumentError(
                f"tilt == {self.tilt:g}, bowl == {self.bowl:g}, height == {self.height:g}, spacing == {self.spacing:g} "
                f"make {len(self.minima)} minima, must make three"
            )

    @property
    def minima(self) -> np.ndarray:
        """The three minima, shape (3,), increasing."""
        # Beyond this the bowl is steeper than the cosine can be.
        reach = (2 * np.pi * self.height / self.spacing + abs(self.tilt)) / self.bowl
        return zeros(self.gradient, -reach, reach, rising=True)

    def loss(self, x: ArrayLike) -> np.ndarray:
        """Return `tilt * x + bowl * x^2 / 2 - height * cos(2 pi x / spacing)`."""
        x = _checks.numeric("x", x)
        return self.tilt * x + self.bowl * x**2 / 2 - self.height * np.cos(2 * np.pi * x / self.spacing)

    def gradient(self, x: ArrayLike) -> np.ndarray:
        """Return the derivative of the loss."""
        x = _checks.numeric("x", x)
        wave = 2 * np.pi / self.spacing
        return self.tilt + self.bowl * x + self.height * wave * np.sin(wave * x)
