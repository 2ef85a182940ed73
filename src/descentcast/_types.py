"""Shape aliases and small protocols shared by every package.

Letters: T steps, D coordinates, n cells, m starts, A answer alphabet. The last axis of a density or a kernel row runs
over cells.
"""

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

Values = Float[np.ndarray, "T D"]
Steps = Int[np.ndarray, "T"]
Edges = Float[np.ndarray, "n+1"]
Probabilities = Float[np.ndarray, "... n"]
Rows = Float[np.ndarray, "n n"]
Overflow = Float[np.ndarray, "n 2"]
Cells = Int[np.ndarray, "..."]

RandomState: TypeAlias = int | np.integer | np.random.Generator | np.random.SeedSequence | None


@runtime_checkable
class Result(Protocol):
    """What every result can do: become a plain dictionary that `json` can write."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain numbers, strings, lists and dictionaries."""
        ...
