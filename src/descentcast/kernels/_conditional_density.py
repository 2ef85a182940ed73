"""Kernel estimate of a conditional density."""

import numpy as np

from descentcast import _checks
from descentcast._types import Edges, Probabilities
from descentcast.kernels._classical import ClassicalKernel
from descentcast.kernels._laws import LEAST_PAIRS, effective, ignorance, mixture, student, tailed
from descentcast.kernels._neighbours import bandwidth_of, local_weights, own_share


class KernelDensityKernel(ClassicalKernel):
    """Conditional density by Nadaraya-Watson weights in x and Gaussian kernels in the increment x' - x.

    `f(x' | x) = sum_t w_t(x) N(x' - x; x_{t+1} - x_t, b(x)^2)`, with w_t(x) proportional to
    `exp(-(x - x_t)^2 / (2 h^2))`; `h = 1.06 s N^(-1/6)`, s the robust spread of the x_t, wider where fewer than five
    x_t are within reach; and `b(x) = 1.06 s(x) m(x)^(-1/5)`, with s(x) the local spread of the increments and m(x) the
    effective number of transitions there. A Student-t law of the same mean and spread is mixed in with the weight of
    one transition, for the tails.

    Increments rather than values, because a step of SGD is small: the estimate is biased by the drift that changes
    within h, not by all of h. Any noise is followed. Outside the hull of the x_t the increments at its end are
    continued, and spread in proportion to the distance by the ratio of the increments' and the values' deviations.

    Args:
        bandwidth: h, greater than 0; by default the rule above. Less than half a cell is taken as that.

    Raises:
        ArgumentError: A bandwidth that is not positive, at `fit`.

    References:
        Rosenblatt (1969), Conditional probability density and regression estimators; Hyndman, Bashtannyk, Grunwald
        (1996), Estimating and visualizing conditional densities, J. Comp. Graph. Stat. 5.

    Examples:
        >>> from descentcast.trajectories import Trajectories
        >>> runs = Trajectories.from_arrays([np.random.default_rng(0).normal(size=500)])
        >>> kernel = KernelDensityKernel().fit(runs).kernel_
        >>> bool(abs(kernel.matrix[50] @ kernel.centres) < 0.2)
        True
    """

    unevenness = 0.08  # as for `InContextKernel`

    def __init__(self, bandwidth: float | None = None) -> None:
        self.bandwidth = bandwidth

    def _check_parameters(self) -> None:
        if self.bandwidth is not None:
            _checks.real("bandwidth", self.bandwidth, low=0, open_low=True)

    def _law(self, x: np.ndarray, y: np.ndarray, queries: np.ndarray, edges: Edges) -> Probabilities:
        if len(x) < LEAST_PAIRS:
            return ignorance(queries, edges)
        inside = np.clip(queries, x.min(), x.max())
        weights, _ = local_weights(x, inside, self._width(x, edges))
        increments, number = y - x, effective(weights)
        drift = weights @ increments
        local = (weights * (increments - drift[:, None]) ** 2).sum(axis=1)
        beyond = (queries - inside) * increments.std() / (x.std() or 1.0)
        spread = np.sqrt(local + beyond**2)
        rows = mixture(weights, queries[:, None] + increments, 1.06 * spread * number**-0.2, edges)
        return tailed(rows, number, student(queries + drift, spread, np.maximum(number - 1, 1), edges))

    def _own_share(self, x: np.ndarray, edges: Edges, visits: np.ndarray) -> np.ndarray:
        return own_share(x, edges, self._width(x, edges))

    def _width(self, x: np.ndarray, edges: Edges) -> float:
        return bandwidth_of(x, edges, self.bandwidth, -1 / 6)
