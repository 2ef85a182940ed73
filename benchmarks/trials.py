"""Virtual trials: how often they are wrong, what they find, and how many real runs they are worth.

    python benchmarks/trials.py [--parts reporting digits digits_fresh digits_half zero-shot development] [--blocks 24]
        [--quick] [--table]

Families, pairs and numbers are fixed in benchmarks/trials.toml. Kernels are local-linear (the default stack takes
twenty times as long); their parameters are the package's own. A unit is 4 + 4 runs of a family and effect, kept as a
line of JSON in benchmarks/results/trials: what was stopped goes on where it was. The runs of a block (one unit of each
effect and two nulls: 24 runs of the base setting, 4 of each other) are put together at random into trials that share no
run; different blocks share nothing. `--table` prints what there is. digits_half is
trials of the first halves of the runs of digits_fresh, whose ends are foretold.

Columns, with standard errors over blocks:
    false      nulls called different at 5 %
    coverage   90 % intervals that hold the true effect, nulls and effects together
    power      effects, small and large, called different in the right direction
    interval   real runs an arm whose t-interval is as wide, the median of what the trial says of itself
    error      real runs an arm whose mean squared error is as small: variance of outcomes over that of the effect
For real training `called` is false positives where there is no effect and power where there is one. How the prior was
fitted is in benchmarks/suite/trials_fit.py.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.suite import trials_training as training
from benchmarks.suite.store import Store, Unit
from benchmarks.suite.tables import markdown
from benchmarks.suite.trials_families import DESIGN, EFFECTS, Family, families
from benchmarks.suite.trials_units import ALPHA, EARLIER, Said, block, generator, pooled, said, virtual, welch
from benchmarks.suite.trials_zero_shot import zero_shot, zero_shot_table

RESULTS = Path(__file__).parent / "results" / "trials"
KERNELS = "local-linear"
# Of what units say, and of the true means.
VERSION, TRUTHS = "3", "1"
RUNS = DESIGN["design"]["runs"]
METHODS = ("virtual trial", "Welch", "pooled prior")
PARTS = ("reporting", "digits", "digits_fresh", "digits_half", "zero-shot", "development")
TRAININGS = {
    "digits": "Real training: digits",
    "digits_fresh": "Real training: digits, fresh pairs",
    "digits_half": "Real training: digits, fresh pairs, runs known up to their half",
}
SECOND = 1_000_000


def units(part: str, blocks: int, names: list[str] | None) -> Iterable[tuple[Family, str, int]]:
    """Yield family, effect and number of each block, so that stopping early leaves all families alike."""
    chosen = [family for family in families(part) if not names or family.name in names]
    for index in range(blocks):
        for family in chosen:
            for effect in EFFECTS:
                yield family, effect, index
            # A second block of the null.
            yield family, "null", SECOND + index


def compute(store: Store, part: str, blocks: int, names: list[str] | None) -> None:
    """Compute what is missing of a part of simulated families."""
    truths(store, part)
    done = store.done(part, KERNELS, VERSION)
    for family, effect, index in units(part, blocks, names):
        name = f"{family.name}/{effect}"
        if (name, index) in done:
            continue
        start = time.process_time()
        store.add(
            Unit(part, KERNELS, name, index),
            VERSION,
            block(family, effect, index),
            seconds=time.process_time() - start,
        )


def truths(store: Store, part: str) -> None:
    """Simulate the true means that are missing."""
    done = store.done(f"{part}-truth", KERNELS, TRUTHS)
    for family in families(part):
        for arm in ("base", "small", "large"):
            if (f"{family.name}/{arm}", 0) not in done:
                rng = generator(family.name, arm, "truth")
                mean, sd, error = family.truth(family.problem(arm), DESIGN["design"]["truth"], rng)
                values = {"mean": mean, "sd": sd, "error": error}
                store.add(Unit(f"{part}-truth", KERNELS, f"{family.name}/{arm}", 0), TRUTHS, values)


def judged(store: Store, part: str) -> list[dict[str, Any]]:
    """Return one entry a trial and method: what it said, and what is true."""
    truth = {r["family"]: r["values"] for r in store.records(f"{part}-truth")}
    kinds = {family.name: family.entry["kind"] for family in families(part)}
    found = []
    for (family, index), pools in clusters(store, part).items():
        rng, base = generator(family, index, "pairing"), truth[f"{family}/base"]
        for n in RUNS:
            for effect in EFFECTS:
                other = truth[f"{family}/{'base' if effect == 'null' else effect}"]
                real = (base["sd"] ** 2 + other["sd"] ** 2, other["mean"] - base["mean"])
                for a, b in paired(pools, effect, n, rng):
                    earlier = base["sd"] * rng.standard_normal(EARLIER)
                    told = {"family": family, "kind": kinds[family], "effect": effect, "block": (family, index)}
                    found += [entry | told for entry in entries(a, b, earlier, n, real)]
    return found


def clusters(store: Store, part: str) -> dict[tuple[str, int], dict[str, list[Said]]]:
    """Return what the runs of each setting say, by family and number of the block."""
    found: dict[tuple[str, int], dict[str, list[Said]]] = defaultdict(lambda: defaultdict(list))
    for record in store.records(part):
        family, effect = record["family"].split("/")
        pools = found[family, record["seed"] % SECOND]
        pools["base"] += said(record["values"]["A"])
        pools["base" if effect == "null" else effect] += said(record["values"]["B"])
    return found


def paired(
    pools: dict[str, list[Said]], effect: str, n: int, rng: np.random.Generator
) -> Iterable[tuple[list[Said], list[Said]]]:
    """Yield trials of n runs an arm, the runs of a block put together at random; none shares a run with another."""
    base = [pools["base"][i] for i in rng.permutation(len(pools["base"]))]
    if effect == "null":
        half = len(base) // 2
        base, other = base[:half], base[half:]
    else:
        other = [pools[effect][i] for i in rng.permutation(len(pools[effect]))]
    for first in range(0, min(len(base), len(other)) - n + 1, n):
        yield base[first : first + n], other[first : first + n]


def entries(
    a: list[Said], b: list[Said], earlier: np.ndarray, n: int, real: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return what each method says of one trial, judged by the variance and the effect that are real."""
    variance, true = real
    methods: dict[str, Callable[[], tuple[float, float, float, float]]] = {
        "virtual trial": lambda: virtual(a, b),
        "Welch": lambda: welch(a, b),
        "pooled prior": lambda: pooled(a, b, earlier),
    }
    found = []
    for method in METHODS:
        effect, half, p, worth = methods[method]()
        found.append(
            {
                "method": method,
                "runs": n,
                "called": p <= ALPHA,
                "right": p <= ALPHA and effect * true > 0,
                "covered": abs(effect - true) <= half,
                "half": half / np.sqrt(variance),
                "worth": worth,
                "square": (effect - true) ** 2 / variance,
            }
        )
    return found


