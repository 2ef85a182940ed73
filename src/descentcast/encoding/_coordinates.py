"""Transforms of one coordinate: what the values of a chain are taken as before a kernel is estimated."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from descentcast import _checks
from descentcast.errors import ArgumentError


class Transform(ABC):
    """A strictly increasing map `z = forward(x)` of an open interval onto the real line, with its inverse.

    Masses do not change under it: a kernel estimated on cells with edges e of z is, with edges `inverse(e)` and the
    same matrix, a kernel of x. Densities do: `log p_x(x) = log p_z(forward(x)) + log_jacobian(x)`, so that log scores
    of different transforms compare in the units of x.

    Attributes:
        name: What the transform is called: "identity", "log" or "logit".
        domain: The open interval of x.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def domain(self) -> tuple[float, float]:
        """The open interval (low, high) that x must lie in."""

    def forward(self, x: ArrayLike) -> np.ndarray:
        """Return z for each x.

        Raises:
            ArgumentError: A value that is not finite or not in the domain.
        """
        return self._forward(self._within(x))

    @abstractmethod
    def inverse(self, z: ArrayLike) -> np.ndarray:
        """Return x for each z."""

    def log_jacobian(self, x: ArrayLike) -> np.ndarray:
        """Return `log(dz/dx)` at each x.

        Raises:
            ArgumentError: A value that is not finite or not in the domain.
        """
        return self._log_jacobian(self._within(x))

    def holds(self, x: ArrayLike) -> np.ndarray:
        """Return which values lie in the domain."""
        values = _checks.numeric("x", x)
        low, high = self.domain
        return (values > low) & (values < high)

    def to_dict(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, **asdict(self)}  # pyright: ignore[reportArgumentType]

    @abstractmethod
    def _forward(self, x: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _log_jacobian(self, x: np.ndarray) -> np.ndarray: ...

    def _within(self, x: ArrayLike) -> np.ndarray:
        values = _checks.finite("x", _checks.numeric("x", x))
        outside = ~self.holds(values)
        if outside.any():
            low, high = self.domain
            raise ArgumentError(f"x holds {values[outside].flat[0]:g}, must lie strictly in ({low:g}, {high:g})")
        return values


@dataclass(frozen=True)
class Identity(Transform):
    """`z = x`.

    Examples:
        >>> Identity().forward([1.0, 2.0]).tolist(), Identity().log_jacobian([1.0, 2.0]).tolist()
        ([1.0, 2.0], [0.0, 0.0])
    """

    name: ClassVar[str] = "identity"

    @property
    def domain(self) -> tuple[float, float]:
        """The real line."""
        return -np.inf, np.inf

    def inverse(self, z: ArrayLike) -> np.ndarray:
        """Return z itself."""
        return _checks.numeric("z", z)

    def _forward(self, x: np.ndarray) -> np.ndarray:
        return x

    def _log_jacobian(self, x: np.ndarray) -> np.ndarray:
        return np.zeros_like(x)


@dataclass(frozen=True)
class Log(Transform):
    """`z = log(x - low)`: for what is positive and varies by factors, such as a loss, a norm or an error.

    Attributes:
        low: The lower end that x never reaches.

    Raises:
        ArgumentError: `low` is not a finite number.

    Examples:
        >>> Log().forward([1.0, np.e]).tolist(), Log(low=-1.0).inverse([0.0]).tolist()
        ([0.0, 1.0], [0.0])
    """

    name: ClassVar[str] = "log"
    low: float = 0.0

    def __post_init__(self) -> None:
        _checks.real("low", self.low)

    @property
    def domain(self) -> tuple[float, float]:
        """From `low` up."""
        return self.low, np.inf

    def inverse(self, z: ArrayLike) -> np.ndarray:
        """Return `low + exp(z)`."""
        return self.low + np.exp(_checks.numeric("z", z))

    def _forward(self, x: np.ndarray) -> np.ndarray:
        return np.log(x - self.low)

    def _log_jacobian(self, x: np.ndarray) -> np.ndarray:
        return -np.log(x - self.low)


@dataclass(frozen=True)
class Logit(Transform):
    """`z = log((x - low) / (high - x))`: for what lies between two ends, such as an accuracy.

    Attributes:
        low: The lower end that x never reaches.
        high: The upper end that x never reaches.

    Raises:
        ArgumentError: `low` and `high` are not finite numbers with low < high.

    Examples:
        >>> Logit().forward([0.5]).tolist(), Logit(low=0.0, high=100.0).inverse([0.0]).tolist()
        ([0.0], [50.0])
    """

    name: ClassVar[str] = "logit"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _checks.interval("(low, high)", (self.low, self.high))

    @property
    def domain(self) -> tuple[float, float]:
        """From `low` to `high`."""
        return self.low, self.high

    def inverse(self, z: ArrayLike) -> np.ndarray:
        """Return `low + (high - low) / (1 + exp(-z))`."""
        return self.low + (self.high - self.low) * expit(_checks.numeric("z", z))

    def _forward(self, x: np.ndarray) -> np.ndarray:
        return np.log(x - self.low) - np.log(self.high - x)

    def _log_jacobian(self, x: np.ndarray) -> np.ndarray:
        return np.log(self.high - self.low) - np.log(x - self.low) - np.log(self.high - x)


TRANSFORMS: dict[str, Transform] = {t.name: t for t in (Identity(), Log(), Logit())}


def transform(which: str | Transform) -> Transform:
    """Return a transform by name, with its usual ends, or the one that was given.

    Raises:
        ArgumentError: A name other than "identity", "log" or "logit".

    Examples:
        >>> transform("log")
        Log(low=0.0)
    """
    if isinstance(which, Transform):
        return which
    return TRANSFORMS[_checks.one_of("transform", which, tuple(TRANSFORMS))]
