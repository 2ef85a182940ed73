"""Chains whose next law is known exactly: the reporting problems with fixed parameters, and fresh draws of the prior.

A law is an array of masses below the grid, of each cell, and above the grid. `law` is that of one state; `rows` are
cell averages, what a kernel on the grid can say at best. The distance between the two is the floor of every figure.
"""

import zlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import ndtr
from training.fields import TRAINING_FIELDS
from training.noise import NOISES
from training.problems import Problem as DrawnProblem
from training.problems import random_problem

from descentcast import problems
from descentcast.kernels import TransitionKernel, default_edges
from descentcast.problems._batch_law import FINENESS, _power, batches, enumerable
from descentcast.problems._cell_averages import NoNoise, average_below
from descentcast.trajectories import Trajectories

# Two digits' worth: what every estimator is compared on.
CELLS = 100
# Points of a cell that an average runs over: laws with atoms need more than smooth ones.
SMOOTH_PARTS, ATOM_PARTS = 16, 256
DRAWS, DRAWS_A_ROW = 20_000, 5_000
# The stream of the prior that neither training (0) nor development (1) draws from.
STREAM = 2


class Chain:
    """A chain in one coordinate.

    Attributes:
        name: The family.
        starts: The interval that starts are drawn from.
        gaussian: Whether the noise is Gaussian and additive.
        parts: Points of a cell that `cell_laws` averages over.
    """

    name: str
    starts: tuple[float, float]
    gaussian = False
    parts = SMOOTH_PARTS

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return runs, shape (m, steps + 1), the start first."""
        raise NotImplementedError

    def law(self, x: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Return the law of the next value at each state, shape (Q, n + 2)."""
        raise NotImplementedError

    def spread(self, x: np.ndarray) -> np.ndarray:
        """Return the standard deviation of the next value at each state, shape (Q,)."""
        raise NotImplementedError

    def rows(self, edges: np.ndarray) -> np.ndarray:
        """Return the cell averages of `law`, shape (n, n + 2)."""
        return self.cell_laws(np.arange(len(edges) - 1), edges)

    def cell_laws(self, cells: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Return the rows of some cells, shape (Q, n + 2), by averaging over `parts` points of each."""
        share = (np.arange(self.parts) + 0.5) / self.parts
        points = edges[cells, None] + np.diff(edges)[cells, None] * share
        return self.law(points.ravel(), edges).reshape(len(cells), self.parts, -1).mean(axis=1)


@dataclass(frozen=True, eq=False)
class GaussianChain(Chain):
    """A problem with additive Gaussian noise: `x' = N(x - step f'(x), (step noise)^2)`."""

    name: str
    problem: problems.DoubleWell | problems.Quadratic | problems.TiltedTripleWell
    starts: tuple[float, float]
    gaussian = True

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return runs of the problem."""
        return self.problem.paths(starts, steps, rng)[..., 0]

    def law(self, x: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Return Gaussian masses."""
        mean = x - self.problem.step_size * self.problem.gradient(x)
        return masses_below(ndtr((edges - mean[:, None]) / self.spread(x)[:, None]))

    def spread(self, x: np.ndarray) -> np.ndarray:
        """Return step times noise."""
        return np.full(len(x), self.problem.step_size * self.problem.noise)

    def rows(self, edges: np.ndarray) -> np.ndarray:
        """Return the problem's own kernel."""
        return rows_of(self.problem.kernel(edges))


@dataclass(frozen=True, eq=False)
class MinibatchChain(Chain):
    """A finite sum in one coordinate, by minibatches drawn with replacement: enumerated, or convolved on a lattice."""

    name: str
    problem: problems.LinearRegression | problems.LogisticRegression | problems.OneNeuron | problems.PhaseRetrieval
    starts: tuple[float, float]

    @property
    def parts(self) -> int:
        """Points of a cell: many where the law has atoms."""
        return ATOM_PARTS if self._enumerable else SMOOTH_PARTS

    @property
    def _enumerable(self) -> bool:
        return enumerable(len(self.problem.targets), self.problem.batch_size)

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return runs of the problem."""
        return self.problem.paths(starts, steps, rng)[..., 0]

    def law(self, x: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Return the masses of every batch's next value, or of their convolved law."""
        gradients, step, batch = self._gradients(x), self.problem.step_size, self.problem.batch_size
        if self._enumerable:
            shares, probabilities = batches(gradients.shape[1], batch)
            return masses_of_atoms(x[:, None] - step * gradients @ shares.T, probabilities, edges)
        drift = x - step * gradients.mean(axis=1)
        residuals = -step / batch * (gradients - gradients.mean(axis=1, keepdims=True))
        spacing = float(np.diff(edges).min()) / FINENESS
        return masses_below(
            np.stack([_power(r, batch, spacing).below(edges - d) for r, d in zip(residuals, drift, strict=True)])
        )

    def spread(self, x: np.ndarray) -> np.ndarray:
        """Return `step sd(f_i') / sqrt(batch)`."""
        return self.problem.step_size * self._gradients(x).std(axis=1) / np.sqrt(self.problem.batch_size)

    def rows(self, edges: np.ndarray) -> np.ndarray:
        """Return the problem's own kernel."""
        return rows_of(self.problem.kernel(edges))

    def _gradients(self, x: np.ndarray) -> np.ndarray:
        p = self.problem
        return p.example_gradients(x[:, None, None], p.features, p.targets)[..., 0]


@dataclass(frozen=True, eq=False)
class LogLossChain(Chain):
    """Over-parametrised linear regression with one example a step, seen through the logarithm of its full loss.

    Noise vanishes at the minimum, so no grid resolves w for long; but `log f` is a Markov chain by itself,
    `log f' = log f + 2 log |1 - step a_i^2|`: a random walk with as many increments as examples.
    """

    name: str
    problem: problems.LinearRegression
    starts: tuple[float, float]
    parts = ATOM_PARTS

    @cached_property
    def increments(self) -> np.ndarray:
        """The increments, one an example, shape (examples,)."""
        return 2 * np.log(np.abs(1 - self.problem.step_size * self.problem.features[:, 0] ** 2))

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return runs of the log loss itself: w - w* would lose its digits as it shrinks."""
        drawn = rng.integers(len(self.increments), size=(len(starts), steps))
        return starts[:, None] + np.pad(np.cumsum(self.increments[drawn], axis=1), ((0, 0), (1, 0)))

    def law(self, x: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Return the masses of the increments' atoms."""
        every = len(self.increments)
        return masses_of_atoms(x[:, None] + self.increments, np.full(every, 1 / every), edges)

    def spread(self, x: np.ndarray) -> np.ndarray:
        """Return the standard deviation of the increments."""
        return np.full(len(x), self.increments.std())

    def rows(self, edges: np.ndarray) -> np.ndarray:
        """Return exact interval overlaps: a cell moved by an increment stays an interval."""
        moved = edges[:, None] + self.increments
        return masses_below(average_below(NoNoise(), edges, moved[:-1], moved[1:]).mean(axis=1))


@dataclass(frozen=True, eq=False)
class DrawnChain(Chain):
    """A problem of the training prior in one coordinate, without momentum: its laws are counted from simulated steps.

    K steps a law cost about 1 / (8 K) in Bhattacharyya distance for each cell that it covers.
    """

    name: str
    problem: DrawnProblem
    starts: tuple[float, float] = (-0.9, 0.9)

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return runs of the problem; what heavy tails throw far out is cut at 1,000 as in training."""
        x = starts[:, None]
        path, stochastic = [x], self.problem.noise.draw(rng, (steps, *x.shape))
        for t in range(steps):
            x = np.clip(x - self.problem.step_size * stochastic(t, x, self.problem.field(x)), -1e3, 1e3)
            path.append(x)
        return np.concatenate(path, axis=1)

    def law(self, x: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Return the share of simulated next values in each cell."""
        return np.stack([_counted(row, edges) for row in self._steps(np.repeat(x[:, None], DRAWS, axis=1))])

    def spread(self, x: np.ndarray) -> np.ndarray:
        """Return the interquartile range over 1.349: heavy tails have no standard deviation."""
        low, high = np.quantile(self._steps(np.repeat(x[:, None], DRAWS, axis=1)), [0.25, 0.75], axis=1)
        return (high - low) / 1.349

    def cell_laws(self, cells: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Return the share of simulated next values from states spread evenly over each cell."""
        return self._from_cells(cells, edges, DRAWS)

    def rows(self, edges: np.ndarray) -> np.ndarray:
        """Return the same for every cell, from fewer steps."""
        return self._from_cells(np.arange(len(edges) - 1), edges, DRAWS_A_ROW)

    def _from_cells(self, cells: np.ndarray, edges: np.ndarray, draws: int) -> np.ndarray:
        points = edges[cells, None] + np.diff(edges)[cells, None] * (np.arange(draws) + 0.5) / draws
        return np.stack([_counted(row, edges) for row in self._steps(points)])

    def _steps(self, points: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(0)
        return self.paths(points.ravel(), 1, rng)[:, 1].reshape(points.shape)


def masses_below(below: np.ndarray) -> np.ndarray:
    """Return laws from distribution functions at the edges, shapes (..., n + 1) and (..., n + 2)."""
    ends = np.concatenate([np.zeros_like(below[..., :1]), below, np.ones_like(below[..., :1])], axis=-1)
    masses = np.maximum(np.diff(ends, axis=-1), 0.0)
    return masses / masses.sum(axis=-1, keepdims=True)


def masses_of_atoms(atoms: np.ndarray, probabilities: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the laws of atoms (Q, K) with probabilities (K,), shape (Q, n + 2)."""
    slots = np.searchsorted(edges, atoms, side="right")
    laws = np.zeros((len(atoms), len(edges) + 1))
    np.add.at(laws, (np.arange(len(atoms))[:, None], slots), probabilities)
    return laws


def rows_of(kernel: TransitionKernel | tuple[TransitionKernel, ...]) -> np.ndarray:
    """Return the rows of a kernel of one coordinate with their overflow, shape (n, n + 2)."""
    assert isinstance(kernel, TransitionKernel)
    return np.hstack([kernel.overflow[:, :1], kernel.matrix, kernel.overflow[:, 1:]])


def generator(purpose: str, family: str, seed: int) -> np.random.Generator:
    """Return the generator of one unit: the same for every estimator, another for every purpose, family and seed."""
    return np.random.default_rng([zlib.crc32(purpose.encode()), zlib.crc32(family.encode()), seed])


def drawn_chain(name: str, seed: int) -> DrawnChain:
    """Draw a problem of the prior, one coordinate and no momentum, for the family `prior/<field>/<noise>`.

    Draws are taken until four runs of 60 values from spread starts meet the grid rule on 100 cells, as the reporting
    problems do: a spread of 1.3 cells.
    """
    _, field, noise = name.split("/")
    rng = np.random.default_rng([zlib.crc32(name.encode()), STREAM, seed])
    while True:
        problem = random_problem(rng, (field,), 1)
        if problem.coordinates > 1 or problem.momentum:
            continue
        chain = DrawnChain(name, replace(problem, noise=NOISES[noise](rng, 1, problem.jump / problem.step_size)))
        runs = chain.paths(np.linspace(*chain.starts, 4), 59, rng)
        if default_edges(Trajectories.from_arrays(list(runs)), 0, CELLS)[1] is None:
            return chain


REPORTING: dict[str, Chain] = {
    chain.name: chain
    for chain in (
        GaussianChain("quadratic", problems.Quadratic(), (-1.0, 1.0)),
        GaussianChain("double_well", problems.DoubleWell(), (-1.5, 1.5)),
        GaussianChain("tilted_triple_well", problems.TiltedTripleWell(), (-1.4, 1.4)),
        MinibatchChain("linear_regression", problems.LinearRegression(), (-0.5, 2.5)),
        LogLossChain(
            "interpolating_regression", problems.LinearRegression(step_size=1.0, over_parametrised=True), (-1.0, 2.0)
        ),
        MinibatchChain("logistic_regression", problems.LogisticRegression(), (0.0, 6.0)),
        MinibatchChain("phase_retrieval", problems.PhaseRetrieval(), (-1.1, 1.1)),
        MinibatchChain("one_neuron", problems.OneNeuron(), (-0.6, 1.6)),
    )
}
# One family a field, each with another noise, so that every form of the prior is seen.
PRIOR = tuple(f"prior/{field}/{noise}" for field, noise in zip(TRAINING_FIELDS, (*NOISES, "gaussian"), strict=True))


def chain_of(family: str, seed: int) -> Chain:
    """Return the chain of a family: fixed for reporting, drawn by seed from the prior."""
    return REPORTING[family] if family in REPORTING else drawn_chain(family, seed)


def _counted(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    slots = np.searchsorted(edges, values, side="right")
    return np.bincount(slots, minlength=len(edges) + 1) / len(values)
