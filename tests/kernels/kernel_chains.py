"""Four-state chains whose answers are fractions by hand, and random ones."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from descentcast.kernels import TransitionKernel


def kernel(matrix, overflow=None, **fields):
    matrix = np.asarray(matrix, dtype=float)
    n = len(matrix)
    return TransitionKernel(np.arange(n + 1.0), matrix, np.zeros((n, 2)) if overflow is None else overflow, **fields)


# Cells 0 and 1 are left for good; 2 and 3 are closed with law (3/5, 2/5).
TRANSIENT = kernel([[1 / 2, 1 / 2, 0, 0], [1 / 4, 1 / 4, 1 / 2, 0], [0, 0, 2 / 3, 1 / 3], [0, 0, 1 / 2, 1 / 2]])
# Odd and even cells in turn: period 2.
PERIODIC = kernel([[0, 1 / 2, 0, 1 / 2], [1 / 3, 0, 2 / 3, 0], [0, 3 / 4, 0, 1 / 4], [1, 0, 0, 0]])
# A cycle that turns one way three times in four: its flow is not reversible, its law even.
CYCLE = kernel([[0, 3 / 4, 0, 1 / 4], [1 / 4, 0, 3 / 4, 0], [0, 1 / 4, 0, 3 / 4], [3 / 4, 0, 1 / 4, 0]])
# Three lazy steps in four round a cycle: not reversible, not periodic.
LAZY_CYCLE = kernel(np.eye(4) / 4 + np.roll(np.eye(4), 1, axis=1) * 3 / 4)


def nearly_disconnected(there, back):
    """Wells {0, 1} and {2, 3} with chances `there` (from cell 1) and `back` (from cell 2) to cross."""
    return kernel(
        [
            [1 / 2, 1 / 2, 0, 0],
            [1 / 2, 1 / 2 - there, there, 0],
            [0, back, 1 / 2 - back, 1 / 2],
            [0, 0, 1 / 2, 1 / 2],
        ]
    )


@st.composite
def kernels(draw, low=2, high=7, leaky=True):
    """Random kernels, many of their entries zero or tiny, with or without overflow."""
    n = draw(st.integers(low, high))
    entries = st.one_of(st.just(0.0), st.floats(1e-12, 1e-6), st.floats(0.01, 1.0))
    rows = draw(arrays(np.float64, (n, n + 2), elements=entries))
    rows[:, n:] *= leaky and draw(st.booleans())
    rows[np.arange(n), draw(arrays(np.int64, n, elements=st.integers(0, n - 1)))] += 0.1
    rows /= rows.sum(axis=1, keepdims=True)
    return kernel(rows[:, :n], rows[:, n:])


def dense(n, seed, floor=0.0):
    """A random positive stochastic matrix, not reversible."""
    rows = np.random.default_rng(seed).gamma(0.5, size=(n, n)) + floor
    return rows / rows.sum(axis=1, keepdims=True)


def wells(n_sets, size, seed, crossing=0.01):
    """Random blocks of `size` cells that a run leaves with chance `crossing` a step, not reversible."""
    matrix = crossing * dense(n_sets * size, seed)
    for k in range(n_sets):
        block = slice(k * size, (k + 1) * size)
        matrix[block, block] += (1 - crossing) * dense(size, seed + k + 1, floor=0.5)
    return matrix


def gaussian_kernel(means, sds, edges):
    """Return the kernel whose rows are Gaussian laws."""
    law = stats.norm(means[:, None], np.broadcast_to(sds, means.shape)[:, None])
    below, above = law.cdf(edges), law.sf(edges)  # each exact in its own tail
    rows = np.where(below[:, 1:] < 0.5, np.diff(below, axis=1), above[:, :-1] - above[:, 1:])
    return TransitionKernel(edges, rows, np.column_stack([below[:, 0], above[:, -1]]))
