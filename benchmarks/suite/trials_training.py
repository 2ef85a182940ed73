"""Trials on recorded real training: the pairs of benchmarks/trials.toml, judged by 40 real runs an arm."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.suite.store import Store, Unit
from benchmarks.suite.trials_families import DESIGN
from benchmarks.suite.trials_units import EARLIER, Said, evidence, generator, trials

DATA = Path(__file__).parents[1] / "data"
KERNELS, VERSION = "local-linear", "3"
# Of 40 real runs an arm these many are given to trials, whole or their first half; all of them are the truth.
GIVEN = {"breast_cancer": 24, "digits": 16, "digits_fresh": 16, "digits_half": 8}
BASE, NULL, EFFECTS = "base", "again", "pairs with an effect"


def arms(part: str) -> dict[str, np.ndarray]:
    """Return the recorded runs of each arm, shape (runs, steps + 1)."""
    name = "digits_fresh" if part == "digits_half" else part
    with np.load(DATA / f"trials_{'digits_fresh' if name == 'digits_fresh' else 'digits'}.npz") as file:
        found = {tuple(key.split("/")): file[key] for key in file.files}
    return {arm: runs.astype(np.float64) for (group, arm), runs in found.items() if group == name}


def compute(store: Store, part: str) -> None:
    """Compute what each given run says, two arms at a time."""
    recorded, given = arms(part), GIVEN[part]
    steps = recorded[BASE].shape[1] - 1
    known = steps // 2 + 1 if part == "digits_half" else steps + 1
    names = list(recorded)
    done = store.done(part, KERNELS, VERSION)
    for pair in zip(names[::2], names[1::2] if len(names) % 2 == 0 else [*names[1::2], BASE], strict=True):
        if ("+".join(pair), 0) in done:
            continue
        start = time.process_time()
        said = evidence({name: recorded[name][:given, :known] for name in pair}, "final", steps, None, 0)
        seconds = time.process_time() - start
        store.add(Unit(part, KERNELS, "+".join(pair), 0), VERSION, said, seconds=seconds)


def table(store: Store, part: str, entries_of: Callable[..., list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return one row a pair, number of runs and method, and one for the nulls within arms.

    Trials of a pair are disjoint, but share their arms with other pairs and with the truth, which has an error of its
    own: it is stated, in units of the spread between runs.
    """
    recorded = arms(part)
    said = {name: runs for record in store.records(part) for name, runs in record["values"].items()}
    ends = {name: runs[:, -1] for name, runs in recorded.items()}
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for pair, a, b, real in _trials(said, ends):
        earlier = ends[BASE].std(ddof=1) * generator(part, pair, len(groups)).standard_normal(EARLIER)
        for entry in entries_of(a, b, earlier, real):
            groups[pair, entry["runs"], entry["method"]].append(entry)
            if real[1]:
                groups[EFFECTS, entry["runs"], entry["method"]].append(entry)
    rows = []
    for (pair, n, method), own in sorted(groups.items(), key=lambda item: (item[0][0], item[0][1])):
        row = {"pair": pair, "runs": n, "method": method, "trials": len(own), **_truth(pair, ends)}
        row |= {key: _rate(own, key) for key in ("called", "right", "covered")}
        row["interval"] = f"{np.median([e['worth'] for e in own]):.1f}"
        row["error"] = f"{1 / np.mean([e['square'] for e in own]):.1f}"
        rows.append(row)
    return rows


def _trials(
    said: dict[str, Any], ends: dict[str, np.ndarray]
) -> Iterator[tuple[str, list[Said], list[Said], tuple[float, float]]]:
    for name in (n for n in said if n != BASE):
        # A pair of one setting under other seeds has no effect.
        true = 0.0 if name == NULL else float(ends[name].mean() - ends[BASE].mean())
        variance = float(ends[name].var(ddof=1) + ends[BASE].var(ddof=1))
        for n in DESIGN["design"]["runs"]:
            for a, b in trials({"A": said[BASE], "B": said[name]}, n):
                yield name, a, b, (variance, true)
    for name, runs in said.items():
        half, variance = len(runs) // 2, 2 * float(ends[name].var(ddof=1))
        for n in DESIGN["design"]["runs"]:
            for a, b in trials({"A": runs[:half], "B": runs[half:]}, n):
                yield "no effect, within arms", a, b, (variance, 0.0)


def _truth(pair: str, ends: dict[str, np.ndarray]) -> dict[str, str]:
    if pair not in ends or pair == NULL:
        return {"effect / sd": "" if pair == EFFECTS else "0"}
    a, b = ends[BASE], ends[pair]
    sd = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return {"effect / sd": f"{(b.mean() - a.mean()) / sd:+.2f} ± {error / sd:.2f}"}


def _rate(entries: list[dict[str, Any]], key: str) -> str:
    rate, count = float(np.mean([e[key] for e in entries])), len(entries)
    return f"{100 * rate:.0f} ± {100 * np.sqrt(max(rate * (1 - rate), 0.25 / count) / count):.0f}"
