"""What a kernel's rows are off by, state by state: a Gaussian process through the normal scores of what came."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cholesky, eigh
from scipy.special import ndtr, ndtri

from descentcast._types import Edges
from descentcast.kernels._kernel import TransitionKernel
from descentcast.scoring._cells import cells_of

# What is averaged over: lengths in spans of the grid, sizes of the shift and of the scale in standard deviations of a
# row, with half-normal and log-normal priors of these widths. Chosen on development problems, as is what follows.
LENGTHS = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
SHIFTS = np.array([0.0, 0.1, 0.2, 0.35, 0.5, 0.8, 1.2])
SCALES = np.array([0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5])
SHIFT_WIDTH, SCALE_WIDTH = 0.4, 0.2
# The local scale averages over this share of the span, and is drawn to 1 by so many transitions.
REACH, DRAW = 0.1, 5.0
# No transition counts as more surprising than one in so many, so that no single one moves everything.
LEAST = 1e-3
JITTER = 1e-8


@dataclass(frozen=True, eq=False)
class Correction:
    """The shift and scale of each row, in standard deviations: a row F becomes `Phi((Phi^-1(F) - shift) / scale)`.

    Attributes:
        shift: Shape (n,).
        scale: Shape (n,).
    """

    shift: Float[np.ndarray, "n"]
    scale: Float[np.ndarray, "n"]

    def apply(self, kernel: TransitionKernel) -> TransitionKernel:
        """Return the kernel with its rows moved; a row excludes what it excluded."""
        moved = (edge_scores(kernel) - self.shift[:, None]) / self.scale[:, None]
        return with_tails(kernel, moved, ndtr(moved), ndtr(-moved))


@dataclass(frozen=True, eq=False)
class Transitions:
    """Transitions of one coordinate by the cells they start from, and the Gaussian processes that run through them.

    Attributes:
        edges: The grid, shape (n + 1,).
        start: Cell of the present value, shape (N,).
        following: Following values, shape (N,).
    """

    edges: Edges
    start: Int[np.ndarray, "N"]
    following: Float[np.ndarray, "N"]

    @staticmethod
    def of(columns: Sequence[np.ndarray], edges: Edges) -> "Transitions":
        """Return the transitions of runs that start on the grid."""
        present = np.concatenate([np.empty(0), *(c[:-1] for c in columns)])
        following = np.concatenate([np.empty(0), *(c[1:] for c in columns)])
        start = cells_of(present, edges)
        on = (start >= 0) & (start < len(edges) - 1)
        return Transitions(edges, start[on], following[on])

    def scores(self, kernel: TransitionKernel, least: float = LEAST) -> Float[np.ndarray, "N"]:
        """Return the normal scores `Phi^-1(F(x_{t+1} | x_t))` of the transitions under a kernel's rows.

        Args:
            kernel: The kernel.
            least: F counts as at least this, and as at most 1 less this.
        """
        below, edges = _tails(kernel)[0], self.edges
        cell = np.clip(np.searchsorted(edges, self.following, side="right") - 1, 0, len(edges) - 2)
        share = np.clip((self.following - edges[cell]) / (edges[cell + 1] - edges[cell]), 0.0, 1.0)
        level = below[self.start, cell] * (1 - share) + below[self.start, cell + 1] * share
        level = np.where(
            self.following < edges[0], level / 2, np.where(self.following > edges[-1], (1 + level) / 2, level)
        )
        return ndtri(np.clip(level, least, 1 - least))

    def correction(self, kernel: TransitionKernel) -> Correction:
        """Return the correction whose shift is the posterior mean, and whose scale holds the doubt about it."""
        scores = self.scores(kernel)
        posterior = self._posterior(scores)
        shift = posterior.weights @ posterior.means
        doubt = posterior.weights @ (posterior.variances + posterior.means**2) - shift**2
        return Correction(shift, np.sqrt(self._local_variance(scores, shift) + np.maximum(doubt, 0.0)))

    def drawn(self, kernel: TransitionKernel, rng: np.random.Generator) -> Correction:
        """Return a correction drawn from the posterior: a shift that may be the true one."""
        scores = self.scores(kernel)
        posterior = self._posterior(scores)
        shift = posterior.weights @ posterior.means
        which = int(rng.choice(len(posterior.weights), p=posterior.weights))
        process, rest = divmod(which, len(SCALES) * len(SHIFTS))
        scale, size = SCALES[rest // len(SHIFTS)], SHIFTS[rest % len(SHIFTS)]
        own = posterior.means[which] + self._processes[process].departure(size, scale, rng)
        return Correction(own, np.sqrt(self._local_variance(scores, shift)))

    @cached_property
    def counts(self) -> Float[np.ndarray, "n"]:
        """How many transitions start from each cell, shape (n,)."""
        return np.bincount(self.start, minlength=len(self.edges) - 1).astype(float)

    @cached_property
    def _processes(self) -> list["_Process"]:
        centres, span = (self.edges[:-1] + self.edges[1:]) / 2, self.edges[-1] - self.edges[0]
        return [_Process.of(_bell(centres, length * span), self.counts) for length in LENGTHS]

    def _posterior(self, scores: np.ndarray) -> "_Posterior":
        counts, seen = self.counts, self.counts > 0
        mean = np.bincount(self.start, weights=scores, minlength=len(counts))[seen] / counts[seen]
        within = float(scores @ scores - counts[seen] @ mean**2)
        found = [process.posterior(mean, within, len(scores)) for process in self._processes]
        logs, means, variances = (np.concatenate(parts) for parts in zip(*found, strict=True))
        weights = np.exp(logs - logs.max())
        return _Posterior(weights / weights.sum(), means, variances)

    def _local_variance(self, scores: np.ndarray, shift: np.ndarray) -> Float[np.ndarray, "n"]:
        centres, span = (self.edges[:-1] + self.edges[1:]) / 2, self.edges[-1] - self.edges[0]
        squares = np.bincount(self.start, weights=(scores - shift[self.start]) ** 2, minlength=len(self.counts))
        near = _bell(centres, REACH * span)
        return (near @ squares + DRAW) / (near @ self.counts + DRAW)


@dataclass(frozen=True, eq=False)
class _Posterior:
    """Weights of the sizes that are averaged over, shape (H,); mean and variance of the shift under each, (H, n)."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray


