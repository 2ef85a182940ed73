"""What every problem of stochastic gradient descent can do: simulate, give its kernel, name its minima."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._types import RandomState
from descentcast.errors import ArgumentError, DataError
from descentcast.kernels import TransitionKernel
from descentcast.trajectories import Trajectories


class Problem(ABC):
    """A training problem whose constant-step SGD iterates are a Markov chain with a known kernel.

    The chain is `x_{t+1} = x_t - step * g(x_t, noise_t)` with independent noise and `E g(x, noise) = f'(x)`, the view
    of Dieuleveut, Durmus and Bach (arXiv 1707.06386). Points are arrays of shape (m, D). Where D is 1, `loss` and
    `gradient` act on every entry of an array of any shape; otherwise the last axis holds the D coordinates.
    """

    @property
    @abstractmethod
    def coordinates(self) -> tuple[str, ...]:
        """The names of the D coordinates."""

    @property
    @abstractmethod
    def setting(self) -> Mapping[str, Any]:
        """What runs are made with: `step`, and `batch` where there are examples."""

    @property
    @abstractmethod
    def sampling(self) -> str:
        """One sentence: how a step draws its noise."""

    @property
    @abstractmethod
    def minima(self) -> np.ndarray:
        """Positions of the local minima of the full loss, increasing, shape (k,), or (k, D) for several coordinates."""

    @abstractmethod
    def loss(self, x: ArrayLike) -> np.ndarray:
        """Return the full loss f at each point."""

    @abstractmethod
    def gradient(self, x: ArrayLike) -> np.ndarray:
        """Return the full gradient f' at each point, of the shape of the points."""

    @abstractmethod
    def advance(self, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return where one optimizer step takes each point, with noise of its own: shape (m, D) to (m, D)."""

    @abstractmethod
    def kernel(self, edges: Any) -> TransitionKernel | tuple[TransitionKernel, ...]:
        """Return the kernel on a grid: `P_ij = 1/|c_i| * integral over c_i of P(x, c_j) dx`; one a coordinate."""

    def paths(self, starts: ArrayLike, steps: int, random_state: RandomState = 0) -> np.ndarray:
        """Run SGD from every start at once.

        Args:
            starts: Starting points, shape (m,) for one coordinate or (m, D). Repeat a start to run it again with other
                noise.
            steps: Optimizer steps, at least 1.
            random_state: The same seed gives the same bytes.

        Returns:
            Iterates, shape (m, steps + 1, D), the start first. A run that diverges is kept as it is: its values grow,
            then are infinite or NaN.

        Raises:
            ArgumentError: Starts of another shape or not finite, fewer than one step.
        """
        points = self._starts(starts)
        steps = _checks.integer("steps", steps, low=1)
        generator = _checks.generator(random_state)
        iterates = np.empty((len(points), steps + 1, len(self.coordinates)))
        iterates[:, 0] = points
        with np.errstate(over="ignore", invalid="ignore"):
            for t in range(steps):
                iterates[:, t + 1] = self.advance(iterates[:, t], generator)
        return iterates

    def simulate(self, starts: ArrayLike, steps: int, random_state: RandomState = 0) -> Trajectories:
        """Run SGD from every start and record each run with its setting.

        Args:
            starts: Starting points, shape (m,) for one coordinate or (m, D), one run each.
            steps: Optimizer steps, at least 1; a run has `steps + 1` rows.
            random_state: The same seed gives the same bytes.

        Returns:
            The runs, in the order of the starts.

        Raises:
            ArgumentError: Starts of another shape or not finite, fewer than one step.
            DataError: A run diverged before its last step; the message names run, start and step. `paths` keeps
                such runs.

        Examples:
            >>> from descentcast.problems import DoubleWell
            >>> runs = DoubleWell(step_size=0.1).simulate([-1.5, 1.5], steps=60)
            >>> len(runs), len(runs[0]), dict(runs.setting)
            (2, 61, {'step': 0.1})
        """
        iterates = self.paths(starts, steps, random_state)
        diverged = np.asarray(~np.isfinite(iterates).all(axis=2))
        if diverged.any():
            run = int(np.argwhere(diverged)[0, 0])
            raise DataError(
                f"run {run}, from {iterates[run, 0].tolist()}: diverged at step {int(np.argmax(diverged[run]))} of "
                f"{steps}; take a smaller step_size or a closer start, or use paths(), which keeps diverged runs"
            )
        return Trajectories.from_arrays(list(iterates), names=self.coordinates, setting=self.setting)

    def _starts(self, starts: ArrayLike) -> np.ndarray:
        array = _checks.finite("starts", _checks.numeric("starts", starts))
        wanted = len(self.coordinates)
        points = np.atleast_1d(array)[:, None] if wanted == 1 and array.ndim < 2 else array
        if points.ndim != 2 or points.shape[1] != wanted or not len(points):
            shape = "(m,) or (m, 1)" if wanted == 1 else f"(m, {wanted})"
            raise ArgumentError(f"starts has shape {array.shape}, must be {shape} with m at least 1")
        return points
