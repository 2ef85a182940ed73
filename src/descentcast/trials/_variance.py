"""How much more runs differ than their kernels say: an explicit variance component, its prior and its posterior."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats
from scipy.linalg import eigh_tridiagonal
from scipy.special import chdtrc, ndtr, softmax

from descentcast import _checks
from descentcast.errors import ArgumentError

# Places of a Gauss rule that a posterior of a variance is taken at: with 12 the quantiles of Student's t are right to
# a hundredth from 3 degrees of freedom on.
NODES = 12
LEAST_SD = 1e-300
# Components of less weight are left out of laws.
NEGLIGIBLE = 1e-9
# Runs of one arm that settled in one place, or not.
TOGETHER, APART = 0, 1


@dataclass(frozen=True)
class Seen:
    """What recorded runs have seen of the states that runs start from.

    Attributes:
        recurrence: The share of the starts that they come back to, in [0, 1].
        passage: The share of the starts that lie where they have been at all, in [0, 1].
    """

    recurrence: float
    passage: float

    def __post_init__(self) -> None:
        for name in ("recurrence", "passage"):
            _checks.real(name, getattr(self, name), low=0, high=1)


@dataclass(frozen=True)
class VariancePrior:
    """Prior of phi, the variance between runs over what their kernels predict of it.

    A kernel of one run predicts the variance p of what that run says of the mean (chance within the run and its
    length). Runs may differ by more: in ways that no step of one run shows, such as their initial weights or the basin
    they are in. With phi the ratio, `Var = phi p`, the prior is a mixture of scaled inverse chi-squares,

        phi ~ sum over k of w_k * Inv-chi^2(dof_k, scales_k),    dof scale / phi ~ chi^2(dof)
        w_k proportional to weights_k exp(recurrence_k r + passage_k s)

    where r is the share of the starts that the recorded runs come back to, s the share that they passed: a run that
    comes back shows what every other would do from there, one that passed shows it once, and of starts that none has
    seen nothing is shown. The first component is of runs that their kernels describe. Arms share the component; each
    has a phi of its own.

    Where runs settle in different places, two that agree need not have seen it: with probability `together_k^(n - 1)`
    all n runs of an arm lie in one place, are as alike as the first component says, and tell nothing of phi.

    What is wrong with the mean outcome of a kernel's virtual runs, its bias, is by the prior normal around zero with
    standard deviation `bias_k` (in standard deviations v of an outcome under one kernel) with probability
    `bias_weights_k`: small where kernels follow the runs, several v where they do not. Biases of two arms have the
    correlation `shared`: what kernels do wrong they do wrong in both.

    Attributes:
        weights: Prior probability of each component where runs have seen no start.
        recurrence: How its logarithm grows with r.
        passage: How its logarithm grows with s.
        dof: Degrees of freedom of each.
        scales: Scale of each.
        together: Probability that a run settles where another has, of each component; 0 where runs do not settle.
        bias: Standard deviations of the bias over v.
        bias_weights: Prior probability of each.
        shared: Correlation of the biases of two arms, in [0, 1).
        source: What it was calibrated on, in words.

    Raises:
        ArgumentError: Lengths that differ, weights that are no law, numbers out of range.
    """

    weights: tuple[float, ...]
    recurrence: tuple[float, ...]
    passage: tuple[float, ...]
    dof: tuple[float, ...]
    scales: tuple[float, ...]
    together: tuple[float, ...]
    bias: tuple[float, ...] = (0.2, 3.0)
    bias_weights: tuple[float, ...] = (0.8, 0.2)
    shared: float = 0.0
    source: str = "given"

    def __post_init__(self) -> None:
        _checks.distributions("weights", self.weights)
        each = ("weights", "recurrence", "passage", "dof", "scales", "together")
        lengths = [len(getattr(self, name)) for name in each]
        if len(set(lengths)) > 1:
            raise ArgumentError(f"{', '.join(each)} have {lengths} entries, must have as many each")
        for name in ("recurrence", "passage"):
            for value in getattr(self, name):
                _checks.real(name, value)
        for name in ("dof", "scales"):
            for value in getattr(self, name):
                _checks.real(name, value, low=0, open_low=True)
        for value in self.together:
            _checks.real("together", value, low=0, high=1)
        _checks.distributions("bias_weights", self.bias_weights)
        if len(self.bias) != len(self.bias_weights):
            raise ArgumentError(
                f"bias and bias_weights have {len(self.bias)} and {len(self.bias_weights)} entries, must have as many"
            )
        for value in self.bias:
            _checks.real("bias", value, low=0)
        if _checks.real("shared", self.shared, low=0, high=1) == 1:
            raise ArgumentError("shared == 1, must be below 1")

    def given(self, seen: "Seen") -> Float[np.ndarray, "K"]:
        """Return the prior probabilities of the components for runs that have seen so much."""
        with np.errstate(divide="ignore"):
            logs = np.log(self.weights)
        return softmax(logs + seen.recurrence * np.array(self.recurrence) + seen.passage * np.array(self.passage))

    def posterior(self, squares: Sequence[float], dof: Sequence[int], seen: "Seen") -> "VariancePosterior":
        """Return the posterior of phi given, for each arm, squares between runs over p and their degrees of freedom.

        With `S_a = sum over runs (z_i - mean)^2 / p_a ~ phi_a chi^2(n_a - 1)` each component is conjugate, and its
        marginal likelihood is an F density: `S / (nu scale) ~ F(nu, dof)`. Runs that settled together have that of the
        first component.

        Args:
            squares: S_a.
            dof: n_a - 1.
            seen: What the runs have seen of the starts.

        Examples:
            >>> prior = VariancePrior((0.5, 0.5), (0.0, 0.0), (0.0, 0.0), (10.0, 1.0), (1.0, 100.0), (0.0, 0.0))
            >>> agreeing, apart = (prior.posterior([S], [1], Seen(1.0, 1.0)) for S in (1.0, 400.0))
            >>> agreeing.components.round(2).tolist(), apart.components.round(2).tolist()
            ([0.88, 0.12], [0.0, 1.0])
        """
        S, nu = np.asarray(squares, dtype=np.float64), np.asarray(dof, dtype=np.float64)
        d, c = np.array(self.dof)[:, None], np.array(self.scales)[:, None]
        q = np.array(self.together)[:, None] ** nu
        q[np.array(self.together) == 0] = 0.0  # also where nothing is seen
        evidence = _evidence(S, nu, d, c)
        with np.errstate(divide="ignore"):
            states = np.stack([np.log(q) + evidence[0], np.log1p(-q) + evidence], axis=-1)
            prior = np.log(self.given(seen))
        of_arm = np.logaddexp(states[..., TOGETHER], states[..., APART])
        total = d + nu
        return VariancePosterior(
            components=softmax(prior + of_arm.sum(axis=1)),
            states=np.exp(states - of_arm[..., None]),
            dof=np.stack([np.broadcast_to(d, total.shape), total], axis=-1),
            scales=np.stack([np.broadcast_to(c, total.shape), (d * c + S) / total], axis=-1),
            seen=seen,
            evidence=float(np.logaddexp.reduce(prior + of_arm.sum(axis=1))),
        )

    def biases(self, against: Sequence[float], runs: Sequence[float]) -> Float[np.ndarray, "B"]:
        """Return the posterior probability of each component of the bias, which all arms share.

        By n real outcomes their mean is `d` standard deviations v from that of the virtual runs, with
        `d ~ N(0, 1 / n + bias_k^2)`.

        Args:
            against: d of each arm.
            runs: n of each arm; arms without a real outcome say nothing.

        Examples:
            >>> prior = VariancePrior((1.0,), (0.0,), (0.0,), (4.0,), (1.0,), (0.0,))
            >>> prior.biases([0.1, 6.0], [2, 2]).round(3).tolist()
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


