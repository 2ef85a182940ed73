"""In-context scaling: the distance of next-value densities against context length, 10 to 1,000, and its power law.

    python benchmarks/paper/scaling.py [--models descent-small smollm2-frozen gemma3-frozen] [--seeds 5] [--draw]

Every unit (model, family, seed) is added to `benchmarks/results/paper/scaling.csv` when it is done and not computed
again: stop it when you like. `--draw` computes nothing. A model of your own is `name=folder`.
"""

import argparse
import os
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # `benchmarks` and `training` are folders of the repository, not installed

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from benchmarks.paper.drawing import saved, scaling  # noqa: E402
from benchmarks.paper.reading import (  # noqa: E402
    Stopwatch,
    by_bin,
    chain_distances,
    lengths_read,
    series_distances,
)
from benchmarks.paper.rows import RESULTS, Rows  # noqa: E402
from benchmarks.paper.series import SERIES, random_chain  # noqa: E402
from benchmarks.suite.models import digest, load  # noqa: E402

import descentcast as dc  # noqa: E402
from descentcast import scoring  # noqa: E402
from descentcast.densities import most_values  # noqa: E402

CHAINS = {f"{k}-state chain": k for k in (4, 6, 8, 10)}
FAMILIES = (*SERIES, *CHAINS)
LONGEST = 1000
# What `descent-small` was trained to read.
TRAINED_TO = 600
COUNTING = "counting"
MODELS = ("descent-small", "smollm2-frozen", "gemma3-frozen")
# The paper's, with LLaMA-2; it gives one for its chains of 4 to 10 states.
PUBLISHED = {
    "Brownian motion": -0.48,
    "geometric Brownian motion": -0.43,
    "noisy logistic map": -0.53,
    "iid Gaussian": -0.83,
    **dict.fromkeys(CHAINS, -0.48),
}
ROWS = Rows(RESULTS / "scaling.csv", ("model", "weights", "family", "seed"))


def rng_of(family: str, seed: int) -> np.random.Generator:
    """Return the generator of a run: every model sees the same one."""
    return np.random.default_rng([zlib.crc32(b"paper scaling"), zlib.crc32(family.encode()), seed])


def computed(name: str, family: str, seed: int) -> list[dict[str, float]]:
    """Return the mean distance of every bin of context lengths, for one run of a family."""
    rng, watch = rng_of(family, seed), Stopwatch()
    model = load(name) if name != COUNTING else None
    longest = LONGEST if model is None else min(LONGEST, TRAINED_TO if model.restarts else most_values(model, 2))
    if family in SERIES:
        assert model is not None
        lengths, values = lengths_read(longest), SERIES[family].draw(LONGEST, rng)[:longest]
        distances = series_distances(model, SERIES[family], values, lengths)
    else:
        # A chain costs nothing to read everywhere: a state is one digit, and no digit tree hangs off it.
        lengths = np.arange(10, longest + 1)
        chain = random_chain(CHAINS[family], rng)
        path = chain.draw(LONGEST, rng)[:longest]
        if model is None:
            distances = scoring.bhattacharyya(chain.counted(path, lengths - 1), chain.matrix[path[lengths - 1]])
        else:
            if model.restarts:
                lengths = lengths_read(longest)
            distances = chain_distances(model, chain, path, lengths, digits=2 if model.restarts else 1)
    seconds = watch.seconds
    return [{**row, "seconds": seconds} for row in by_bin(lengths, distances, longest)]


def run(models: list[str], families: list[str], seeds: int) -> None:
    """Compute what is not there yet, all families of a seed before the next seed."""
    for name in models:
        weights = digest(name) if name != COUNTING else "none"
        for seed in range(seeds):
            for family in families:
                unit = {"model": name, "weights": weights, "family": family, "seed": seed}
                if (name == COUNTING and family in SERIES) or ROWS.holds(**unit):
                    continue
                rows = computed(name, family, seed)
                ROWS.add(unit, rows)
                print(f"{name}, {family}, seed {seed}: {rows[0]['seconds']:.1f} s", file=sys.stderr, flush=True)


def fitted(table: pd.DataFrame) -> pd.DataFrame:
    """Return the power law of every model and family, with and without a floor."""
    rows = []
    for family in FAMILIES:
        for model in dict.fromkeys(table["model"]):
            runs = table[(table["model"] == model) & (table["family"] == family)]
            if not len(runs):
                continue
            distances = runs.pivot(index="seed", columns="length", values="distance")
            law = dc.scaling_law(distances.columns.to_numpy(float), distances.to_numpy())
            raised = dc.scaling_law(law.lengths, law.distances, floor=True)
            rows.append(
                {
                    "family": family,
                    "model": model,
                    "seeds": law.seeds,
                    "exponent": law.exponent,
                    "low": law.interval[0],
                    "high": law.interval[1],
                    "coefficient": law.coefficient,
                    "misfit": law.misfit,
                    "published": PUBLISHED[family],
                    "at_the_longest": law.distances[-1],
                    "exponent_above_a_floor": raised.exponent,
                    "floor": raised.floor,
                    "misfit_above_a_floor": raised.misfit,
                    "seconds": runs["seconds"].mean(),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """Compute, then draw."""
    os.environ["DESCENTCAST_CACHE_MB"] = "0"  # seconds are of reading
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[COUNTING, *MODELS])
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--draw", action="store_true")
    arguments = parser.parse_args()
    if not arguments.draw:
        run(arguments.models, arguments.families, arguments.seeds)
    table = ROWS.table()
    laws = fitted(table)
    laws.to_csv(RESULTS / "scaling-laws.csv", index=False, float_format="%.4g")
    print(laws.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    saved(scaling(table, laws, PUBLISHED, CHAINS), "scaling")


if __name__ == "__main__":
    main()
