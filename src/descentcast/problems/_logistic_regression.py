"""Logistic regression on real data, reduced to one coordinate."""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from scipy.special import expit
from sklearn.datasets import load_breast_cancer

from descentcast.problems._finite_sum import OneCoordinateSum, check_sizes
from descentcast.problems._stationary_points import zeros

REACH = 50.0


@dataclass(frozen=True, eq=False)
class LogisticRegression(OneCoordinateSum):
    """Logistic regression of malignancy on tumour radius: `f(w) = 1/n * sum of log(1 + exp(-s_i a_i w))`.

    The data are scikit-learn's breast_cancer (569 tumours): a is the mean radius, standardised, and s is 1 for
    malignant and -1 for benign. There is no intercept. The classes overlap, so the minimum is finite and the noise does
    not vanish there; the loss is convex, and flat on the side where it classifies well.

    Attributes:
        step_size: Step size, positive.
        batch_size: Examples drawn a step, with replacement.
        features: Standardised radii a, shape (569, 1).
        targets: Signs s, shape (569,).

    Raises:
        ArgumentError: A parameter outside its range.

    Examples:
        >>> LogisticRegression().minima.round(2).tolist()
        [3.87]
    """

    step_size: float = 2.0
    batch_size: int = 8
    features: np.ndarray = field(init=False, repr=False)
    targets: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_sizes(self.step_size, self.batch_size)
        features, targets = _radii()
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "targets", targets)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """One coordinate, `w`."""
        return ("w",)

    @property
    def minima(self) -> np.ndarray:
        """The minimum, shape (1,)."""
        return zeros(self.gradient, -REACH, REACH, rising=True)

    def example_losses(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return `log(1 + exp(-s a w))`."""
        return np.logaddexp(0.0, -points[..., 0] * features[..., 0] * targets)

    def example_gradients(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return `-s a / (1 + exp(s a w))`."""
        signed = features * targets[..., None]
        return -signed * expit(-signed * points)


@cache
def _radii() -> tuple[np.ndarray, np.ndarray]:
    table, benign = load_breast_cancer(return_X_y=True)
    radius = np.asarray(table, dtype=np.float64)[:, :1]
    return (radius - radius.mean()) / radius.std(), np.where(np.asarray(benign) == 0, 1.0, -1.0)
