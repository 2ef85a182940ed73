"""Spectral gap: how well two-state chains are learnt in context, from slow to fast mixing.

    python benchmarks/paper/spectral_gap.py [--models descent-small smollm2-frozen gemma3-frozen] [--seeds 5] [--draw]

A state is a digit. The stationary share of state 0 is drawn from [0.3, 0.7] for every seed, the same at all gaps. Every
unit (model, gap, seed) is added to `benchmarks/results/paper/spectral-gap.csv` when it is done and not computed again.
"""

import argparse
import os
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # `benchmarks` and `training` are folders of the repository, not installed

import numpy as np  # noqa: E402
from benchmarks.paper.drawing import saved, spectral_gaps  # noqa: E402
from benchmarks.paper.reading import Stopwatch, chain_distances, lengths_read  # noqa: E402
from benchmarks.paper.rows import RESULTS, Rows  # noqa: E402
from benchmarks.paper.series import two_states  # noqa: E402
from benchmarks.suite.models import digest, load  # noqa: E402

from descentcast import scoring  # noqa: E402

GAPS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
LONGEST = 300
# What is reported: contexts from here to the longest.
LATE = 150
COUNTING = "counting"
MODELS = ("descent-small", "smollm2-frozen", "gemma3-frozen")
ROWS = Rows(RESULTS / "spectral-gap.csv", ("model", "weights", "gap", "seed"))


def computed(name: str, gap: float, seed: int) -> dict[str, float]:
    """Return the mean distance over late contexts of one run, over all rows that were read and by stationary weight."""
    rng, watch = np.random.default_rng([zlib.crc32(b"paper spectral gap"), seed]), Stopwatch()
    chain = two_states(gap, rng.uniform(0.3, 0.7))
    path = chain.draw(LONGEST, rng)
    lengths = np.arange(LATE, LONGEST + 1)
    if name == COUNTING:
        distances = scoring.bhattacharyya(chain.counted(path, lengths - 1), chain.matrix[path[lengths - 1]])
    else:
        model = load(name)
        assert model is not None
        if model.restarts:
            lengths = np.intersect1d(lengths, lengths_read(LONGEST))
        distances = chain_distances(model, chain, path, lengths, digits=2 if model.restarts else 1)
    return {"distance": float(distances.mean()), "seconds": watch.seconds}


def main() -> None:
    """Compute, then draw."""
    os.environ["DESCENTCAST_CACHE_MB"] = "0"  # seconds are of reading
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[COUNTING, *MODELS])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--draw", action="store_true", help="compute nothing")
    arguments = parser.parse_args()
    for name in () if arguments.draw else arguments.models:
        weights = digest(name) if name != COUNTING else "none"
        for seed in range(arguments.seeds):
            for gap in GAPS:
                unit = {"model": name, "weights": weights, "gap": gap, "seed": seed}
                if not ROWS.holds(**unit):
                    ROWS.add(unit, [computed(name, gap, seed)])
                    print(f"{name}, gap {gap:g}, seed {seed}", file=sys.stderr, flush=True)
    saved(spectral_gaps(ROWS.table(), LATE, LONGEST), "spectral-gap")


if __name__ == "__main__":
    main()
