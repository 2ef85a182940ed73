"""A run beside others, step by step: how far it is from their mean, in units of how far runs are at that step."""

from dataclasses import dataclass

import numpy as np

from descentcast.forecasts._curves import Law

# Runs that are told apart by few others: the spread at a step is pooled over this share of all rows on either side.
WINDOW = 0.03
MOST_PERSISTENT = 0.995


@dataclass(frozen=True, eq=False)
class StepFit:
    """A time-inhomogeneous chain: `z(t) = m(t) + s(t) u(t)`, u an autoregression of unit variance.

    Attributes:
        mean: The other runs' mean at the rows to come, shape (H,).
        scale: How far a run is from it there, shape (H,).
        phi: What of u is left after a step.
        last: u at the last known row.
        dof: Degrees of freedom of the scale.
    """

    mean: np.ndarray
    scale: np.ndarray
    phi: float
    last: float
    dof: float

    @property
    def groups(self) -> dict[str, float]:
        """The weight of each kind of candidate: one."""
        return {"other runs": 1.0}

    def law(self, lags: np.ndarray) -> Law:
        """Return the law of z so many rows after the last known, lags of shape (H,) from 1 on."""
        left, scale = self.phi**lags, self.scale[lags - 1]
        mean = self.mean[lags - 1] + scale * left * self.last
        return Law(np.ones(1), mean[None], (scale * np.sqrt(1 - left**2))[None], self.dof)

    def draw(self, draws: int, paths: int, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return paths of z, shape (draws, paths, steps): each draw has a scale of its own."""
        factor = np.sqrt(self.dof / rng.chisquare(self.dof, (draws, 1)))
        found, now = np.empty((draws, paths, steps)), np.zeros((draws, paths))
        noise = np.sqrt(1 - self.phi**2)
        for t in range(steps):
            now = self.phi * now + noise * rng.standard_normal((draws, paths))
            found[..., t] = self.mean[t] + self.scale[t] * (self.phi ** (t + 1) * self.last + factor * now)
        return found


def step_by_step(z: np.ndarray, mean: np.ndarray, deviations: list[np.ndarray], floor: float) -> StepFit:
    """Estimate spread and persistence from how other runs deviate from the mean of the rest, and this one so far.

    Args:
        z: What is known of the run, shape (T,).
        mean: The other runs' mean, shape (T + H,).
        deviations: Of each other run from the mean of the rest, shape (T + H,), NaN after its end; none for one run.
        floor: The least spread.
    """
    T, R = len(z), len(deviations)
    own = z - mean[:T]
    if R:
        # A run deviates from the mean of R others less than one of these from that of R - 1.
        table = np.array(deviations) * np.sqrt((1 + 1 / R) / (1 + 1 / max(R - 1, 1)))
        known = np.isfinite(table)
        squares, counts = np.where(known, table, 0.0) ** 2, known.sum(axis=0)
        reach = max(2, round(WINDOW * len(mean)))
        sums = np.stack([squares.sum(axis=0), counts]).astype(float)
        pooled = np.stack([np.convolve(row, np.ones(2 * reach + 1), "same") for row in sums])
        variance = pooled[0] / np.maximum(pooled[1], 1)
        # Where all others have ended, their last spread goes on.
        last = int(np.flatnonzero(counts)[-1])
        variance[last + 1 :] = variance[last]
    else:
        table, variance = np.empty((0, len(mean))), np.full(len(mean), float(np.mean(own[T // 2 :] ** 2)))
    scale = np.sqrt(np.maximum(variance, floor**2))
    units = [own / scale[:T], *(row[np.isfinite(row)] / scale[: np.isfinite(row).sum()] for row in table)]
    before, after = (np.concatenate([u[a:b] for u in units]) for a, b in ((0, -1), (1, None)))
    phi = float(np.clip(before @ after / max(float(before @ before), 1e-12), 0.0, MOST_PERSISTENT))
    return StepFit(mean[T:], scale[T:], phi, float(own[-1] / scale[T - 1]), float(2 * max(R, 1) + 1))
