"""Principal components: coordinates of a chain that are uncorrelated over what was recorded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._shown import Shown

# A direction along which values vary less than this share of the first one's is one along which they do not vary.
FLAT = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class PrincipalComponents(Shown):
    """An invertible affine map of D coordinates onto K components, K = D unless some never vary.

    `z = A ((x - centre) / scale)`, with orthonormal rows of A; over the values that it was made of, components have
    mean zero and no correlation.

    Attributes:
        centre: Mean of each coordinate, shape (D,).
        scale: Standard deviation of each coordinate, 1 where it never changes, shape (D,).
        axes: A, components by falling variance, each with its largest entry positive, shape (K, D).
        shares: Share of the scaled coordinates' variance in each component, shape (K,).

    References:
        Benechehab et al. (2024), arXiv 2410.11711: several coordinates disentangled by principal components (DICL).

    Examples:
        >>> line = np.linspace(-1, 1, 5)[:, None] * [2.0, 20.0] + [1.0, 0.0]
        >>> components = PrincipalComponents.of(line)
        >>> components.axes.round(2).tolist(), components.shares.tolist()
        ([[0.71, 0.71]], [1.0])
        >>> bool(np.allclose(components.inverse(components.forward(line)), line))
        True
    """

    centre: Float[np.ndarray, "D"]
    scale: Float[np.ndarray, "D"]
    axes: Float[np.ndarray, "K D"]
    shares: Float[np.ndarray, "K"]

    @classmethod
    def of(cls, values: ArrayLike) -> "PrincipalComponents":
        """Make them of values, shape (N, D), by a singular value decomposition.

        Raises:
            ArgumentError: Values that are not finite numbers.
        """
        values = _checks.finite("values", _checks.numeric("values", values))
        centre = values.mean(axis=0)
        spread = values.std(axis=0)
        # A column of equal values may deviate from its mean by rounding.
        scale = np.where(spread > FLAT * np.abs(values).max(axis=0), spread, 1.0)
        _, singular, axes = np.linalg.svd((values - centre) / scale, full_matrices=False)
        kept = singular > FLAT * max(float(singular[0]), np.finfo(float).tiny)
        kept[0] = True
        axes, singular = axes[kept], singular[kept]
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
        variances = singular**2
        return cls(centre, scale, axes * np.where(largest < 0, -1.0, 1.0), variances / (variances.sum() or 1.0))

    def __len__(self) -> int:
        return len(self.axes)

    def forward(self, x: ArrayLike) -> Float[np.ndarray, "... K"]:
        """Return the components of states, shape (..., D) to (..., K)."""
        return ((_checks.numeric("x", x) - self.centre) / self.scale) @ self.axes.T

    def inverse(self, z: ArrayLike) -> Float[np.ndarray, "... D"]:
        """Return the states that have these components and are nowhere off the plane of the K axes."""
        return self.centre + self.scale * (_checks.numeric("z", z) @ self.axes)

    def rest(self, x: ArrayLike) -> Float[np.ndarray, "... D"]:
        """Return what components do not hold of states, `x - inverse(forward(x))`: zero where K = D."""
        x = _checks.numeric("x", x)
        return x - self.inverse(self.forward(x)) if len(self) < len(self.centre) else np.zeros_like(x)

    def box(self, low: ArrayLike, high: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and largest of each component over a box of states, shape (K,) each."""
        low, high = _checks.numeric("low", low), _checks.numeric("high", high)
        middle = self.forward((low + high) / 2)
        half = ((high - low) / 2 / self.scale) @ np.abs(self.axes).T
        return middle - half, middle + half

    def to_dict(self) -> dict[str, Any]:
        """Return centre, scale, axes and shares as plain values."""
        return {name: getattr(self, name).tolist() for name in ("centre", "scale", "axes", "shares")}
