"""From runs to means and effects: estimates, intervals, p-values, equivalence, equivalent real runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy import stats

from descentcast.errors import DataError
from descentcast.trials._arms import RunEvidence
from descentcast.trials._variance import ErrorLaw, VariancePosterior, VariancePrior, root

# From so many recorded runs an arm the weight of real outcomes is estimated, below it is fixed by the prior.
ESTIMATED_FROM = 8
WEIGHTS = np.linspace(0.0, 1.0, 41)
# How many real runs the kernels' variance of an outcome counts for, beside the real outcomes' own.
WORTH_OF_KERNEL = 4.0
MOST_RUNS = 1e6


@dataclass(frozen=True, eq=False)
class ArmMean:
    """What the runs of one arm say of its mean outcome.

    With m_i the mean outcome of the virtual runs of recorded run i and Y_i its own outcome, `z_i = (1 - w) m_i + w Y_i`
    and the estimate is the mean of the z_i: the mean of m_i, debiased by the share w of what real outcomes say against
    it (prediction-powered inference). Below 8 runs w is `n b^2 / (1 + n b^2)`, with b the prior's `bias`; from 8 on
    it minimises the estimated mean squared error.

    Attributes:
        mean: The estimate.
        weight: w.
        z: One value a run that says something, shape (n,).
        predicted: p, the variance of z_i that the kernels predict.
        bias: Posterior mean of the square of the bias that is left.
        outcome_sd: Standard deviation of a real run's outcome, from kernels and real outcomes.
        within: v^2, the variance of an outcome under one kernel.
    """

    mean: float
    weight: float
    z: Float[np.ndarray, "n"]
    predicted: float
    bias: float
    outcome_sd: float
    within: float

    @property
    def runs(self) -> int:
        """How many runs say something."""
        return len(self.z)

    @property
    def squares(self) -> float:
        """Squares of the z_i around their mean, over what is predicted of one."""
        spread = float(((self.z - self.mean) ** 2).sum())
        return spread / self.predicted if spread > 0 else 0.0


def arm_mean(runs: Sequence[RunEvidence], prior: VariancePrior) -> ArmMean | None:
    """Estimate the mean outcome of an arm; None where no run says anything of it."""
    m = np.array([run.mean for run in runs])
    Y = np.array([run.real for run in runs])
    kept = np.isfinite(m)
    if not kept.any():
        return None
    m, Y = m[kept], Y[kept]
    within = float(np.nanmean([run.within for run, k in zip(runs, kept, strict=True) if k]))
    sampling = float(np.nanmean([run.sampling for run, k in zip(runs, kept, strict=True) if k]))
    real = np.isfinite(Y)
    n = int(real.sum())
    against = float((Y[real] - m[real]).mean()) if n else 0.0
    b2 = prior.bias**2 * within
    if n >= ESTIMATED_FROM and n == len(m):
        d = Y - m
        w, bias = _estimated(m, Y, b2 + max(float(d.mean() ** 2 - d.var(ddof=1) / n), 0.0))
    else:
        w = n * prior.bias**2 / (1 + n * prior.bias**2)
        share = n * prior.bias**2 / (1 + n * prior.bias**2)
        bias = (share * against) ** 2 + (1 - share) * b2
    z = m + w * np.where(real, np.nan_to_num(Y) - m, against)
    p = (1 - w) ** 2 * sampling + w**2 * within + 2 * w * (1 - w) * sampling
    spread = float(((Y[real] - Y[real].mean()) ** 2).sum()) if n else 0.0
    variance = (WORTH_OF_KERNEL * (within + float(m.var())) + spread) / (WORTH_OF_KERNEL + max(n - 1, 0))
    smallest = (1e-12 * max(float(np.abs(z).max()), 1e-100)) ** 2
    return ArmMean(float(z.mean()), w, z, max(p, smallest), (1 - w) ** 2 * bias, float(np.sqrt(variance)), within)


def _estimated(m: np.ndarray, Y: np.ndarray, b2: float) -> tuple[float, float]:
    """Return the weight of real outcomes with the least estimated mean squared error, and the squared bias."""
    n = len(m)
    cov = np.cov(np.stack([m, Y]), ddof=1)
    w = WEIGHTS
    variance = (1 - w) ** 2 * cov[0, 0] + w**2 * cov[1, 1] + 2 * w * (1 - w) * cov[0, 1]
    best = float(w[np.argmin((1 - w) ** 2 * b2 + variance / n)])
    return best, b2


def law_of(means: Sequence[ArmMean], posterior: VariancePosterior, arms: Sequence[int]) -> ErrorLaw:
    """Return the law of the error of one arm's mean, or of the difference of two."""
    terms = [(a, means[a].predicted / means[a].runs) for a in arms]
    return ErrorLaw.of(posterior, terms, sum(means[a].bias for a in arms))


