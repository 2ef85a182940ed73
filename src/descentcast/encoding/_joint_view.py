"""Views of several coordinates: a state is one number, its coordinates' digits adjoining."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import Cells
from descentcast.encoding._view import View, draw_views
from descentcast.errors import ArgumentError

MOST_DIGITS = 18  # A code is an integer of 64 bits.


@dataclass(frozen=True, eq=False, repr=False)
class JointView(Shown):
    """One encoding of a state of D coordinates: the digits of each coordinate's code, one after the other.

    With two digits a coordinate, codes 17 and 34 are written 1734. The code of a state is that number.

    Attributes:
        views: The encoding of each coordinate, all of the same number of digits.

    Raises:
        ArgumentError: No view, or views of different numbers of digits.

    Examples:
        >>> view = JointView((View(0.0, 1.0, digits=2), View(0.0, 1.0, digits=2)))
        >>> view.encode([[0.175, 0.345]]).tolist(), view.decode([1734]).round(3).tolist()
        ([1734], [[0.175, 0.345]])
    """

    views: tuple[View, ...]

    def __post_init__(self) -> None:
        digits = {view.digits for view in self.views}
        if len(digits) != 1:
            raise ArgumentError(f"views have {sorted(digits)} digits, must be at least one view, all of as many digits")
        if self.digits > MOST_DIGITS:
            raise ArgumentError(f"views have {self.digits} digits together, must be at most {MOST_DIGITS}")

    @property
    def digits(self) -> int:
        """Digits of a state, those of all coordinates."""
        return sum(view.digits for view in self.views)

    @property
    def shape(self) -> tuple[int, ...]:
        """Codes of each coordinate."""
        return tuple(view.cells for view in self.views)

    @property
    def volume(self) -> float:
        """Volume of the cell of one code."""
        return float(np.prod([(view.high - view.low) / view.cells for view in self.views]))

    def encode(self, states: Any) -> Cells:
        """Return the code of each state, shape (..., D) to (...).

        Raises:
            ArgumentError: A coordinate outside its range (it is never clipped), or another number of coordinates.
        """
        states = _checks.numeric("states", states)
        if states.shape[-1:] != (len(self.views),):
            raise ArgumentError(f"states have shape {states.shape}, must have {len(self.views)} on the last axis")
        codes = [view.encode(states[..., i]) for i, view in enumerate(self.views)]
        return np.ravel_multi_index(tuple(codes), self.shape)

    def decode(self, codes: Any) -> Float[np.ndarray, "... D"]:
        """Return the centre of each code's cell, shape (...) to (..., D)."""
        parts = np.unravel_index(np.asarray(codes, dtype=np.int64), self.shape)
        return np.stack([view.decode(part) for view, part in zip(self.views, parts, strict=True)], axis=-1)

    def places(self, codes: Any, rng: np.random.Generator) -> Float[np.ndarray, "... D"]:
        """Return a state drawn uniformly from the cell of each code."""
        centres = self.decode(codes)
        widths = np.array([(view.high - view.low) / view.cells for view in self.views])
        return centres + widths * (rng.random(centres.shape) - 0.5)

    def by_value(self, densities: Float[np.ndarray, "... codes"]) -> np.ndarray:
        """Turn probabilities over codes (last axis) into those over cells in order of value, one axis a coordinate."""
        leading = densities.shape[:-1]
        cells = densities.reshape(*leading, *self.shape)
        flipped = tuple(len(leading) + i for i, view in enumerate(self.views) if view.flipped)
        return np.flip(cells, axis=flipped) if flipped else cells

    def to_dict(self) -> dict[str, Any]:
        """Return the views of the coordinates."""
        return {"views": [view.to_dict() for view in self.views]}


def draw_joint_views(
    low: Sequence[float], high: Sequence[float], count: int, digits: int, rng: np.random.Generator
) -> list[JointView]:
    """Return `count` views of a box: the identity first, then random ones, each coordinate as `draw_views` has it.

    Args:
        low: Lower end of each coordinate, shape (D,).
        high: Upper end of each, shape (D,).
        count: How many views.
        digits: Digits a coordinate.
        rng: Where the random ones come from.

    Examples:
        >>> views = draw_joint_views([0, 0], [1, 2], 3, 2, np.random.default_rng(0))
        >>> [view.digits for view in views], views[0].views[1].high
        ([4, 4, 4], 2)
    """
    columns = [draw_views(a, b, count, digits, rng) for a, b in zip(low, high, strict=True)]
    return [JointView(views) for views in zip(*columns, strict=True)]
