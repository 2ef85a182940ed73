"""Several coordinates that drive one another: the multivariate Markov chain of Ching, Fung and Ng."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast._shown import Shown
from descentcast.errors import ArgumentError
from descentcast.kernels import _chains
from descentcast.kernels._grid import as_trajectories
from descentcast.kernels._kernel import TransitionKernel
from descentcast.trajectories import Trajectories

# Each row of counts is shrunk to the marginal law of the next cell, which counts as much as one transition; likewise
# the marginal law to the uniform one.
SMOOTHING = 1.0
CONVERGED, ROUNDS = 1e-9, 10_000


@dataclass(frozen=True, eq=False, repr=False)
class CoupledKernel(Shown):
    """Kernel of several coordinates whose laws drive one another.

    With `x_t^(i)` the law of coordinate i over its cells (a row vector),

        x_{t+1}^(i) = sum over j of lambda_ij x_t^(j) P^(i,j),    lambda_ij >= 0,    sum over j of lambda_ij = 1.

    P^(i,i) is the kernel of coordinate i by itself, P^(i,j) the law of its next cell given the present cell of
    coordinate j. The model mixes laws: it is exact for independent coordinates and holds no interaction of two
    coordinates.

    Attributes:
        kernels: The diagonal blocks, one kernel of n_i cells a coordinate.
        cross: For each pair (i, j), i != j, a matrix from the cells of coordinate j to below the grid, the cells, and
            above the grid of coordinate i, shape (n_j, n_i + 2); each row sums to 1.
        weights: lambda, shape (D, D): row i holds how much the next value of coordinate i rests on each coordinate.

    Raises:
        ArgumentError: No kernel, blocks that are missing or do not fit, weights that are not laws.

    References:
        Ching, Fung, Ng (2002), A multivariate Markov chain model for categorical data sequences and its applications in
        demand predictions, IMA Journal of Management Mathematics 13, equations 1 to 3 (there with column vectors).
    """

    kernels: tuple[TransitionKernel, ...]
    cross: Mapping[tuple[int, int], np.ndarray]
    weights: np.ndarray

    def __post_init__(self) -> None:
        kernels = _kernels(self.kernels)
        cross = {pair: np.array(block, dtype=np.float64) for pair, block in self.cross.items()}
        for (i, target), (j, origin) in _pairs(kernels):
            shape = (len(origin.matrix), len(target.matrix) + 2)
            if (i, j) not in cross or cross[i, j].shape != shape:
                raise ArgumentError(f"cross must hold a block of shape {shape} at {(i, j)}")
            _checks.distributions(f"cross[{i}, {j}]", cross[i, j])
            cross[i, j].flags.writeable = False
        weights = _weights(self.weights, len(kernels)).copy()
        weights.flags.writeable = False
        object.__setattr__(self, "kernels", kernels)
        object.__setattr__(self, "cross", cross)
        object.__setattr__(self, "weights", weights)

    @property
    def matrix(self) -> np.ndarray:
        """The block matrix on cells, `(x^(1), ..., x^(D)) -> (x^(1), ..., x^(D)) Q`, shape (sum n_i, sum n_i).

        The block in the rows of coordinate j and the columns of coordinate i is `lambda_ij P^(i,j)`: the transpose of
        the paper's, which multiplies column vectors.
        """
        D = range(len(self.kernels))
        return np.block([[self.weights[i, j] * self._block(i, j)[:, 1:-1] for i in D] for j in D])

    def propagate(
        self, initial: Sequence[ArrayLike], steps: int
    ) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """Return the laws of all coordinates, and the mass that left their grids, after 0, 1, ..., `steps` steps.

        A coordinate that left its grid on one side carries its share of the others off on that side, so that the mass
        of every coordinate stays 1.

        Args:
            initial: Law of each start over the cells, one array of shape (m, n_i) a coordinate.
            steps: Number of steps, at least 0.

        Returns:
            Densities, an array of shape (m, steps + 1, n_i) a coordinate, and overflow below and above the grid, an
            array of shape (m, steps + 1, 2) a coordinate: together they sum to 1 at each step.

        Raises:
            ArgumentError: `initial` does not hold laws of these shapes; `steps` is negative.

        Examples:
            >>> stay = TransitionKernel([0, 1, 2], np.eye(2), np.zeros((2, 2)))
            >>> swap = np.array([[0, 0, 1, 0], [0, 1, 0, 0]])
            >>> coupled = CoupledKernel((stay, stay), {(0, 1): swap, (1, 0): swap}, [[0.5, 0.5], [0, 1]])
            >>> density, overflow = coupled.propagate([[[1, 0]], [[1, 0]]], steps=2)
            >>> density[0][0]
            array([[1.  , 0.  ],
                   [0.5 , 0.5 ],
                   [0.25, 0.75]])
        """
        steps = _checks.integer("steps", steps, low=0)
        starts = [_checks.distributions(f"initial[{i}]", law) for i, law in enumerate(initial)]
        sizes = [len(kernel.matrix) for kernel in self.kernels]
        if [law.shape for law in starts] != [(len(starts[0]), n) for n in sizes]:
            shapes = ", ".join(f"(m, {n})" for n in sizes)
            raise ArgumentError(f"initial has shapes {[law.shape for law in starts]}, must be {shapes} with one m")
        laws = [np.zeros((len(law), steps + 1, n + 2)) for law, n in zip(starts, sizes, strict=True)]
        for law, start in zip(laws, starts, strict=True):
            law[:, 0, 1:-1] = start
        # Blocks with the overflow in their rows too, first and last; those of weight 0 are left out.
        active = [(i, j, self.weights[i, j] * _bordered(self._block(i, j))) for i, j in np.argwhere(self.weights)]
        for t in range(steps):
            for i, j, block in active:
                laws[i][:, t + 1] += laws[j][:, t] @ block
        return tuple(law[..., 1:-1] for law in laws), tuple(law[..., [0, -1]] for law in laws)

    def to_dict(self) -> dict[str, Any]:
        """Return kernels, cross blocks and weights as plain values."""
        cross = [{"to": i, "from": j, "rows": block.tolist()} for (i, j), block in self.cross.items()]
        return {"kernels": [k.to_dict() for k in self.kernels], "cross": cross, "weights": self.weights.tolist()}

    def _block(self, i: int, j: int) -> np.ndarray:
        if i != j:
            return self.cross[i, j]
        matrix, overflow = _chains.proper(self.kernels[i].matrix, self.kernels[i].overflow)
        return np.hstack([overflow[:, :1], matrix, overflow[:, 1:]])


def couple(
    kernels: Sequence[TransitionKernel], trajectories: Trajectories, weights: ArrayLike | str | None = None
) -> CoupledKernel:
    """Couple the kernels of single coordinates by what recorded runs say of one coordinate's next cell given another's.

    Off-diagonal blocks are counts of transitions within runs, `P^(i,j)(a, b) = (N_ab + s M_b) / (N_a + s)`, with M the
    marginal law of the next cell of coordinate i, smoothed likewise towards the uniform law, and s = 1. The weights
    maximise for each coordinate i the log likelihood

        sum over t of log( sum over j of lambda_ij P_t^(i,j)(cell of x_t^(j), cell of x_{t+1}^(i)) )

    on the simplex, where the counts of `P_t` are of transitions before t only. It is concave; expectation maximisation
    climbs to its maximum. The paper's linear programme instead fits the stationary law, which blocks made of counts
    reproduce at any weights, so that it cannot tell them apart. The diagonal blocks are taken as they are: if they were
    fitted to these runs by more than a few parameters, their weight is overstated. A coordinate that drives another by
    a share only gets a weight above that share, as its counted block holds the rest as a marginal law.

    Args:
        kernels: One kernel a coordinate.
        trajectories: Runs of these coordinates. Transitions that start outside a grid are left out.
        weights: lambda, shape (D, D), rows that sum to 1; "identity" for independent coordinates, exactly; by default
            fitted.

    Returns:
        The coupled kernel.

    Raises:
        ArgumentError: Not one kernel a coordinate, weights that are not laws, no transition that starts on the grids.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> driver = rng.uniform(0, 2, size=400)
        >>> runs = Trajectories.from_arrays([np.stack([np.roll(driver, 1), driver], axis=1)])
        >>> even = TransitionKernel([0, 1, 2], np.full((2, 2), 0.5), np.zeros((2, 2)))
        >>> couple([even, even], runs).weights.round(1)[0]  # the first coordinate repeats the second
        array([0., 1.])
    """
    kernels, runs = _kernels(kernels), as_trajectories(trajectories)
    D = len(kernels)
    if len(runs.names) != D:
        raise ArgumentError(f"kernels holds {D} kernel(s), must hold one for each of {len(runs.names)} coordinate(s)")
    chosen = np.eye(D) if isinstance(weights, str) and _checks.one_of("weights", weights, ("identity",)) else weights
    moves = [runs.transitions(i) for i in range(D)]
    present = np.stack([kernel.cell(x) for kernel, (x, _) in zip(kernels, moves, strict=True)])
    # Columns of a row: below the grid, the cells, above the grid.
    following = np.stack([kernel.cell(y) + 1 for kernel, (_, y) in zip(kernels, moves, strict=True)])
    sizes = np.array([len(kernel.matrix) for kernel in kernels])
    usable = ((present >= 0) & (present < sizes[:, None])).all(axis=0)
    present, following = present[:, usable], following[:, usable]
    if not usable.any():
        raise ArgumentError("trajectories hold no transition that starts on the grids of kernels")
    cross = {(i, j): _counted(present[j], following[i], sizes[j], sizes[i] + 2) for (i, _), (j, _) in _pairs(kernels)}
    if chosen is None:
        chosen = np.stack([_fitted(i, kernels, present, following) for i in range(D)])
    return CoupledKernel(kernels, cross, _weights(chosen, D))


def _counted(present: np.ndarray, following: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Laws of the following column given the present row, by smoothed counts."""
    counts = np.zeros((rows, columns))
    np.add.at(counts, (present, following), 1.0)
    marginal = (counts.sum(axis=0) + SMOOTHING / columns) / (len(present) + SMOOTHING)
    return (counts + SMOOTHING * marginal) / (counts.sum(axis=1, keepdims=True) + SMOOTHING)