def _evidence(S: np.ndarray, nu: np.ndarray, dof: np.ndarray, scales: np.ndarray) -> Float[np.ndarray, "K A"]:
    """Return the log density of S_a in each component, 0 where there is no second run."""
    found = np.zeros((len(dof), len(S)))
    seen = nu > 0
    ratio = np.maximum(S[seen] / nu[seen] / scales, 1e-12)
    found[:, seen] = stats.f.logpdf(ratio, nu[seen], dof) - np.log(scales)
    return found


@dataclass(frozen=True, eq=False)
class VariancePosterior:
    """Posterior of phi of each arm; the last axis is whether its runs settled together (and tell nothing), or not.

    Attributes:
        components: Probability of each component, shape (K,).
        states: Given the component, that an arm's runs settled together and that they did not, shape (K, A, 2).
        dof: Degrees of freedom, shape (K, A, 2).
        scales: Scales, shape (K, A, 2).
        seen: What the runs have seen of the starts.
        evidence: Log marginal likelihood of the squares between runs.
    """

    components: Float[np.ndarray, "K"]
    states: Float[np.ndarray, "K A 2"]
    dof: Float[np.ndarray, "K A 2"]
    scales: Float[np.ndarray, "K A 2"]
    seen: Seen
    evidence: float

    def nodes(self, component: int, arm: int) -> tuple[Float[np.ndarray, "J"], Float[np.ndarray, "J"]]:
        """Return values of phi of an arm in a component and their probabilities, by a Gauss rule."""
        values, weights = [], []
        for state in (TOGETHER, APART):
            if (share := self.states[component, arm, state]) > NEGLIGIBLE:
                dof, scale = self.dof[component, arm, state], self.scales[component, arm, state]
                places, shares = _gamma_rule(float(dof))
                values.append(dof * scale / (2 * places))
                weights.append(share * shares)
        return np.concatenate(values), np.concatenate(weights)

    def below(self, arm: int, phi: float) -> float:
        """Return the probability that phi of an arm is at most so much."""
        law = chdtrc(self.dof[:, arm], self.dof[:, arm] * self.scales[:, arm] / phi)
        return float(self.components @ (self.states[:, arm] * law).sum(axis=1))

    def quantile(self, arm: int, q: float) -> float:
        """Return a quantile of phi of an arm."""
        middle = np.log(self.scales[:, arm])
        low, high = float(middle.min()) - 40, float(middle.max()) + 40
        return float(np.exp(root(lambda log_phi: self.below(arm, np.exp(log_phi)) - q, low, high)))

    def median(self, arm: int) -> float:
        """Return the median of phi of an arm."""
        return self.quantile(arm, 0.5)


