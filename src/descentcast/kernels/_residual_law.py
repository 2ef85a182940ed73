"""The law that noise has in common: what is left of normal scores once rows lie where they should and are as wide."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp, ndtr

from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._normal_scores import edge_scores, with_tails

# What is averaged over: widths of the kernel, and how many scores a standard normal law counts for.
WIDTHS = np.array([0.08, 0.16, 0.32, 0.64])
PRIOR_COUNTS = np.array([3.0, 10.0, 30.0, 100.0, 1000.0])
# Fewer scores than these tell nothing of a law; of more than these every k-th is taken.
FEWEST, MOST = 8, 1000
# Centres keep at least this share of their variance, however wide the kernel.
LEAST_SHARE = 0.05
# A width with less weight than this is left out.
LEAST_WEIGHT = 1e-13
# Where the law is tabulated, for interpolation: nothing lies beyond, and steps are small beside the smallest width.
TABLE = np.linspace(-8.0, 8.0, 1601)


@dataclass(frozen=True, eq=False)
class ResidualLaw:
    """A law G of normal scores, by its distribution function and its survival function on `TABLE`.

    Attributes:
        below: G at each point, shape (1601,).
        above: 1 - G, from its own tail.
    """

    below: Float[np.ndarray, "q"]
    above: Float[np.ndarray, "q"]

    @staticmethod
    def of(scores: Float[np.ndarray, "N"]) -> "ResidualLaw":
        """Return the law of scores: a kernel density estimate, shrunk to the standard normal law.

            G(z) = average over h and a of ( sum over j of Phi((z - c_j) / h) + a Phi(z) ) / (N + a),

        with weights by the leave-one-out likelihood of each width h and prior count a; the centres c_j are the scores
        drawn together until the estimate has their variance (Silverman 1986, section 6.1). Few scores, or normal ones,
        leave the standard normal law.

        Args:
            scores: Normal scores, shape (N,).
        """
        if len(scores) < FEWEST:
            return ResidualLaw(ndtr(TABLE), ndtr(-TABLE))
        some = scores[:: -(-len(scores) // MOST)]
        weights = _weights(some)
        below, above = np.zeros_like(TABLE), np.zeros_like(TABLE)
        for width, of_width in zip(WIDTHS, weights, strict=True):
            share = of_width / (len(some) + PRIOR_COUNTS)
            own, normal = share.sum(), share @ PRIOR_COUNTS
            below += normal * ndtr(TABLE)
            above += normal * ndtr(-TABLE)
            if own > LEAST_WEIGHT:
                away = (TABLE[:, None] - _centres(some, width)) / width
                below += own * ndtr(away).sum(axis=1)
                above += own * ndtr(-away).sum(axis=1)
        return ResidualLaw(below, above)

    def apply(self, kernel: TransitionKernel) -> TransitionKernel:
        """Return the kernel with each row F made `G(Phi^-1(F))`; a row excludes what it excluded."""
        scores = edge_scores(kernel)
        lower = np.interp(scores, TABLE, self.below, left=0.0, right=1.0)
        upper = np.interp(scores, TABLE, self.above, left=1.0, right=0.0)
        return with_tails(kernel, scores, lower, upper)


def _weights(scores: np.ndarray) -> Float[np.ndarray, "h a"]:
    """Return the weight of each width and prior count by the leave-one-out likelihood of the scores."""
    normal, others = np.exp(-(scores**2) / 2), len(scores) - 1
    logs = []
    for width in WIDTHS:
        near = np.exp(-(((scores[:, None] - _centres(scores, width)) / width) ** 2) / 2)
        np.fill_diagonal(near, 0.0)
        density = near.sum(axis=1)[:, None] / width + PRIOR_COUNTS * normal[:, None]
        logs.append(np.log(density / (others + PRIOR_COUNTS)).sum(axis=0))
    total = np.array(logs)
    return np.exp(total - logsumexp(total))


def _centres(scores: np.ndarray, width: float) -> Float[np.ndarray, "N"]:
    """Return the scores drawn to their mean until kernels of this width around them have the scores' variance."""
    mean, variance = scores.mean(), scores.var()
    kept = 1 - width**2 / variance if variance > 0 else 0.0
    return mean + np.sqrt(max(kept, LEAST_SHARE)) * (scores - mean)
