"""Rows far from every visited state: what they say of a drift fades, since nothing that was seen bears it out."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._mixing import mix
from descentcast.kernels._moving import moved_rows, quantiles_of


def faded(kernel: TransitionKernel, share: Float[np.ndarray, "n"]) -> TransitionKernel:
    """Return a kernel whose rows are mixed, by `share`, with themselves moved until their median is their own state.

    Such a row keeps its width and its shape, and says that a run goes neither way. Mass on the grid stays on it.

    Examples:
        >>> kernel = TransitionKernel([0, 1, 2, 3], np.eye(3)[[1, 1, 1]], np.zeros((3, 2)))
        >>> faded(kernel, np.array([1.0, 0.0, 0.5])).matrix
        array([[1. , 0. , 0. ],
               [0. , 1. , 0. ],
               [0. , 0.5, 0.5]])
    """
    if not share.any():
        return kernel
    still = moved_rows(kernel, kernel.centres - quantiles_of(kernel, 0.5))
    both = mix([kernel, replace(kernel, matrix=still)], np.column_stack([1 - share, share]))
    return replace(kernel, matrix=both.matrix, overflow=both.overflow)
