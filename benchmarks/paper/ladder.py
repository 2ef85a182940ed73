"""Model ladder: how near next-value densities come to the truth, against the processor time that reading them takes.

    python benchmarks/paper/ladder.py [--models descent-small smollm2-frozen adapter gemma3-frozen] [--seeds 3] [--draw]

One step ahead after 300 values, as `benchmarks/adapter.py` compares estimators (20 steps of the last third, four
views), on three problems that nothing was trained on. A larger model of your own is `--models name=folder`, or
`name=base+adapter folder`. Every unit (model, problem, seed) is added to `benchmarks/results/paper/ladder.csv`.
"""

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # `benchmarks` and `training` are folders of the repository, not installed

import pandas as pd  # noqa: E402
from benchmarks.paper.drawing import ladder, saved  # noqa: E402
from benchmarks.paper.estimators import ADAPTER  # noqa: E402
from benchmarks.paper.rows import RESULTS, Rows  # noqa: E402
from benchmarks.suite.chains import chain_of  # noqa: E402
from benchmarks.suite.models import CLASSICAL_MODEL, digest, load  # noqa: E402
from benchmarks.suite.one_step import GRID, VIEWS, label, one_step  # noqa: E402

FAMILIES = ("double_well", "tilted_triple_well", "linear_regression")
LENGTH = 300
ADAPTED = f"adapter=smollm2-135m+{ADAPTER}"
MODELS = {"descent-small": "descent-small", "smollm2-frozen": "smollm2-frozen", "adapter": ADAPTED}
MODELS["gemma3-frozen"] = "gemma3-frozen"
SHOWN = ("local-linear", "AR(1)", GRID)
ROWS = Rows(RESULTS / "ladder.csv", ("model", "weights", "problem", "seed"))


def computed(name: str, family: str, seed: int) -> list[dict]:
    """Return distance and processor seconds of each estimator on one run; classical ones share one time."""
    model = load(name)
    before = time.process_time()
    found = one_step(chain_of(family, seed), seed, model, mend=False, lengths=(LENGTH,))[str(LENGTH)]
    seconds = time.process_time() - before
    wanted = SHOWN if model is None else (label(VIEWS),)
    return [{"estimator": e, "distance": found[e]["bhattacharyya"], "seconds": seconds} for e in wanted]


def paired(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of those seeds of each problem that every model on it has: all are compared on the same runs."""
    kept = []
    for _, rows in table.groupby("problem", sort=False):
        seeds = [set(r["seed"]) for _, r in rows.groupby("model")]
        kept.append(rows[rows["seed"].isin(sorted(set.intersection(*seeds)))])
    return pd.concat(kept, ignore_index=True)


def main() -> None:
    """Compute, then draw."""
    os.environ["DESCENTCAST_CACHE_MB"] = "0"  # seconds are of reading
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[CLASSICAL_MODEL, *MODELS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draw", action="store_true", help="compute nothing")
    arguments = parser.parse_args()
    for given in () if arguments.draw else arguments.models:
        name = MODELS.get(given, given)
        weights = digest(name) or "none"
        for seed in range(arguments.seeds):
            for family in FAMILIES:
                unit = {"model": name.split("=")[0], "weights": weights, "problem": family, "seed": seed}
                if not ROWS.holds(**unit):
                    ROWS.add(unit, computed(name, family, seed))
                    print(f"{given}, {family}, seed {seed}", file=sys.stderr, flush=True)
    saved(ladder(paired(ROWS.table())), "ladder")


if __name__ == "__main__":
    main()
