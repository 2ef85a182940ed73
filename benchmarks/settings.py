"""How well runs at one setting foretell other step sizes and batch sizes, and partial runs their ends.

    python benchmarks/settings.py [--part steps|batches|edges|ends] [--families development|reporting]
                                  [--replications N] [--by-family] [--json]

`steps`: two runs of 200 steps at one step size; kernels are carried to 0.5 to 20 times that step size
(`forecast_settings`), and held against 1,500 simulated runs there from two starts after 60 steps. `spread` is the
geometric mean of predicted over simulated widths of the central 90 % of what has not diverged, `distance` the mean
distance between predicted and simulated 5, 50 and 95 % quantiles over the simulated width, `divergence` the mean error
of the probability of leaving the bounds. With momentum (0.9) and Adam the same rule is applied though it does not hold:
the error says how far.

`batches`: the same for minibatch SGD with batches of four, carried to batches of 1 to 64 at three step sizes
(reporting problems: nothing was chosen).

`edges`: the step size at which half of the runs leave the bounds, foretold and simulated (from 5 to 80 times that of
the runs), their ratio, and the mean error of the probability of divergence over these step sizes.

`ends`: curves known up to 30 % and forecast to their end, by `extend` (its curves; no kernel), the last value with a
random walk's spread, and a power law `a + b t^-c` fitted by least squares with Gaussian residuals. CRPS of the
logarithm at the end, coverage of the central 90 %, width.

Families are those of `families.toml`: fields and loss curves of development draws, or problems and real curves of
reporting. Everything chosen was chosen on development draws. Errors are standard errors over replications.
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path

import numpy as np

import descentcast as dc
from descentcast.forecasts._rest import Past, curves

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.suite import studies_settings as settings
from benchmarks.suite.curves import CURVES, curve_of
from benchmarks.suite.losses import fit_power_law, power_law
from training.loss_curves import SHAPES, random_loss_curves

REPLICATIONS = 10
SHARE, CURVES_EACH, SAMPLES = 0.3, 8, 2_000
JUDGED = ("spread", "distance", "divergence")


def ends(which: str) -> list[settings.Row]:
    """Return one row a family, seed and law: scores of final values forecast from partial runs."""
    names = list(SHAPES) if which == "development" else list(CURVES)
    rows = []
    for name, seed in product(names, range(CURVES_EACH)):
        values, others = _curves(which, name, seed)
        rng = np.random.default_rng([33, seed])
        T = int(SHARE * len(values))
        past = Past(np.exp(values[:T]), np.empty((0, len(values))), np.arange(len(values), dtype=float), 0.0)
        beside = Past(past.values, np.exp(others), past.times, 0.0)
        fit = fit_power_law(values[:T], None)
        residual = np.std(values[:T] - power_law(fit, np.arange(1, T + 1)))
        spread = np.diff(values[:T]).std() * np.sqrt(len(values) - T)
        normal = rng.standard_normal(SAMPLES)
        laws = {
            "extend, alone": _sample(past, rng),
            f"extend, {len(others)} other runs": _sample(beside, rng),
            "last value": values[T - 1] + spread * normal,
            "power law": power_law(fit, np.array([len(values)])) + residual * normal,
            "other runs' ends": others[:, -1] + 0.0,
        }
        for law, sample in laws.items():
            low, high = np.quantile(sample, [0.05, 0.95])
            scores = {"crps": _crps(sample, values[-1]), "coverage": low <= values[-1] <= high, "width": high - low}
            rows.append({"law": law, "family": name, "seed": seed, **scores})
    return rows


def _curves(which: str, name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the log losses of one run and of three others of its family."""
    if which == "reporting":
        return curve_of(name, seed), np.stack([curve_of(name, 1000 + 3 * seed + k) for k in range(3)])
    rng = np.random.default_rng([34, list(SHAPES).index(name), seed])
    drawn = random_loss_curves(rng, name, 4, 200, True)
    return drawn[0].values[:, 0], np.stack([run.values[:, 0] for run in drawn[1:]])


def _sample(past: Past, rng: np.random.Generator) -> np.ndarray:
    found = curves(past)
    counts = rng.multinomial(SAMPLES, found.weights / found.weights.sum())
    drawn = [c.draw(n, 1, past.ahead, rng)[:, 0, -1] for c, n in zip(found.candidates, counts, strict=True) if n]
    return np.log(np.maximum(np.concatenate(drawn), 1e-12))


def _crps(sample: np.ndarray, y: float) -> float:
    n, ordered = len(sample), np.sort(sample)
    return float(np.abs(ordered - y).mean() - ((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / n**2)


def main() -> None:
    """Print one part of the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("steps", "batches", "edges", "ends"), default="steps")
    parser.add_argument("--families", choices=("development", "reporting"), default="development")
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    parser.add_argument("--by-family", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    count, own = arguments.replications, ["family"] * arguments.by_family
    if arguments.part == "steps":
        rows = settings.step_sizes(arguments.families, count)
        table = settings.averaged(rows, ["optimizer", "estimator", *own, "factor"], JUDGED, ["spread"])
    elif arguments.part == "batches":
        table = settings.averaged(settings.batch_sizes(count), [*own, "factor", "batch"], JUDGED, ["spread"])
    elif arguments.part == "edges":
        rows = settings.edges(arguments.families, count)
        table = settings.averaged(rows, ["estimator", "family"], ["edge", "foretold", "ratio", "error"], ["ratio"])
    else:
        table = settings.averaged(ends(arguments.families), ["law", *own], ["crps", "coverage", "width"], digits=3)
    if arguments.json:
        print(json.dumps(table))
    else:
        dc.reports.show_table(table, f"{arguments.part}, {arguments.families} families")


if __name__ == "__main__":
    main()
