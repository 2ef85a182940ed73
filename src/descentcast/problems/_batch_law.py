"""Kernels of minibatch SGD in one coordinate: the batches enumerated, or their law convolved on a fine lattice."""

from collections.abc import Callable
from itertools import combinations_with_replacement
from math import comb

import numpy as np
from scipy.fft import next_fast_len
from scipy.special import gammaln

from descentcast.problems._cell_averages import LatticeNoise, NoNoise, average_below, bend, subdivide

ENUMERATED = 1000
PARTS = 16
NODES = 16
FINENESS = 64
RESOLUTION = 64
LONGEST = 2**18
BLOCK = 2_000_000

# Every example's gradient at each point: shape (...,) to (..., examples).
ExampleGradients = Callable[[np.ndarray], np.ndarray]


def enumerable(examples: int, batch: int) -> bool:
    """Return whether there are few enough multisets of examples to go through."""
    return comb(examples + batch - 1, batch) <= ENUMERATED


def batches(examples: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every batch drawn with replacement and its probability.

    Returns:
        Shares of each example in each multiset, shape (K, examples), and multinomial probabilities, shape (K,).
    """
    members = np.array(list(combinations_with_replacement(range(examples), batch)))
    counts = np.zeros((len(members), examples))
    np.add.at(counts, (np.arange(len(members))[:, None], members), 1.0)
    log_orders = gammaln(batch + 1) - gammaln(counts + 1).sum(axis=1)
    return counts / batch, np.exp(log_orders - batch * np.log(examples))


def enumerated(
    gradients: ExampleGradients, edges: np.ndarray, step: float, batch: int, *, affine: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the probabilities below each edge by going through every batch.

    Given its batch, a step is a deterministic map. A cell of an affine map covers an interval uniformly, so overlaps
    are exact; another map is taken linear on subcells.

    Args:
        gradients: Every example's gradient.
        edges: Cell edges, shape (n + 1,).
        step: Step size.
        batch: Batch size.
        affine: Whether the gradients are affine in the point.

    Returns:
        Probabilities, shape (n, n + 1), and notes.
    """
    ends = subdivide(edges, 1 if affine else PARTS)
    at_ends, at_middles = gradients(ends), gradients((ends[:, :-1] + ends[:, 1:]) / 2)
    shares, probabilities = batches(at_ends.shape[-1], batch)
    below = np.zeros((len(edges) - 1, len(edges)))
    size = max(1, BLOCK // (ends.size * len(edges)))
    displaced = 0.0
    for i in range(0, len(shares), size):
        images = ends - step * np.einsum("ncs,kn->kcs", np.moveaxis(at_ends, -1, 0), shares[i : i + size])
        if not affine:
            middles = (ends[:, :-1] + ends[:, 1:]) / 2 - step * np.einsum(
                "ncs,kn->kcs", np.moveaxis(at_middles, -1, 0), shares[i : i + size]
            )
            displaced = max(displaced, bend(images, middles))
        covered = average_below(NoNoise(), edges, images[..., :-1], images[..., 1:]).mean(axis=2)
        below += np.einsum("k,kce->ce", probabilities[i : i + size], covered)
    how = f"All {len(shares)} batches of {batch} of {at_ends.shape[-1]} examples (with replacement) enumerated"
    if affine:
        return below, (f"{how}; interval overlaps are exact up to 1e-8.",)
    cells = displaced / np.diff(edges).min()
    return below, (
        f"{how}, each map linear on {PARTS} subcells a cell: next values are displaced by at most {displaced:.1g} "
        f"({cells:.1g} cells).",
    )


def convolved(
    gradients: ExampleGradients, edges: np.ndarray, step: float, batch: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the probabilities below each edge by convolving the law of one example's gradient with itself.

    The residual `step * (f'(x) - g(x, batch))` is a sum of independent terms; its law is a power of one Fourier
    transform. On each subcell the drift is linear and the residual has the law of the subcell's middle. Atoms are put
    on the lattice by linear binning, which keeps their mean and adds at most `batch * spacing^2 / 4` to the variance.

    Args:
        gradients: Every example's gradient.
        edges: Cell edges, shape (n + 1,).
        step: Step size.
        batch: Batch size.

    Returns:
        Probabilities, shape (n, n + 1), and notes.
    """
    below, spacing = _convolved(gradients, edges, step, batch, NODES)
    coarse, _ = _convolved(gradients, edges, step, batch, NODES // 2)
    moved = float(np.abs(np.diff(below - coarse, axis=1)).sum(axis=1).max()) / 2
    width = np.diff(edges).min()
    return below, (
        f"Law of batches of {batch} (with replacement) convolved on a lattice of spacing {spacing / width:.2g} cells, "
        f"which adds at most {batch * spacing**2 / (4 * width**2):.1g} squared cells of variance.",
        f"{NODES} subcells a cell; halving their number moves a row by at most {moved:.1g} in total variation.",
    )


def _convolved(
    gradients: ExampleGradients, edges: np.ndarray, step: float, batch: int, nodes: int
) -> tuple[np.ndarray, float]:
    ends = subdivide(edges, nodes)
    images = ends - step * gradients(ends).mean(axis=-1)
    residuals = -step / batch * gradients((ends[:, :-1] + ends[:, 1:]) / 2)
    residuals -= residuals.mean(axis=-1, keepdims=True)
    below, coarsest = np.zeros((len(edges) - 1, len(edges))), 0.0
    for cell in range(len(below)):
        for node in range(nodes):
            law = _power(residuals[cell, node], batch, np.diff(edges).min() / FINENESS)
            below[cell] += average_below(law, edges, images[cell, node], images[cell, node + 1]) / nodes
            coarsest = max(coarsest, law.spacing)
    return below, coarsest


def _power(atoms: np.ndarray, batch: int, spacing: float) -> LatticeNoise:
    low, reach = atoms.min(), np.ptp(atoms)
    # Noise that vanishes (an interpolating minimum) must not be widened by the lattice, and heavy tails must not blow
    # up the transform: then the lattice is coarser, and the notes say so.
    if reach > 0:
        spacing = max(min(spacing, reach / RESOLUTION), batch * reach / LONGEST)
    place = (atoms - low) / spacing
    left = np.floor(place).astype(np.int64)
    length = int(left.max()) + 2
    single = np.bincount(left, 1 - (place - left), minlength=length)
    single += np.bincount(left + 1, place - left, minlength=length)
    total = batch * (length - 1) + 1
    size = next_fast_len(total, real=True)
    masses = np.fft.irfft(np.fft.rfft(single / len(atoms), size) ** batch, size)[:total]
    masses = np.maximum(masses, 0.0)
    return LatticeNoise(masses / masses.sum(), batch * low, spacing)
