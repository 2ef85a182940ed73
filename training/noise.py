"""Random gradient noise of the prior: Gaussian, finite minibatches, heavy tails, skew, noise that follows the gradient.

A family gives the noise of one problem; drawn for a set of runs, that noise turns the gradient of every step into a
stochastic one. All are centred: the mean of the stochastic gradient is the gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.special import gammainc, ndtr, stdtr

Shape = tuple[int, int, int]  # steps, runs, D
# (x, gradient, q) -> P(first coordinate of the stochastic gradient <= q), shapes (N, D), (N, D), (N, m) -> (N, m)
Law = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
MOST_ATOMS = 64


@dataclass(frozen=True)
class Noise:
    """The noise of one problem.

    Attributes:
        draw: (generator, shape) -> (step, x, gradient) -> stochastic gradient, shapes (runs, D).
        law: Distribution function of the first coordinate of the stochastic gradient, where it has a simple form.
    """

    draw: Callable[[Generator, Shape], Callable[[int, np.ndarray, np.ndarray], np.ndarray]]
    law: Law | None


def random_noise(rng: Generator, family: str, coordinates: int, scale: float) -> Noise:
    """Draw the noise of one problem from `family`; `scale` is its typical size."""
    return NOISES[family](rng, coordinates, scale)


def gaussian(rng: Generator, coordinates: int, scale: float) -> Noise:
    """Additive: g + scale N(0, C): coordinates correlated, of unequal size."""
    mix = scale * _mixing(rng, coordinates)
    spread = np.linalg.norm(mix[:, 0])
    return Noise(
        lambda rng, shape: _additive(rng.standard_normal(shape) @ mix),
        lambda x, g, q: ndtr((q - g[:, :1]) / spread),
    )


def student_t(rng: Generator, coordinates: int, scale: float) -> Noise:
    """Additive: g + scale t_nu, nu from 1.5 (infinite variance) to 8."""
    mix, nu = 0.8 * scale * _mixing(rng, coordinates), np.exp(rng.uniform(np.log(1.5), np.log(8)))
    return Noise(
        lambda rng, shape: _additive(rng.standard_t(nu, shape) @ mix),
        (lambda x, g, q: stdtr(nu, (q - g) / mix[0, 0])) if coordinates == 1 else None,
    )


def skewed(rng: Generator, coordinates: int, scale: float) -> Noise:
    """Additive: g + scale (Gamma(k) - k) / sqrt(k), of random sign."""
    mix = scale * rng.choice([-1, 1]) * _mixing(rng, coordinates)
    k = np.exp(rng.uniform(np.log(0.5), np.log(6)))

    def law(x: np.ndarray, g: np.ndarray, q: np.ndarray) -> np.ndarray:
        below = gammainc(k, np.maximum(k + np.sqrt(k) * (q - g) / mix[0, 0], 0))
        return below if mix[0, 0] > 0 else 1 - below

    return Noise(
        lambda rng, shape: _additive((rng.gamma(k, size=shape) - k) / np.sqrt(k) @ mix),
        law if coordinates == 1 else None,
    )


def minibatch(rng: Generator, coordinates: int, scale: float) -> Noise:
    """Mean over a minibatch, with replacement, of (1 + b_i) g + a_i, a and b centred over n examples."""
    examples = int(np.exp(rng.uniform(np.log(2), np.log(33))))
    batch = int(rng.choice([1, 1, 1, 2, 4]))
    a = rng.standard_normal((examples, coordinates)) * scale
    b = rng.standard_normal((examples, 1)) * rng.choice([0.0, 0.3, 0.8])
    a, b = a - a.mean(0), b - b.mean(0)

    def draw(rng: Generator, shape: Shape) -> Callable[[int, np.ndarray, np.ndarray], np.ndarray]:
        examples_drawn = rng.integers(0, examples, (*shape[:2], batch))
        offset, slope = a[examples_drawn].mean(2), 1 + b[examples_drawn].mean(2)
        return lambda t, x, g: slope[t] * g + offset[t]

    if examples**batch > MOST_ATOMS:
        return Noise(draw, None)
    batches = np.stack(np.meshgrid(*[np.arange(examples)] * batch), axis=-1).reshape(-1, batch)
    slopes, offsets = 1 + b[batches].mean(1)[:, 0], a[batches].mean(1)[:, 0]

    def law(x: np.ndarray, g: np.ndarray, q: np.ndarray) -> np.ndarray:
        atoms = np.sort(g[:, :1] * slopes + offsets, axis=1)
        return (atoms[:, None, :] <= q[:, :, None]).mean(2)

    return Noise(draw, law)


def proportional(rng: Generator, coordinates: int, scale: float) -> Noise:
    """Relative: g (1 + c z) and a little more: noise that vanishes with the gradient, as in interpolation."""
    relative, rest = np.exp(rng.uniform(np.log(0.1), np.log(1.2))), scale * rng.choice([0.0, 0.05, 0.3])

    def draw(rng: Generator, shape: Shape) -> Callable[[int, np.ndarray, np.ndarray], np.ndarray]:
        factor, offset = 1 + relative * rng.standard_normal(shape), rest * rng.standard_normal(shape)
        return lambda t, x, g: g * factor[t] + offset[t]

    def law(x: np.ndarray, g: np.ndarray, q: np.ndarray) -> np.ndarray:
        return ndtr((q - g[:, :1]) / np.maximum(np.hypot(relative * g[:, :1], rest), 1e-12))

    return Noise(draw, law)


def state_dependent(rng: Generator, coordinates: int, scale: float) -> Noise:
    """Additive, its size by place: g + scale exp(s(x)) N(0, C) with s a random wave."""
    mix = scale * _mixing(rng, coordinates)
    wave = rng.standard_normal(coordinates) * rng.uniform(0.5, 3)
    phase, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.5)

    spread = np.linalg.norm(mix[:, 0])

    def draw(rng: Generator, shape: Shape) -> Callable[[int, np.ndarray, np.ndarray], np.ndarray]:
        z = rng.standard_normal(shape) @ mix
        return lambda t, x, g: g + z[t] * np.exp(depth * np.sin(x @ wave + phase))[:, None]

    def law(x: np.ndarray, g: np.ndarray, q: np.ndarray) -> np.ndarray:
        return ndtr((q - g[:, :1]) / (spread * np.exp(depth * np.sin(x @ wave + phase)))[:, None])

    return Noise(draw, law)


NOISES: dict[str, Callable[[Generator, int, float], Noise]] = {
    "gaussian": gaussian,
    "minibatch": minibatch,
    "student_t": student_t,
    "skewed": skewed,
    "proportional": proportional,
    "state_dependent": state_dependent,
}


def _additive(z: np.ndarray) -> Callable[[int, np.ndarray, np.ndarray], np.ndarray]:
    return lambda t, x, g: g + z[t]


def _mixing(rng: Generator, coordinates: int) -> np.ndarray:
    """Return a matrix that correlates the coordinates and gives them unequal sizes."""
    if coordinates == 1:
        return np.eye(1)
    spread = np.diag(np.exp(rng.normal(0, 0.5, coordinates)))
    return spread + 0.4 * rng.standard_normal((coordinates, coordinates))