def table(entries: list[dict[str, Any]], by: str | None) -> list[dict[str, Any]]:
    """Return one row a group (kind, family or all), number of runs and method."""
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        groups[entry[by] if by else "all", entry["runs"], entry["method"]].append(entry)
    rows = []
    for (group, n, method), own in sorted(groups.items(), key=lambda item: (item[0][0], item[0][1])):
        null = [e for e in own if e["effect"] == "null"]
        row = {"families": group, "runs": n, "method": method, "trials": len(own)}
        row["false"] = share(null, "called")
        row["coverage"] = share(own, "covered")
        for effect in ("small", "large"):
            row[f"power, {effect}"] = share([e for e in own if e["effect"] == effect], "right")
        row["interval"] = f"{np.median([e['worth'] for e in own]):.1f}"
        row["error"] = f"{1 / np.mean([e['square'] for e in own]):.1f}"
        rows.append(row)
    return rows


def share(entries: list[dict[str, Any]], key: str) -> str:
    """Return the share of a property in percent, with its standard error over blocks, which are independent."""
    if not entries:
        return "-"
    by_block: dict[Any, list[float]] = defaultdict(list)
    for entry in entries:
        by_block[entry["block"]].append(float(entry[key]))
    sums = np.array([sum(v) for v in by_block.values()])
    sizes = np.array([len(v) for v in by_block.values()])
    rate = sums.sum() / sizes.sum()
    count = len(sums)
    error = np.sqrt(((sums - rate * sizes) ** 2).sum() * count / max(count - 1, 1)) / sizes.sum()
    return f"{100 * rate:.1f} ± {100 * error:.1f}"


