"""Two coordinates forecast one by one, by principal components, and together: landings beside simulation, and times.

    python benchmarks/particles.py [--model descent-small] [--problems NAME ...] [--particles 128] [--views 4] [--json]
    python benchmarks/particles.py --time [--model smollm2-135m] [--steps 50]

Development problems, none of a family that reported figures use, with Gaussian noise, so that every law is known:
"turned" has two wells along the diagonal and a contraction across it; "drawn" two wells in x, and y that follows x;
"rational" and "walls" are fields of the development families of `training/fields.py`. Three runs of 60 values each are
read; forecasts start from 4 states that are in none of them and last 50 steps. Landings are shares over 3 x 3 equal
stretches of the box of the grids, and beyond it, against 20,000 simulated runs a start. Columns:

- `log density`: mean log density of 300 held-out transitions at states where such runs are, nats a step; the truth's
  own is the row "truth";
- `each`: total variation of the landing of a coordinate by itself, averaged over coordinates and starts;
- `both`: that of the landing of both together; coordinates that move one by one have the product of their landings;
- `seconds`: processor seconds of fit and forecast.

The row "simulation" is what as many simulated runs as there are joint particles come to. `--time` forecasts 512
particles from one start of "drawn", landing on either side of zero, and prints processor and wall seconds.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

import descentcast as dc
from descentcast.kernels import PrincipalKernel, TransitionKernel, fit_principal, rows_at

sys.path.insert(0, str(Path(__file__).parents[1]))

from training.fields import random_field

RUNS, VALUES, STARTS, HORIZON, SIMULATED, STRETCHES, HELD_OUT = 3, 60, 4, 50, 20_000, 3, 300


@dataclass(frozen=True)
class Chain:
    """A Gaussian chain of two coordinates: `x' = mean(x) + noise * N(0, 1)`, runs starting within `reach` of zero."""

    mean: Callable[[np.ndarray], np.ndarray]
    noise: np.ndarray
    reach: float

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return paths, shape (m, steps + 1, 2)."""
        found = [starts]
        for _ in range(steps):
            found.append(self.mean(found[-1]) + self.noise * rng.normal(size=starts.shape))
        return np.stack(found, axis=1)

    def log_density(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return the log density of each transition."""
        return norm.logpdf(after, self.mean(before), self.noise).sum(axis=1)


def wells(x: np.ndarray) -> np.ndarray:
    """Return the mean next value of a chain with two minima, at plus and minus 1.2."""
    return x - 0.12 * x + 0.28 * np.sin(2.2 * x)


def turned(x: np.ndarray) -> np.ndarray:
    """Return the mean next state with wells along the diagonal and a contraction across it."""
    turn = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)
    z = x @ turn.T
    return np.column_stack([wells(z[:, 0]), 0.7 * z[:, 1]]) @ turn


def drawn(x: np.ndarray) -> np.ndarray:
    """Return the mean next state with wells in the first coordinate, which the second follows."""
    return np.column_stack([wells(x[:, 0]), x[:, 1] + 0.25 * (x[:, 0] - x[:, 1])])


def random_chain(family: str) -> Chain:
    """Return the chain of a field of a development family."""
    field = random_field(np.random.default_rng(0), 2, family)
    return Chain(lambda x: x - 0.25 * field(x), np.array([0.08, 0.08]), 1.0)


CHAINS: dict[str, Callable[[], Chain]] = {
    "turned": lambda: Chain(turned, np.array([0.15, 0.15]), 1.2),
    "drawn": lambda: Chain(drawn, np.array([0.15, 0.1]), 1.2),
    "rational": lambda: random_chain("rational"),
    "walls": lambda: random_chain("walls"),
}


def recorded(chain: Chain, rng: np.random.Generator) -> dc.Trajectories:
    """Return the runs that are read."""
    starts = chain.reach * rng.uniform(-1, 1, (RUNS, 2))
    return dc.Trajectories.from_arrays(list(chain.paths(starts, VALUES - 1, rng)), names=["x", "y"])


def landings(ends: np.ndarray, cuts: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return shares over the stretches, outer ones beyond the box: of both coordinates, and of each; ends (m, n, 2).

    A particle that was lost by either coordinate is lost for both.
    """
    places = [np.searchsorted(cut, ends[..., d], side="right") for d, cut in enumerate(cuts)]
    lost = np.isnan(ends).any(axis=-1) | np.any([(p == 0) | (p > STRETCHES) for p in places], axis=0)
    both = np.where(lost, 0, 1 + (places[0] - 1) * STRETCHES + places[1] - 1)
    each = [np.where(lost, 0, p) for p in places]
    return shares(both, STRETCHES**2 + 1), [shares(p, STRETCHES + 1) for p in each]


def shares(places: np.ndarray, count: int) -> np.ndarray:
    """Return the share of each place, shape (m, n) to (m, count)."""
    return np.stack([np.bincount(row, minlength=count) for row in places]) / places.shape[1]


def apart(kernels: tuple[TransitionKernel, ...], starts: np.ndarray, cuts: list[np.ndarray]) -> tuple[Any, Any]:
    """Return landings of coordinates that move one by one, as `landings` does."""
    result, each = dc.forecast(kernels, starts, HORIZON), []
    for density, kernel, cut in zip(result.density, kernels, cuts, strict=True):
        cumulative = np.pad(density[:, -1].cumsum(axis=1), ((0, 0), (1, 0)))
        inside = np.diff(np.stack([np.interp(cut, kernel.edges, row) for row in cumulative]), axis=1)
        each.append(np.column_stack([1 - inside.sum(axis=1), inside]))
    product = np.einsum("mi,mj->mij", each[0][:, 1:], each[1][:, 1:]).reshape(len(starts), -1)
    return np.column_stack([1 - product.sum(axis=1), product]), each


def log_masses(kernels: tuple[TransitionKernel, ...], before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the sum over coordinates of the log density that their rows give to each transition."""
    total = np.zeros(len(before))
    for d, kernel in enumerate(kernels):
        column = np.searchsorted(kernel.edges, after[:, d], side="right")
        widths = np.pad(kernel.widths, 1, mode="edge")
        mass = rows_at(kernel, before[:, d])[np.arange(len(before)), column]
        total += np.log(np.maximum(mass, 1e-12) / widths[column])
    return total


def log_score(kernel: Any, before: np.ndarray, after: np.ndarray) -> float:
    """Return the mean log density of transitions, in units of the coordinates."""
    if isinstance(kernel, PrincipalKernel):
        moved = (kernel.components.forward(states) for states in (before, after))
        return float(log_masses(kernel.kernels, *moved).mean() - np.log(kernel.components.scale).sum())
    if isinstance(kernel, tuple):
        return float(log_masses(kernel, before, after).mean())
    return float(kernel.log_density(before, after).mean())


def compare(name: str, model: Any, views: int, particles: int) -> list[dict[str, Any]]:
    """Return the rows of one problem."""
    rng, chain = np.random.default_rng(1), CHAINS[name]()
    runs = recorded(chain, rng)
    reader = {"model": model, "views": views}
    local = dc.LocalLinearKernel().fit(runs)
    low, high = (np.array([edges[end] for edges in local.edges_]) for end in (0, -1))
    cuts = [np.linspace(a, b, STRETCHES + 1) for a, b in zip(low, high, strict=True)]
    middle, half = (low + high) / 2, (high - low) / 2
    starts = middle + 0.6 * half * rng.uniform(-1, 1, (STARTS, 2))

    ends = chain.paths(np.repeat(starts, SIMULATED, axis=0), HORIZON, rng)[:, -1].reshape(STARTS, SIMULATED, 2)
    truth = landings(ends, cuts)
    unseen = chain.paths(chain.reach * rng.uniform(-1, 1, (HELD_OUT, 2)), 20, rng)[:, -2:]
    unseen = unseen[((unseen >= low) & (unseen <= high)).all(axis=(1, 2))]
    before, after = unseen[:, 0], unseen[:, 1]

    def row(method: str, score: float, found: tuple[Any, Any], seconds: float) -> dict[str, Any]:
        distance = [dc.scoring.total_variation(a, b).mean() for a, b in zip(found[1], truth[1], strict=True)]
        both = dc.scoring.total_variation(found[0], truth[0]).mean()
        return {"problem": name, "method": method, "log density": score, "each": float(np.mean(distance))} | {
            "both": float(both),
            "seconds": seconds,
        }

    fits: dict[str, Callable[[], Any]] = {
        "local-linear, one by one": lambda: dc.LocalLinearKernel().fit(runs).kernel_,
        "local-linear, pca": lambda: fit_principal(dc.LocalLinearKernel(), runs, None),
        "in context, independent": lambda: dc.InContextKernel(**reader).fit(runs).kernel_,
        "in context, pca": lambda: dc.InContextKernel(**reader, coordinates="pca").fit(runs).kernel_,
        "in context, joint": lambda: dc.InContextKernel(**reader, coordinates="joint").fit(runs).kernel_,
    }
    simulated = chain.paths(np.repeat(starts, particles, axis=0), HORIZON, rng)[:, -1].reshape(STARTS, particles, 2)
    rows = [
        row("truth", float(chain.log_density(before, after).mean()), truth, 0.0),
        row("simulation", float("nan"), landings(simulated, cuts), 0.0),
    ]
    for method, fit in fits.items():
        began = time.process_time()
        kernel = fit()
        if isinstance(kernel, tuple):
            found = apart(kernel, starts, cuts)
        else:
            count = None if isinstance(kernel, PrincipalKernel) else particles
            found = landings(dc.forecast_particles(kernel, starts, HORIZON, count).particles[:, :, -1], cuts)
        seconds = time.process_time() - began
        rows.append(row(method, log_score(kernel, before, after), found, seconds))
    return rows


def timed(model: Any, name: str, views: int, particles: int, steps: int) -> dict[str, Any]:
    """Return what a joint forecast from one start takes."""
    runs = recorded(CHAINS["drawn"](), np.random.default_rng(1))
    kernel = dc.InContextKernel(model, views=views, coordinates="joint").fit(runs).kernel_
    processor, wall = time.process_time(), time.perf_counter()
    halves = [[(kernel.low[d], 0.0), (0.0, kernel.high[d])] for d in range(2)]
    result = dc.forecast_particles(kernel, [[0.1, -0.2]], steps, particles, halves)
    return {
        "model": name,
        "particles": particles,
        "steps": steps,
        "processor seconds": time.process_time() - processor,
        "wall seconds": time.perf_counter() - wall,
        "largest standard error": float(result.landing["standard_error"].max()),
    }


def main() -> None:
    """Compare methods, or time the joint one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="descent-small")
    parser.add_argument("--problems", nargs="+", choices=list(CHAINS), default=list(CHAINS))
    parser.add_argument("--particles", type=int)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--steps", type=int, default=HORIZON, help="of --time")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    model = dc.load_model(arguments.model)
    if arguments.time:
        table = [timed(model, arguments.model, arguments.views, arguments.particles or 512, arguments.steps)]
    else:
        table = []
        for name in arguments.problems:
            table += compare(name, model, arguments.views, arguments.particles or 128)
    if arguments.json:
        print(json.dumps(table))
    else:
        dc.reports.show_table(table, f"{arguments.model}, {arguments.views} views")


if __name__ == "__main__":
    main()
