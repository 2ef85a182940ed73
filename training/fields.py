"""Random gradient fields in 1 to 3 coordinates: what pulls a run of the prior about.

A field maps points of shape (runs, D) to gradients of the same shape. Every field is scaled to a root mean square
slope of about 1 over the domain [-1, 1]^D, so that a step size of 1 means the same for all of them, and is confined: a
spring outside the domain brings runs back.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

Field = Callable[[np.ndarray], np.ndarray]


def random_field(rng: Generator, coordinates: int, family: str) -> Field:
    """Draw a confined field of `family`, scaled to slope 1 over the domain."""
    raw = FIELDS[family](rng, coordinates)
    points = rng.uniform(-1, 1, (64, coordinates))
    slope = np.sqrt(np.mean((raw(points + 0.01) - raw(points - 0.01)) ** 2)) / 0.02
    spread = raw(points).std()
    # Fields made of flats and jumps have slope zero nearly everywhere: there the spread of the gradient sets the scale.
    scale = 1 / max(slope, spread, 1e-6)
    stiffness = rng.uniform(0.3, 2.0)

    def field(x: np.ndarray) -> np.ndarray:
        inside = np.minimum(np.maximum(x, -1.0), 1.0)
        return scale * raw(x) + stiffness * (x - inside)

    return field


def fourier(rng: Generator, coordinates: int) -> Field:
    """Gradient of V(x) = sum_k a_k / |w_k| sin(w_k x + phi_k); long waves make nearly linear fields."""
    length = np.exp(rng.uniform(np.log(0.25), np.log(2.5)))
    waves = rng.standard_normal((12, coordinates)) / length
    phases = rng.uniform(0, 2 * np.pi, 12)
    amplitudes = (rng.standard_normal(12) / np.linalg.norm(waves, axis=1))[:, None] * waves
    return lambda x: np.cos(x @ waves.T + phases) @ amplitudes


def spline(rng: Generator, coordinates: int) -> Field:
    """Smooth random gradients along random directions: cubic interpolation of random knots, tabulated."""
    knots = int(rng.integers(4, 12))
    heights = np.cumsum(rng.standard_normal((_directions(coordinates), knots)), axis=1)
    tilt = rng.uniform(0, 2) * np.linspace(-2, 2, knots)
    tables = [np.interp(_GRID, np.linspace(-1.6, 1.6, knots), h - h.mean() + tilt) for h in heights]
    width = int(len(_GRID) / knots)
    kernel = np.hanning(2 * (width // 2) + 3)
    smooth = [np.convolve(np.pad(t, len(kernel) // 2, "edge"), kernel / kernel.sum(), "valid") for t in tables]
    return _ridges(rng, coordinates, smooth)


def bumps(rng: Generator, coordinates: int) -> Field:
    """Gradient of V(x) = sum_k a_k exp(-|x - c_k|^2 / 2 l_k^2): pits where a_k < 0, hills where a_k > 0."""
    count = int(rng.integers(2, 9))
    centres = rng.uniform(-1.1, 1.1, (count, coordinates))
    lengths = np.exp(rng.uniform(np.log(0.15), np.log(0.8), count))
    heights = rng.standard_normal(count) - 0.7

    def field(x: np.ndarray) -> np.ndarray:
        offset = x[:, None, :] - centres
        weight = -heights / lengths**2 * np.exp(-0.5 * (offset**2).sum(-1) / lengths**2)
        return (weight[..., None] * offset).sum(1)

    return field


def mixture(rng: Generator, coordinates: int) -> Field:
    """Gradient of V(x) = -log sum_k w_k exp(-|x - c_k|^2 / 2 l^2): wells that share their slopes."""
    count = int(rng.integers(2, 6))
    centres = rng.uniform(-0.9, 0.9, (count, coordinates))
    weights = np.log(rng.dirichlet(np.full(count, 2.0)) + 1e-3)
    length = np.exp(rng.uniform(np.log(0.15), np.log(0.6)))

    def field(x: np.ndarray) -> np.ndarray:
        offset = (x[:, None, :] - centres) / length
        logits = weights - 0.5 * (offset**2).sum(-1)
        share = np.exp(logits - logits.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        return (share[..., None] * offset).sum(1) / length

    return field


def network(rng: Generator, coordinates: int) -> Field:
    """Gradient of V(x) = a tanh(W2 tanh(W1 x + b1) + b2), by the chain rule."""
    width = 8
    w1 = rng.standard_normal((coordinates, width)) * np.exp(rng.uniform(0, 1.5))
    b1 = rng.standard_normal(width) * 1.5
    w2 = rng.standard_normal((width, width)) * 1.2 / np.sqrt(width)
    b2 = rng.standard_normal(width) * 0.3
    a = rng.standard_normal(width)

    def field(x: np.ndarray) -> np.ndarray:
        h1 = np.tanh(x @ w1 + b1)
        h2 = np.tanh(h1 @ w2 + b2)
        return (((1 - h2**2) * a) @ w2.T * (1 - h1**2)) @ w1.T

    return field


def piecewise(rng: Generator, coordinates: int) -> Field:
    """Gradients with kinks and jumps along random directions: linear between random breaks, or constant."""
    tables = []
    for _ in range(_directions(coordinates)):
        breaks = np.sort(rng.uniform(-1.2, 1.2, int(rng.integers(1, 6))))
        piece = np.searchsorted(breaks, _GRID)
        slopes = np.abs(rng.standard_normal(len(breaks) + 1)) * rng.choice([0.0, 1.0])
        levels = (
            np.sort(rng.standard_normal(len(breaks) + 1))
            if rng.random() < 0.6
            else rng.standard_normal(len(breaks) + 1)
        )
        middles = np.concatenate([[-1.2], breaks, [1.2]])
        tables.append(levels[piece] + slopes[piece] * (_GRID - 0.5 * (middles[piece] + middles[piece + 1])))
    return _ridges(rng, coordinates, tables)


def power(rng: Generator, coordinates: int) -> Field:
    """Gradient of |u - c|^p along random directions, another stiffness and exponent on either side, p never 2 or 4."""
    tables = []
    for _ in range(_directions(coordinates)):
        left, right = (rng.uniform(1.1, 1.8) if rng.random() < 0.5 else rng.uniform(2.2, 3.5) for _ in range(2))
        stiff_left, stiff_right = np.exp(rng.normal(0, 0.6, 2))
        offset = _GRID - rng.uniform(-0.7, 0.7)
        pull = np.where(
            offset < 0, -stiff_left * np.abs(offset) ** (left - 1), stiff_right * np.abs(offset) ** (right - 1)
        )
        tables.append(pull)
    return _ridges(rng, coordinates, tables)


def rational(rng: Generator, coordinates: int) -> Field:
    """Gradient of sum_k a_k log(1 + (u - c_k)^2 / w_k^2): Cauchy losses; development only."""
    tables = []
    for _ in range(_directions(coordinates)):
        count = int(rng.integers(1, 5))
        centres, widths = rng.uniform(-0.9, 0.9, count), np.exp(rng.uniform(np.log(0.08), np.log(0.8), count))
        offset = (_GRID[:, None] - centres) / widths
        tables.append((rng.uniform(0.3, 1.5, count) / widths * offset / (1 + offset**2)).sum(1))
    return _ridges(rng, coordinates, tables)


def walls(rng: Generator, coordinates: int) -> Field:
    """exp(a (u - c)) - exp(-b (u - c)): soft walls of unequal steepness; development only."""
    tables = []
    for _ in range(_directions(coordinates)):
        a, b = rng.uniform(0.5, 4, 2)
        offset = _GRID - rng.uniform(-0.5, 0.5)
        tables.append(np.exp(a * offset) - np.exp(-b * offset))
    return _ridges(rng, coordinates, tables)


FIELDS: dict[str, Callable[[Generator, int], Field]] = {
    "fourier": fourier,
    "spline": spline,
    "bumps": bumps,
    "mixture": mixture,
    "network": network,
    "piecewise": piecewise,
    "power": power,
    "rational": rational,
    "walls": walls,
}
DEVELOPMENT_FIELDS = ("rational", "walls")
TRAINING_FIELDS = tuple(name for name in FIELDS if name not in DEVELOPMENT_FIELDS)

# One-dimensional gradients are tabulated once a problem: a step then costs one interpolation, whatever the form.
_GRID = np.linspace(-1.9, 1.9, 1521)


def _directions(coordinates: int) -> int:
    return 1 if coordinates == 1 else coordinates + 1


def _ridges(rng: Generator, coordinates: int, tables: list[np.ndarray]) -> Field:
    """Return the sum of one-dimensional gradients along random unit directions: coupled where there are several."""
    if coordinates == 1:
        return lambda x: np.interp(x, _GRID, tables[0])
    directions = rng.standard_normal((len(tables), coordinates))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    def field(x: np.ndarray) -> np.ndarray:
        along = x @ directions.T
        pulls = [np.interp(along[:, k], _GRID, table) for k, table in enumerate(tables)]
        return np.stack(pulls, axis=1) @ directions

    return field