@dataclass(frozen=True, eq=False)
class _Process:
    """A Gaussian process of one length through averages of cells, its covariance of visited cells diagonalised.

    With m_c transitions from cell c, whose scores average to z_c, `sqrt(m_c) z_c` has covariance `size^2 U diag(w) U' +
    scale^2`: one decomposition serves all sizes and scales.
    """

    prior: np.ndarray
    seen: np.ndarray
    root: np.ndarray
    values: np.ndarray
    vectors: np.ndarray
    across: np.ndarray

    @staticmethod
    def of(prior: np.ndarray, counts: np.ndarray) -> "_Process":
        seen = counts > 0
        root = np.sqrt(counts[seen])
        known = root[:, None] * prior[np.ix_(seen, seen)] * root
        values, vectors = eigh(known) if len(known) else (root, known)
        return _Process(prior, seen, root, np.maximum(values, 0.0), vectors, (prior[:, seen] * root) @ vectors)

    def posterior(self, mean: np.ndarray, within: float, total: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return log weights (H,), means and variances (H, n) for every scale and, within it, every size."""
        along, squares = self.vectors.T @ (self.root * mean), SHIFTS[:, None] ** 2
        logs, means, variances = [], [], []
        for scale in SCALES:
            variance = squares * self.values + scale**2
            fit = (np.log(variance) + along**2 / variance).sum(axis=1)
            rest = within / scale**2 + 2 * (total - len(mean)) * np.log(scale)
            priors = (SHIFTS / SHIFT_WIDTH) ** 2 + (np.log(scale) / SCALE_WIDTH) ** 2
            logs.append(-(fit + rest + priors) / 2)
            means.append(squares * ((along / variance) @ self.across.T))
            variances.append(squares * (1 - squares * ((1 / variance) @ (self.across**2).T)))
        return np.concatenate(logs), np.concatenate(means), np.maximum(np.concatenate(variances), 0.0)

    @cached_property
    def _factor(self) -> np.ndarray:
        return cholesky(self.prior + JITTER * np.eye(len(self.prior)), lower=True)

    def departure(self, size: float, scale: float, rng: np.random.Generator) -> Float[np.ndarray, "n"]:
        """Return a draw of the process less its posterior mean given what it draws (Matheron's rule)."""
        drawn = size * (self._factor @ rng.normal(size=len(self.prior)))
        noise = scale * rng.normal(size=len(self.root))
        seen = self.vectors.T @ (self.root * drawn[self.seen] + noise)
        return drawn - size**2 * (self.across @ (seen / (size**2 * self.values + scale**2)))


def _bell(centres: np.ndarray, width: float) -> Float[np.ndarray, "n n"]:
    """Return `exp(-(x - y)^2 / (2 width^2))` between all centres."""
    return np.exp(-((centres[:, None] - centres) ** 2) / (2 * width**2))


def edge_scores(kernel: TransitionKernel) -> Float[np.ndarray, "n n+1"]:
    """Return `Phi^-1(F)` of each row at every edge, from the smaller tail, which is exact; it may be infinite."""
    below, above = _tails(kernel)
    return np.where(below < 0.5, ndtri(below), -ndtri(above))


def with_tails(
    kernel: TransitionKernel,
    scores: Float[np.ndarray, "n n+1"],
    below: Float[np.ndarray, "n n+1"],
    above: Float[np.ndarray, "n n+1"],
) -> TransitionKernel:
    """Return the kernel with these masses below and above every edge; a cell's comes from the smaller tail."""
    matrix = np.where(scores[:, :-1] < 0, np.diff(below, axis=1), above[:, :-1] - above[:, 1:])
    return replace(kernel, matrix=np.maximum(matrix, 0.0), overflow=np.column_stack([below[:, 0], above[:, -1]]))


def _tails(kernel: TransitionKernel) -> tuple[Float[np.ndarray, "n n+1"], Float[np.ndarray, "n n+1"]]:
    """Return the mass of each row below and above every edge, each summed from its own end."""
    below = np.cumsum(np.hstack([kernel.overflow[:, :1], kernel.matrix]), axis=1)
    above = np.cumsum(np.hstack([kernel.overflow[:, 1:], kernel.matrix[:, ::-1]]), axis=1)[:, ::-1]
    return np.minimum(below, 1.0), np.minimum(above, 1.0)
