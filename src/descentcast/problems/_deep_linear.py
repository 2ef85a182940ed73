"""A deep linear network of two scalar layers, whose minima are the two branches of a hyperbola."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import RandomState
from descentcast.kernels import TransitionKernel
from descentcast.problems._finite_sum import FiniteSum, check_sizes
from descentcast.problems._projected import projected

EXAMPLES = 24
PRODUCT = 1.0
BRANCH = np.linspace(-1.5, 1.5, 31)


@dataclass(frozen=True, eq=False)
class ScalarDeepLinear(FiniteSum):
    """Two layers of one neuron without activation: `f(w0, w1) = 1/(2 n) * sum of (w1 w0 x_i - y_i)^2`.

    The minima are not points: they are the hyperbola `w1 w0 = p`, with p the slope of the regression of y on x. Its two
    branches, w0 < 0 and w0 > 0, are what runs choose between; the saddle is at the origin, where the noise vanishes.
    Along a branch the full gradient is zero; label noise lets the iterates drift towards the balanced points
    `|w0| = |w1|`.

    Attributes:
        step_size: Step size, positive.
        batch_size: Examples drawn a step, with replacement.
        label_noise: Standard deviation of the noise in the 24 synthetic targets `y = x + noise`; at 0 every point of
            the hyperbola fits all examples and runs stop there.
        features: Inputs x, shape (24, 1); the same every time.
        targets: Targets y, shape (24,).

    Raises:
        ArgumentError: A parameter outside its range.

    Examples:
        >>> problem = ScalarDeepLinear(label_noise=0.0)
        >>> minima = problem.minima
        >>> minima.shape, minima.prod(axis=1).round(6).min(), minima.prod(axis=1).round(6).max()
        ((62, 2), np.float64(1.0), np.float64(1.0))
    """

    step_size: float = 0.1
    batch_size: int = 4
    label_noise: float = 0.3
    features: np.ndarray = field(init=False, repr=False)
    targets: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_sizes(self.step_size, self.batch_size)
        _checks.real("label_noise", self.label_noise, low=0)
        generator = np.random.default_rng(1707)
        features = generator.standard_normal((EXAMPLES, 1))
        noise = generator.standard_normal(EXAMPLES)
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "targets", PRODUCT * features[:, 0] + self.label_noise * noise)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """The two layers, `w0` (first) and `w1`."""
        return ("w0", "w1")

    @property
    def product(self) -> float:
        """The product p of the layers at every minimum: the slope of the regression of y on x."""
        x = self.features[:, 0]
        return float((x * self.targets).sum() / (x * x).sum())

    @property
    def minima(self) -> np.ndarray:
        """Points of the two branches, shape (62, 2).

        The first 31 lie on the branch w0 < 0, the others on w0 > 0, each at
        `w0 = -+ sqrt(|p|) exp(t), w1 = p / w0` for 31 equally spaced t in [-1.5, 1.5].
        """
        size = np.sqrt(abs(self.product)) * np.exp(BRANCH)
        first = np.concatenate([-size, size])
        return np.stack([first, self.product / first], axis=1)

    def example_losses(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return half the squared residuals."""
        return (points.prod(axis=-1) * features[..., 0] - targets) ** 2 / 2

    def example_gradients(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return `(w1 w0 x - y) x * (w1, w0)`."""
        x = features[..., 0]
        return ((points.prod(axis=-1) * x - targets) * x)[..., None] * points[..., ::-1]

    def kernel(
        self,
        edges: Any,
        *,
        starts: ArrayLike | None = None,
        steps: int = 100,
        draws: int = 4096,
        random_state: RandomState = 0,
    ) -> tuple[TransitionKernel, ...]:
        """Return one projected kernel a coordinate, by counted simulation.

        Args:
            edges: Two arrays of cell edges.
            starts: Starts of the runs whose occupation law the other coordinate follows, shape (m, 2); 256 uniform ones
                on the grid if None.
            steps: Optimizer steps of those runs.
            draws: Transitions counted a row.
            random_state: The same seed gives the same bytes.

        Returns:
            The kernels of w0 and w1; the notes state reference law and standard error.

        Raises:
            ArgumentError: Edges that are not two strictly increasing arrays.
        """
        return projected(self, edges, starts=starts, steps=steps, draws=draws, random_state=random_state)
