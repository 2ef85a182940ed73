"""Six real studies: forecasts from a few recorded trainings beside baselines and the trainings that followed.

    python benchmarks/studies.py [--studies digits_mlp ...] [--sets N] [--json]
    python benchmarks/studies.py --table [--markdown docs/studies.md]

Recorded runs are in `benchmarks/data/studies`; `python examples/plot_study_<name>.py --generate` makes them anew. Which
seeds are given and which are reported on is fixed in `benchmarks/studies.toml`. Every set of given runs is one unit,
kept in `benchmarks/results/studies` when it is done and not computed again with the same weights; `--table` computes
nothing, and `--markdown` writes the tables between their markers in a page. Set OMP_NUM_THREADS.
"""

import argparse
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks` is a folder of the repository, not installed

from benchmarks.suite.models import digest  # noqa: E402
from benchmarks.suite.store import Store, Unit  # noqa: E402
from benchmarks.suite.studies_page import filled  # noqa: E402
from benchmarks.suite.studies_tables import tables  # noqa: E402
from benchmarks.suite.studies_work import MODEL, PARTS  # noqa: E402
from benchmarks.suite.tables import markdown  # noqa: E402

MOST_SETS = 1000
RESULTS = ROOT / "benchmarks" / "results" / "studies"


def main() -> None:
    """Compute what is asked for and not there yet, then print the tables."""
    os.environ["DESCENTCAST_CACHE_MB"] = "0"  # seconds are of reading, never of finding what was read before
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--sets", type=int, help="how many sets of given runs at most")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="compute nothing")
    parser.add_argument("--markdown", type=Path, help="a page whose tables are to be filled in")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    store = Store(arguments.results)
    if not arguments.table:
        weights = digest(MODEL)
        for study in arguments.studies:
            compute(store, study, weights, arguments.sets)
    found = tables(store)
    if arguments.markdown:
        page = arguments.markdown.read_text(encoding="utf-8")
        arguments.markdown.write_text(filled(page, found), encoding="utf-8")
        return
    if arguments.json:
        print(json.dumps(found))
        return
    for title, rows in found.items():
        print(f"\n### {title}\n\n{markdown(rows)}")


def compute(store: Store, study: str, weights: str, most: int | None) -> None:
    """Compute the sets of one study that are not there yet."""
    done = {number for _, number in store.done(study, MODEL, weights)}
    unwanted = set(range(most, MOST_SETS)) if most is not None else set()
    for number, values in PARTS[study](study, done | unwanted):
        store.add(Unit(study, MODEL, study, number), weights, values)
        print(f"{study}, set {number}: {values['seconds']:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
