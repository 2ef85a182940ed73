"""One run of the prior: what was seen of it, and the law that every value was drawn from, where it is known."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# (y) -> P(values[t + 1] <= y[t]) given all that moved the run until t, shapes (n, m) -> (n, m), for the first n steps
Law = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        values: What was seen, shape (T, D).
        law: Distribution function of every value after the start, or None.
    """

    values: np.ndarray
    law: Law | None

    def __len__(self) -> int:
        return len(self.values)

    def cut(self, length: int) -> "Run":
        """Return the first `length` values."""
        return Run(self.values[:length], self.law)
