"""Problems of the suite whose noise is neither Gaussian nor a minibatch's own, and one seen through its loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammainc, ndtr, stdtr

from descentcast import _checks
from descentcast.kernels import Evidence, TransitionKernel
from descentcast.problems import DoubleWell, LinearRegression, Problem, Quadratic, TiltedTripleWell
from descentcast.problems._cell_averages import NoNoise, average_below, rows

# Midpoints of a cell that its row is averaged over.
PARTS = 64
KINDS = ("student", "skewed", "proportional")


@dataclass(frozen=True, eq=False)
class NoisyDescent(Problem):
    """Gradient descent on a potential of one coordinate with noise of another kind than Gaussian.

    With g = f'(x), and s and c the step size and the noise of the potential, the chain is `x' = x - s G` with

    - "student": `G = g + c t`, t Student-t with `value` degrees of freedom;
    - "skewed": `G = g + c (y - k) / sqrt(k)`, y Gamma-distributed with shape k = `value`;
    - "proportional": `G = g (1 + value z) + c z'`, z and z' standard normal: noise that nearly vanishes with the
      gradient, as where a model can fit every example.

    Attributes:
        potential: What is descended; its `noise` is c.
        kind: One of "student", "skewed", "proportional".
        value: The parameter of the kind, positive.

    Raises:
        ArgumentError: Another kind, or a value that is not positive.

    Examples:
        >>> problem = NoisyDescent(Quadratic(step_size=0.5), "student", 3.0)
        >>> problem.kernel([-1.0, 0.0, 1.0]).matrix.round(2).tolist()
        [[0.55, 0.29], [0.29, 0.55]]
    """

    potential: DoubleWell | Quadratic | TiltedTripleWell
    kind: str
    value: float

    def __post_init__(self) -> None:
        _checks.one_of("kind", self.kind, KINDS)
        _checks.real("value", self.value, low=0, open_low=True)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """One coordinate, `x`."""
        return self.potential.coordinates

    @property
    def setting(self) -> Mapping[str, Any]:
        """The step size."""
        return self.potential.setting

    @property
    def sampling(self) -> str:
        """One sentence: how a step draws its noise."""
        return f"Each step adds fresh {self.kind} noise to the full gradient, so the iterates are a Markov chain."

    @property
    def minima(self) -> np.ndarray:
        """Those of the potential."""
        return self.potential.minima

    def loss(self, x: ArrayLike) -> np.ndarray:
        """Return the potential."""
        return self.potential.loss(x)

    def gradient(self, x: ArrayLike) -> np.ndarray:
        """Return the derivative of the potential."""
        return self.potential.gradient(x)

    def advance(self, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return where one optimizer step takes each point, shape (m, 1) to (m, 1)."""
        step, c, g = self.potential.step_size, self.potential.noise, self.gradient(points)
        if self.kind == "student":
            noise = c * generator.standard_t(self.value, points.shape)
        elif self.kind == "skewed":
            noise = c * (generator.gamma(self.value, size=points.shape) - self.value) / np.sqrt(self.value)
        else:
            noise = g * self.value * generator.standard_normal(points.shape)
            noise = noise + c * generator.standard_normal(points.shape)
        return points - step * (g + noise)

    def below(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return `P(x' <= y | x)`, x and y of shapes that broadcast."""
        step, c, g = self.potential.step_size, self.potential.noise, self.gradient(x)
        deviation = y - (x - step * g)
        if self.kind == "student":
            return stdtr(self.value, deviation / (step * c))
        if self.kind == "skewed":
            k = self.value
            return 1 - gammainc(k, np.maximum(k - np.sqrt(k) * deviation / (step * c), 0.0))
        return ndtr(deviation / (step * np.hypot(self.value * g, c)))

    def kernel(self, edges: ArrayLike) -> TransitionKernel:
        """Return the kernel as cell averages over 64 midpoints a cell.

        Raises:
            ArgumentError: Edges that do not increase strictly.
        """
        edges = _checks.edges("edges", edges)
        share = (np.arange(PARTS) + 0.5) / PARTS
        points = edges[:-1, None] + np.diff(edges)[:, None] * share
        below = self.below(points[..., None], edges).mean(axis=1)
        return _kernel(self, edges, below, f"cell averages over {PARTS} midpoints a cell")


@dataclass(frozen=True, eq=False)
class LogLoss(Problem):
    """Over-parametrised linear regression in one coordinate, one example a step, seen through the log of its full loss.

    Noise vanishes at the minimum, so that no grid resolves w for long; but the logarithm is a Markov chain by itself,
    `log f' = log f + 2 log |1 - step a_i^2|`: a random walk with as many increments as examples.

    Attributes:
        problem: The regression.

    Raises:
        ArgumentError: A problem of several coordinates, of larger batches, or that fits no example exactly.
    """

    problem: LinearRegression

    def __post_init__(self) -> None:
        _checks.one_of("problem.coordinates", len(self.problem.coordinates), (1,))
        _checks.one_of("problem.batch_size", self.problem.batch_size, (1,))
        _checks.one_of("problem.over_parametrised", self.problem.over_parametrised, (True,))

    @cached_property
    def increments(self) -> np.ndarray:
        """What one step adds, one an example, shape (examples,)."""
        return 2 * np.log(np.abs(1 - self.problem.step_size * self.problem.features[:, 0] ** 2))

    @property
    def coordinates(self) -> tuple[str, ...]:
        """One coordinate, `log_loss`."""
        return ("log_loss",)

    @property
    def setting(self) -> Mapping[str, Any]:
        """Step size and batch size."""
        return self.problem.setting

    @property
    def sampling(self) -> str:
        """One sentence: how a step draws its noise."""
        return self.problem.sampling

    @property
    def minima(self) -> np.ndarray:
        """None: the loss goes to zero, its logarithm to minus infinity."""
        return np.empty(0)

    def loss(self, x: ArrayLike) -> np.ndarray:
        """Return the full loss, exp(x)."""
        return np.exp(_checks.numeric("x", x))

    def gradient(self, x: ArrayLike) -> np.ndarray:
        """Return its derivative in the logarithm, exp(x)."""
        return np.exp(_checks.numeric("x", x))

    def advance(self, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return the log loss a step later, shape (m, 1) to (m, 1)."""
        return points + generator.choice(self.increments, size=points.shape)

    def kernel(self, edges: ArrayLike) -> TransitionKernel:
        """Return the kernel by exact overlaps: a cell moved by an increment stays an interval.

        Raises:
            ArgumentError: Edges that do not increase strictly.
        """
        edges = _checks.edges("edges", edges)
        moved = edges[:, None] + self.increments
        below = average_below(NoNoise(), edges, moved[:-1], moved[1:]).mean(axis=1)
        return _kernel(self, edges, below, "exact overlaps of moved cells")


def _kernel(problem: Problem, edges: np.ndarray, below: np.ndarray, how: str) -> TransitionKernel:
    matrix, overflow = rows(below)
    return TransitionKernel(
        edges=edges,
        matrix=matrix,
        overflow=overflow,
        evidence=Evidence.uniform("exact", len(matrix)),
        name=problem.coordinates[0],
        setting=problem.setting,
        notes=(f"By {how}.",),
    )
