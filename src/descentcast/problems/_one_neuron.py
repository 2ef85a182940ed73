"""One tanh neuron with one weight, on data that give it two local minima."""

from dataclasses import dataclass, field

import numpy as np

from descentcast.problems._finite_sum import OneCoordinateSum, check_sizes
from descentcast.problems._stationary_points import zeros

REACH = 10.0


@dataclass(frozen=True, eq=False)
class OneNeuron(OneCoordinateSum):
    """One neuron fitted by minibatch SGD: `f(w) = 1/(2 n) * sum of (tanh(w x_i) - y_i)^2`.

    A bounded activation under the squared loss has several local minima (Auer, Herbster and Warmuth, 1995): examples
    that saturate at one minimum stop pulling. Here 16 examples with x in [0.5, 1.5] ask for a weight near 1.1 and
    eight with x in [3, 4] for one below 0, so that there is a sharp, noisy minimum near 0 and a flat one near 1;
    for large |w| the loss is a plateau.

    Attributes:
        step_size: Step size, positive.
        batch_size: Examples drawn a step, with replacement.
        features: Inputs x, shape (24, 1); the same every time.
        targets: Targets y, shape (24,).

    Raises:
        ArgumentError: A parameter outside its range.

    Examples:
        >>> OneNeuron().minima.round(2).tolist()
        [-0.03, 1.04]
    """

    step_size: float = 0.1
    batch_size: int = 1
    features: np.ndarray = field(init=False, repr=False)
    targets: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_sizes(self.step_size, self.batch_size)
        near, far = np.linspace(0.5, 1.5, 16), np.linspace(3.0, 4.0, 8)
        scatter = 0.2 * np.resize([1.0, -1.0], 24)
        object.__setattr__(self, "features", np.concatenate([near, far])[:, None])
        object.__setattr__(self, "targets", np.concatenate([np.tanh(1.1 * near), np.full(8, -0.6)]) + scatter)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """One coordinate, `w`."""
        return ("w",)

    @property
    def minima(self) -> np.ndarray:
        """The two local minima, shape (2,), increasing."""
        return zeros(self.gradient, -REACH, REACH, rising=True)

    def example_losses(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return half the squared residuals."""
        return (np.tanh(points[..., 0] * features[..., 0]) - targets) ** 2 / 2

    def example_gradients(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return `(tanh(w x) - y) * (1 - tanh(w x)^2) * x`."""
        output = np.tanh(points * features)
        return (output - targets[..., None]) * (1 - output**2) * features
