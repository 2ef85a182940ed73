"""The outcome of a run that is not finished, foretold from its own past."""

from dataclasses import dataclass, replace

import numpy as np

from descentcast.encoding import Log, Transform
from descentcast.forecasts import extend
from descentcast.trajectories import Trajectory
from descentcast.trials._outcomes import Outcome

# With fewer rows no rest can be told.
LEAST_ROWS = 8


@dataclass(frozen=True)
class Foretold:
    """The outcome of an unfinished run.

    Attributes:
        mean: Its mean by the law of the rest; NaN where no rest can be told.
        variance: What is not known of that mean: its variance over the draws of curves and kernels. What chance does
            after the last recorded step is not in it: an outcome that came true holds as much of that.
        notes: Why not, or what it rests on.
    """

    mean: float
    variance: float
    notes: tuple[str, ...] = ()


def foretold(run: Trajectory, outcome: Outcome, transform: Transform, steps: int, seed: int) -> Foretold:
    """Foretell the outcome of a run that ended before the horizon, by `extend` and its own past alone.

    Other runs are not asked, though they might say much: what the runs of an arm say would depend on each other, and
    their number would no longer count.

    Args:
        run: The recorded part, its values transformed.
        outcome: The outcome, of values as they were recorded.
        transform: From recorded values to those of the run.
        steps: The horizon.
        seed: Of the draws.
    """
    if len(run) < LEAST_ROWS or run.stride is None:
        why = "recorded at an uneven stride" if run.stride is None else f"{len(run)} rows are too few to tell its rest"
        return Foretold(float("nan"), 0.0, (f"{run.run}: {why}",))
    known = transform.inverse(run.values)
    low = transform.low if isinstance(transform, Log) else None
    rest = extend(replace(run, values=known), steps + 1 - len(run), low=low, random_state=seed).paths
    draws, paths, _ = rest.shape
    past = np.broadcast_to(known[:, 0], (draws * paths, len(run)))
    ends = outcome(np.concatenate([past, rest.reshape(draws * paths, -1)], axis=1)).reshape(draws, paths)
    held = np.isfinite(ends)
    drawn = held.any(axis=1)
    if not drawn.any():
        return Foretold(float("nan"), 0.0, (f"{run.run}: every drawn rest diverges",))
    means = np.array([ends[d][held[d]].mean() for d in np.flatnonzero(drawn)])
    return Foretold(float(means.mean()), float(means.var()))
