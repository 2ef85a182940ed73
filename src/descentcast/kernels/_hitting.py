"""Whether, when and before what a chain reaches a set of cells: hitting times and committors, overflow being a loss."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._shown import Shown
from descentcast.errors import ArgumentError
from descentcast.kernels import _chains
from descentcast.kernels._kernel import TransitionKernel


@dataclass(frozen=True, eq=False, repr=False)
class HittingTimes(Shown):
    """When runs first are in a target set, by starting cell: `tau = min {t >= 0: x_t in target}`.

    Attributes:
        probability: `P(tau < infinity)`, shape (n,): 1 in the target, below 1 where runs can leave the grid or be
            caught elsewhere first.
        mean_time: `E[tau | tau < infinity]` in steps, shape (n,); NaN where the target is out of reach.
        law: `P(tau = t)` for t = 0, ..., horizon, shape (n, horizon + 1); row sums fall short of `probability` by what
            comes later.
    """

    probability: np.ndarray
    mean_time: np.ndarray
    law: np.ndarray

    @property
    def horizon(self) -> int:
        """The last step that the law covers."""
        return self.law.shape[1] - 1

    def to_dict(self) -> dict[str, Any]:
        """Return the times as plain values; a mean time that does not exist as None."""
        return {
            "probability": self.probability.tolist(),
            "mean_time": [None if np.isnan(t) else float(t) for t in self.mean_time],
            "law": self.law.tolist(),
        }


def hitting(kernel: TransitionKernel, target: ArrayLike, horizon: int = 100) -> HittingTimes:
    """Return probability, mean and law of the time at which runs first are in `target`.

    With U the other cells, the probability is `h = (I - P_UU)^-1 P_UT 1` and the conditional mean
    `(I - P_UU)^-1 h / h`. The systems are solved without a subtraction: entries of 1e-100 are right, and so are times
    of 1e15 steps.

    Args:
        kernel: Kernel of n cells.
        target: Mask over the cells, shape (n,), at least one True.
        horizon: Last step of the law, at least 0.

    Raises:
        ArgumentError: `target` is no mask over the cells or is empty; `horizon` is negative.

    References:
        Norris (1997), Markov Chains, section 1.3.

    Examples:
        >>> rows = [[1.0, 0.0, 0.0], [0.25, 0.5, 0.25], [0.0, 0.5, 0.5]]
        >>> kernel = TransitionKernel([0, 1, 2, 3], rows, np.zeros((3, 2)))
        >>> times = hitting(kernel, [True, False, False], horizon=3)
        >>> times.mean_time
        array([0., 6., 8.])
        >>> times.law[1]
        array([0.     , 0.25   , 0.125  , 0.09375])
    """
    hit = _mask("target", target, kernel)
    horizon = _checks.integer("horizon", horizon, low=0)
    matrix, overflow = _chains.proper(kernel.matrix, kernel.overflow)
    probability, later = _reach(matrix, overflow.sum(axis=1), hit, np.zeros_like(hit))
    mean_time = np.divide(later, probability, out=np.full(len(matrix), np.nan), where=probability > 0)

    law = np.zeros((len(matrix), horizon + 1))
    law[hit, 0] = 1
    others = ~hit
    inner, now = matrix[np.ix_(others, others)], matrix[np.ix_(others, hit)].sum(axis=1)
    for t in range(1, horizon + 1):
        law[others, t] = now
        now = inner @ now
    return HittingTimes(probability, mean_time, law)


def committor(kernel: TransitionKernel, source: ArrayLike, target: ArrayLike) -> np.ndarray:
    """Return the forward committor: the probability of being in `target` before `source`, by starting cell.

    `q(x) = P(tau_target < tau_source | x_0 = x)`: 0 on the source, 1 on the target, elsewhere `q = P q`, where mass
    that leaves the grid counts as never arriving. Nothing is assumed reversible.

    Args:
        kernel: Kernel of n cells.
        source: Mask over the cells, shape (n,).
        target: Mask over the cells, shape (n,), none of them in the source.

    Returns:
        The committor, shape (n,).

    Raises:
        ArgumentError: A mask is empty or of another shape, or the two overlap.

    References:
        Metzner, Schütte, Vanden-Eijnden (2009), Transition Path Theory for Markov Jump Processes, equation 2.10.

    Examples:
        >>> rows = [[1.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0], [0.0, 0.5, 0.0, 0.5], [0.0, 0.0, 0.0, 1.0]]
        >>> kernel = TransitionKernel([0, 1, 2, 3, 4], rows, np.zeros((4, 2)))
        >>> committor(kernel, kernel.centres < 1, kernel.centres > 3).round(6)
        array([0.      , 0.333333, 0.666667, 1.      ])
    """
    start, goal = _mask("source", source, kernel), _mask("target", target, kernel)
    if (start & goal).any():
        raise ArgumentError(f"source and target share cell {int(np.argmax(start & goal))}, must have none in common")
    matrix, overflow = _chains.proper(kernel.matrix, kernel.overflow)
    return _reach(matrix, overflow.sum(axis=1), goal, start)[0]


def _reach(matrix: np.ndarray, lost: np.ndarray, goal: np.ndarray, bar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of being in `goal` before `bar`, and the expected time of it where that is what happens."""
    probability, later = goal.astype(np.float64), np.zeros(len(matrix))
    # Cells from which the goal is out of reach would make the system singular: there the answer is 0.
    passable = np.where(bar[:, None] | goal[:, None], 0.0, matrix)
    within = _chains.reaching(passable, goal) & ~goal
    inner = matrix[np.ix_(within, within)]
    arrive = matrix[np.ix_(within, goal)].sum(axis=1)
    leave = arrive + lost[within] + matrix[np.ix_(within, ~within & ~goal)].sum(axis=1)
    # A goal so improbable that its probability underflows, say 1e-400, is as good as out of reach.
    probability[within] = np.minimum(_chains.solve(inner, leave, arrive), 1.0)
    later[within] = _chains.solve(inner, leave, probability[within])
    return probability, later


def _mask(name: str, value: ArrayLike, kernel: TransitionKernel) -> np.ndarray:
    mask = np.asarray(value)
    if mask.dtype != bool or mask.shape != (len(kernel.matrix),):
        raise ArgumentError(
            f"{name} is of {mask.dtype} and shape {mask.shape}, must be a mask of {len(kernel.matrix)} cells"
        )
    if not mask.any():
        raise ArgumentError(f"{name} holds no cell, must hold at least one")
    return mask
