"""From runs to means and effects: estimates, intervals, p-values, equivalence, equivalent real runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy import stats

from descentcast.errors import DataError
from descentcast.trials._arms import RunEvidence
from descentcast.trials._variance import LEAST_SD, ErrorLaw, Seen, VariancePosterior, VariancePrior, root

# From so many recorded runs an arm the weight of real outcomes is estimated, below it is fixed by the prior.
ESTIMATED_FROM = 8
WEIGHTS = np.linspace(0.0, 1.0, 41)
# How many real runs the kernels' variance of an outcome counts for, beside the real outcomes' own.
WORTH_OF_KERNEL = 4.0
# Between 1 and this many runs an interval is as wide as one likes.
FEWEST_RUNS, MOST_RUNS = 1.2, 1e6


@dataclass(frozen=True, eq=False)
class ArmMean:
    """What the runs of one arm say of its mean outcome.

    With m_i the mean outcome of the virtual runs of recorded run i and Y_i its own outcome, `z_i = (1 - w) m_i + w Y_i`
    and the estimate is the mean of the z_i: the mean of m_i, debiased by the share w of what real outcomes say against
    it (prediction-powered inference). Below 8 real outcomes `w = n b^2 / (1 + n b^2)` with b the prior's `bias`,
    averaged over its components by their posterior, which arms share; from 8 on w minimises the estimated mean squared
    error. The outcome of an unfinished run is foretold: it is uncertain by u^2, and counts for `c = v^2 / (v^2 + u^2)`
    of one: in z_i it has the weight c w, and (1 - c) w goes to what all real outcomes say against the m_i.

    Attributes:
        mean: The estimate.
        weight: w.
        z: One value a run that says something, shape (n,).
        predicted: p, the variance of z_i that the kernels predict.
        bias: Posterior mean of the square of the bias that is left, in each of its components, shape (B,).
        outcome_sd: Standard deviation of a real run's outcome, from kernels and real outcomes.
        within: v^2, the variance of an outcome under one kernel.
        sampling: s^2, the variance of a run's m_i that its kernels predict.
        against: What real outcomes say against the virtual ones, in standard deviations v.
        real: How many real outcomes there are; those that were foretold count for less than one.
        seen: What the runs have seen of the starts, all of them together.
        shares: Posterior probability of each component of the bias.
    """

    mean: float
    weight: float
    z: Float[np.ndarray, "n"]
    predicted: float
    bias: Float[np.ndarray, "B"]
    outcome_sd: float
    within: float
    sampling: float
    against: float
    real: float
    seen: Seen
    shares: Float[np.ndarray, "B"]

    @property
    def runs(self) -> int:
        """How many runs say something."""
        return len(self.z)

    @property
    def squares(self) -> float:
        """Squares of the z_i around their mean, over what is predicted of one."""
        spread = float(((self.z - self.mean) ** 2).sum())
        return spread / self.predicted if spread > 0 else 0.0


@dataclass(frozen=True, eq=False)
class _Said:
    """What the runs of one arm say.

    Attributes:
        m: Means of virtual runs, shape (n,).
        Y: Real outcomes, NaN where there is none, shape (n,).
        unknown: u^2, the variance of those that were foretold, shape (n,).
        within: v^2.
        sampling: s^2.
        seen: Of the starts.
    """

    m: Float[np.ndarray, "n"]
    Y: Float[np.ndarray, "n"]
    unknown: Float[np.ndarray, "n"]
    within: float
    sampling: float
    seen: Seen

    @property
    def finished(self) -> np.ndarray:
        """Which have an outcome that came true, shape (n,)."""
        return np.isfinite(self.Y) & (self.unknown == 0)

    @property
    def counts(self) -> np.ndarray:
        """How much of a real outcome each has: 1, `v^2 / (v^2 + u^2)` of a foretold one, or 0, shape (n,)."""
        foretold = np.where(np.isfinite(self.Y), self.within / np.maximum(self.within + self.unknown, LEAST_SD**2), 0.0)
        return np.where(self.finished, 1.0, foretold)

    @property
    def n(self) -> float:
        """How many real outcomes there are, or what they are worth."""
        return float(self.counts.sum())

    @property
    def foretold(self) -> float:
        """What those that were foretold add to the variance of `against`, times n: to that of a run, as it were."""
        return float(len(self.m) * (self.counts**2 @ self.unknown) / self.n**2) if self.n else 0.0

    @property
    def against(self) -> float:
        """What real outcomes say against the virtual ones, on average."""
        return float(self.counts @ np.nan_to_num(self.Y - self.m)) / self.n if self.n else 0.0

    @property
    def scaled(self) -> float:
        """The same in standard deviations v."""
        return self.against / np.sqrt(self.within) if self.within > 0 else 0.0


def arm_means(arms: Sequence[Sequence[RunEvidence]], prior: VariancePrior) -> list[ArmMean | None]:
    """Estimate the mean outcome of every arm of a trial; None where no run says anything of it."""
    said = [_said(runs) for runs in arms]
    known = [s for s in said if s is not None]
    shares = prior.biases([s.scaled for s in known], [s.n for s in known])
    return [None if s is None else _mean(s, prior, shares) for s in said]


def _said(runs: Sequence[RunEvidence]) -> _Said | None:
    kept = [run for run in runs if np.isfinite(run.mean)]
    if not kept:
        return None
    return _Said(
        m=np.array([run.mean for run in kept]),
        Y=np.array([run.carried for run in kept]),
        unknown=np.array([run.unknown for run in kept]),
        within=float(np.nanmean([run.within for run in kept])),
        sampling=float(np.nanmean([run.sampling for run in kept])),
        seen=Seen(together([run.late for run in kept]), together([run.whole for run in kept])),
    )


def _mean(s: _Said, prior: VariancePrior, shares: Float[np.ndarray, "B"]) -> ArmMean:
    m, Y, counts, n = s.m, s.Y, s.counts, s.n
    theta = np.array(prior.bias)
    weights = weight_of(n, theta)
    # Posterior mean of the squared bias, by component: N(0, theta^2 v^2) seen through n real outcomes of variance v^2.
    squared = (weights * s.against) ** 2 + (1 - weights) * theta**2 * s.within
    w = float(shares @ weights)
    if len(m) >= ESTIMATED_FROM and s.finished.all():
        w = _estimated(m, Y, float(shares @ squared))
    z = m + w * (counts * np.nan_to_num(Y - m) + (1 - counts) * s.against)
    came = Y[s.finished]
    spread = float(((came - came.mean()) ** 2).sum()) if len(came) else 0.0
    counted = WORTH_OF_KERNEL + max(len(came) - 1, 0)
    variance = (WORTH_OF_KERNEL * (s.within + float(m.var())) + spread) / counted
    smallest = (1e-12 * max(float(np.abs(z).max()), 1e-100)) ** 2
    return ArmMean(
        mean=float(z.mean()),
        weight=w,
        z=z,
        predicted=max(predicted(w, s.within, s.sampling) + w**2 * s.foretold, smallest),
        bias=(1 - w) ** 2 * squared,
        outcome_sd=float(np.sqrt(variance)),
        within=s.within,
        sampling=s.sampling,
        against=s.scaled,
        real=n,
        seen=s.seen,
        shares=shares,
    )


def together(intervals: Sequence[tuple[float, float]]) -> float:
    """Return the length of the union of intervals.

    Examples:
        >>> together([(0.5, 0.75), (0.0, 0.25), (0.125, 0.5)])
        0.75
    """
    total, end = 0.0, -np.inf
    for low, high in sorted(intervals):
        total += max(high - max(low, end), 0.0)
        end = max(end, high)
    return float(total)


def weight_of(n: float, bias: np.ndarray) -> np.ndarray:
    """Return the weight of n real outcomes below `ESTIMATED_FROM`: `n b^2 / (1 + n b^2)`."""
    return n * bias**2 / (1 + n * bias**2)


def predicted(w: float, within: float, sampling: float) -> float:
    """Return p, the variance of `(1 - w) m + w Y` that the kernels predict.

    Both hold the luck of the same run: the covariance of an efficient estimate with any other is its own variance.
    """
    return (1 - w) ** 2 * sampling + w**2 * within + 2 * w * (1 - w) * sampling


def _estimated(m: np.ndarray, Y: np.ndarray, squared: float) -> float:
    """Return the weight of real outcomes with the least estimated mean squared error."""
    cov = np.cov(np.stack([m, Y]), ddof=1)
    w = WEIGHTS
    variance = (1 - w) ** 2 * cov[0, 0] + w**2 * cov[1, 1] + 2 * w * (1 - w) * cov[0, 1]
    return float(w[np.argmin((1 - w) ** 2 * squared + variance / len(m))])


def law_of(
    means: Sequence[ArmMean], prior: VariancePrior, posterior: VariancePosterior, arms: Sequence[int]
) -> ErrorLaw:
    """Return the law of the error of one arm's mean, or of the difference of two."""
    terms = [(a, means[a].predicted / means[a].runs) for a in arms]
    own = [means[a] for a in arms]
    left = own[0].bias if len(own) == 1 else bias_between(own[0], own[1], prior)
    return ErrorLaw.of(posterior, terms, left, own[0].shares)


