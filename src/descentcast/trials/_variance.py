"""How much more runs differ than their kernels say: an explicit variance component, its prior and its posterior."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats
from scipy.special import chdtri, ndtr, softmax

from descentcast import _checks
from descentcast.errors import ArgumentError

# Quantiles that a posterior of a variance is taken at: the largest of 48 is beyond 99 % of it.
NODES = 48
LEAST_SD = 1e-300


@dataclass(frozen=True)
class VariancePrior:
    """Prior of phi, the variance between runs over what their kernels predict of it.

    A kernel of one run predicts the variance p of what that run says of the mean (chance within the run and its
    length). Runs may differ by more: in ways that no step of one run shows, such as their initial weights or the basin
    they are in. With phi the ratio, `Var = phi p`, the prior is a mixture of scaled inverse chi-squares,

        phi ~ sum over k of weights_k * Inv-chi^2(dof_k, scales_k),    dof scale / phi ~ chi^2(dof)

    the first component for runs that their kernels describe, the last for those that they do not. Arms share the
    component; each has a phi of its own. What is wrong with the mean outcome of a kernel's virtual runs, its bias, is
    by the prior normal around zero with standard deviation `bias_k` (in standard deviations v of an outcome under one
    kernel) with probability `bias_weights_k`: small where kernels follow the runs, several v where they do not.

    Attributes:
        weights: Prior probability of each component.
        dof: Degrees of freedom of each.
        scales: Scale of each.
        bias: Standard deviations of the bias over v.
        bias_weights: Prior probability of each.
        source: What it was calibrated on, in words.

    Raises:
        ArgumentError: Lengths that differ, weights that are no law, numbers that are not positive.
    """

    weights: tuple[float, ...]
    dof: tuple[float, ...]
    scales: tuple[float, ...]
    bias: tuple[float, ...] = (0.2, 3.0)
    bias_weights: tuple[float, ...] = (0.8, 0.2)
    source: str = "given"

    def __post_init__(self) -> None:
        _checks.distributions("weights", self.weights)
        if not len(self.weights) == len(self.dof) == len(self.scales):
            raise ArgumentError(
                f"weights, dof and scales have {len(self.weights)}, {len(self.dof)} and {len(self.scales)} entries, "
                "must have as many each"
            )
        for name in ("dof", "scales"):
            for value in getattr(self, name):
                _checks.real(name, value, low=0, open_low=True)
        _checks.distributions("bias_weights", self.bias_weights)
        if len(self.bias) != len(self.bias_weights):
            raise ArgumentError(
                f"bias and bias_weights have {len(self.bias)} and {len(self.bias_weights)} entries, must have as many"
            )
        for value in self.bias:
            _checks.real("bias", value, low=0)

    def posterior(self, squares: Sequence[float], dof: Sequence[int]) -> "VariancePosterior":
        """Return the posterior of phi given, for each arm, squares between runs over p and their degrees of freedom.

        With `S_a = sum over runs (z_i - mean)^2 / p_a ~ phi_a chi^2(n_a - 1)` each component is conjugate, and its
        marginal likelihood is an F density: `S / (nu scale) ~ F(nu, dof)`.

        Examples:
            >>> prior = VariancePrior(weights=(0.5, 0.5), dof=(10.0, 1.0), scales=(1.0, 100.0))
            >>> agreeing, apart = prior.posterior([1.0], [1]), prior.posterior([400.0], [1])
            >>> agreeing.components.round(2).tolist(), apart.components.round(2).tolist()
            ([0.88, 0.12], [0.0, 1.0])
        """
        S, nu = np.asarray(squares, dtype=np.float64), np.asarray(dof, dtype=np.float64)
        seen = nu > 0
        d, c = np.array(self.dof)[:, None], np.array(self.scales)[:, None]
        ratio = S[seen] / nu[seen] / c
        evidence = stats.f.logpdf(np.maximum(ratio, 1e-12), nu[seen], d) - np.log(c)
        components = softmax(np.log(np.array(self.weights)) + evidence.sum(axis=1))
        together = d + nu
        return VariancePosterior(components, together, (d * c + S) / together)

    def biases(self, against: Sequence[float], runs: Sequence[int]) -> Float[np.ndarray, "B"]:
        """Return the posterior probability of each component of the bias, which all arms share.

        By n real outcomes their mean is `d` standard deviations v from that of the virtual runs, with
        `d ~ N(0, 1 / n + bias_k^2)`.

        Args:
            against: d of each arm.
            runs: n of each arm; arms without a real outcome say nothing.

        Examples:
            >>> VariancePrior((1.0,), (4.0,), (1.0,)).biases([0.1, 6.0], [2, 2]).round(3).tolist()
            [0.0, 1.0]
        """
        d, n = np.asarray(against, dtype=np.float64), np.asarray(runs, dtype=np.float64)
        d, n = d[n > 0], n[n > 0]
        variance = 1 / n + np.square(self.bias)[:, None]
        likelihood = -0.5 * (d**2 / variance + np.log(variance)).sum(axis=1)
        return softmax(np.log(np.maximum(self.bias_weights, LEAST_SD)) + likelihood)

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as plain values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}


@dataclass(frozen=True, eq=False)
class VariancePosterior:
    """Posterior of phi of each arm.

    Attributes:
        components: Probability of each component, shape (K,).
        dof: Degrees of freedom, shape (K, A).
        scales: Scales, shape (K, A).
    """

    components: Float[np.ndarray, "K"]
    dof: Float[np.ndarray, "K A"]
    scales: Float[np.ndarray, "K A"]

    def nodes(self) -> Float[np.ndarray, "K A J"]:
        """Return evenly probable values of phi of each component and arm."""
        tail = (np.arange(NODES) + 0.5) / NODES
        return self.dof[..., None] * self.scales[..., None] / chdtri(self.dof[..., None], 1 - tail)

    def median(self, arm: int) -> float:
        """Return the median of phi of an arm."""
        values = self.nodes()[:, arm]
        order = np.argsort(values, axis=None)
        weights = np.repeat(self.components / NODES, NODES)[order]
        return float(values.ravel()[order][np.searchsorted(weights.cumsum(), 0.5)])


@dataclass(frozen=True, eq=False)
class ErrorLaw:
    """Law of the error of an estimate: a scale mixture of normals around zero.

    Attributes:
        sd: Standard deviations, shape (N,).
        weights: Their probabilities, shape (N,).
    """

    sd: Float[np.ndarray, "N"]
    weights: Float[np.ndarray, "N"]

    @classmethod
    def of(
        cls,
        posterior: VariancePosterior,
        terms: Sequence[tuple[int, float]],
        fixed: float,
    ) -> "ErrorLaw":
        """Return the law of variance `fixed + sum over terms (a, q) of phi_a q`, one or two terms."""
        nodes = posterior.nodes()
        (a, q), *rest = terms
        variance = fixed + nodes[:, a, :, None] * q
        for b, r in rest:
            variance = variance + nodes[:, b, None, :] * r
        sd = np.sqrt(variance).reshape(len(nodes), -1)
        weights = np.repeat(posterior.components / sd.shape[1], sd.shape[1])
        return cls(sd.ravel(), weights)

    def above(self, x: float) -> float:
        """Return the probability of an error above x."""
        return float(self.weights @ ndtr(-x / np.maximum(self.sd, LEAST_SD)))

    def halfwidth(self, level: float) -> float:
        """Return h with `P(|error| <= h) = level`."""
        largest = float(self.sd.max())
        if largest == 0:
            return 0.0
        tail = (1 - level) / 2
        return root(lambda x: self.above(x) - tail, 0.0, 40 * largest)


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function changes sign between low and high."""
    return float(optimize.root_scalar(function, bracket=(low, high), method="brentq").root)
