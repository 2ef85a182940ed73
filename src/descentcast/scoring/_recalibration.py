"""A map of probabilities that makes forecasts calibrated: learnt on held-out runs, applied to densities."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from descentcast import _checks
from descentcast._types import Probabilities
from descentcast.errors import ArgumentError
from descentcast.scoring._cells import at_edges

LEAST_VALUES = 20


@dataclass(frozen=True)
class RecalibrationMap:
    """The increasing map G of [0, 1] onto itself that makes `G(F(y))` uniform: the Beta(a, b) distribution function.

    Where forecasts are calibrated, a = b = 1 and G is the identity; a = b < 1 widens forecasts that are too narrow, a =
    b > 1 narrows those too wide, and a and b apart move them. Two parameters, so that a few whole runs determine it and
    densities stay smooth; a shape that it does not have, such as two peaks for one, it cannot mend.

    Attributes:
        a: First parameter of the Beta law of the probability integral transforms.
        b: Second parameter.
        steps: How many transforms it was learnt from.

    References:
        Gneiting, Ranjan (2013), Combining predictive distributions, Electron. J. Stat. 7 (the beta-transformed pool);
        Kuleshov, Fenner, Ermon (2018), Accurate uncertainties for deep learning using calibrated regression, ICML.

    Examples:
        >>> RecalibrationMap(a=1.0, b=1.0, steps=100)([0.1, 0.5]).tolist()
        [0.1, 0.5]
    """

    a: float
    b: float
    steps: int

    def __post_init__(self) -> None:
        _checks.real("a", self.a, low=0, open_low=True)
        _checks.real("b", self.b, low=0, open_low=True)

    @classmethod
    def fit(cls, pit: ArrayLike) -> "RecalibrationMap":
        """Return the map by maximum likelihood from probability integral transforms of held-out values.

        Args:
            pit: Transforms F(y), shape (N,), N at least 20; 0 and 1 count as half of one in N from the end.

        Raises:
            ArgumentError: Fewer than 20 transforms, or one outside [0, 1].
        """
        values = _checks.vector("pit", pit, least=LEAST_VALUES)
        if ((values < 0) | (values > 1)).any():
            raise ArgumentError(f"pit holds {values[(values < 0) | (values > 1)][0]:g}, must be in [0, 1]")
        end = 0.5 / len(values)
        values = np.clip(values, end, 1 - end)
        if np.ptp(values) == 0:
            raise ArgumentError(f"pit holds {values[0]:g} only: transforms that do not vary say nothing of a map")
        a, b = np.asarray(stats.beta.fit(values, floc=0, fscale=1))[:2]
        return cls(float(a), float(b), len(values))

    def __call__(self, level: ArrayLike) -> np.ndarray:
        """Return G at each level in [0, 1]."""
        return stats.beta.cdf(_checks.numeric("level", level), self.a, self.b)

    def apply(self, probs: ArrayLike) -> Probabilities:
        """Return densities whose distribution function at every edge is G of what it was.

        Args:
            probs: Probabilities of the cells, shape (..., n), or (..., n + 2) with the mass below and above the grid.

        Raises:
            ArgumentError: Entries that are not probabilities.

        Examples:
            >>> RecalibrationMap(a=0.5, b=0.5, steps=100).apply([0.25, 0.5, 0.25]).round(3).tolist()
            [0.333, 0.333, 0.333]
        """
        return np.diff(self(at_edges(_checks.distributions("probs", probs))), axis=-1)

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters and the number of transforms."""
        return {"a": self.a, "b": self.b, "steps": self.steps}


def recalibrate(probs: ArrayLike, pit: ArrayLike) -> Probabilities:
    """Return densities mapped so that the forecasts which `pit` is of would have been calibrated.

    Args:
        probs: Probabilities of the cells, shape (..., n), or (..., n + 2) with the mass below and above the grid.
        pit: Probability integral transforms of held-out values under forecasts of the same kind and lag, at least 20.

    Returns:
        The densities, of the shape of `probs`: `RecalibrationMap.fit(pit).apply(probs)`.

    Raises:
        ArgumentError: Fewer than 20 transforms, one outside [0, 1], entries that are not probabilities.

    Examples:
        >>> narrow = np.random.default_rng(0).beta(0.5, 0.5, size=500)  # most values fell into the tails
        >>> recalibrate([0.25, 0.5, 0.25], narrow).round(1).tolist()
        [0.3, 0.3, 0.3]
    """
    return RecalibrationMap.fit(pit).apply(probs)
