"""What a trial found: tables of arms and effects, and a conclusion in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from descentcast._shown import Shown
from descentcast.trials import _words
from descentcast.trials._arms import Arm, RunEvidence
from descentcast.trials._contrasts import (
    ArmMean,
    adjusted,
    arm_means,
    between_runs,
    contrast,
    equivalent_runs,
    fieller,
    law_of,
    superiority,
)
from descentcast.trials._outcomes import Outcome
from descentcast.trials._variance import VariancePosterior, VariancePrior

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"


@dataclass(frozen=True, eq=False, repr=False)
class TrialResult(Shown):
    """The result of a trial.

    Attributes:
        arms: arm, runs (recorded ones of that setting), mean (the estimate, of runs that do not diverge) with low and
            high, and of the virtual runs: iqm (mean of the middle half), sd, q5, q25, q50, q75, q95, p_diverged; with
            diverged_low and diverged_high (Jeffreys interval from the recorded runs alone). `equivalent_runs`: how many
            real runs would give that interval of the mean.
        effects: contrast ("B - A"), effect (difference of means) with low and high, ratio (of means) with ratio_low and
            ratio_high (Fieller's; NaN where the mean of A is not told from 0), p_superior (probability
            that a run of B is better than one of A; in an arm of which a recorded run diverged, virtual ones that do
            are worse than any, in others they are left out) with p_superior_low and p_superior_high, p_value
            (two-sided, of no difference in means), p_adjusted, p_equivalent (of a difference of at least `rope`; NaN
            without one), equivalent_runs (real runs an arm that would give as narrow an interval), verdict ("better",
            "worse", "equivalent", "undecided").
        outcome: Its name.
        better: "lower" or "higher".
        name: The coordinate.
        steps: The horizon.
        starts: Where virtual runs started, shape (m,).
        level: Of the intervals.
        alpha: Of the tests.
        adjust: How p-values were adjusted.
        rope: Half-width of the region of equivalence, or None.
        estimator: Whose kernels they are.
        prior: Prior of the variance between runs.
        posterior: Its posterior.
        means: What the runs of each arm say of its mean; None where all diverge.
        evidence: What each run says, by arm.
        notes: What to know, in words.
    """

    arms: pd.DataFrame
    effects: pd.DataFrame
    outcome: str
    better: str
    name: str
    steps: int
    starts: np.ndarray
    level: float
    alpha: float
    adjust: str
    rope: float | None
    estimator: str
    prior: VariancePrior
    posterior: VariancePosterior | None
    means: tuple[ArmMean | None, ...]
    evidence: tuple[tuple[RunEvidence, ...], ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.names)})\n{self.summary()}"

    @property
    def names(self) -> list[str]:
        """The arms, in order."""
        return self.arms["arm"].tolist()

    @cached_property
    def virtual(self) -> dict[str, np.ndarray]:
        """Outcomes of the virtual runs of each arm, moved so that their mean is the estimate; NaN where they diverged.

        What real outcomes say against the virtual ones moves all of them.
        """
        together = zip(self.names, self.evidence, self.means, strict=True)
        return {name: _moved(runs, mean) for name, runs, mean in together}

    @property
    def real(self) -> dict[str, np.ndarray]:
        """Outcomes of the recorded runs of each arm that reached the horizon."""
        found = {}
        for name, runs in zip(self.names, self.evidence, strict=True):
            found[name] = np.array([run.real for run in runs if np.isfinite(run.real) and not run.unknown])
        return found

    def summary(self) -> str:
        """Return the conclusion in plain words, with what it rests on."""
        return "\n".join(_words.summary(self))

    def to_dict(self) -> dict[str, Any]:
        """Return design, tables, prior, notes and conclusion as plain values; what does not exist is None."""
        return {
            "outcome": self.outcome,
            "coordinate": self.name,
            "better": self.better,
            "steps": self.steps,
            "starts": self.starts.tolist(),
            "level": self.level,
            "alpha": self.alpha,
            "adjust": self.adjust,
            "rope": self.rope,
            "estimator": self.estimator,
            "arms": _records(self.arms),
            "effects": _records(self.effects),
            "between_runs": {
                "prior": self.prior.to_dict(),
                "components": self.posterior.components.tolist() if self.posterior else None,
                "median": self._medians(),
            },
            "real": {name: values.tolist() for name, values in self.real.items()},
            "conclusion": self.summary(),
            "notes": list(self.notes),
        }

    def _medians(self) -> dict[str, float] | None:
        known = [name for name, mean in zip(self.names, self.means, strict=True) if mean]
        return {name: self.posterior.median(i) for i, name in enumerate(known)} if self.posterior else None


def concluded(
    outcome: Outcome,
    *,
    name: str,
    arms: Sequence[Arm],
    evidence: Sequence[tuple[RunEvidence, ...]],
    prior: VariancePrior,
    pairs: Sequence[tuple[int, int]],
    horizon: int,
    starts: np.ndarray,
    level: float,
    alpha: float,
    adjust: str,
    rope: float | None,
    estimator: str,
    notes: Sequence[str],
) -> TrialResult:
    """Compare the arms by what their runs say."""
    means = arm_means(evidence, prior)
    known = [i for i, mean in enumerate(means) if mean is not None]
    usable = [mean for mean in means if mean is not None]
    posterior = between_runs(usable, prior) if usable else None
    place = {arm: k for k, arm in enumerate(known)}
    virtual = [_moved(runs, mean) for runs, mean in zip(evidence, means, strict=True)]
    rivals = [_rivals(values, runs) for values, runs in zip(virtual, evidence, strict=True)]

    rows = []
    for i, arm in enumerate(arms):
        row = {"arm": arm.name, "runs": arm.recorded, **_described(virtual[i], evidence[i], arm.recorded)}
        if posterior is not None and i in place:
            half = law_of(usable, prior, posterior, [place[i]]).halfwidth(level)
            mean = usable[place[i]]
            row |= {"mean": mean.mean, "low": mean.mean - half, "high": mean.mean + half}
            row["equivalent_runs"] = equivalent_runs(half, [mean.outcome_sd], level)
        rows.append(row)

    effects = []
    for b, a in pairs:
        row: dict[str, Any] = {"contrast": f"{arms[b].name} - {arms[a].name}"}
        if posterior is None or a not in place or b not in place:
            row["p_superior"] = superiority(rivals[b], rivals[a], outcome.sign)
            effects.append(row)
            continue
        found, law = contrast(usable, prior, posterior, place[b], place[a], level)
        effect, half, theirs = found.effect, found.halfwidth, usable[place[a]].mean
        halves = [law_of(usable, prior, posterior, [place[i]]).halfwidth(level) for i in (b, a)]
        ratios = fieller(theirs + effect, halves[0], theirs, halves[1])
        shifts = sorted(superiority(rivals[b], rivals[a], outcome.sign, s) for s in (-half, half))
        row |= {
            "effect": effect,
            "ratio": (theirs + effect) / theirs if theirs else float("nan"),
            "ratio_low": ratios[0],
            "ratio_high": ratios[1],
            "low": effect - half,
            "high": effect + half,
            "p_superior": superiority(rivals[b], rivals[a], outcome.sign),
            "p_superior_low": shifts[0],
            "p_superior_high": shifts[1],
            "p_value": found.p_value,
            "p_equivalent": law.above(rope - abs(effect)) if rope is not None else float("nan"),
            "equivalent_runs": found.equivalent_runs,
        }
        effects.append(row)
    table = pd.DataFrame(effects).reindex(columns=EFFECTS)
    table["p_adjusted"] = adjusted(table["p_value"].to_numpy(dtype=float), adjust)
    gone = [any(run.diverged for run in evidence[b]) or any(run.diverged for run in evidence[a]) for b, a in pairs]
    rows_of_effects = table.to_dict(orient="records")
    table["verdict"] = [
        _verdict(row, outcome.sign, alpha, rope, g) for row, g in zip(rows_of_effects, gone, strict=True)
    ]
    return TrialResult(
        arms=pd.DataFrame(rows).reindex(columns=ARMS),
        effects=table,
        outcome=outcome.name,
        better=outcome.better,
        name=name,
        steps=horizon,
        starts=starts,
        level=level,
        alpha=alpha,
        adjust=adjust,
        rope=rope,
        estimator=estimator,
        prior=prior,
        posterior=posterior,
        means=tuple(means),
        evidence=tuple(evidence),
        notes=(*notes, *_told(arms, evidence, horizon)),
    )


ARMS = [
    "arm", "runs", "mean", "low", "high", "iqm", "sd", *(f"q{q * 100:.0f}" for q in QUANTILES),
    "p_diverged", "diverged_low", "diverged_high", "equivalent_runs",
]  # fmt: skip
EFFECTS = [
    "contrast", "effect", "low", "high", "ratio", "ratio_low", "ratio_high", "p_superior", "p_superior_low",
    "p_superior_high", "p_value", "p_adjusted", "p_equivalent", "equivalent_runs", "verdict",
]  # fmt: skip


def _moved(runs: Sequence[RunEvidence], mean: ArmMean | None) -> np.ndarray:
    values = np.concatenate([run.virtual.ravel() for run in runs])
    return values if mean is None else values + (mean.mean - float(np.nanmean(values)))


def _rivals(virtual: np.ndarray, runs: Sequence[RunEvidence]) -> np.ndarray:
    """Return the virtual outcomes that are compared run by run; a recorded run that diverged does so in all of its own.

    Where none did, those that are left: some virtual runs leave the grid by the tails of an estimated noise alone; that
    is no evidence of divergence.
    """
    finite = virtual[np.isfinite(virtual)]
    if not any(run.diverged for run in runs):
        return finite if len(finite) else virtual
    return np.where(np.repeat([run.diverged for run in runs], [run.virtual.size for run in runs]), np.nan, virtual)


def _described(virtual: np.ndarray, runs: Sequence[RunEvidence], recorded: int) -> dict[str, float]:
    finite = virtual[np.isfinite(virtual)]
    gone = sum(run.diverged for run in runs)
    # A recorded run that diverged is no less real for the kernels of those that did not.
    virtual_share = 1 - len(finite) / max(len(virtual), 1)
    row = {"p_diverged": (gone + virtual_share * (len(runs) - gone)) / len(runs)}
    if recorded:
        low, high = stats.beta.ppf([0.05, 0.95], gone + 0.5, recorded - gone + 0.5)
        row |= {"diverged_low": float(low) if gone else 0.0, "diverged_high": float(high) if gone < recorded else 1.0}
    if len(finite):
        row |= {"iqm": float(stats.trim_mean(finite, 0.25)), "sd": float(finite.std())}
        row |= {f"q{q * 100:.0f}": float(v) for q, v in zip(QUANTILES, np.quantile(finite, QUANTILES), strict=True)}
    return row


def _verdict(row: dict[str, Any], sign: int, alpha: float, rope: float | None, gone: bool) -> str:
    """Return the verdict; `gone` tells whether runs diverged, of which means know nothing.

    Then no arm is called better, or equivalent, by its mean alone: its runs have to be better more often than not.
    """
    if rope is not None and row["p_equivalent"] <= alpha:
        return UNDECIDED if gone else EQUIVALENT
    if not row["p_adjusted"] <= alpha:
        return UNDECIDED
    better = sign * row["effect"] > 0
    if gone and (row["p_superior"] > 0.5) != better:
        return UNDECIDED
    return BETTER if better else WORSE


def _told(arms: Sequence[Arm], evidence: Sequence[Sequence[RunEvidence]], horizon: int) -> list[str]:
    notes = []
    for arm, runs in zip(arms, evidence, strict=True):
        if arm.rescaled:
            notes.append(
                f"{arm.name}: nobody ran it; its kernels are carried from {len(runs)} run(s) at another setting"
            )
            continue
        gone = [run.run for run in runs if run.diverged]
        short = [run.run for run in runs if not np.isfinite(run.real) and not run.diverged]
        extended = [run.run for run in runs if run.unknown]
        if gone:
            notes.append(f"{arm.name}: {', '.join(gone)} diverged; means and effects are of runs that do not")
        if extended:
            notes.append(f"{arm.name}: {', '.join(extended)} ended before step {horizon}: what they end at is foretold")
        if short:
            notes.append(f"{arm.name}: {', '.join(short)} ended before step {horizon}: kernels speak for them alone")
    return notes


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {k: (None if isinstance(v, float) and not np.isfinite(v) else v) for k, v in row.items()}
        for row in frame.to_dict(orient="records")
    ]
