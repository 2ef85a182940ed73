"""What one unit of the benchmark of trials is: the evidence of 4 + 4 runs, from which seven trials are made."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from benchmarks.suite.trials_families import DESIGN, STARTS, Family
from scipy import stats

import descentcast as dc
from descentcast.trials import CALIBRATED, compare

Record = dict[str, Any]
MOST = max(DESIGN["design"]["runs"])
LEVEL, ALPHA = DESIGN["design"]["level"], DESIGN["design"]["alpha"]
# Virtual runs that each recorded run gets.
VIRTUAL = 1000
# Earlier runs of the base setting that the pooled-prior t-test knows.
EARLIER = 8


@dataclass(frozen=True)
class Said:
    """What one recorded run says, as it is kept: the numbers that `compare` needs of `RunEvidence`."""

    mean: float
    within: float
    sampling: float
    real: float
    carried: float
    late: tuple[float, float]
    whole: tuple[float, float]
    unknown: float = 0.0


def generator(*words: Any) -> np.random.Generator:
    """Return the generator of what the words name: the same in every process."""
    return np.random.default_rng([crc32(str(word).encode()) for word in words])


def evidence(
    arms: dict[str, np.ndarray], outcome: Any, steps: int, starts: np.ndarray | None, seed: int, better: str = "lower"
) -> dict[str, list[list[float]]]:
    """Return what is kept of each run of each arm: numbers, in the order in which `said` takes them."""
    runs = {name: dc.Trajectories.from_arrays(list(values)) for name, values in arms.items()}
    most = max(map(len, runs.values()))
    trial = dc.Trial(runs, outcome, better, starts=starts, steps=steps, estimator=dc.LocalLinearKernel())
    found = trial.run(replicates=VIRTUAL * most, random_state=seed)
    return {
        name: [
            [run.mean, run.within, run.sampling, run.real, run.carried, *run.late, *run.whole, run.unknown]
            for run in each
        ]
        for name, each in zip(found.names, found.evidence, strict=True)
    }


def block(family: Family, effect: str, index: int, most: int = MOST) -> Record:
    """Simulate a block of runs of both arms and return what they say."""
    rng = generator(family.part, family.name, effect, index)
    problems = {"A": family.problem("base"), "B": family.problem(effect)}
    arms = {name: family.runs(problem, most, rng) for name, problem in problems.items()}
    # Both arms are judged by one function: the loss of a problem does not depend on its step size or batch.
    outcome = family.outcome(problems["A"])
    starts = family.starts(STARTS, generator(family.name, "starts"))
    return evidence(arms, outcome, family.entry["steps"], starts, int(rng.integers(2**31)))


def said(runs: list[list[float]]) -> list[Said]:
    """Return what runs say from what was kept of them."""
    known = [[float("nan") if v is None else v for v in run] for run in runs]
    return [Said(*run[:5], late=(run[5], run[6]), whole=(run[7], run[8]), unknown=run[9]) for run in known]


def trials(record: Record, n: int) -> Iterator[tuple[list[Said], list[Said]]]:
    """Yield the disjoint trials of n runs an arm that two lists of runs hold."""
    a, b = said(record["A"]), said(record["B"])
    for first in range(0, min(len(a), len(b)) - n + 1, n):
        yield a[first : first + n], b[first : first + n]


def virtual(a: list[Said], b: list[Said]) -> tuple[float, float, float, float]:
    """Return effect, half-width, p-value and equivalent runs by the virtual trial."""
    found = compare(b, a, CALIBRATED, LEVEL)
    return found.effect, found.halfwidth, found.p_value, found.equivalent_runs


def welch(a: list[Said], b: list[Said]) -> tuple[float, float, float, float]:
    """Return the same by Welch's t-test on the real outcomes; without an interval where a single run an arm is."""
    x, y = np.array([r.real for r in a]), np.array([r.real for r in b])
    effect = float(y.mean() - x.mean())
    if len(x) < 2:
        return effect, float("inf"), 1.0, float(len(x))
    u, v = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    if u + v == 0:
        return effect, 0.0, float(effect == 0), float(len(x))
    dof = (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))
    scale = np.sqrt(u + v)
    half = float(stats.t.ppf((1 + LEVEL) / 2, dof) * scale)
    return effect, half, float(2 * stats.t.sf(abs(effect) / scale, dof)), float(len(x))


def pooled(a: list[Said], b: list[Said], earlier: np.ndarray) -> tuple[float, float, float, float]:
    """Return the same by a t-test whose variance is pooled over both arms and earlier runs of the base setting."""
    x, y = np.array([r.real for r in a]), np.array([r.real for r in b])
    effect = float(y.mean() - x.mean())
    squares = sum(float(((v - v.mean()) ** 2).sum()) for v in (x, y, earlier))
    dof = len(x) + len(y) + len(earlier) - 3
    scale = np.sqrt(squares / dof * 2 / len(x))
    half = float(stats.t.ppf((1 + LEVEL) / 2, dof) * scale)
    return effect, half, float(2 * stats.t.sf(abs(effect) / scale, dof)) if scale else float(effect == 0), float(len(x))
