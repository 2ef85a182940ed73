"""The rule of early stopping: how probably a run in progress ends better than the best that is finished."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from descentcast import _checks
from descentcast.forecasts._rest import Curves, Past, curves

# With fewer values no curve can be told: by a run's own past, and beside two or more finished runs.
LEAST_ALONE, LEAST_KNOWN = 8, 4
# So many finished runs are held beside one in progress: those that were nearest to it so far.
MOST_OTHERS = 6
# So many of them vote on whether a run's own past or the others tell its rest.
VOTES = 3
BETTER = ("lower", "higher")
# Longer curves are read at so many even steps.
MOST_ROWS = 400


@dataclass(frozen=True, eq=False)
class Reported:
    """What one run reported.

    Attributes:
        steps: Increasing steps, shape (T,).
        values: The values there, finite, shape (T,).
    """

    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, points: dict[int, float]) -> "Reported":
        """Return the finite values of a dictionary by step."""
        kept = sorted((step, value) for step, value in points.items() if np.isfinite(value))
        steps, values = np.array(kept, dtype=np.float64).reshape(-1, 2).T
        return cls(steps, values)


def chance_of_beating(
    known: Reported, finished: Sequence[Reported], last_step: float, target: float, better: str = "lower"
) -> float:
    """Return the probability that a run in progress ends better than a target.

    `P(x_last < target | x_0..x_T)` (`>` where higher is better): by curves of the run's own past and by how
    finished runs went on: as in `extend`, without its kernel and with fewer votes, so that it takes milliseconds.

    Args:
        known: What the run reported, at least 8 values, or 4 beside two or more finished runs.
        finished: What finished runs reported, of the same or of other settings.
        last_step: The step of the last report, greater than that of the last known.
        target: What is to be beaten.
        better: "lower" or "higher".

    Examples:
        >>> t = np.arange(40)
        >>> run = Reported(t[:15], 0.5 + 0.5 * 0.9 ** t[:15])
        >>> chance_of_beating(run, [], 39, target=0.2) < 0.1
        True
    """
    past, goal = _past(known, finished, last_step), np.array([target])
    below = float(_weighed(past).below(np.array([past.ahead]), goal)[0, 0])
    return below if _checks.one_of("better", better, BETTER) == "lower" else 1 - below


def hardly_beats(
    known: Reported,
    finished: Sequence[Reported],
    last_step: float,
    target: float,
    better: str = "lower",
    probability: float = 0.1,
) -> bool:
    """Return whether `chance_of_beating` is below `probability`; False where too little is known to tell.

    The candidates are not weighed where all agree.
    """
    _checks.one_of("better", better, BETTER)
    past, goal = _past(known, finished, last_step), np.array([target])
    if len(known.steps) < (LEAST_ALONE if len(past.others) < 2 else LEAST_KNOWN):
        return False
    found = curves(past, within=False, held_out=0)
    below = np.array([c.below(np.array([past.ahead]), goal)[0, 0] for c in found.candidates])
    hopeless = (below if better == "lower" else 1 - below) < probability
    if hopeless.all() or not hopeless.any():
        return bool(hopeless.all())
    return chance_of_beating(known, finished, last_step, target, better) < probability


def _weighed(past: Past) -> Curves:
    return curves(past, within=len(past.others) < 2, held_out=VOTES)


def _past(known: Reported, finished: Sequence[Reported], last_step: float) -> Past:
    """Return what is known at even steps, with the finished runs that were nearest so far and got to the end."""
    span = last_step - known.steps[0]
    stride = max(float(np.median(np.diff(known.steps))), span / MOST_ROWS)
    rows = max(int((known.steps[-1] - known.steps[0]) // stride) + 1, LEAST_KNOWN)
    # Backwards from the last known step, so that its value is the last row.
    at = known.steps[-1] + stride * np.arange(1 - rows, max(round((last_step - known.steps[-1]) / stride), 1) + 1)
    at[-1] = last_step  # The last stride may be a shorter or a longer one; beyond the last step no run has values.
    values, times = np.interp(at[:rows], known.steps, known.values), np.arange(len(at), dtype=np.float64)
    others = [np.interp(at, f.steps, f.values, right=np.nan) for f in finished if len(f.steps) >= LEAST_KNOWN]
    table = np.array([o for o in others if np.isfinite(o[-1])]).reshape(-1, len(at))
    nearest = np.argsort(((table[:, :rows] - values) ** 2).mean(axis=1), kind="stable")[:MOST_OTHERS]
    return Past(values, table[nearest] if len(nearest) > 1 else table[:0], times)
