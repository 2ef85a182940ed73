"""What is required of the trained models, beside what was measured, and whether it is met."""

import math
from collections.abc import Iterator
from typing import Any

from benchmarks.suite.chains import REPORTING
from benchmarks.suite.one_step import CLASSICAL, VIEWS
from benchmarks.suite.one_step import RECALIBRATED as CORRECTED
from benchmarks.suite.store import Store
from benchmarks.suite.tables import (
    Values,
    kernel_values,
    landing_values,
    loss_values,
    mean_and_error,
    one_step_values,
    ratio,
)
from benchmarks.suite.whole_kernel import HALF, HALVES, LINEAR, MODEL, RECALIBRATED, SETTINGS

TRAINED = ("adapter", "descent-small")
GAUSSIAN = tuple(name for name, chain in REPORTING.items() if chain.gaussian)
OTHERS = tuple(name for name in REPORTING if name not in GAUSSIAN)
ONE_STEP, LANDING, SECONDS, CLIFF = 0.012, 0.08, 1.0, 1.5
RATIOS = {"visited": 0.9, "inside": 0.9, "outside": 0.7}
RATIO_OF_HALF = 0.7
Row = dict[str, Any]


def required(store: Store) -> list[Row]:
    """Return one row a requirement and trained model: measured, required, met (or by how much not)."""
    rows: list[Row] = []
    one_step = one_step_values(store.records("one-step"), "bhattacharyya")
    kernels = store.records("kernels")
    for model in TRAINED:
        rows += _one_step(model, one_step)
        rows += _ratios(model, {place: kernel_values(kernels, "bhattacharyya", place) for place in RATIOS})
        rows += _landing(model, landing_values(kernels))
        rows += _losses(model, loss_values(store.records("losses")))
    small = [r["values"]["fit"] for r in store.records("speed") if r["model"] == "descent-small"]
    rows += [_row("descent-small", "seconds of a whole kernel", seconds, SECONDS) for seconds in small]
    rows += _cliff("descent-small", one_step_values(store.records("lengths"), "bhattacharyya"))
    return rows


def _one_step(model: str, values: Values) -> Iterator[Row]:
    for read in (f"{VIEWS} views", CORRECTED):
        yield from _one_step_of(model, read, values)


def _one_step_of(model: str, read: str, values: Values) -> Iterator[Row]:
    name = f"{model}, {read}"
    for family in GAUSSIAN:
        if found := values.get((name, "300", family)):
            figure = f"Bhattacharyya, one step, {read}, 300 values, {family}"
            yield _row(model, figure, mean_and_error(found)[0], ONE_STEP)
    for length, families in (("300", OTHERS), ("30", tuple(REPORTING))):
        for family in families:
            ours = values.get((name, length, family), {})
            members = {m: values.get((m, length, family), {}) for m in CLASSICAL}
            shared = [s for s in ours if all(s in found for found in members.values())]
            if shared:
                best = min(members, key=lambda m: sum(members[m][s] for s in shared))
                limit = sum(members[best][s] for s in shared) / len(shared)
                mean = sum(ours[s] for s in shared) / len(shared)
                yield _row(model, f"the same, {read}, {length} values, {family}, against {best}", mean, limit)


def _ratios(model: str, values: dict[str, Values]) -> Iterator[Row]:
    for setting in SETTINGS:
        for rows in (MODEL, RECALIBRATED):
            for place, limit in RATIOS.items():
                if found := ratio(values[place], f"{model}, {rows}", setting, REPORTING):
                    yield _row(model, f"ratio to local-linear, {rows}, {place} cells, {setting}", found[0], limit)
        for rows in (HALF, HALVES):
            if found := ratio(values["visited"], f"{model}, {rows}", setting, REPORTING):
                yield _row(model, f"ratio to local-linear, {rows}, visited cells, {setting}", found[0], RATIO_OF_HALF)


def _landing(model: str, values: Values) -> Iterator[Row]:
    for rows in (MODEL, RECALIBRATED):
        families = [family for name, _, family in values if name == f"{model}, {rows}"]
        if not families:
            continue
        ours, theirs = (
            sum(mean_and_error(values[name, "4 runs", f])[0] for f in families) / len(families)
            for name in (f"{model}, {rows}", LINEAR)
        )
        yield _row(model, f"total variation of the landing, wells, {rows}", ours, LANDING)
        yield _row(model, "the same, against local-linear", ours, theirs)


def _losses(model: str, values: Values) -> Iterator[Row]:
    for name, setting, family in values:
        if name != f"{model}, 4 views":
            continue
        for rival in ("last value", "AR(1)", "power law"):
            if found := values.get((rival, setting, family)):
                ours = values[name, setting, family]
                shared = [s for s in ours if s in found]
                mean, limit = (sum(v[s] for s in shared) / max(len(shared), 1) for v in (ours, found))
                yield _row(model, f"log score, {family}, against {rival}", mean, limit)


def _cliff(model: str, values: Values) -> Iterator[Row]:
    name = f"{model}, 4 views"
    lengths = sorted({int(length) for n, length, _ in values if n == name})
    if not lengths:
        return
    means = {
        t: sum(mean_and_error(v)[0] for (n, length, _), v in values.items() if n == name and int(length) == t)
        for t in lengths
    }
    worst = max(means[t] / min(means[u] for u in lengths if u <= t) for t in lengths)
    yield _row(model, "longer contexts, mean Bhattacharyya over the best shorter one's, worst", worst, CLIFF)


def _row(model: str, figure: str, measured: float, limit: float) -> Row:
    met = "yes" if measured <= limit else f"no, {measured - limit:+.3f}"
    return {
        "model": model,
        "figure": figure,
        "measured": f"{measured:.3f}",
        "at most": f"{limit:.3f}",
        "met": "-" if math.isnan(measured) else met,
    }
