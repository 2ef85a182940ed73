"""How well runs at one setting foretell other step sizes, and partial runs their ends.

    python benchmarks/settings.py [--part steps|ends] [--families development|reporting] [--json]

`steps`: two runs of 200 steps at one step size; kernels are carried to 0.5 to 20 times that step size
(`forecast_settings`), and held against 1,500 simulated runs there from two starts after 60 steps. `spread` is the
geometric mean of predicted over simulated widths of the central 90 % of what has not diverged, `distance` the mean
distance between predicted and simulated 5, 50 and 95 % quantiles over the simulated width, `divergence` the mean error
of the probability of leaving the bounds. With momentum (0.9) and Adam the same rule is applied though it does not hold:
the error says how far.

`ends`: curves known up to 30 % and forecast to their end, by `extend` (its curves; no kernel), the last value with a
random walk's spread, and a power law `a + b t^-c` fitted by least squares with Gaussian residuals. CRPS of the
logarithm at the end, coverage of the central 90 %, width.

Families are those of `families.toml`: fields and loss curves of development draws, or problems and real curves of
reporting. Everything chosen was chosen on development draws.
"""

import argparse
import json
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np

import descentcast as dc
from descentcast.forecasts._rest import Past, curves

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.suite.curves import CURVES, curve_of
from benchmarks.suite.losses import fit_power_law, power_law
from training.fields import DEVELOPMENT_FIELDS, FIELDS
from training.loss_curves import SHAPES, random_loss_curves

FACTORS = (0.5, 2.0, 5.0, 10.0, 20.0)
KNOWN, HORIZON, RUNS, STARTS = 200, 60, 1_500, (-1.0, 0.7)
OPTIMIZERS = ("SGD", "momentum", "Adam")
BASE = {"SGD": 0.1, "momentum": 0.01, "Adam": 0.05}  # step sizes of the runs, in units of the family's own
REPLICATIONS = 1
ESTIMATORS = {"local-linear": dc.LocalLinearKernel(), "autoregressive": dc.AutoregressiveKernel()}
SHARE, CURVES_EACH, SAMPLES = 0.3, 8, 2_000
LEVELS = np.array([0.05, 0.5, 0.95])

Gradient = Callable[[np.ndarray], np.ndarray]


