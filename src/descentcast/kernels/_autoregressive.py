"""Linear autoregression."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from descentcast import _checks
from descentcast._types import Edges, Probabilities
from descentcast.kernels._classical import ClassicalKernel
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._laws import ignorance, residual, student

NOISES = ("gaussian", "residual")


class AutoregressiveKernel(ClassicalKernel):
    """AR(p) by least squares: `x_{t+1} = c + a_1 x_t + ... + a_p x_{t+1-p} + noise`.

    Exact for a quadratic loss with additive noise (p = 1). The fit is of the increments, so that where the data do
    not determine the coefficients the drift is continued. At the start of a run, and where fewer than p + 2 transitions
    are known, as many lags are used as there are.

    Several lags are used by `prequential` only: a kernel knows the present value and no more, so its rows are the
    linear regression on that, with the spread that the other lags leave in it; for p > 1 it is `projected`.

    Args:
        order: p, the number of lags, 1 to 50.
        noise: "gaussian": the predictive law of Gaussian noise with estimated coefficients and scale, Student-t with
            the number of transitions less the number of coefficients; "residual": the residuals' own law, smoothed.

    Raises:
        ArgumentError: An order out of range, or another noise, at `fit`.

    Examples:
        >>> from descentcast.trajectories import Trajectories
        >>> rng, x = np.random.default_rng(0), [2.0]
        >>> for _ in range(2000):
        ...     x.append(0.8 * x[-1] + 0.1 * rng.normal())
        >>> kernel = AutoregressiveKernel().fit(Trajectories.from_arrays([x])).kernel_
        >>> slope = np.polyfit(kernel.centres[30:70], (kernel.matrix @ kernel.centres)[30:70], 1)[0]
        >>> bool(abs(slope - 0.8) < 0.02)
        True
    """

    def __init__(self, order: int = 1, noise: str = "gaussian") -> None:
        self.order = order
        self.noise = noise

    def _check_parameters(self) -> None:
        _checks.integer("order", self.order, low=1, high=50)
        _checks.one_of("noise", self.noise, NOISES)

    def _fit_coordinate(self, index: int, columns: list[np.ndarray], edges: Edges) -> TransitionKernel:
        kernel = super()._fit_coordinate(index, columns, edges)
        if self.order == 1:
            return kernel
        return replace(kernel, projected=True, notes=(f"rows use the present value only, not {self.order} lags",))

    def _pairs(self, columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return windows x_t, x_{t-1}, ..., shape (N, p), NaN before the start of a run, and x_{t+1}, shape (N,)."""
        windows = []
        for column in columns:
            padded = np.concatenate([np.full(self.order - 1, np.nan), column[:-1]])
            windows.append(np.lib.stride_tricks.sliding_window_view(padded, self.order)[:, ::-1])
        return np.concatenate(windows), np.concatenate([c[1:] for c in columns])

    def _law(self, x: np.ndarray, y: np.ndarray, queries: np.ndarray, edges: Edges) -> Probabilities:
        states = queries.reshape(len(queries), -1)
        known = np.isfinite(x).sum(axis=1)
        available = int(np.isfinite(states).sum(axis=1).min())
        lags = next((p for p in range(available, 0, -1) if (known >= p).sum() >= p + 2), 0)
        if lags == 0:
            return ignorance(states[:, 0], edges)
        past, following, states = x[known >= lags, :lags], y[known >= lags], states[:, :lags]
        N, centre = len(following), past.mean(axis=0)
        increments = following - past[:, 0]
        inverse = np.linalg.pinv(past - centre)
        slope, drift = inverse @ increments, increments.mean()
        residuals = increments - drift - (past - centre) @ slope
        mean = states[:, 0] + drift + (states - centre) @ slope
        leverage = 1 / N + (((states - centre) @ inverse) ** 2).sum(axis=1)
        dof = np.full(len(states), N - lags - 1.0)
        scale = np.sqrt(residuals @ residuals / dof * (1 + leverage))
        if self.noise == "residual":
            every = (len(states), N)
            return residual(mean, scale, dof, np.full(every, 1 / N), np.broadcast_to(residuals, every), edges)
        return student(mean, scale, dof, edges)
