"""From records to one table: averages over problems, standard errors over seeds, ranks, and what was claimed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from descentcast.benchmark._measures import PLACES
from descentcast.benchmark._names import BASELINES, MEMBERS, STACK

DISTANCES = ("bhattacharyya", "hellinger2", "w1")
COVERAGES = ("covered_1", "covered_10", "landing_covered")
MEASURES = (
    *DISTANCES,
    *(f"{place}_{distance}" for place in PLACES for distance in DISTANCES),
    "landing",
    "right_basin",
    *COVERAGES,
    "landing_width",
    "seconds",
)
# What the stack is claimed to do.
WORSE, WORSE_BY = 0.10, 0.002
EACH, MEAN = (0.80, 0.98), (0.86, 0.94)
RIGHT = 0.95


@dataclass(frozen=True)
class BenchmarkClaim:
    """A claim about the stack, and what was measured.

    Attributes:
        claim: The claim.
        measured: What was measured, in words.
        met: Whether it holds.
    """

    claim: str
    measured: str
    met: bool


def summarised(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return one row a length and estimator: measures, standard errors, ranks.

    A measure is averaged over seeds within each problem, then over problems. Its error, in the column `<measure>_se`,
    is `sqrt(sum over problems of variance over seeds / seeds) / problems`: of other runs of the same problems; NaN from
    a single seed. `bhattacharyya_rank` and `landing_rank` are ranks among the estimators (baselines and the floor left
    out), averaged over problems and seeds.

    Args:
        records: What `run_benchmark` returns.

    Returns:
        The table, lengths in order; within a length baselines last.
    """
    table = _frame(records)
    compared = table[~table["estimator"].isin(BASELINES)]
    for name in ("bhattacharyya", "landing"):
        table[f"{name}_rank"] = compared.groupby(["problem", "length", "seed"])[name].rank()
    ranks = ["bhattacharyya_rank", "landing_rank"]
    per_problem = table.groupby(["length", "estimator", "problem"])[[*MEASURES, *ranks]]
    means, errors = per_problem.mean(), per_problem.var() / per_problem.count()
    groups = ["length", "estimator"]
    found = means.groupby(groups).mean()
    for name in MEASURES:
        own = errors[name].groupby(groups)
        found[f"{name}_se"] = np.sqrt(own.sum(min_count=1)) / own.count()
    found = found.reset_index()
    found["seeds"] = table["seed"].nunique()
    found["problems"] = table["problem"].nunique()
    last = found["estimator"].isin(BASELINES)
    return found.assign(last=last).sort_values(["length", "last", "bhattacharyya"]).drop(columns="last")


def by_problem(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the measures by problem, length and estimator, averaged over seeds."""
    table = _frame(records)
    return table.groupby(["problem", "length", "estimator"])[list(MEASURES)].mean().reset_index()


def claims(records: Sequence[dict[str, Any]]) -> list[BenchmarkClaim]:
    """Return what was to be shown of the stack, measured; nothing where the stack or a member was not run.

    Args:
        records: What `run_benchmark` returns.

    Returns:
        The claims: the lowest or tied (within one standard error of the difference over seeds) average of the distance
        of rows and of landings at every length; no problem worse than its best member by more than 10 % + 0.002;
        intervals; basins.
    """
    names = {r["estimator"] for r in records}
    if not {STACK, *MEMBERS} <= names:
        return []
    cells: Any = by_problem(records)
    found: list[BenchmarkClaim] = []
    for name, words in (("bhattacharyya", "Bhattacharyya distance"), ("landing", "landing total variation")):
        found += [
            _lowest([r for r in records if r["length"] == length], name, f"{words}, {length} values")
            for length in sorted({r["length"] for r in records})
        ]
        found.append(_never_worse(cells, name, words))
    own = cells[cells["estimator"] == STACK].groupby("problem")[[*COVERAGES, "right_basin"]].mean()
    for name, words in zip(COVERAGES, ("one step", "10 steps", "landing"), strict=True):
        values = own[name].dropna()
        low, high, mean = float(values.min()), float(values.max()), float(values.mean())
        outside = ", ".join(values.index[(values < EACH[0]) | (values > EACH[1])])
        found.append(
            BenchmarkClaim(
                f"90 % intervals, {words}: {EACH[0]:.0%} to {EACH[1]:.0%} on each problem, "
                f"{MEAN[0]:.0%} to {MEAN[1]:.0%} on average",
                f"mean {mean:.1%}, from {low:.1%} to {high:.1%}" + (f"; outside: {outside}" if outside else ""),
                bool(EACH[0] <= low and high <= EACH[1] and MEAN[0] <= mean <= MEAN[1]),
            )
        )
    right = float(own["right_basin"].mean())
    found.append(BenchmarkClaim(f"right basin from {RIGHT:.0%} of sure unseen starts", f"{right:.1%}", right >= RIGHT))
    return found


def _frame(records: Sequence[dict[str, Any]]) -> Any:
    """Return records as a table with every measure in it, NaN where there is none."""
    table = pd.DataFrame(list(records))
    for name in MEASURES:
        table[name] = pd.to_numeric(table.get(name, np.nan))
    return table


def _lowest(records: Sequence[dict[str, Any]], name: str, words: str) -> BenchmarkClaim:
    """Compare the stack's average with the lowest of all, paired over seeds; over problems where there is one seed."""
    table = _frame(records)
    table = table[~table["estimator"].isin(BASELINES)]
    unit = "seed" if table["seed"].nunique() > 1 else "problem"
    by_unit = table.groupby([unit, "estimator"])[name].mean().unstack()
    means = by_unit.mean()
    others = means.drop(STACK)
    best = str(others.idxmin())
    difference = by_unit[STACK] - by_unit[best]
    error = float(difference.std() / np.sqrt(len(difference))) if len(difference) > 1 else 0.0
    return BenchmarkClaim(
        f"lowest or tied: {words}",
        f"{means[STACK]:.4f}; next {best} {others[best]:.4f}; difference {difference.mean():+.4f} ± {error:.4f}, "
        f"paired over {unit}s",
        bool(difference.mean() <= error),
    )


def _never_worse(cells: Any, name: str, words: str) -> BenchmarkClaim:
    """Count the problems, lengths averaged, on which the best member is better than the stack by more than allowed."""
    table = cells.groupby(["problem", "estimator"])[name].mean().unstack()
    best = table[list(MEMBERS)].min(axis=1)
    worse = table[STACK] > (1 + WORSE) * best + WORSE_BY
    named = ", ".join(f"{p} {table.loc[p, STACK]:.3f} against {best[p]:.3f}" for p in table.index[worse])
    return BenchmarkClaim(
        f"on no problem worse than the best member by more than {WORSE:.0%} + {WORSE_BY:g}: {words}",
        f"{int(worse.sum())} of {len(table)} problems" + (f": {named}" if named else ""),
        not worse.any(),
    )
