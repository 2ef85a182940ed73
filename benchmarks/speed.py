"""The engine's speed: operations executed beside what the machine can do, densities, kernels, growth, second calls.

    python benchmarks/speed.py [--parts start rates kernels densities growth second following]
        [--models smollm2-135m descent-small] [--views 4] [--quick] [--json]

`name@frozen` is a model without its adapter, `name@FOLDER` with that one. Rates are
of square matrix products, in the same run. The baseline of
densities is one cached forward pass a branch, timed on a sample of the branches that were read and scaled to all. The
store is off but for the second call, and what a model keeps in memory is dropped before each timing but for
following a run. `--quick` measures everything at small sizes. Set OMP_NUM_THREADS to the number of cores.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `benchmarks` is not installed

import torch
from benchmarks.suite import engine
from benchmarks.suite.engine import Row
from benchmarks.suite.roofline import rates

PARTS = ("start", "rates", "kernels", "densities", "growth", "second", "following")
MODELS = ("smollm2-135m", "descent-small")


def main() -> None:
    """Measure what is asked for, print each line as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--views", type=int, default=engine.VIEWS)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ["DESCENTCAST_CACHE_MB"] = "0"
    rows = []
    for row in measured(arguments):
        rows.append(row)
        if not arguments.json:
            print(line(row), flush=True)
    if arguments.json:
        print(json.dumps({"threads": torch.get_num_threads(), "rows": [row.to_dict() for row in rows]}, indent=1))


def measured(arguments: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of all parts."""
    quick, views, parts = arguments.quick, arguments.views, arguments.parts
    values = 40 if quick else engine.VALUES
    if "start" in parts:
        yield from engine.start()
    rate = rates()
    if "rates" in parts:
        for name, each in rate.items():
            yield Row("", f"matrix product, {name}, {torch.get_num_threads()} threads", each / 1e9, "GFLOP/s")
    for name in arguments.models:
        print(f"{name}: {engine.load(name).precision}", file=sys.stderr)
        if "kernels" in parts:
            yield from engine.whole_kernels(name, rate, views, values)
        if "densities" in parts:
            for digits in (2, 3):
                yield from engine.densities(name, digits, values)
        if "growth" in parts:
            contexts, grids = ((20, 40), (50, 100)) if quick else (engine.CONTEXTS, engine.GRIDS)
            yield from engine.growth(name, contexts, grids, views)
        if "second" in parts:
            yield from engine.second_call(name, views, values)
        if "following" in parts:
            yield from engine.following(name, values, 4 if quick else 20, views)


def line(row: Row) -> str:
    """Return a row as a line of the table."""
    limits = " ".join(f"{sign} {limit:g}" for sign, limit in ((">=", row.low), ("<=", row.high)) if limit is not None)
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    return f"{row.model:14} {row.what:88} {row.value:>10.4g} {row.unit:8} {limits:>9} {verdict}".rstrip()


if __name__ == "__main__":
    main()
