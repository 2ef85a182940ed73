"""The Bayes mixture of laws by what each foretold: weights before and after every transition, and rows of many."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax, logsumexp, softmax

from descentcast.kernels._kernel import TransitionKernel


@dataclass(frozen=True, eq=False)
class Mixture:
    """A Bayes mixture of M members over S transitions, members equally likely at first.

    Before transition s the weights are `w_m proportional to exp(sum over t < s of log p_m(t))`, with p_m(t) what member
    m gave to what came at t. The mixture gives `sum_m w_m p_m(s)`, and in all
    `sum_s log sum_m w_m p_m(s) = log( mean over m of prod_s p_m(s) )`: within log(M) of the best member's log score,
    whatever comes.

    Attributes:
        before: Log weights before each transition, shape (S, M): those before s know nothing of s or later.
        log_mass: Log of what the mixture gave to each transition, shape (S,).
        weights: The weights after all of them, shape (M,).
    """

    before: Float[np.ndarray, "S M"]
    log_mass: Float[np.ndarray, "S"]
    weights: Float[np.ndarray, "M"]


def mixture_of(log_mass: Float[np.ndarray, "M S"]) -> Mixture:
    """Mix members, one row each, by the logarithms of what they gave to the transitions that came, in order.

    Examples:
        >>> mixture = mixture_of(np.log([[0.5, 0.5], [0.25, 0.5]]))
        >>> np.exp(mixture.log_mass).round(4), mixture.weights.round(4)
        (array([0.375, 0.5  ]), array([0.6667, 0.3333]))
    """
    total = np.cumsum(log_mass, axis=1)
    earlier = np.hstack([np.zeros((len(log_mass), 1)), total])
    before = log_softmax(earlier, axis=0)
    return Mixture(before[:, :-1].T, logsumexp(before[:, :-1] + log_mass, axis=0), softmax(earlier[:, -1]))


def tempered(
    weights: Float[np.ndarray, "M"], trust: Float[np.ndarray, "n"], beyond: Float[np.ndarray, "M"] | None = None
) -> Float[np.ndarray, "n M"]:
    """Return the weights of each row, `trust * weights + (1 - trust) * beyond`; `beyond` is even where None."""
    far = np.full(len(weights), 1 / len(weights)) if beyond is None else beyond
    return trust[:, None] * weights + (1 - trust[:, None]) * far


def mix(kernels: Sequence[TransitionKernel], weights: Float[np.ndarray, "n M"]) -> TransitionKernel:
    """Mix kernels of one grid row by row, overflow too.

    Examples:
        >>> stay, go = (TransitionKernel([0, 1, 2], rows, np.zeros((2, 2))) for rows in (np.eye(2), np.eye(2)[::-1]))
        >>> mix([stay, go], np.array([[0.5, 0.5], [1.0, 0.0]])).matrix
        array([[0.5, 0.5],
               [0. , 1. ]])
    """
    matrix = np.einsum("im,mij->ij", weights, np.stack([kernel.matrix for kernel in kernels]))
    overflow = np.einsum("im,mij->ij", weights, np.stack([kernel.overflow for kernel in kernels]))
    return TransitionKernel(kernels[0].edges, matrix, overflow)
