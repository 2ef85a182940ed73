"""A chain whose kernel changes from step to step."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import Edges
from descentcast.errors import ArgumentError
from descentcast.kernels import _chains
from descentcast.kernels._kernel import TransitionKernel


@dataclass(frozen=True, eq=False, repr=False)
class PhasedKernel(Shown):
    """A time-inhomogeneous chain: step t is made by the kernel `kernels[schedule[t]]`.

    The law after t steps is `initial P_{s_0} P_{s_1} ... P_{s_{t-1}}`. After the end of the schedule its last kernel
    goes on.

    Attributes:
        kernels: The kernels, all of one grid.
        schedule: Which of them makes each step, shape (S,), S at least 1.

    Raises:
        ArgumentError: No kernel, different grids, a schedule that names a kernel that is not there.

    Examples:
        >>> stay = TransitionKernel([0, 1, 2], np.eye(2), np.zeros((2, 2)))
        >>> swap = TransitionKernel([0, 1, 2], np.eye(2)[::-1], np.zeros((2, 2)))
        >>> PhasedKernel((stay, swap), [0, 0, 1, 0]).propagate([[1.0, 0.0]], steps=4)[0][0, :, 0]
        array([1., 1., 1., 0., 0.])
    """

    kernels: tuple[TransitionKernel, ...]
    schedule: np.ndarray

    def __post_init__(self) -> None:
        kernels = tuple(self.kernels)
        wrong = next((k for k in kernels if not isinstance(k, TransitionKernel)), None)
        if not kernels or wrong is not None:
            found = "holds no kernel" if not kernels else f"holds a {type(wrong).__name__}"
            raise ArgumentError(f"kernels {found}, must hold TransitionKernels")
        if any(not np.array_equal(k.edges, kernels[0].edges) for k in kernels):
            raise ArgumentError("kernels have different edges, must all be of one grid: fit them with the same edges")
        schedule = np.asarray(self.schedule)
        if schedule.ndim != 1 or not len(schedule) or schedule.dtype.kind not in "iu":
            raise ArgumentError(f"schedule == {self.schedule!r:.60}, must be indices of kernels, one a step")
        if schedule.min() < 0 or schedule.max() >= len(kernels):
            raise ArgumentError(f"schedule holds {schedule.max()}, must be in [0, {len(kernels) - 1}]")
        schedule = schedule.astype(np.int64)
        schedule.flags.writeable = False
        object.__setattr__(self, "kernels", kernels)
        object.__setattr__(self, "schedule", schedule)

    @property
    def edges(self) -> Edges:
        """The cell edges, shape (n + 1,)."""
        return self.kernels[0].edges

    def at(self, step: int) -> TransitionKernel:
        """Return the kernel that makes step `step`, counted from 0."""
        return self.kernels[self.schedule[min(_checks.integer("step", step, low=0), len(self.schedule) - 1)]]

    def after(self, steps: int) -> "PhasedKernel":
        """Return the chain of the schedule from step `steps` on: the forecast of a run that has come so far."""
        steps = _checks.integer("steps", steps, low=0)
        return PhasedKernel(self.kernels, self.schedule[min(steps, len(self.schedule) - 1) :])

    def propagate(self, initial: ArrayLike, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the law over the cells, and the mass that has left the grid, after 0, 1, ..., `steps` steps.

        Args:
            initial: Law of each start over the cells, shape (m, n).
            steps: Number of steps, at least 0.

        Returns:
            Density, shape (m, steps + 1, n), and overflow below and above the grid, shape (m, steps + 1, 2).

        Raises:
            ArgumentError: `initial` is not of shape (m, n) or its rows are not laws; `steps` is negative.
        """
        starts = _checks.distributions("initial", initial)
        steps = _checks.integer("steps", steps, low=0)
        n = len(self.edges) - 1
        if starts.ndim != 2 or starts.shape[1] != n:
            raise ArgumentError(f"initial has shape {starts.shape}, must be (starts, {n})")
        density, overflow = np.empty((len(starts), steps + 1, n)), np.zeros((len(starts), steps + 1, 2))
        density[:, 0] = starts
        for t in range(steps):
            matrix, leaving = self._proper[self.schedule[min(t, len(self.schedule) - 1)]]
            np.matmul(density[:, t], matrix, out=density[:, t + 1])
            overflow[:, t + 1] = overflow[:, t] + density[:, t] @ leaving
        return density, overflow

    def to_dict(self) -> dict[str, Any]:
        """Return kernels and schedule as plain values."""
        return {"kernels": [k.to_dict() for k in self.kernels], "schedule": self.schedule.tolist()}

    @cached_property
    def _proper(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [_chains.proper(k.matrix, k.overflow) for k in self.kernels]