def bias_between(a: ArmMean, b: ArmMean, prior: VariancePrior) -> Float[np.ndarray, "B"]:
    """Return the mean square of the bias that is left in the difference of two arms' means, in each of its components.

    Biases of both arms have the correlation `prior.shared`; those of an arm without a real outcome are taken to be its
    own. By component their difference is `N(0, theta^2 t^2)`, seen through real outcomes as that of one arm is.
    """
    if not a.real or not b.real:
        return a.bias + b.bias
    theta = np.square(prior.bias)
    both = a.within + b.within - 2 * prior.shared * np.sqrt(a.within) * np.sqrt(b.within)
    noise = a.within / a.real + b.within / b.real
    weights = theta * both / np.maximum(theta * both + noise, LEAST_SD)
    against = a.against * np.sqrt(a.within) - b.against * np.sqrt(b.within)
    return (1 - a.weight) * (1 - b.weight) * ((weights * against) ** 2 + (1 - weights) * theta * both)


def between_runs(means: Sequence[ArmMean], prior: VariancePrior) -> VariancePosterior:
    """Return the posterior of the variance between runs, from how the z_i of the arms differ."""
    seen = Seen(*np.mean([[mean.seen.recurrence, mean.seen.passage] for mean in means], axis=0).tolist())
    return prior.posterior([mean.squares for mean in means], [mean.runs - 1 for mean in means], seen)


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
    means: Sequence[ArmMean], prior: VariancePrior, posterior: VariancePosterior, ours: int, theirs: int, level: float
) -> tuple[Comparison, ErrorLaw]:
    """Compare two of the arms, and return the law of the error too."""
    law = law_of(means, prior, posterior, [ours, theirs])
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
    means = arm_means([ours, theirs], prior)
    known = [mean for mean in means if mean is not None]
    if len(known) < 2:
        raise DataError("all virtual runs of an arm diverge, there is no mean outcome to compare")
    return contrast(known, prior, between_runs(known, prior), 0, 1, level)[0]


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
    if wider(np.log(FEWEST_RUNS)) < 0:
        return 1.0
    return float(np.exp(root(wider, float(np.log(FEWEST_RUNS)), float(np.log(MOST_RUNS)))))


def fieller(b: float, half_b: float, a: float, half_a: float) -> tuple[float, float]:
    """Return the interval of the ratio b / a of two independent means, given the half-widths of their own intervals.

    The ratios r with `(b - r a)^2 <= half_b^2 + r^2 half_a^2` (Fieller 1954); NaN where a is not told from 0, since
    they then have no end.

    Examples:
        >>> fieller(2.0, 0.1, 1.0, 0.0)
        (1.9, 2.1)
    """
    unit = max(abs(a), abs(b), half_a, half_b)
    if not abs(a) > half_a:
        return float("nan"), float("nan")
    a, b, half_a, half_b = a / unit, b / unit, half_a / unit, half_b / unit
    lead = a**2 - half_a**2
    root = np.sqrt(a**2 * half_b**2 + b**2 * half_a**2 - half_a**2 * half_b**2)
    return float((a * b - root) / lead), float((a * b + root) / lead)


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
