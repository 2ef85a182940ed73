"""Whole kernels off 240 values: rows by what was visited, mixtures, landings from starts that nobody ran.

The values come in one run or in four from starts spread over the family's interval. The grid is `default_edges` of the
runs with 100 cells, the same for all; a row is compared, overflow included, with the true kernel's on the same cells.
Cells are visited (a transition starts there), unvisited within the hull of the visited, or outside it, and count alike.
"""

import time

import numpy as np
from benchmarks.suite.chains import CELLS, Chain, GaussianChain, generator, rows_of
from benchmarks.suite.measures import averaged, compare
from benchmarks.suite.one_step import CLASSICAL, DIGITS, VIEWS

import descentcast as dc
from descentcast.kernels import Evidence, KernelEstimator, RecalibratedKernel, TransitionKernel, default_edges
from descentcast.language_models import LanguageModel
from descentcast.trajectories import Trajectories

VALUES = 240
SETTINGS = {"1 run": 1, "4 runs": 4}
PLACES = ("visited", "inside", "outside")
TRUE, LINEAR = "true kernel", "local-linear"
# A language model's rows: read at visits, probed, the mixture of the two; that (or the only one there is) recalibrated,
# and its even mixtures with local-linear, as fitted and recalibrated.
VISITED, MODEL, BOTH = "visited", "probed", "visited and probed"
RECALIBRATED, HALF, HALVES = "recalibrated", "recalibrated, half and half", "half and half, both recalibrated"
# Classical estimators that are shown recalibrated too.
MENDED = (LINEAR, "conditional density")
# Landings: unseen starts, horizon, simulated runs a start.
STARTS, HORIZON, SIMULATED = 9, 60, 5_000


def whole_kernel(chain: Chain, seed: int, model: LanguageModel | None, settings: dict[str, int] | None = None) -> dict:
    """Compare whole kernels fitted to the same runs.

    Args:
        chain: The chain.
        seed: Seed of the runs: every estimator sees the same ones.
        model: A language model, or None for the classical estimators.
        settings: Numbers of runs by name; by default 1 and 4.

    Returns:
        For each setting, measures by estimator and place (absent where no cell is there); for chains with several
        minima in four runs also `landing`, the total variation from simulation averaged over starts, by estimator,
        the true kernel among them; and the seconds of the fit.
    """
    found: dict[str, dict] = {}
    for name, count in (settings or SETTINGS).items():
        runs = recorded(chain, seed, count)
        edges, _ = default_edges(runs, 0, CELLS)
        truth, spread = chain.rows(edges), chain.spread((edges[:-1] + edges[1:]) / 2)
        kernels = {LINEAR: fitted(CLASSICAL[LINEAR], runs, edges)}
        started = time.perf_counter()
        if model is None:
            kernels |= {other: fitted(estimator, runs, edges) for other, estimator in CLASSICAL.items()}
            kernels |= {f"{o}, {RECALIBRATED}": fitted(RecalibratedKernel(CLASSICAL[o]), runs, edges) for o in MENDED}
        else:
            kernels |= read(model, runs, edges, seed)
            kernels[HALF] = half_and_half(kernels[RECALIBRATED], kernels[LINEAR])
            mended = fitted(RecalibratedKernel(CLASSICAL[LINEAR]), runs, edges)
            kernels[HALVES] = half_and_half(kernels[RECALIBRATED], mended)
        seconds = time.perf_counter() - started
        places = place_of(kernels[LINEAR])
        by_place = {
            other: {
                place: averaged([compare(rows_of(kernel)[here], truth[here], edges, spread[here])])
                for place in PLACES
                if (here := places == place).any()
            }
            for other, kernel in kernels.items()
        }
        found[name] = {"rows": by_place, "seconds": seconds}
        if isinstance(chain, GaussianChain) and len(chain.problem.minima) > 1 and count > 1:
            exact = chain.problem.kernel(edges)
            found[name]["landing"] = landings(chain, seed, kernels if model else kernels | {TRUE: exact})
    return found


