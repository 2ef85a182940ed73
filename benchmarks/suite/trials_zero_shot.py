"""Zero-shot arms: runs carried by `rescale` to step sizes that nobody ran, against simulation at those step sizes."""

import time
from typing import Any

import numpy as np
from benchmarks.suite.store import Store, Unit
from benchmarks.suite.trials_families import DESIGN, STARTS, Family, families
from benchmarks.suite.trials_units import ALPHA, LEVEL, VIRTUAL, generator

import descentcast as dc

KERNELS, VERSION, TRUTHS = "local-linear", "3", "1"
PART, RUNS = "zero-shot", 2
TRUTH = 4000


def zero_shot(store: Store, repeats: int) -> None:
    """Compute what is missing: trials of a carried arm against the arm whose runs carry it."""
    done = store.done(PART, KERNELS, VERSION)
    known = {family.name: family for family in families("reporting")}
    truth = _truths(store, known)
    for repeat in range(repeats):
        for name in DESIGN["zero_shot"]["families"]:
            family = known[name]
            base = family.problem("base")
            for step in DESIGN["zero_shot"]["steps"]:
                if (f"{name}/{step}", repeat) in done:
                    continue
                start = time.process_time()
                rng = generator(PART, name, repeat)
                runs = dc.Trajectories.from_arrays(list(family.runs(base, RUNS, rng)), setting=base.setting)
                starts = family.starts(STARTS, generator(name, "starts"))
                trial = dc.Trial(
                    {"base": runs, "carried": dc.rescale(runs, step=step)}, family.outcome(base), starts=starts,
                    steps=family.entry["steps"], estimator=dc.LocalLinearKernel(), level=LEVEL, alpha=ALPHA,
                )  # fmt: skip
                effect = trial.run(RUNS * VIRTUAL, repeat).effects.iloc[0]
                values = {key: float(effect[key]) for key in ("effect", "low", "high", "p_value")}
                values |= truth[f"{name}/{step}"]
                seconds = time.process_time() - start
                store.add(Unit(PART, KERNELS, f"{name}/{step}", repeat), VERSION, values, seconds=seconds)


def _truths(store: Store, known: dict[str, Family]) -> dict[str, dict[str, float]]:
    """Return the true effects and the spreads, simulated where they are missing."""
    part = f"{PART}-truth"
    done = store.done(part, KERNELS, TRUTHS)
    for name in DESIGN["zero_shot"]["families"]:
        family = known[name]
        base = family.problem("base")
        for step in DESIGN["zero_shot"]["steps"]:
            if (f"{name}/{step}", 0) not in done:
                there = family.problem("base", step_size=base.step_size * step)
                seeds = [generator(PART, name, step, i) for i in range(2)]
                here, other = (family.truth(p, TRUTH, rng) for p, rng in zip((base, there), seeds, strict=True))
                values = {"true": other[0] - here[0], "sd": float(np.hypot(here[1], other[1]))}
                store.add(Unit(part, KERNELS, f"{name}/{step}", 0), TRUTHS, values)
    return {r["family"]: r["values"] for r in store.records(part)}


def zero_shot_table(store: Store) -> list[dict[str, Any]]:
    """Return one row a family and step: sign and size of the effects, and the coverage of their intervals."""
    rows = []
    records = store.records(PART)
    for label in dict.fromkeys(r["family"] for r in records):
        own = [r["values"] for r in records if r["family"] == label]
        effects = np.array([v["effect"] for v in own])
        true, sd = own[0]["true"], own[0]["sd"] / np.sqrt(2)
        error = effects.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.nan
        rows.append(
            {
                "family": label.split("/")[0],
                "step size x": label.split("/")[1],
                "trials": len(own),
                "true effect / sd": f"{true / sd:+.2f}",
                "effect / sd": f"{effects.mean() / sd:+.2f} ± {error / sd:.2f}",
                "right sign": f"{100 * np.mean(np.sign(effects) == np.sign(true)):.0f}",
                "covered": f"{100 * np.mean([v['low'] <= true <= v['high'] for v in own]):.0f}",
                "called": f"{100 * np.mean([v['p_value'] <= ALPHA for v in own]):.0f}",
            }
        )
    return rows