def development_table(store: Store) -> list[dict[str, Any]]:
    """Return what the prior rests on: phi and the bias of each family and arm."""
    truth = {r["family"]: r["values"] for r in store.records("development-truth")}
    pools: dict[str, list[Any]] = defaultdict(list)
    for record in store.records("development"):
        family, effect = record["family"].split("/")
        pools[f"{family}/base"] += record["values"]["A"]
        pools[f"{family}/{'base' if effect == 'null' else effect}"] += record["values"]["B"]
    rows = []
    for name, runs in sorted(pools.items()):
        mean, within, sampling, *_ = np.array(runs, dtype=float).T
        bias = (np.nanmean(mean) - truth[name]["mean"]) / np.sqrt(np.nanmean(within))
        row = {"family": name, "runs": len(runs), "phi": f"{np.nanvar(mean, ddof=1) / np.nanmean(sampling):.2f}"}
        row["bias"] = f"{bias:+.2f} ± {np.nanstd(mean) / np.sqrt(len(runs) * np.nanmean(within)):.2f}"
        row["s / v"] = f"{np.sqrt(np.nanmean(sampling) / np.nanmean(within)):.2f}"
        row["v / sd"] = f"{np.sqrt(np.nanmean(within)) / truth[name]['sd']:.2f}"
        rows.append(row)
    return rows


def tables(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Return every table by its title."""
    found = {}
    if store.records("reporting"):
        entries = judged(store, "reporting")
        found["Simulated families, all"] = table(entries, None)
        found["Simulated families by kind"] = table(entries, "kind")
        found["Simulated families, one by one"] = table(entries, "family")
    for part, title in TRAININGS.items():
        if store.records(part):
            found[title] = training.table(store, part, entries_of=entries_of_training)
    if store.records("zero-shot"):
        found["Zero-shot arms"] = zero_shot_table(store)
    if store.records("development"):
        found["Development: what the prior rests on"] = development_table(store)
        found["Development families by kind, on which the prior was fitted"] = table(
            judged(store, "development"), "kind"
        )
    return found


def entries_of_training(a: list[Said], b: list[Said], earlier: np.ndarray, real: tuple[float, float]) -> Any:
    """Return the entries of one trial on real training."""
    return entries(a, b, earlier, len(a), real)


def main() -> None:
    """Compute what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:5])
    parser.add_argument("--blocks", type=int, default=None, help="blocks of each family and effect")
    parser.add_argument("--families", nargs="+", help="those of a part to compute; by default all")
    parser.add_argument("--quick", action="store_true", help="one block each, in a folder that is thrown away")
    parser.add_argument("--table", action="store_true", help="print what has been computed, compute nothing")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    store = Store(arguments.results)
    if arguments.quick:
        store = Store(Path(tempfile.mkdtemp()))
    for part in () if arguments.table else arguments.parts:
        if part in ("reporting", "development"):
            planned = DESIGN["design"]["blocks"][part]
            compute(store, part, 1 if arguments.quick else arguments.blocks or planned, arguments.families)
        elif part in TRAININGS:
            training.compute(store, part)
        else:
            zero_shot(store, 2 if arguments.quick else 12)
    found = tables(store)
    if arguments.json:
        print(json.dumps(found))
        return
    for title, rows in found.items():
        print(f"\n### {title}\n\n{markdown(rows)}")


if __name__ == "__main__":
    main()
