"""Minibatch SGD on the mean of finitely many losses, batches drawn with replacement."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.kernels import Evidence, TransitionKernel
from descentcast.problems._batch_law import convolved, enumerable, enumerated
from descentcast.problems._cell_averages import rows
from descentcast.problems._problem import Problem

BLOCK = 1_000_000


class FiniteSum(Problem):
    """The chain `x' = x - step / b * sum of f_i'(x) over a batch of b`, with `f = 1/n * sum of f_i`.

    Each of the b examples is drawn uniformly and independently, so the iterates are a Markov chain.
    """

    step_size: float
    batch_size: int
    features: np.ndarray
    targets: np.ndarray

    @abstractmethod
    def example_losses(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the loss f_i at each point: points (..., D), features (..., F) and targets (...) broadcast."""

    @abstractmethod
    def example_gradients(self, points: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the gradient f_i', shape (..., D): points (..., D), features (..., F) and targets (...) broadcast."""

    @property
    def setting(self) -> Mapping[str, Any]:
        """Step size and batch size."""
        return {"step": self.step_size, "batch": self.batch_size}

    @property
    def sampling(self) -> str:
        """One sentence: how a step draws its noise."""
        return (
            f"Each step averages the gradients of {self.batch_size} of {len(self.targets)} examples drawn uniformly "
            "with replacement, so the iterates are a Markov chain; those of a loader that shuffles without replacement "
            "are not."
        )

    def loss(self, x: ArrayLike) -> np.ndarray:
        """Return the mean of the examples' losses at each point."""
        return self._mean(self.example_losses, self._points(x), ())

    def gradient(self, x: ArrayLike) -> np.ndarray:
        """Return the mean of the examples' gradients at each point, of the shape of the points."""
        dimension = len(self.coordinates)
        mean = self._mean(self.example_gradients, self._points(x), (dimension,))
        return mean[..., 0] if dimension == 1 else mean

    def advance(self, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return where one optimizer step takes each point, each with a batch of its own: (m, D) to (m, D)."""
        batch = generator.integers(len(self.targets), size=(len(points), self.batch_size))
        gradients = self.example_gradients(points[:, None, :], self.features[batch], self.targets[batch])
        return points - self.step_size * gradients.mean(axis=1)

    def _points(self, x: ArrayLike) -> np.ndarray:
        array, dimension = _checks.numeric("x", x), len(self.coordinates)
        if dimension == 1:
            return array[..., None]
        if array.ndim == 0 or array.shape[-1] != dimension:
            raise ArgumentError(f"x has shape {array.shape}, its last axis must hold {dimension} coordinates")
        return array

    def _mean(self, function: Callable[..., np.ndarray], points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        flat = points.reshape(-1, points.shape[-1])
        size = max(1, BLOCK // len(self.targets))
        means = [
            function(flat[i : i + size, None, :], self.features, self.targets).mean(axis=1)
            for i in range(0, len(flat), size)
        ]
        return np.concatenate(means or [np.empty((0, *shape))]).reshape((*points.shape[:-1], *shape))


def check_sizes(step_size: float, batch_size: int) -> None:
    """Raise `ArgumentError` unless the step size is positive and the batch size a positive integer."""
    _checks.real("step_size", step_size, low=0, open_low=True)
    _checks.integer("batch_size", batch_size, low=1)


class OneCoordinateSum(FiniteSum):
    """A finite sum in one coordinate, whose gradients need not be affine: its kernel is known."""

    def kernel(self, edges: ArrayLike) -> TransitionKernel:
        """Return the kernel as cell averages: small batches enumerated, larger ones convolved.

        Args:
            edges: Cell edges, shape (n + 1,), strictly increasing.

        Returns:
            The kernel; its notes state method and error.

        Raises:
            ArgumentError: Edges that do not increase strictly.
        """
        return minibatch_kernel(self, edges)


def minibatch_kernel(problem: FiniteSum, edges: ArrayLike, *, affine: bool = False) -> TransitionKernel:
    """Return the kernel of a problem of one coordinate: batches enumerated where they are few, else convolved.

    Args:
        problem: The problem.
        edges: Cell edges, shape (n + 1,), strictly increasing.
        affine: Whether every example's gradient is affine in the point.

    Returns:
        The kernel; its notes state method and error.

    Raises:
        ArgumentError: Edges that do not increase strictly.
    """
    edges = _checks.edges("edges", edges)
    step, batch = problem.step_size, problem.batch_size

    def gradients(x: np.ndarray) -> np.ndarray:
        return problem.example_gradients(x[..., None, None], problem.features, problem.targets)[..., 0]

    if enumerable(len(problem.targets), batch):
        below, notes = enumerated(gradients, edges, step, batch, affine=affine)
    else:
        below, notes = convolved(gradients, edges, step, batch)
    matrix, overflow = rows(below)
    return TransitionKernel(
        edges=edges,
        matrix=matrix,
        overflow=overflow,
        evidence=Evidence.uniform("exact", len(matrix)),
        name=problem.coordinates[0],
        setting=problem.setting,
        notes=notes,
    )
