"""Tables in markdown from what has been computed: means over seeds, standard errors, and over how many seeds."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from benchmarks.suite.chains import PRIOR, REPORTING
from benchmarks.suite.store import Store
from benchmarks.suite.whole_kernel import LINEAR, PLACES

Record = dict[str, Any]
# What one seed says: (estimator, setting, family) -> seed -> value.
Values = dict[tuple[str, str, str], dict[int, float]]
OVERALL = (("hellinger", "Hellinger"), ("w1", "W1/sigma"), ("expected_excess", "excess nats"))


def estimator(model: str, name: str) -> str:
    """Return what a row is called: models with what was read of them, classical estimators by themselves."""
    return name if model == "classical" or name == LINEAR else f"{model}, {name}"


def one_step_values(records: Iterable[Record], measure: str) -> Values:
    """Collect one measure of one-step laws by estimator, length and family."""
    found: Values = defaultdict(dict)
    for r in records:
        for length, by_name in r["values"].items():
            for name, measures in by_name.items():
                found[estimator(r["model"], name), length, r["family"]][r["seed"]] = measures[measure]
    return found


def kernel_values(records: Iterable[Record], measure: str, place: str) -> Values:
    """Collect one measure of rows at one place by estimator, setting and family."""
    found: Values = defaultdict(dict)
    for r in records:
        for setting, values in r["values"].items():
            for name, by_place in values["rows"].items():
                if place in by_place:
                    found[estimator(r["model"], name), setting, r["family"]][r["seed"]] = by_place[place][measure]
    return found


def landing_values(records: Iterable[Record]) -> Values:
    """Collect total variations of landings by estimator, setting and family."""
    found: Values = defaultdict(dict)
    for r in records:
        for setting, values in r["values"].items():
            for name, variation in values.get("landing", {}).items():
                found[estimator(r["model"], name), setting, r["family"]][r["seed"]] = variation
    return found


def loss_values(records: Iterable[Record]) -> Values:
    """Collect log scores on loss curves by estimator and family."""
    found: Values = defaultdict(dict)
    for r in records:
        for name, score in r["values"].items():
            found[estimator(r["model"], name), "", r["family"]][r["seed"]] = score
    return found


def mean_and_error(values: dict[int, float]) -> tuple[float, float]:
    """Return mean and standard error over seeds (NaN from a single one)."""
    each = np.array(list(values.values()))
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else np.nan


def ratio(values: Values, name: str, setting: str, families: Iterable[str]) -> tuple[float, float, int] | None:
    """Return the geometric mean over families of an estimator's mean over local-linear's on the same seeds.

    The standard error leaves out one seed at a time (jackknife). Also how many seeds every family has.
    """
    pairs = {}
    for family in families:
        ours, theirs = values.get((name, setting, family), {}), values.get((LINEAR, setting, family), {})
        shared = sorted(set(ours) & set(theirs))
        if shared:
            pairs[family] = (np.array([ours[s] for s in shared]), np.array([theirs[s] for s in shared]))
    if not pairs:
        return None
    logs = {f: np.log(a.mean() / b.mean()) for f, (a, b) in pairs.items()}
    variance = 0.0
    for a, b in pairs.values():
        n = len(a)
        if n > 1:
            left_out = np.log((a.sum() - a) / (b.sum() - b))
            variance += (n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()
    value = float(np.exp(np.mean(list(logs.values()))))
    error = value * np.sqrt(variance) / len(pairs) if variance else np.nan
    return value, float(error), min(len(a) for a, _ in pairs.values())


def one_step_table(store: Store, measure: str, families: Iterable[str], part: str = "one-step") -> list[Record]:
    """Return rows (values, estimator) with one column a family, and means of other measures over the families."""
    records = store.records(part)
    main = one_step_values(records, measure)
    others = {title: one_step_values(records, name) for name, title in OVERALL if name != measure}
    rows = []
    for name, length in _keys(main):
        present = [f for f in families if (name, length, f) in main]
        if not present:
            continue
        row: Record = {"values": int(length), "estimator": name}
        row |= {_short(f): _cell(main.get((name, length, f))) for f in families}
        row["mean"] = f"{np.mean([mean_and_error(main[name, length, f])[0] for f in present]):.4f}"
        for title, values in others.items():
            row[title] = f"{np.mean([mean_and_error(values[name, length, f])[0] for f in present]):.3f}"
        row["seeds"] = _seeds(main[name, length, f] for f in present)
        rows.append(row)
    return sorted(rows, key=lambda row: row["values"])


def kernel_table(store: Store, measure: str, families: tuple[str, ...]) -> list[Record]:
    """Return rows (runs, estimator): means at visited / inside / outside cells a family, and ratios to local-linear."""
    records = store.records("kernels")
    by_place = {place: kernel_values(records, measure, place) for place in PLACES}
    rows = []
    for name, setting in _keys(by_place["visited"]):
        present = [f for f in families if (name, setting, f) in by_place["visited"]]
        if not present:
            continue
        row: Record = {"runs": setting, "estimator": name}
        for family in families:
            cells = [by_place[place].get((name, setting, family)) for place in PLACES]
            row[_short(family)] = " ".join(f"{mean_and_error(c)[0]:.3f}" if c else "-" for c in cells)
        for place in PLACES:
            found = ratio(by_place[place], name, setting, families)
            error = "" if found is None or np.isnan(found[1]) else f" ± {found[1]:.2f}"
            row[f"ratio, {place}"] = "-" if found is None else f"{found[0]:.2f}{error}"
        row["seeds"] = _seeds(by_place["visited"][name, setting, f] for f in present)
        rows.append(row)
    return sorted(rows, key=lambda row: row["runs"])


def landing_table(store: Store) -> list[Record]:
    """Return one row an estimator: total variation of landings from simulation by family."""
    values = landing_values(store.records("kernels"))
    families = [f for f in REPORTING if any(f == key[2] for key in values)]
    return [
        {
            "estimator": name,
            **{_short(f): _cell(values.get((name, setting, f))) for f in families},
            "mean": f"{np.mean([mean_and_error(values[k])[0] for k in values if k[:2] == (name, setting)]):.3f}",
            "seeds": _seeds(values[k] for k in values if k[:2] == (name, setting)),
        }
        for name, setting in _keys(values)
    ]


def loss_table(store: Store) -> list[Record]:
    """Return one row an estimator: log scores by curve, and the mean gap to the last value on the same seeds."""
    values = loss_values(store.records("losses"))
    families = list(dict.fromkeys(key[2] for key in values))
    rows = []
    for name, setting in _keys(values):
        gaps = []
        for f in families:
            ours, base = values.get((name, setting, f), {}), values.get(("last value", setting, f), {})
            gaps += [ours[s] - base[s] for s in ours if s in base]
        rows.append(
            {
                "estimator": name,
                **{f: _cell(values.get((name, setting, f))) for f in families},
                "less last value": f"{np.mean(gaps):+.3f}" if gaps else "-",
                "seeds": _seeds(values[name, setting, f] for f in families if (name, setting, f) in values),
            }
        )
    return rows


def speed_table(store: Store) -> list[Record]:
    """Return one row a model: seconds of a whole kernel."""
    return [
        {
            "model": r["model"],
            "seconds": f"{r['values']['fit']:.2f}",
            "of them reading": f"{r['values']['read']:.2f}",
            "processor seconds": f"{r['values']['cpu']:.2f}",
            "threads": r["threads"],
            "device": r["device"],
        }
        for r in store.records("speed")
    ]


def markdown(rows: list[Record]) -> str:
    """Return rows of one shape as a markdown table."""
    if not rows:
        return "nothing computed yet"
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row.get(column, "")) for column in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables(store: Store, measure: str) -> dict[str, list[Record]]:
    """Return every table by its title."""
    reporting = tuple(REPORTING)
    return {
        f"One step ahead, reporting families: {measure}": one_step_table(store, measure, reporting),
        f"One step ahead, in the prior's families (fresh draws): {measure}": one_step_table(store, measure, PRIOR),
        f"Rows of whole kernels off 240 values, reporting families: {measure} at visited, inside, outside cells; "
        "geometric mean of the ratios to local-linear": kernel_table(store, measure, reporting),
        f"Rows of whole kernels, in the prior's families: {measure}": kernel_table(store, measure, PRIOR),
        "Landing after 60 steps, 240 values in 4 runs, unseen starts: total variation from simulation": landing_table(
            store
        ),
        "Seconds of a whole kernel: 100 probed rows, 240 values, 4 views": speed_table(store),
        f"Context length, one step ahead, reporting families: {measure}": one_step_table(
            store, measure, reporting, "lengths"
        ),
        "Loss curves: log score of the log loss over the last 70 %, nats a step, lower is better": loss_table(store),
    }


def _keys(values: Values) -> list[tuple[str, str]]:
    return list(dict.fromkeys((name, setting) for name, setting, _ in values))


def _cell(values: dict[int, float] | None) -> str:
    if not values:
        return "-"
    mean, error = mean_and_error(values)
    return f"{mean:.3f}" + ("" if np.isnan(error) else f" ± {error:.3f}")


def _seeds(values: Iterable[dict[int, float]]) -> str:
    counts = sorted({len(v) for v in values})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _short(family: str) -> str:
    return family.removeprefix("prior/").replace("_", " ")
