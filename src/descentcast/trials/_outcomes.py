"""Outcomes of a run: one number read off its path."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from descentcast import _checks
from descentcast.errors import ArgumentError

DIRECTIONS = ("lower", "higher")
NAMED = ("final", "best", "area")
FORMS = "'final', 'best', 'area', 'time_to(x)' or a function of paths"
TIME_TO = re.compile(r"time_to\(\s*([^()\s]+)\s*\)")


@dataclass(frozen=True)
class Outcome:
    """What is compared: a number for each path.

    Attributes:
        name: As it was asked for, or the name of the function.
        of: From paths, shape (R, steps + 1), to outcomes, shape (R,). A path that has NaN in it gives NaN.
        better: "lower" or "higher".
    """

    name: str
    of: Callable[[Float[np.ndarray, "R T"]], Float[np.ndarray, "R"]]
    better: str

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is."""
        return 1 if self.better == "higher" else -1

    def __call__(self, paths: Float[np.ndarray, "R T"]) -> Float[np.ndarray, "R"]:
        """Return the outcome of each path; NaN where the path left the numbers (it diverged).

        Raises:
            ArgumentError: The function does not return one finite number for each finite path.
        """
        found = np.full(len(paths), np.nan)
        whole = np.isfinite(paths).all(axis=1)
        if whole.any():
            values = _checks.numeric("outcome", self.of(paths[whole]))
            if values.shape != (int(whole.sum()),) or not np.isfinite(values).all():
                raise ArgumentError(
                    f"outcome {self.name} gave {values.ravel()[:1]!r:.60} of shape {values.shape} for {whole.sum()} "
                    "paths, must give one finite number for each"
                )
            found[whole] = values
        return found


def outcome_of(outcome: Any, better: Any) -> Outcome:
    """Return the outcome that is asked for.

    With x_0, ..., x_T a path:

    - "final": x_T
    - "best": the smallest (better="lower") or largest x_t
    - "area": the mean of x_0, ..., x_T by trapezoids, the area under the path over its length
    - "time_to(c)": the first t at which the path is at c or on the other side of it than x_0; T where it never is, so
      that means are of the restricted time
    - a function of paths, shape (R, T + 1), that gives (R,)

    Raises:
        ArgumentError: Anything else.

    Examples:
        >>> path = np.array([[3.0, 1.0, 2.0]])
        >>> [float(outcome_of(o, "lower")(path)[0]) for o in ("final", "best", "area", "time_to(2.5)", "time_to(0)")]
        [2.0, 1.0, 1.75, 1.0, 2.0]
    """
    better = _checks.one_of("better", better, DIRECTIONS)
    if callable(outcome):
        return Outcome(getattr(outcome, "__name__", type(outcome).__name__), cast(Any, outcome), better)
    if outcome == "final":
        return Outcome("final", lambda paths: paths[:, -1], better)
    if outcome == "best":
        best = np.min if better == "lower" else np.max
        return Outcome("best", lambda paths: best(paths, axis=1), better)
    if outcome == "area":
        return Outcome("area", lambda paths: np.trapezoid(paths, axis=1) / (paths.shape[1] - 1), better)
    match = TIME_TO.fullmatch(outcome) if isinstance(outcome, str) else None
    try:
        target = float(match[1]) if match else float("nan")
    except ValueError:
        target = float("nan")
    if not np.isfinite(target):
        raise ArgumentError(f"outcome == {outcome!r}, must be {FORMS}")
    return Outcome(str(outcome), lambda paths: _time_to(paths, target), better)


def _time_to(paths: np.ndarray, target: float) -> np.ndarray:
    """First step at which each path is at the target or on its other side, the last step where it never is."""
    side = np.sign(paths - target)
    reached = side != side[:, :1]
    reached[:, 0] = side[:, 0] == 0
    return np.where(reached.any(axis=1), reached.argmax(axis=1), paths.shape[1] - 1).astype(np.float64)