def between_runs(means: Sequence[ArmMean], prior: VariancePrior) -> VariancePosterior:
    """Return the posterior of the variance between runs, from how the z_i of the arms differ."""
    return prior.posterior([mean.squares for mean in means], [mean.runs - 1 for mean in means])


@dataclass(frozen=True)
class Comparison:
    """The difference of two arms' means.

    Attributes:
        effect: The estimate.
        halfwidth: Of its interval.
        p_value: Two-sided, of no difference.
        equivalent_runs: Real runs an arm that would give as narrow an interval.
    """

    effect: float
    halfwidth: float
    p_value: float
    equivalent_runs: float


def contrast(
    means: Sequence[ArmMean], posterior: VariancePosterior, ours: int, theirs: int, level: float
) -> tuple[Comparison, ErrorLaw]:
    """Compare two of the arms, and return the law of the error too."""
    law = law_of(means, posterior, [ours, theirs])
    effect, half = means[ours].mean - means[theirs].mean, law.halfwidth(level)
    worth = equivalent_runs(half, [means[ours].outcome_sd, means[theirs].outcome_sd], level)
    return Comparison(effect, half, min(2 * law.above(abs(effect)), 1.0), worth), law


def compare(
    ours: Sequence[RunEvidence], theirs: Sequence[RunEvidence], prior: VariancePrior, level: float = 0.9
) -> Comparison:
    """Compare two arms by what their runs say: the contrast of a trial of these two alone.

    Raises:
        DataError: All virtual runs of an arm diverge.
    """
    means = [arm_mean(runs, prior) for runs in (ours, theirs)]
    known = [mean for mean in means if mean is not None]
    if len(known) < 2:
        raise DataError("all virtual runs of an arm diverge, there is no mean outcome to compare")
    return contrast(known, between_runs(known, prior), 0, 1, level)[0]


def equivalent_runs(halfwidth: float, sds: Sequence[float], level: float) -> float:
    """Return how many real runs an arm would give a t-interval of that half-width.

    The n that solves `t_{(1 + level) / 2, A (n - 1)} sqrt(sum of sd_a^2 / n) = halfwidth`, A arms: the interval of the
    mean of real runs alone, at the spread of outcomes that is known here. It is no whole number, and at least 1.

    Examples:
        >>> round(equivalent_runs(0.6196, [1.0], 0.9), 1)
        9.0
    """
    scale = float(np.sqrt(np.square(sds).sum()))

    def wider(log_n: float) -> float:
        n = np.exp(log_n)
        t = stats.t.ppf((1 + level) / 2, max(len(sds) * (n - 1), 1e-3))
        return float(t * scale / np.sqrt(n) - halfwidth)

    if halfwidth <= 0 or wider(np.log(MOST_RUNS)) > 0:
        return float("inf") if scale > 0 or halfwidth <= 0 else 1.0
    if wider(np.log(1.001)) < 0:
        return 1.0
    return float(np.exp(root(wider, float(np.log(1.001)), float(np.log(MOST_RUNS)))))


def adjusted(p: Float[np.ndarray, "C"], method: str) -> Float[np.ndarray, "C"]:
    """Return p-values adjusted for their number.

    "holm" controls the probability of any false claim whatever the dependence (Holm 1979); "fdr" the expected share of
    false claims under independence or positive dependence (Benjamini, Hochberg 1995).

    Examples:
        >>> adjusted(np.array([0.01, 0.04, 0.03]), "holm").tolist()
        [0.03, 0.06, 0.06]
        >>> adjusted(np.array([0.01, 0.04, 0.03]), "fdr").round(3).tolist()
        [0.03, 0.04, 0.04]
    """
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    count, found = len(order), np.full(len(p), np.nan)
    if method == "fdr":
        steps = p[order] * count / np.arange(1, count + 1)
        found[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    else:
        found[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(count, 0, -1)), 1.0)
    return found


def superiority(ours: np.ndarray, theirs: np.ndarray, sign: int, shift: float = 0.0) -> float:
    """Return the probability that a run of ours is better than one of theirs; ties count half, diverged is worst."""
    a = np.where(np.isfinite(ours), sign * (ours + shift), -np.inf)
    b = np.sort(np.where(np.isfinite(theirs), sign * theirs, -np.inf))
    below, upto = np.searchsorted(b, a, side="left"), np.searchsorted(b, a, side="right")
    return float((below + upto).mean() / (2 * len(b)))


def pairs(names: Sequence[str], contrasts: str) -> list[tuple[int, int]]:
    """Return pairs (arm, against): every later arm against every earlier one, or each against the first."""
    if contrasts == "control":
        return [(i, 0) for i in range(1, len(names))]
    return [(j, i) for i, j in combinations(range(len(names)), 2)]
