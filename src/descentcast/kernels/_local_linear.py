"""Local-linear regression with a local scale."""

import numpy as np

from descentcast import _checks
from descentcast._types import Edges, Probabilities
from descentcast.kernels._classical import ClassicalKernel
from descentcast.kernels._laws import LEAST_PAIRS, effective, ignorance, residual, student
from descentcast.kernels._neighbours import bandwidth_of, local_weights, own_share

NOISES = ("gaussian", "residual")


class LocalLinearKernel(ClassicalKernel):
    """Local-linear mean, local scale, and Gaussian noise or the residuals' own law.

    Around each state a line is fitted to the transitions, weighted by `exp(-(x - x_t)^2 / (2 h^2))`, with
    `h = 1.06 s N^(-1/5)`, s the robust spread of the x_t, wider where fewer than five x_t are within reach. The slope
    is drawn to that of one line through everything by the weight of one transition a bandwidth away, which keeps it
    finite where states are sparse. The scale is that of the weighted residuals, widened by the uncertainty of the line.

    Outside the hull of the x_t the line at its end is continued, its slope held in [-1, 1] (at 1 the drift stays what
    it is there). The law widens there with the distance, as the line's uncertainty does, and as much again as the
    slope at the end differs from that of the one line: a slope that changed inside may change outside.

    Args:
        bandwidth: h, greater than 0; by default the rule above. Less than half a cell is taken as that.
        noise: "gaussian": the predictive law of Gaussian noise with estimated scale, Student-t with the local number
            of transitions less two; "residual": the weighted residuals, smoothed.

    Raises:
        ArgumentError: A bandwidth that is not positive, or another noise, at `fit`.

    References:
        Fan, Gijbels (1996), Local polynomial modelling and its applications; Fan, Yao (1998), Efficient estimation of
        conditional variance functions in stochastic regression, Biometrika 85.

    Examples:
        >>> from descentcast.trajectories import Trajectories
        >>> runs = Trajectories.from_arrays([4 * 0.5 ** np.arange(12)])
        >>> kernel = LocalLinearKernel().fit(runs, edges=np.linspace(-5, 5, 101)).kernel_
        >>> bool(np.allclose(kernel.matrix @ kernel.centres, 0.5 * kernel.centres, atol=0.05))
        True
    """

    def __init__(self, bandwidth: float | None = None, noise: str = "gaussian") -> None:
        self.bandwidth = bandwidth
        self.noise = noise

    def _check_parameters(self) -> None:
        if self.bandwidth is not None:
            _checks.real("bandwidth", self.bandwidth, low=0, open_low=True)
        _checks.one_of("noise", self.noise, NOISES)

    def _law(self, x: np.ndarray, y: np.ndarray, queries: np.ndarray, edges: Edges) -> Probabilities:
        if len(x) < LEAST_PAIRS:
            return ignorance(queries, edges)
        inside = np.clip(queries, x.min(), x.max())
        weights, h = local_weights(x, inside, self._width(x, edges))
        number = effective(weights)
        distance = x - inside[:, None]
        centre, level = (weights * distance).sum(axis=1), weights @ y
        around = distance - centre[:, None]
        ridge = h**2 / number
        variance = (weights * around**2).sum(axis=1) + ridge
        overall = _line_slope(x, y)
        above = y - level[:, None]
        slope = ((weights * around * above).sum(axis=1) + ridge * overall) / variance
        residuals = above - slope[:, None] * around
        beyond = queries - inside
        mean = level - slope * centre + np.clip(slope, -1, 1) * beyond
        dof = np.maximum(number - 2, 1)
        noise = (weights * residuals**2).sum(axis=1) * number / dof
        leverage = (1 + (beyond - centre) ** 2 / variance) / number
        scale = np.sqrt(noise * (1 + leverage) + ((slope - overall) * beyond) ** 2)
        if self.noise == "residual":
            return residual(mean, scale, dof, weights, residuals, edges)
        return student(mean, scale, dof, edges)

    def _own_share(self, x: np.ndarray, edges: Edges, visits: np.ndarray) -> np.ndarray:
        return own_share(x, edges, self._width(x, edges))

    def _width(self, x: np.ndarray, edges: Edges) -> float:
        return bandwidth_of(x, edges, self.bandwidth, -1 / 5)


def _line_slope(x: np.ndarray, y: np.ndarray) -> float:
    """Return the slope of one line through all transitions; 1, the drift continued, where x never changes."""
    around = x - x.mean()
    variance = float(around @ around)
    # Less its mean: far from zero, what rounding leaves of the sum of `around` would be multiplied by y.
    return float(around @ (y - y.mean())) / variance if variance > 0 else 1.0