@lru_cache(maxsize=512)
def _gamma_rule(dof: float) -> tuple[np.ndarray, np.ndarray]:
    """Return places x and weights of a Gauss rule for the law of half a chi-square."""
    k, alpha = np.arange(NODES), dof / 2 - 1
    # Golub and Welsch (1969): weights in closed form hold a gamma function, which overflows from 340 degrees on.
    places, vectors = eigh_tridiagonal(2 * k + 1 + alpha, np.sqrt(k[1:] * (k[1:] + alpha)))
    return places, vectors[0] ** 2


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
        fixed: Float[np.ndarray, "B"],
        chances: Float[np.ndarray, "B"],
    ) -> "ErrorLaw":
        """Return the law of variance `fixed_b + sum over terms (a, q) of phi_a q`, one or two terms.

        Args:
            posterior: Of phi.
            terms: Arms and q.
            fixed: Variances beside those.
            chances: Their probabilities.
        """
        variances, shares = [], []
        for k in np.flatnonzero(posterior.components > NEGLIGIBLE):
            variance, share = np.asarray(fixed), posterior.components[k] * np.asarray(chances)
            for arm, q in terms:
                phi, weights = posterior.nodes(int(k), arm)
                variance = np.add.outer(variance, q * phi).ravel()
                share = np.multiply.outer(share, weights).ravel()
            variances.append(variance)
            shares.append(share)
        weights = np.concatenate(shares)
        kept = weights > NEGLIGIBLE * weights.max()
        return cls(np.sqrt(np.concatenate(variances)[kept]), weights[kept] / weights[kept].sum())

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
    # As a share of the way between them: the solver's tolerance is absolute, and values have units.
    width = high - low
    found = optimize.root_scalar(lambda u: function(low + u * width), bracket=(0.0, 1.0), method="brentq", xtol=1e-18)
    return low + float(found.root) * width