def read(model: LanguageModel, runs: Trajectories, edges: np.ndarray, seed: int) -> dict[str, TransitionKernel]:
    """Return a language model's kernels: its rows at visits alone if it was not trained on restarts, else all three.

    And what it is recalibrated.
    """
    estimator = RecalibratedKernel(dc.InContextKernel(model, DIGITS, VIEWS, random_state=seed))
    mended, read = fitted(estimator, runs, edges), estimator.estimator_
    assert isinstance(read, dc.InContextKernel)
    (reading,) = read._readings
    parts = [part.kernel(rule, "quantile") for part, rule in zip(reading.parts, reading.rules, strict=True)]
    names = (VISITED, MODEL, BOTH) if model.restarts else (VISITED,)
    return dict(zip(names, [*parts, reading.kernel], strict=False)) | {RECALIBRATED: mended}


def fitted(estimator: KernelEstimator, runs: Trajectories, edges: np.ndarray) -> TransitionKernel:
    """Return the kernel of the one coordinate."""
    kernel = estimator.fit(runs, edges).kernel_
    assert isinstance(kernel, TransitionKernel)
    return kernel


def recorded(chain: Chain, seed: int, count: int) -> Trajectories:
    """Return 240 values in `count` runs, their starts one in each equal part of the family's interval."""
    rng = generator(f"{count} runs", chain.name, seed)
    low, high = chain.starts
    starts = low + (high - low) * (np.arange(count) + rng.uniform(size=count)) / count
    return Trajectories.from_arrays(list(chain.paths(starts, VALUES // count - 1, rng)))


def place_of(kernel: TransitionKernel) -> np.ndarray:
    """Return where each cell lies: visited, unvisited inside the hull, or outside, shape (n,)."""
    names = {"visited": "visited", "completed": "inside", "extrapolated": "outside"}
    return np.array([names[source] for source in kernel.evidence.source])


def half_and_half(first: TransitionKernel, second: TransitionKernel) -> TransitionKernel:
    """Return the even mixture of two kernels on one grid."""
    rows = (rows_of(first) + rows_of(second)) / 2
    evidence = Evidence.uniform("estimated", len(rows), second.evidence.visits)
    return TransitionKernel(second.edges, rows[:, 1:-1], rows[:, [0, -1]], evidence)


def landings(chain: GaussianChain, seed: int, kernels: dict[str, TransitionKernel]) -> dict[str, float]:
    """Return the total variation of each kernel's landing from simulation, averaged over a grid of starts.

    Basins are those of the problem, parted by the maxima of its loss. The starts are the centres of nine equal parts of
    the family's interval, as far as the grid reaches; runs that end beyond the grid count to the outer basins.
    """
    edges = next(iter(kernels.values())).edges
    low, high = max(chain.starts[0], edges[0]), min(chain.starts[1], edges[-1])
    starts = low + (high - low) * (np.arange(STARTS) + 0.5) / STARTS
    bounds = maxima(chain)
    rng = generator("landing", chain.name, seed)
    ends = chain.paths(np.repeat(starts, SIMULATED), HORIZON, rng)[:, -1].reshape(STARTS, SIMULATED)
    basin = np.searchsorted(bounds, ends)
    share = np.stack([(basin == b).mean(axis=1) for b in range(len(bounds) + 1)] + [np.zeros(STARTS)], axis=1)
    return {
        name: float(0.5 * np.abs(landed(kernel, starts, bounds) - share).sum(axis=1).mean())
        for name, kernel in kernels.items()
    }


def landed(kernel: TransitionKernel, starts: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return the mass in each basin, and off the grid, at the horizon, shape (m, basins + 1).

    Counted whether or not a run has been in the basin: the landing table of a forecast calls others "nowhere seen".
    """
    ends = kernel.edges
    limits = np.concatenate([ends[:1], np.clip(bounds, ends[0], ends[-1]), ends[-1:]])
    overlap = np.minimum(limits[1:], ends[1:, None]) - np.maximum(limits[:-1], ends[:-1, None])
    density = np.asarray(dc.forecast(kernel, starts, HORIZON).density)[:, -1]
    inside = density @ (np.maximum(overlap, 0.0) / kernel.widths[:, None])
    return np.column_stack([inside, 1 - inside.sum(axis=1)])


def maxima(chain: GaussianChain) -> np.ndarray:
    """Return the maxima of the loss between its minima."""
    places = []
    for left, right in zip(chain.problem.minima[:-1], chain.problem.minima[1:], strict=True):
        grid = np.linspace(left, right, 10_001)
        places.append(grid[np.argmax(chain.problem.loss(grid))])
    return np.array(places)