def _foretold(present: np.ndarray, following: np.ndarray, columns: int) -> np.ndarray:
    """Probability of each transition under `_counted` of the transitions before it."""
    before = np.arange(len(present))
    marginal = (_earlier(following) + SMOOTHING / columns) / (before + SMOOTHING)
    both = _earlier(present * columns + following)
    return (both + SMOOTHING * marginal) / (_earlier(present) + SMOOTHING)


def _earlier(labels: np.ndarray) -> np.ndarray:
    """Return how often each label occurred before its place."""
    order = np.argsort(labels, kind="stable")
    _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    earlier = np.empty(len(labels))
    earlier[order] = np.arange(len(labels)) - np.repeat(first, counts)
    return earlier


def _fitted(i: int, kernels: tuple[TransitionKernel, ...], present: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Weights of the mixture for coordinate i, by expectation maximisation from even ones."""
    own = np.roll(np.hstack([kernels[i].matrix, kernels[i].overflow]), 1, axis=1)
    columns = own.shape[1]
    masses = np.stack(
        [
            own[present[i], following[i]] if j == i else _foretold(present[j], following[i], columns)
            for j in range(len(kernels))
        ]
    )
    weights = np.full(len(kernels), 1 / len(kernels))
    # A transition that no block allows says nothing of the weights.
    masses = masses[:, (masses > 0).any(axis=0)]
    for _ in range(ROUNDS if masses.size else 0):
        shares = weights[:, None] * masses
        updated = (shares / shares.sum(axis=0)).mean(axis=1)
        if np.abs(updated - weights).max() < CONVERGED:
            return updated
        weights = updated
    return weights


def _bordered(block: np.ndarray) -> np.ndarray:
    """A block with the overflow among its rows too, first and last: what has left, stays out."""
    columns = block.shape[1]
    weight = block[0].sum()
    out = np.eye(columns)[[0, -1]] * weight
    return np.vstack([out[:1], block, out[1:]])


def _pairs(
    kernels: tuple[TransitionKernel, ...],
) -> list[tuple[tuple[int, TransitionKernel], tuple[int, TransitionKernel]]]:
    """All pairs of different coordinates, numbered: (target, origin)."""
    return list(permutations(enumerate(kernels), 2))


def _kernels(value: Any) -> tuple[TransitionKernel, ...]:
    kernels = tuple(value) if isinstance(value, Sequence) else (value,)
    if not kernels or not all(isinstance(kernel, TransitionKernel) for kernel in kernels):
        raise ArgumentError(f"kernels == {value!r:.80}, must be TransitionKernels, one a coordinate")
    return kernels


def _weights(value: Any, coordinates: int) -> np.ndarray:
    weights = _checks.distributions("weights", value)
    if weights.shape != (coordinates, coordinates):
        raise ArgumentError(f"weights has shape {weights.shape}, must be {(coordinates, coordinates)}")
    return weights
