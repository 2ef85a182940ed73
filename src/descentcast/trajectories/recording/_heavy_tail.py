"""The heavy-tail exponent of the weights' spectra, layer by layer."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.trajectories.recording._state import Meter, State

Tail = Literal["closest", "half"]
TAILS: tuple[Tail, ...] = ("closest", "half")


@dataclass(frozen=True)
class HeavyTail:
    """The exponent alpha of a power law p(x) ~ x^(-alpha) fitted to the eigenvalues of W'W, one column a layer.

    A weight of more than two dimensions is read as a matrix of its first dimension against all others. Each row takes
    a singular value decomposition a layer: give it a `Cadence`.

    Source: Martin, Peng, Mahoney, Predicting trends in the quality of state-of-the-art neural networks without access
    to training or testing data (2021; WeightWatcher); Lu et al., AlphaPruning (arXiv 2410.10912).

    Attributes:
        layers: Which parameters; by default all whose matrix has at least `least` singular values.
        tail: Where the tail begins, see `power_law`.
        least: The fewest singular values that a layer is fitted with.
    """

    layers: tuple[str, ...] | None = None
    tail: Tail = "closest"
    least: int = 50

    def bind(self, state: State) -> Meter:
        """Return the meter of the exponents, columns `alpha:LAYER`.

        Raises:
            ArgumentError: A layer that is not there or is no matrix, or no layer that is large enough.
        """
        _checks.one_of("tail", self.tail, TAILS)
        least = _checks.integer("least", self.least, low=3)
        ranks = {name: min(p.shape[0], p[0].numel()) for name, p in state.parameters.items() if p.ndim > 1}
        for name in self.layers or ():
            if name not in ranks:
                raise ArgumentError(f"layers: no matrix {name!r} is trained, there are {', '.join(ranks) or 'none'}")
        chosen = self.layers or tuple(name for name, rank in ranks.items() if rank >= least)
        if not chosen:
            largest = max(ranks.values(), default=0)
            raise ArgumentError(f"alpha: no layer has {least} singular values, the largest has {largest}")

        def measure(state: State) -> list[float]:
            return [power_law(_eigenvalues(state.parameters[name]), self.tail)[0] for name in chosen]

        return Meter(tuple(f"alpha:{name}" for name in chosen), measure)


def power_law(values: ArrayLike, tail: Tail = "closest") -> tuple[float, float]:
    """Fit p(x) = (alpha - 1) / low * (x / low)^(-alpha), x >= low, to the upper tail of values.

    alpha = 1 + m / sum over the m tail values of ln(x / low), the maximum-likelihood estimate (Hill).

    Args:
        values: Positive numbers; zeros and what is lost in rounding beside the largest are left out.
        tail: Where the tail begins: `"closest"`: at the value whose tail is closest to its fit in Kolmogorov-Smirnov
            distance (Clauset, Shalizi, Newman, arXiv 0706.1062; WeightWatcher); `"half"`: at the median (AlphaPruning).

    Returns:
        alpha and low; NaN both where fewer than three different positive values are there.

    Examples:
        >>> import numpy as np
        >>> x = (1 - np.arange(0.5, 2000) / 2000) ** (-1 / 1.5)  # the quantiles of alpha = 2.5
        >>> alpha, low = power_law(x, tail="half")
        >>> round(alpha, 2), round(low, 2)
        (2.5, 1.59)
    """
    x = np.sort(_checks.numeric("values", values).ravel())
    x = x[x > x[-1] * len(x) * np.finfo(np.float32).eps] if x.size and np.isfinite(x).all() else x[:0]
    if len(np.unique(x)) < 3:
        return float("nan"), float("nan")
    logs = np.log(x)
    above = logs[::-1].cumsum()[::-1]  # The sum of the logarithms from each value on.
    sizes = np.arange(len(x), 0, -1)
    excess = above - sizes * logs
    if _checks.one_of("tail", tail, TAILS) == "half":
        best = len(x) // 2
    else:
        starts = [i for i in np.unique(x, return_index=True)[1] if excess[i] > 0]
        best = min(starts, key=lambda i: _distance(logs[i:] - logs[i], float(sizes[i] / excess[i])))
    return float(1 + sizes[best] / excess[best]) if excess[best] > 0 else float("nan"), float(x[best])


def _distance(logs: np.ndarray, rate: float) -> float:
    """Return the largest gap between the fitted and the empirical distribution function."""
    fitted = -np.expm1(-rate * logs)
    below = np.arange(len(logs)) / len(logs)
    return float(max((fitted - below).max(), (below + 1 / len(logs) - fitted).max()))


def _eigenvalues(parameter: torch.Tensor) -> np.ndarray:
    matrix = parameter.detach().reshape(parameter.shape[0], -1)
    matrix = matrix if matrix.dtype == torch.float64 else matrix.float()
    if not bool(torch.isfinite(matrix).all()):
        return np.empty(0)
    return torch.linalg.svdvals(matrix).double().cpu().numpy() ** 2
