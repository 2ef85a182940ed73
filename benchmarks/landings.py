"""How well landings can be known from 240 values at all: least squares with the form of the drift given.

    python benchmarks/landings.py [--seeds N]

The double and the tilted triple well of the reporting families, four runs of 60 values, landings after 60 steps as in
`benchmarks/adapter.py` (same runs, starts and simulated truth). The noise is known, the drift is a sum of given
functions, and only their coefficients are fitted to the 240 values: what no estimator that reads the runs alone is
told. Total variation, mean and standard error over the seeds.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks` and `training` are folders of the repository, not installed

from benchmarks.suite.chains import CELLS, REPORTING, SMOOTH_PARTS, GaussianChain, masses_below  # noqa: E402
from benchmarks.suite.tables import markdown, mean_and_error  # noqa: E402
from benchmarks.suite.whole_kernel import landings, recorded  # noqa: E402
from scipy.special import ndtr  # noqa: E402

from descentcast.kernels import TransitionKernel, default_edges  # noqa: E402

RUNS, SEEDS = 4, 20
WAVE = 2 * np.pi
Basis = Callable[[np.ndarray], list[np.ndarray]]
FORMS: dict[str, dict[str, Basis]] = {
    "double_well": {
        "x, x^3: the form itself": lambda x: [x, x**3],
        "cubic": lambda x: [x**k for k in range(4)],
        "degree 5": lambda x: [x**k for k in range(6)],
    },
    "tilted_triple_well": {
        "1, x, sin 2 pi x: the form itself": lambda x: [np.ones_like(x), x, np.sin(WAVE * x)],
        "the same, phase open": lambda x: [np.ones_like(x), x, np.sin(WAVE * x), np.cos(WAVE * x)],
        "degree 7": lambda x: [x**k for k in range(8)],
    },
}


def fitted(basis: Basis, x: np.ndarray, y: np.ndarray, edges: np.ndarray, spread: float) -> TransitionKernel:
    """Return the kernel of `y = x + sum of c_k basis_k(x) + spread * noise`, c by least squares, cells averaged."""
    coefficients, *_ = np.linalg.lstsq(np.stack(basis(x), axis=1), y - x, rcond=None)
    share = (np.arange(SMOOTH_PARTS) + 0.5) / SMOOTH_PARTS
    points = (edges[:-1, None] + np.diff(edges)[:, None] * share).ravel()
    means = points + np.stack(basis(points), axis=1) @ coefficients
    laws = masses_below(ndtr((edges - means[:, None]) / spread))
    rows = laws.reshape(len(edges) - 1, SMOOTH_PARTS, -1).mean(axis=1)
    return TransitionKernel(edges, rows[:, 1:-1], rows[:, [0, -1]])


def errors(family: str, seeds: int) -> dict[str, dict[int, float]]:
    """Return total variations of landings by form and seed."""
    chain, found = REPORTING[family], {name: {} for name in FORMS[family]}
    assert isinstance(chain, GaussianChain)
    for seed in range(seeds):
        runs = recorded(chain, seed, RUNS)
        edges, _ = default_edges(runs, 0, CELLS)
        x, y = runs.transitions(0)
        spread = float(chain.spread(np.zeros(1))[0])
        kernels = {name: fitted(basis, x, y, edges, spread) for name, basis in FORMS[family].items()}
        for name, value in landings(chain, seed, kernels).items():
            found[name][seed] = value
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = parser.parse_args().seeds
    rows = []
    for family in FORMS:
        for name, values in errors(family, seeds).items():
            mean, error = mean_and_error(values)
            rows.append({"family": family, "drift": name, "total variation": f"{mean:.3f} ± {error:.3f}"})
    print(markdown(rows))


if __name__ == "__main__":
    main()
