"""Ways in which runs depart from one Markov kernel: k-step forecasts, memory, a schedule. One statistic each.

Every statistic is in nats a step, larger where runs depart more, and means nothing by itself: each is biased by what
had to be estimated. `markov_test` holds them against the same statistics of runs simulated from the fitted kernel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from descentcast._types import Edges
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._interpolation import rows_at
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._local_lines import Design, local_lines
from descentcast.trajectories import Trajectories

# A cell that a kernel calls impossible is scored as this probable.
LEAST_MASS = 1e-12

Fit = Callable[[Sequence[np.ndarray]], TransitionKernel]


def fitting(estimator: KernelEstimator, edges: Edges, noise: str | None = None) -> Fit:
    """Return the function from values, one array a run, to the kernel that a fresh copy of the estimator fits.

    With `noise`, an estimator that has a law of noise among its parameters takes that one.
    """
    parameters = estimator.get_params(deep=False)
    if noise is not None and "noise" in parameters:
        parameters["noise"] = noise

    def fit(columns: Sequence[np.ndarray]) -> TransitionKernel:
        kernel = type(estimator)(**parameters).fit(Trajectories.from_arrays(columns), edges=edges).kernel_
        assert isinstance(kernel, TransitionKernel)
        return kernel

    return fit


def chapman_kolmogorov(fit: Fit, one_step: TransitionKernel, columns: Sequence[np.ndarray], k: int) -> float:
    """Return how much better a kernel learnt at lag k forecasts k steps than the k-th power of the one-step kernel.

    The mean of `log Q_k(x_{t+k} | x_t) - log P^k(x_{t+k} | x_t)` over all t, with Q_k fitted to the same transitions
    of lag k: zero in the limit where `P^k` is the law of k steps, as in a Markov chain (Chapman-Kolmogorov).
    """
    direct = fit([c[j::k] for c in columns for j in range(k) if len(c) > j + k])
    present, following = np.concatenate([c[:-k] for c in columns]), np.concatenate([c[k:] for c in columns])
    return float(np.mean(log_mass(direct, present, following) - log_mass(one_step.power(k), present, following)))


def memory(columns: Sequence[np.ndarray]) -> float:
    """Return what the value before the present one adds to a prequential forecast, in nats a step.

    The mean of `log f(x_{t+1} | x_t, x_{t-1}) - log f(x_{t+1} | x_t)` of local-linear laws, each of which knows nothing
    but what came before. Negative where there is no memory: what is learnt of the second lag is noise.
    """
    before, present, following = (
        np.concatenate([c[i : len(c) - 2 + i] for c in columns if len(c) > 2]) for i in range(3)
    )
    one, two = local_lines(present, [Design(following), Design(following, present - before)])
    return float(np.nanmean(one.losses - two.losses))


def halves(columns: Sequence[np.ndarray]) -> float:
    """Return what forecasting each half of the runs by the other costs, against two halves mixed, in nats a step.

    Runs are cut at the middle, and each transition is forecast by the local-linear law of those in the other half; the
    same once more with quarters 1 and 3 against 2 and 4, which a schedule changes less. The difference of the mean log
    scores.
    """
    present, following = np.concatenate([c[:-1] for c in columns]), np.concatenate([c[1:] for c in columns])
    quarter = np.concatenate([4 * np.arange(len(c) - 1) // (len(c) - 1) for c in columns])
    apart, mixed = (local_lines(present, [Design(following)], half)[0] for half in (quarter // 2, quarter % 2))
    return float(np.mean(apart.losses - mixed.losses))


@dataclass(frozen=True)
class Schedule:
    """How drift and noise change with time, given the state.

    Attributes:
        drift: What a drift that changes with time explains, in nats a step.
        noise: What a noise scale that changes with time explains, in nats a step.
        drift_ratio: Strength of the drift at the end over that at the beginning.
        noise_ratio: Standard deviation of the noise at the end over that at the beginning.
    """

    drift: float
    noise: float
    drift_ratio: float
    noise_ratio: float


def schedule(columns: Sequence[np.ndarray], times: Sequence[np.ndarray]) -> Schedule:
    """Regress what a local-linear kernel leaves unexplained on time.

    With z the residuals, standardised, each without its own transition, m the drift over the noise's scale, and s the
    time less what the state says of it: z on s and s m (a drift that shifts, or grows and shrinks), in nats
    `-log(1 - R^2) / 2`; and log |z| on s (noise that grows or shrinks, by exp(b s)), in nats `b^2 var s`.
    """
    present, following = np.concatenate([c[:-1] for c in columns]), np.concatenate([c[1:] for c in columns])
    time = np.concatenate([t[:-1] for t in times]).astype(np.float64)
    time = (time - time.mean()) / (np.ptp(time) or 1.0)
    law, clock = local_lines(present, [Design(following), Design(time)], "others")
    z = law.residuals / np.sqrt(np.mean(law.residuals**2))
    s, pull = time - clock.mean, (law.mean - present) / law.scale
    regressors = np.column_stack([np.ones_like(s), s, s * pull])
    change = np.linalg.lstsq(regressors, z, rcond=None)[0]
    left = z - regressors @ change
    growth = np.log(np.abs(z) + 1e-6)
    slope = float((s - s.mean()) @ (growth - growth.mean()) / max(float((s - s.mean()) @ (s - s.mean())), 1e-12))
    late, early = max(1 + change[2] * time.max(), 0.0), max(1 + change[2] * time.min(), 1e-3)
    return Schedule(
        drift=-0.5 * float(np.log(np.var(left) / np.var(z))),
        noise=slope**2 * float(np.var(s)),
        drift_ratio=float(late / early),
        noise_ratio=float(np.exp(slope * np.ptp(time))),
    )


def log_mass(kernel: TransitionKernel, present: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Return the log probability of the cell that each next value is in, given that it is on the grid."""
    rows = rows_at(kernel, present)[:, 1:-1]
    cell = np.clip(kernel.cell(following), 0, len(kernel.matrix) - 1)
    mass = rows[np.arange(len(cell)), cell] / np.maximum(rows.sum(axis=1), LEAST_MASS)
    return np.log(np.maximum(mass, LEAST_MASS))
