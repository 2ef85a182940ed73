"""Views: exact maps between values and digit codes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import Cells, Edges
from descentcast.errors import ArgumentError

# A random view is wider than the range it must hold by up to this share on either side.
SLACK = 0.25


@dataclass(frozen=True, eq=False, repr=False)
class View(Shown):
    """One encoding of a coordinate: an affine map of `[low, high)` onto `[0, 10^digits)`, either way up.

    A code is found by `searchsorted` on stored edges, so `encode(decode(code)) == code` for every code and no float
    product is truncated; decoding gives the centre of the cell.

    Attributes:
        low: Lower end of the range.
        high: Upper end of the range; belongs to the last cell.
        digits: Digits of a code, 1 to 6: there are 10^digits cells.
        flipped: True if the largest value has code 0.

    Raises:
        ArgumentError: low >= high, or digits out of range.

    Examples:
        >>> view = View(low=-1.0, high=1.0, digits=2)
        >>> view.encode([-1.0, 0.0, 1.0]).tolist()
        [0, 50, 99]
        >>> view.digits_of([7]).tolist()
        [[0, 7]]
    """

    low: float
    high: float
    digits: int = 2
    flipped: bool = False

    def __post_init__(self) -> None:
        low, high = _checks.interval("(low, high)", (self.low, self.high))
        _checks.integer("digits", self.digits, low=1, high=6)
        with np.errstate(over="ignore", invalid="ignore"):
            edges = np.linspace(low, high, self.cells + 1)
            centres = edges[:-1] + np.diff(edges) / 2
        if not (np.isfinite(edges).all() and (edges[:-1] <= centres).all() and (centres < edges[1:]).all()):
            raise ArgumentError(
                f"range ({low}, {high}) is too narrow or too wide for {self.cells} cells of its magnitude"
            )
        for name, array in (("_edges", edges), ("_centres", centres)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def cells(self) -> int:
        """Number of codes, 10^digits."""
        return 10**self.digits

    @property
    def edges(self) -> Edges:
        """Cell edges in increasing order of value, shape (10^digits + 1,)."""
        return self._edges  # pyright: ignore[reportAttributeAccessIssue]

    def holds(self, values: Any) -> np.ndarray:
        """Return which values lie within the range."""
        values = np.asarray(values, dtype=np.float64)
        return (values >= self.low) & (values <= self.high)

    def encode(self, values: Any) -> Cells:
        """Return the code of each value.

        Raises:
            ArgumentError: A value outside the range: it is never clipped.
        """
        values = _checks.numeric("values", values)
        if not self.holds(values).all():
            worst = values[~self.holds(values)].flat[0]
            raise ArgumentError(f"values hold {worst}, must be within the view's range [{self.low}, {self.high}]")
        cells = np.minimum(np.searchsorted(self.edges, values, side="right") - 1, self.cells - 1)
        return self._turn(cells)

    def decode(self, codes: Any) -> Float[np.ndarray, "..."]:
        """Return the centre of each code's cell.

        Raises:
            ArgumentError: A code outside [0, 10^digits).
        """
        codes = np.asarray(codes)
        if codes.size and not ((codes >= 0) & (codes < self.cells) & (codes == np.floor(codes))).all():
            raise ArgumentError(f"codes must be integers in [0, {self.cells - 1}]")
        centres = self._centres  # pyright: ignore[reportAttributeAccessIssue]
        return centres[self._turn(codes.astype(np.int64))]

    def digits_of(self, codes: Any) -> Cells:
        """Return the decimal digits of each code, leading zeros kept: one more axis, of length `digits`."""
        powers = 10 ** np.arange(self.digits - 1, -1, -1)
        return np.asarray(codes, dtype=np.int64)[..., None] // powers % 10

    def by_value(self, densities: Any) -> Float[np.ndarray, "... n"]:
        """Turn probabilities over codes (last axis) into probabilities over cells in increasing order of value."""
        return densities[..., ::-1] if self.flipped else densities

    def _turn(self, cells: np.ndarray) -> np.ndarray:
        return self.cells - 1 - cells if self.flipped else cells

    def to_dict(self) -> dict[str, Any]:
        """Return low, high, digits and orientation."""
        return {"low": self.low, "high": self.high, "digits": self.digits, "flipped": self.flipped}


def draw_views(low: float, high: float, count: int, digits: int, rng: np.random.Generator) -> list[View]:
    """Return `count` views of a range: the identity first, then random ones, wider by up to a quarter on either side.

    Args:
        low: Lower end of what every view must hold.
        high: Upper end.
        count: How many views.
        digits: Digits of each.
        rng: Where the random ones come from.

    Examples:
        >>> views = draw_views(0.0, 1.0, 3, 2, np.random.default_rng(0))
        >>> all(view.holds([0.0, 1.0]).all() for view in views)
        True
    """
    width = high - low
    views = [View(low, high, digits)]
    for _ in range(count - 1):
        below, above = rng.uniform(0, SLACK * width, size=2)
        views.append(View(low - below, high + above, digits, flipped=bool(rng.integers(2))))
    return views
