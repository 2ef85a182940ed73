"""The adapter and `descent-small` beside frozen models and classical estimators, on families nothing was trained on.

    python benchmarks/adapter.py [--parts one-step kernels lengths speed losses] [--models classical adapter ...]
        [--families ...] [--seeds N] [--jobs N] [--table] [--quick] [--measure bhattacharyya] [--json]

Each unit (part, model, family, seed) is appended to `benchmarks/results/adapter/<part>.jsonl` when it is done, and not
computed again with the same weights: stop it when you like and go on later, or run pieces side by side. Tables show
what is there, and over how many seeds. `--table` computes nothing; `--quick` computes a small piece into a scratch
folder. A model can also be given as `name=folder`, or as `name=base+adapter folder`. Set OMP_NUM_THREADS, or leave it:
the cores are shared out among the jobs.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks` and `training` are folders of the repository, not installed

from benchmarks.suite import gates  # noqa: E402
from benchmarks.suite.measures import MEASURES  # noqa: E402
from benchmarks.suite.models import CLASSICAL_MODEL, FROZEN, MODELS, UnavailableError, digest  # noqa: E402
from benchmarks.suite.store import Store  # noqa: E402
from benchmarks.suite.tables import markdown, tables  # noqa: E402
from benchmarks.suite.work import PARTS, computed, units  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "adapter"
# The fast ones first.
ORDER = [CLASSICAL_MODEL, "descent-small", "adapter", *FROZEN]
QUICK_PARTS = ("one-step", "kernels", "losses")
QUICK_FAMILIES = ("quadratic", "double_well", "linear_regression", "digits SGD, batch loss")
QUICK_LENGTHS, QUICK_SEEDS = (30, 100), 2


def main() -> None:
    """Compute what is asked for and not there yet, then print the tables."""
    os.environ["DESCENTCAST_CACHE_MB"] = "0"  # seconds are of reading, never of finding what was read before
    arguments = parsed()
    if arguments.quick:
        with tempfile.TemporaryDirectory() as folder:
            run(arguments, Store(Path(folder)))
            show(Store(Path(folder)), arguments)
        return
    store = Store(arguments.results)
    if not arguments.table:
        run(arguments, store)
    show(store, arguments)


def run(arguments: argparse.Namespace, store: Store) -> None:
    """Compute the units that are not there yet, model by model."""
    for model in arguments.models:
        try:
            weights = digest(model)
        except UnavailableError as error:
            if arguments.named:
                raise SystemExit(str(error)) from error
            print(f"left out: {error}", file=sys.stderr)
            continue
        wanted = [
            unit
            for part in arguments.parts
            if model in PARTS[part].models or model not in (CLASSICAL_MODEL, *MODELS)
            for unit in units(part, model, arguments.families, arguments.seeds)
        ]
        done = {part: store.done(part, model, weights) for part in arguments.parts}
        todo = [unit for unit in wanted if (unit.family, unit.seed) not in done[unit.part]]
        for i, (unit, values, details) in enumerate(computed(todo, arguments.jobs, arguments.lengths)):
            store.add(unit, weights, values, **details)
            print(f"{i + 1}/{len(todo)} {unit} {details['seconds']:.1f} s", file=sys.stderr, flush=True)


def show(store: Store, arguments: argparse.Namespace) -> None:
    """Print every table, and what the issue asks for beside what was measured."""
    found = tables(store, arguments.measure)
    required = gates.required(store)
    weights = [
        {"part": part, "model": model, "weights": weights}
        for part in PARTS
        for model, weights in sorted({(r["model"], r["weights"]) for r in store.records(part)})
        if weights
    ]
    if arguments.json:
        print(json.dumps({"tables": found, "required": required, "weights": weights}))
        return
    for title, rows in {**found, "Required": required, "Weights measured": weights}.items():
        print(f"\n### {title}\n\n{markdown(rows)}")


def parsed() -> argparse.Namespace:
    """Return the arguments, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS)
    parser.add_argument("--models", nargs="+", metavar="MODEL", help=", ".join((CLASSICAL_MODEL, *MODELS)))
    parser.add_argument("--families", nargs="+")
    parser.add_argument("--seeds", type=int, help="seeds of every family, for every model")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print the tables from what is there")
    parser.add_argument("--quick", action="store_true", help="two seeds, few families, nothing kept")
    parser.add_argument("--measure", choices=MEASURES, default=MEASURES[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.named = arguments.models is not None
    arguments.models = arguments.models or [
        CLASSICAL_MODEL,
        "descent-small",
        "adapter",
        "smollm2-frozen",
        "gemma3-frozen",
    ]
    arguments.lengths = QUICK_LENGTHS if arguments.quick else None
    if arguments.quick:
        arguments.parts = arguments.parts or QUICK_PARTS
        arguments.families = arguments.families or QUICK_FAMILIES
        arguments.seeds = arguments.seeds or QUICK_SEEDS
        if not arguments.named:
            arguments.models = ORDER[:2]
    arguments.parts = arguments.parts or list(PARTS)
    known = {family for part in PARTS.values() for family in part.families}
    unknown = set(arguments.families or ()) - known
    if unknown:
        parser.error(f"families {sorted(unknown)} are unknown, must be among {sorted(known)}")
    if arguments.jobs < 1 or (arguments.seeds is not None and arguments.seeds < 1):
        parser.error("jobs and seeds must be at least 1")
    return arguments


if __name__ == "__main__":
    main()
