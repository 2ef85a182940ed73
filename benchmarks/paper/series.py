"""The series of the in-context scaling laws, each with the exact law of its next value.

Arrays are runs of T values. A law is probabilities of the cells of a grid, given one value; what lies beyond the grid
belongs to its outermost cells.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr


@dataclass(frozen=True, eq=False)
class Series:
    """One family of series with Gaussian noise in some scale.

    Attributes:
        name: The family.
        draw: (T, generator) -> values, shape (T,).
        mean: Mean of the next value in the scale of the noise, given values.
        sd: Standard deviation of the noise.
        scale: The scale in which the noise is Gaussian: identity, or the logarithm.
        held: What the range of every run holds at least, (low, high), or None for the range of the run alone.
    """

    name: str
    draw: Callable[[int, np.random.Generator], np.ndarray]
    mean: Callable[[np.ndarray], np.ndarray]
    sd: float
    scale: Callable[[np.ndarray], np.ndarray]
    held: tuple[float, float] | None

    def law(self, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Return the law of what follows each value, shape (Q, n)."""
        inner = self.scale(edges[1:-1])
        below = ndtr((inner - self.mean(values)[:, None]) / self.sd)
        return np.diff(np.pad(below, ((0, 0), (1, 1)), constant_values=(0, 1)), axis=1)

    def range(self, values: np.ndarray) -> tuple[float, float]:
        """Return the range that a run is written in: its own and `MARGIN` of it on either side, or what is held.

        Of Brownian motions it is that of the whole run, as in the paper: the scale of a series that never settles is
        not known before its end. The laws of the others are narrower than what is held.
        """
        low, high = float(values.min()), float(values.max())
        if self.held is not None:
            return min(low, self.held[0]), max(high, self.held[1])
        room = MARGIN * (high - low)
        return low - room, high + room


MARGIN = 0.05
STEP, VOLATILITY, RATE, JITTER = 1.0, 0.02, 3.8, 0.03


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _logistic(x: np.ndarray) -> np.ndarray:
    # Noise can throw a value out of [0, 1]; it goes on from the nearer end.
    inside = np.clip(x, 0.0, 1.0)
    return RATE * inside * (1 - inside)


def _logistic_run(length: int, rng: np.random.Generator) -> np.ndarray:
    values = np.empty(length)
    values[0] = rng.uniform(0.2, 0.8)
    noise = JITTER * rng.standard_normal(length)
    for t in range(1, length):
        values[t] = _logistic(values[t - 1]) + noise[t]
    return values


def _motion(length: int, rng: np.random.Generator) -> np.ndarray:
    return np.cumsum(STEP * rng.standard_normal(length))


def _geometric(length: int, rng: np.random.Generator) -> np.ndarray:
    # Without drift, the mean of the logarithm falls by half the variance a step.
    return np.exp(np.cumsum(VOLATILITY * rng.standard_normal(length) - VOLATILITY**2 / 2))


SERIES: dict[str, Series] = {
    series.name: series
    for series in (
        Series("Brownian motion", _motion, _same, STEP, _same, None),
        Series(
            "geometric Brownian motion",
            _geometric,
            lambda x: np.log(x) - VOLATILITY**2 / 2,
            VOLATILITY,
            np.log,
            None,
        ),
        Series("noisy logistic map", _logistic_run, _logistic, JITTER, _same, (-0.15, 1.1)),
        Series(
            "iid Gaussian",
            lambda length, rng: rng.standard_normal(length),
            lambda x: np.zeros_like(x),
            1.0,
            _same,
            (-4.5, 4.5),
        ),
    )
}


@dataclass(frozen=True, eq=False)
class FiniteChain:
    """A Markov chain on states 0 .. k - 1.

    Attributes:
        matrix: Transition probabilities, shape (k, k).
    """

    matrix: np.ndarray

    @property
    def states(self) -> int:
        """Number of states k."""
        return len(self.matrix)

    @property
    def stationary(self) -> np.ndarray:
        """The stationary law, shape (k,): the solution of `pi P = pi, sum of pi = 1`."""
        k = self.states
        equations = np.vstack([self.matrix.T - np.eye(k), np.ones(k)])
        return np.linalg.lstsq(equations, np.append(np.zeros(k), 1.0), rcond=None)[0]

    @property
    def spectral_gap(self) -> float:
        """One minus the modulus of the second largest eigenvalue."""
        return float(1 - np.sort(np.abs(np.linalg.eigvals(self.matrix)))[-2])

    def draw(self, length: int, rng: np.random.Generator) -> np.ndarray:
        """Return a run of states from the stationary law, shape (T,)."""
        below = np.cumsum(self.matrix, axis=1)
        state = int(rng.choice(self.states, p=np.maximum(self.stationary, 0) / np.maximum(self.stationary, 0).sum()))
        path = [state]
        for u in rng.random(length - 1):
            state = min(int(np.searchsorted(below[state], u, side="right")), self.states - 1)
            path.append(state)
        return np.array(path)

    def counted(self, path: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return what counting says after the values 0 .. t, for each t of `rows`: shape (Q, k).

        The maximum-likelihood estimate of the row of value t from the transitions so far, uniform where there is none.
        """
        laws = np.full((len(rows), self.states), 1 / self.states)
        for i, t in enumerate(rows):
            following = path[1 : t + 1][path[:t] == path[t]]
            if len(following):
                laws[i] = np.bincount(following, minlength=self.states) / len(following)
        return laws


def random_chain(states: int, rng: np.random.Generator) -> FiniteChain:
    """Return a chain whose rows are uniform on the simplex."""
    return FiniteChain(rng.dirichlet(np.ones(states), size=states))


def two_states(gap: float, share: float) -> FiniteChain:
    """Return the chain of two states with a spectral gap in (0, 1] and the stationary share of state 0.

    Its second eigenvalue is `1 - gap`: the larger the gap, the sooner the start is forgotten.
    """
    return FiniteChain(np.array([[1 - (1 - share) * gap, (1 - share) * gap], [share * gap, 1 - share * gap]]))


def expected_of_counting(states: int, length: ArrayLike) -> np.ndarray:
    """Return `k (k - 1) / (8 n)`: the Bhattacharyya distance that counting n transitions leaves, to first order.

    A row seen m times is off by `(k - 1) / (8 m)` on average (the distance is an eighth of a chi-squared variable with
    k - 1 degrees of freedom, over m), and row i is seen `n pi_i` times and weighted by `pi_i`.
    """
    return states * (states - 1) / (8 * np.asarray(length, dtype=float))
