"""Phase retrieval with a known reference, on real data: two minima, and noise that acts between them."""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from sklearn.datasets import load_diabetes

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.problems._finite_sum import OneCoordinateSum, check_sizes
from descentcast.problems._stationary_points import zeros

REACH = 5.0


@dataclass(frozen=True, eq=False)
class PhaseRetrieval(OneCoordinateSum):
    """Phase retrieval of one coefficient beside a known one: `f(w) = 1/(4 n) * sum of ((a_i w + c_i)^2 - y_i)^2`.

    Only intensities y are measured, so that the sign of a signal is lost, and the loss has a minimum on either side of
    a barrier near zero. In the plain problem, c = 0, every example's gradient vanishes at w = 0: near zero no step
    changes the sign of w, and where a run lands is settled by its start. Here part of the signal is known, as in
    holographic phase retrieval: the measurement vector of example i is `(a_i, r_i)`, the signal is `(w, reference)`,
    and `c_i = reference * r_i`. The gradients at zero then differ between examples while their mean is small, so that
    minibatch noise decides near zero which minimum a run reaches, and the two minima nearly mirror each other.

    The data are scikit-learn's diabetes (442 patients, all real): `(a_i, r_i)` are a patient's first two principal
    components of the ten standardised measurements, scaled to the length sqrt(2) (measurement vectors of equal length;
    without it a few far patients make runs diverge); y is disease progression divided by its mean. No w fits all
    patients: noise stays at the minima.

    Attributes:
        step_size: Step size, positive.
        batch_size: Patients drawn a step, with replacement.
        reference: The known coefficient. Its size sets how strong the noise is between the minima and how low the
            barrier; at 0 it is the plain problem.
        features: Measurement vectors (a, r), shape (442, 2).
        targets: Intensities y, shape (442,).

    Raises:
        ArgumentError: A parameter outside its range, or a reference so strong that there are not two minima.

    Examples:
        With the defaults about half of the runs from near the separatrix land on either side within 60 steps.

        >>> problem = PhaseRetrieval()
        >>> problem.minima.round(2).tolist(), round(problem.separatrix, 2)
        ([-0.66, 0.65], 0.05)
        >>> ends = problem.paths([problem.separatrix] * 2000, steps=60)[:, -1, 0]
        >>> bool(0.4 < (ends > problem.separatrix).mean() < 0.6)
        True
    """

    step_size: float = 0.3
    batch_size: int = 4
    reference: float = 0.5
    features: np.ndarray = field(init=False, repr=False)
    targets: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_sizes(self.step_size, self.batch_size)
        _checks.real("reference", self.reference)
        vectors, intensities = _patients()
        object.__setattr__(self, "features", vectors)
        object.__setattr__(self, "targets", intensities)
        if len(self.minima) != 2:
            raise ArgumentError(
                f"reference == {self.reference:g} leaves {len(self.minima)} minima, must be closer to zero to leave two"
            )

    @property
    def coordinates(self) -> tuple[str, ...]:
        """One coordinate, `w`."""
        return ("w",)

    @property
    def minima(self) -> np.ndarray:
        """The two minima, shape (2,), increasing."""
        return zeros(self.gradient, -REACH, REACH, rising=True)

    @property
    def separatrix(self) -> float:
        """The maximum between the two minima: full-gradient descent from either side goes to that side."""
        return float(zeros(self.gradient, *self.minima, rising=False)[0])

    def example_losses(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return a quarter of the squared misfits of the intensities."""
        return (self._amplitude(points, features) ** 2 - targets) ** 2 / 4

    def example_gradients(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return `((a w + c)^2 - y) * (a w + c) * a`."""
        amplitude = self._amplitude(points, features)
        return ((amplitude**2 - targets) * amplitude * features[..., 0])[..., None]

    def _amplitude(self, points: np.ndarray, features: np.ndarray) -> np.ndarray:
        return points[..., 0] * features[..., 0] + self.reference * features[..., 1]


@cache
def _patients() -> tuple[np.ndarray, np.ndarray]:
    table, progression = load_diabetes(return_X_y=True)
    table, progression = np.asarray(table, dtype=np.float64), np.asarray(progression, dtype=np.float64)
    standard = (table - table.mean(axis=0)) / table.std(axis=0)
    _, _, directions = np.linalg.svd(standard, full_matrices=False)
    # The sign of a principal direction is arbitrary; its largest entry is made positive, or w would mirror at random.
    largest = np.abs(directions).argmax(axis=1)
    directions *= np.sign(directions[np.arange(len(directions)), largest])[:, None]
    scores = standard @ directions.T
    plane = scores[:, :2] / scores.std(axis=0)[:2]
    return np.sqrt(2) * plane / np.linalg.norm(plane, axis=1, keepdims=True), progression / progression.mean()