def descend(
    gradient: Gradient,
    noise: float,
    rate: float,
    optimizer: str,
    starts: np.ndarray,
    steps: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return paths of one coordinate with Gaussian gradient noise, shape (m, steps + 1); what diverges is infinite."""
    x, first, second = starts.astype(float), np.zeros(len(starts)), np.zeros(len(starts))
    found = [x]
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(1, steps + 1):
            g = gradient(x) + noise * rng.standard_normal(len(x))
            if optimizer == "SGD":
                x = x - rate * g
            elif optimizer == "momentum":
                first = 0.9 * first + g
                x = x - rate * first
            else:
                first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
                x = x - rate * first / (1 - 0.9**t) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
            found.append(x)
    return np.nan_to_num(np.stack(found, axis=1), nan=np.inf)


def families(which: str) -> dict[str, Callable[[int], tuple[Gradient, float]]]:
    """Return gradient and noise of each family, by replication."""
    if which == "reporting":
        made = {
            "quadratic": (dc.problems.Quadratic(), 1.0),
            "double_well": (dc.problems.DoubleWell(), 0.8),
            "tilted_triple_well": (dc.problems.TiltedTripleWell(), 0.7),
        }
        return {name: (lambda _, p=problem, n=noise: (p.gradient, n)) for name, (problem, noise) in made.items()}

    def drawn(name: str) -> Callable[[int], tuple[Gradient, float]]:
        def one(seed: int) -> tuple[Gradient, float]:
            rng = np.random.default_rng([31, seed])
            field = FIELDS[name](rng, 1)
            slope = np.sqrt(np.mean(np.diff(field(np.linspace(-1, 1, 101)[:, None])[:, 0]) ** 2)) / 0.02
            return (lambda x: field(np.clip(x, -1e3, 1e3)[:, None])[:, 0] / slope), 0.6

        return one

    return {name: drawn(name) for name in DEVELOPMENT_FIELDS}


def step_sizes(which: str) -> list[dict]:
    """Return the table of predicted against simulated laws at other step sizes."""
    table = []
    for optimizer, (label, estimator) in product(OPTIMIZERS, ESTIMATORS.items()):
        for name, family in families(which).items():
            rows: dict[float, list[tuple[float, float, float]]] = {factor: [] for factor in FACTORS}
            for seed in range(REPLICATIONS):
                rng = np.random.default_rng([32, seed, len(name)])
                gradient, noise = family(seed)
                runs = descend(gradient, noise, BASE[optimizer], optimizer, np.array([-1.5, 1.5]), KNOWN, rng)
                recorded = dc.Trajectories.from_arrays(list(runs), setting={"step": BASE[optimizer]})
                found = dc.forecast_settings(recorded, STARTS, HORIZON, FACTORS, estimator=estimator, replicates=0)
                low, high = found.bounds
                for row in found.table.to_dict("records"):
                    rate = BASE[optimizer] * row["step_factor"]
                    paths = descend(gradient, noise, rate, optimizer, np.full(RUNS, row["start"]), HORIZON, rng)
                    out = ((paths < low) | (paths > high)).any(axis=1)
                    error = abs(row["divergence"] - out.mean())
                    law = found.forecasts[row["step_factor"], 1.0]
                    i = STARTS.index(row["start"])
                    stayed = paths[~out, -1]
                    density = law.density[i, -1]
                    if len(stayed) < RUNS / 2 or density.sum() < 0.5:
                        rows[row["step_factor"]].append((np.nan, np.nan, error))
                        continue
                    cumulative = np.concatenate([[0], np.cumsum(density / density.sum())])
                    predicted, truth = np.interp(LEVELS, cumulative, law.edges), np.quantile(stayed, LEVELS)
                    width = truth[2] - truth[0]
                    rows[row["step_factor"]].append(
                        (
                            np.log((predicted[2] - predicted[0]) / width),
                            float(np.abs(predicted - truth).mean() / width),
                            error,
                        )
                    )
            for factor, values in rows.items():
                known = np.array(values)
                judged = known[np.isfinite(known[:, 0])]
                table.append(
                    {
                        "optimizer": optimizer,
                        "estimator": label,
                        "family": name,
                        "factor": factor,
                        "spread": float(np.exp(judged[:, 0].mean())) if len(judged) else None,
                        "distance": float(judged[:, 1].mean()) if len(judged) else None,
                        "divergence": float(known[:, 2].mean()),
                        "laws": len(judged),
                    }
                )
    return table


def ends(which: str) -> list[dict]:
    """Return the table of final values forecast from partial runs."""
    names = list(SHAPES) if which == "development" else list(CURVES)
    table = []
    for name in names:
        rows: dict[str, list[tuple[float, bool, float]]] = {}
        drawn = [_curves(which, name, seed) for seed in range(CURVES_EACH)]
        for seed, (values, others) in enumerate(drawn):
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
                rows.setdefault(law, []).append(
                    (_crps(sample, values[-1]), bool(low <= values[-1] <= high), float(high - low))
                )
        for law, scores in rows.items():
            crps, inside, width = np.array(scores, dtype=float).T
            table.append(
                {"curves": name, "law": law, "crps": crps.mean(), "coverage": inside.mean(), "width": np.median(width)}
            )
    laws = list(dict.fromkeys(row["law"] for row in table))
    for law in laws:
        mine = [row for row in table if row["law"] == law]
        means = {k: float(np.mean([row[k] for row in mine])) for k in ("crps", "coverage", "width")}
        table.append({"curves": "all", "law": law, **means})
    return table


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
    parser.add_argument("--part", choices=("steps", "ends"), default="steps")
    parser.add_argument("--families", choices=("development", "reporting"), default="development")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    table = (step_sizes if arguments.part == "steps" else ends)(arguments.families)
    if arguments.json:
        print(json.dumps(table))
    else:
        dc.reports.show_table(table, f"{arguments.part}, {arguments.families} families")


if __name__ == "__main__":
    main()
