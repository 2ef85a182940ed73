"""The outcome of a run that is not finished, foretold from its own past."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from descentcast.encoding import Identity, Log, Transform
from descentcast.forecasts import extend
from descentcast.trajectories import Trajectory
from descentcast.trials._outcomes import Outcome

# With fewer rows no rest can be told.
LEAST_ROWS = 8


@dataclass(frozen=True)
class Foretold:
    """The outcome of an unfinished run.

    Attributes:
        mean: Its mean by the law of the rest, the median over the draws of curves and kernels, of which a few may be
            wild; NaN where no rest can be told.
        variance: What is not known of that mean: the square of half the distance of its 16 % and 84 % quantiles over
            the draws. What chance does after the last recorded step is not in it: an outcome that came true holds as
            much of that.
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
    known, ahead = transform.inverse(run.values), steps + 1 - len(run)
    if isinstance(transform, Identity | Log):
        low = transform.low if isinstance(transform, Log) else None
        rest = extend(replace(run, values=known), ahead, low=low, random_state=seed).paths
    else:  # `extend` knows of no other ends of a range.
        rest = transform.inverse(extend(run, ahead, low=-math.inf, random_state=seed).paths)
    draws, paths, _ = rest.shape
    past = np.broadcast_to(known[:, 0], (draws * paths, len(run)))
    ends = outcome(np.concatenate([past, rest.reshape(draws * paths, -1)], axis=1)).reshape(draws, paths)
    held = np.isfinite(ends)
    drawn = held.any(axis=1)
    if not drawn.any():
        return Foretold(float("nan"), 0.0, (f"{run.run}: every drawn rest diverges",))
    means = np.array([ends[d][held[d]].mean() for d in np.flatnonzero(drawn)])
    low, middle, high = np.quantile(means, [ndtr(-1), 0.5, ndtr(1)])
    return Foretold(float(middle), float((high - low) / 2) ** 2)
