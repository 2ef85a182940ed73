"""The conclusion of a trial in plain words."""

from typing import Any

import numpy as np


def summary(result: Any) -> list[str]:
    """Return the lines of the conclusion of a `TrialResult`: what was asked, each effect, what it rests on."""
    runs = ", ".join(f"{int(n)} of {name}" for name, n in zip(result.arms["arm"], result.arms["runs"], strict=True))
    replicates = min(len(v) for v in result.virtual.values())
    what = result.name if result.outcome == "final" else f"{result.outcome} of {result.name}"
    lines = [f"{what} after {result.steps} steps, {result.better} is better."]
    lines += [effect(result, row) for row in result.effects.to_dict(orient="records")]
    for name, own in zip(result.names, result.evidence, strict=True):
        if gone := sum(run.diverged for run in own):
            lines.append(f"{gone} of {len(own)} recorded runs of {name} diverged: means and differences are of others.")
    lines.append(
        f"It rests on recorded runs ({runs}) and at least {replicates} virtual runs an arm by {result.estimator}."
    )
    lines += between(result)
    return lines


def effect(result: Any, row: dict[str, Any]) -> str:
    """Return one contrast as a sentence."""
    ours, theirs = contrast(result, row["contrast"])
    if not np.isfinite(row["effect"]):
        return f"{ours} against {theirs}: no difference of means, all virtual runs of one of them diverge."
    claim = {
        "better": f"{ours} is better than {theirs}",
        "worse": f"{ours} is worse than {theirs}",
        "equivalent": f"{ours} and {theirs} are equivalent within {number(result.rope)}"
        if result.rope is not None
        else "",
        "undecided": f"Whether {ours} or {theirs} is better is undecided",
    }[row["verdict"]]
    several = f" ({result.adjust} over {len(result.effects)} contrasts)" if len(result.effects) > 1 else ""
    return (
        f"{claim}: difference {number(row['effect'])}, {result.level:.0%} interval {number(row['low'])} to "
        f"{number(row['high'])}, p = {probability(row['p_adjusted'])}{several}; a run of {ours} beats one of {theirs} "
        f"with probability {row['p_superior']:.2f} ({row['p_superior_low']:.2f} to {row['p_superior_high']:.2f}). "
        f"As certain as {row['equivalent_runs']:.1f} real runs an arm alone."
    )


def between(result: Any) -> list[str]:
    """Return what the variance between runs was taken to be, and why."""
    prior, posterior = result.prior, result.posterior
    if posterior is None:
        return []
    seen = posterior.seen
    before = prior.posterior([0.0], [0], seen)
    first = (
        f"Recorded runs come back to {seen.recurrence:.0%} of the starts and have passed {seen.passage:.0%}. "
        f"Runs may vary more than their kernels say: by the prior ({prior.source}) {number(before.median(0))} times, "
        f"by more than {number(before.quantile(0, 0.9))} times with probability 10%"
    )
    if all(mean is None or mean.runs < 2 for mean in result.means):
        return [
            first + "; no arm has two runs that could say otherwise, so the intervals rest on it. A second run of each "
            "arm tells most."
        ]
    medians = ", ".join(f"{name} {number(value)}" for name, value in (result._medians() or {}).items())
    return [f"{first}; with the recorded runs (median) {medians}."]


def contrast(result: Any, label: str) -> tuple[str, str]:
    """Return the two arms of a contrast, by the names of the arms: a name may hold " - " itself."""
    for ours in result.names:
        for theirs in result.names:
            if label == f"{ours} - {theirs}":
                return ours, theirs
    raise AssertionError(label)


def number(x: float) -> str:
    """Return a number with three digits, no exponent below a million, and a true minus sign.

    Examples:
        >>> [number(x) for x in (0.01234, -5, 3712.4, 999_999, 12_345_678)]
        ['0.0123', '−5', '3,710', '1e+06', '1.23e+07']
    """
    text = f"{x:.3g}"
    whole = f"{float(text):,.0f}" if "e+" in text and abs(float(text)) < 1e6 else text
    return whole.replace("-", "\N{MINUS SIGN}")


def probability(p: float) -> str:
    """Return a probability with two digits, none smaller than 0.0001."""
    return f"{p:.2g}" if p >= 1e-4 else "0.0001 or less"
