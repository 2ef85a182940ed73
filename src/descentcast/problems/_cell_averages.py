"""Rows of a kernel as cell averages, for a drift that is affine on subcells and noise whose law is known.

Over a subcell that the drift maps onto `[p, q]`, noise with distribution function F and `G' = F` gives

    mean over y in [p, q] of F(e - y) = (G(e - p) - G(e - q)) / (q - p),

the probability of a next value below the edge e. Gaussian, degenerate and lattice noise differ in F and G alone.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.special import ndtr

# An image shorter than this part of the smallest cell is a point: the difference quotient would lose its digits.
POINT = 1e-6


class NoiseLaw(Protocol):
    """A law of noise on the line."""

    def below(self, z: np.ndarray) -> np.ndarray:
        """Return F(z), the probability of noise below z."""
        ...

    def integral(self, z: np.ndarray) -> np.ndarray:
        """Return G(z), the integral of F up to z."""
        ...


class NoNoise:
    """Noise that is zero: each image interval is covered uniformly, and overlaps with cells are exact."""

    def below(self, z: np.ndarray) -> np.ndarray:
        """Return 1 above zero."""
        return (z > 0).astype(np.float64)

    def integral(self, z: np.ndarray) -> np.ndarray:
        """Return the positive part."""
        return np.maximum(z, 0.0)


@dataclass(frozen=True)
class GaussianNoise:
    """Centred Gaussian noise with standard deviation `scale`."""

    scale: float

    def below(self, z: np.ndarray) -> np.ndarray:
        """Return Phi(z / scale)."""
        return ndtr(z / self.scale)

    def integral(self, z: np.ndarray) -> np.ndarray:
        """Return scale * (u Phi(u) + phi(u)) at u = z / scale."""
        # Positive part plus a remainder that vanishes on both sides: no cancellation far from zero.
        u = np.abs(z / self.scale)
        remainder = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi) - u * ndtr(-u)
        return np.maximum(z, 0.0) + self.scale * remainder


@dataclass(frozen=True)
class LatticeNoise:
    """Noise on equally spaced atoms: `probabilities` (L,) at `origin + spacing * (0, 1, ..., L - 1)`."""

    probabilities: np.ndarray
    origin: float
    spacing: float

    def below(self, z: np.ndarray) -> np.ndarray:
        """Return the mass of the atoms below z."""
        return self._mass[self._atoms_below(z)]

    def integral(self, z: np.ndarray) -> np.ndarray:
        """Return the sum of `probability * (z - atom)` over the atoms below z."""
        below = self._atoms_below(z)
        return z * self._mass[below] - self._moment[below]

    @cached_property
    def _mass(self) -> np.ndarray:
        return np.concatenate([[0.0], np.cumsum(self.probabilities)])

    @cached_property
    def _moment(self) -> np.ndarray:
        atoms = self.origin + self.spacing * np.arange(len(self.probabilities))
        return np.concatenate([[0.0], np.cumsum(self.probabilities * atoms)])

    def _atoms_below(self, z: np.ndarray) -> np.ndarray:
        count = np.ceil((z - self.origin) / self.spacing)
        return np.clip(count, 0, len(self.probabilities)).astype(np.int64)


def subdivide(edges: np.ndarray, parts: int) -> np.ndarray:
    """Return the ends of `parts` equal subcells of each cell, shape (n, parts + 1)."""
    return edges[:-1, None] + np.diff(edges)[:, None] * np.linspace(0.0, 1.0, parts + 1)


def average_below(law: NoiseLaw, edges: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the probability of a next value below each edge, averaged over subcells mapped onto `[first, last]`.

    Args:
        law: The law of the noise.
        edges: Cell edges, shape (n + 1,).
        first: Image of the left end of each subcell, any shape.
        last: Image of the right end, same shape; below `first` where the drift falls.

    Returns:
        Probabilities, the shape of `first` with an axis of n + 1 edges appended.
    """
    first, last = first[..., None], last[..., None]
    span = last - first
    point = np.abs(span) <= POINT * np.diff(edges).min()
    quotient = (law.integral(edges - first) - law.integral(edges - last)) / np.where(point, 1.0, span)
    return np.where(point, law.below(edges - (first + last) / 2), quotient)


def rows(below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix (n, n) and overflow (n, 2) from the probabilities below each edge, shape (n, n + 1)."""
    below = np.clip(below, 0.0, 1.0)
    overflow = np.stack([below[:, 0], 1.0 - below[:, -1]], axis=1)
    # Rounding can make a distribution function fall by 1e-9 where it is flat.
    masses = np.maximum(np.hstack([overflow, np.diff(below, axis=1)]), 0.0)
    masses /= masses.sum(axis=1, keepdims=True)
    return masses[:, 2:], masses[:, :2]


def bend(images: np.ndarray, middles: np.ndarray) -> float:
    """Return by how much a drift leaves its chords: `images` (..., parts + 1) at the ends, `middles` (..., parts)."""
    return float(np.abs(middles - (images[..., :-1] + images[..., 1:]) / 2).max())
