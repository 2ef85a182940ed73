"""Step sizes and batch sizes that nobody ran, foretold from runs at one setting and held against simulation there."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from training.fields import DEVELOPMENT_FIELDS, FIELDS

import descentcast as dc
from descentcast.forecasts._settings import SettingsForecast, _crossing
from descentcast.problems._finite_sum import OneCoordinateSum

KNOWN, HORIZON, RUNS = 200, 60, 1_500
STARTS = (-1.0, 0.7)
FACTORS = (0.5, 2.0, 5.0, 10.0, 20.0)
BASE = {"SGD": 0.1, "momentum": 0.01, "Adam": 0.05}  # step sizes of the runs, in units of the family's own
# Where edges are looked for: step sizes over that of the runs.
EDGE_FACTORS = tuple(np.geomspace(5, 80, 9).round(2).tolist())
GRIDS: dict[str, Callable[[], dc.kernels.KernelEstimator]] = {
    "local-linear": dc.LocalLinearKernel,
    "autoregressive": dc.AutoregressiveKernel,
}
# Batch sizes: runs at one, forecasts at these many times it, each at some step sizes.
BATCH, BATCH_FACTORS, BATCH_STEPS = 4, (0.25, 0.5, 2.0, 4.0, 16.0), (0.5, 1.0, 2.0)
MINIBATCH: dict[str, tuple[OneCoordinateSum | dc.problems.LinearRegression, float]] = {
    "linear_regression": (dc.problems.LinearRegression(), 0.05),
    "logistic_regression": (dc.problems.LogisticRegression(), 0.5),
    "one_neuron": (dc.problems.OneNeuron(), 0.05),
}
LEVELS = np.array([0.05, 0.5, 0.95])

Gradient = Callable[[np.ndarray], np.ndarray]
Row = dict[str, Any]


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


def recorded(gradient: Gradient, noise: float, optimizer: str, rng: np.random.Generator) -> dc.Trajectories:
    """Return the two runs that are known."""
    runs = descend(gradient, noise, BASE[optimizer], optimizer, np.array([-1.5, 1.5]), KNOWN, rng)
    return dc.Trajectories.from_arrays(list(runs), setting={"step": BASE[optimizer]})


def step_sizes(which: str, replications: int) -> list[Row]:
    """Return one row an optimizer, estimator, family, factor, replication and start: see `judged`."""
    rows = []
    for optimizer, (label, estimator), (name, family), seed in product(
        BASE, GRIDS.items(), families(which).items(), range(replications)
    ):
        rng = np.random.default_rng([32, seed, len(name)])
        gradient, noise = family(seed)
        runs = recorded(gradient, noise, optimizer, rng)
        found = dc.forecast_settings(runs, STARTS, HORIZON, FACTORS, estimator=estimator(), replicates=0)
        for factor, start in product(FACTORS, STARTS):
            rate = BASE[optimizer] * factor
            paths = descend(gradient, noise, rate, optimizer, np.full(RUNS, start), HORIZON, rng)
            known = {"optimizer": optimizer, "estimator": label, "family": name, "factor": factor, "seed": seed}
            rows.append(known | judged(found, start, factor, 1.0, paths))
    return rows


def batch_sizes(replications: int) -> list[Row]:
    """Return one row a family, step factor, batch factor, replication and start: minibatch SGD on real losses."""
    rows = []
    for (name, (problem, rate)), seed in product(MINIBATCH.items(), range(replications)):
        rng = np.random.default_rng([35, seed, len(name)])
        centre = float(np.ravel(problem.minima)[0])
        problem = replace(problem, step_size=rate, batch_size=BATCH)
        runs = problem.simulate(centre + np.array([-1.0, 1.0]), KNOWN, rng)
        starts = (centre - 0.7, centre + 0.5)
        found = dc.forecast_settings(runs, starts, HORIZON, BATCH_STEPS, BATCH_FACTORS, replicates=0)
        for step, batch, start in product(BATCH_STEPS, BATCH_FACTORS, starts):
            there = replace(problem, step_size=rate * step, batch_size=round(BATCH * batch))
            paths = there.paths(np.full(RUNS, start), HORIZON, rng)[..., 0]
            known = {"family": name, "factor": step, "batch": there.batch_size, "seed": seed}
            rows.append(known | judged(found, start, step, batch, paths))
    return rows


def judged(found: SettingsForecast, start: float, step: float, batch: float, paths: np.ndarray) -> Row:
    """Return how the law at one setting compares with paths there: `spread`, `distance`, `divergence`.

    `spread` is the logarithm of predicted over simulated width of the central 90 % of what has not diverged, `distance`
    the mean distance of the 5, 50 and 95 % quantiles over the simulated width (NaN where most have diverged), and
    `divergence` the error of the probability of leaving the bounds.
    """
    table = found.table.query("start == @start and step_factor == @step and batch_factor == @batch")
    (predicted,) = table["divergence"]
    low, high = found.bounds
    out = ((paths < low) | (paths > high)).any(axis=1)
    error = abs(float(predicted) - float(out.mean()))
    law, stayed = found.forecasts[step, batch], paths[~out, -1]
    density = np.asarray(law.density)[list(law.starts).index(start), -1]
    if len(stayed) < len(paths) / 2 or density.sum() < 0.5:
        return {"spread": np.nan, "distance": np.nan, "divergence": error}
    cumulative = np.concatenate([[0], np.cumsum(density / density.sum())])
    foretold, truth = np.interp(LEVELS, cumulative, np.asarray(law.edges)), np.quantile(stayed, LEVELS)
    width = truth[2] - truth[0]
    return {
        "spread": float(np.log((foretold[2] - foretold[0]) / width)),
        "distance": float(np.abs(foretold - truth).mean() / width),
        "divergence": error,
    }


def edges(which: str, replications: int) -> list[Row]:
    """Return one row an estimator, family, replication and start: the edge of stability by SGD, foretold and real.

    `edge` is the step size over that of the runs at which half of the runs leave the bounds within the horizon,
    `foretold` that of the forecast (NaN where it is not among `EDGE_FACTORS`), `ratio` the logarithm of foretold over
    real, and `error` the mean error of the probability of divergence over `EDGE_FACTORS`.
    """
    rows = []
    for (label, estimator), (name, family), seed in product(
        GRIDS.items(), families(which).items(), range(replications)
    ):
        rng = np.random.default_rng([36, seed, len(name)])
        gradient, noise = family(seed)
        runs = recorded(gradient, noise, "SGD", rng)
        found = dc.forecast_settings(runs, STARTS, HORIZON, EDGE_FACTORS, estimator=estimator(), replicates=0)
        low, high = found.bounds
        for start in STARTS:
            real = []
            for factor in EDGE_FACTORS:
                paths = descend(gradient, noise, BASE["SGD"] * factor, "SGD", np.full(RUNS, start), HORIZON, rng)
                real.append(float(((paths < low) | (paths > high)).any(axis=1).mean()))
            (there,) = found.edges.query("start == @start").to_dict("records")
            chance = found.table.query("start == @start").sort_values("step_factor")["divergence"].to_numpy()
            edge = _crossing(np.log(EDGE_FACTORS), np.array(real))
            rows.append(
                {
                    "estimator": label,
                    "family": name,
                    "seed": seed,
                    "edge": edge,
                    "foretold": there["step_factor"],
                    "ratio": np.log(there["step_factor"] / edge),
                    "error": float(np.abs(chance - real).mean()),
                }
            )
    return rows


def averaged(
    rows: Sequence[Row], by: Iterable[str], scores: Iterable[str], ratios: Sequence[str] = (), digits: int = 2
) -> list[Row]:
    """Return means by the columns `by`, with standard errors: over replications within each family.

    Starts and other rows of a replication are averaged first; families are fixed and weigh the same, so that the
    variance of the mean is that of each family's mean over its replications, summed, over the number of families
    squared. Scores named in `ratios` are logarithms, and come back as geometric means.
    """
    by, groups = list(by), {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    found = []
    for key, group in groups.items():
        line: Row = dict(zip(by, key, strict=True))
        for score in scores:
            mean, error, count = mean_and_error(group, score)
            if score in ratios:
                mean, error = float(np.exp(mean)), float(np.exp(mean)) * error
            line[score] = f"{mean:.{digits}f} ± {error:.{digits}f}" if count else "-"
        found.append(line)
    return found


def mean_and_error(rows: Sequence[Row], score: str) -> tuple[float, float, int]:
    """Return the mean over families of the means over replications, its standard error, and how many there are."""
    families_of: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        if np.isfinite(row[score]):
            families_of.setdefault(row["family"], {}).setdefault(row["seed"], []).append(float(row[score]))
    each = [np.array([np.mean(v) for v in by_seed.values()]) for by_seed in families_of.values()]
    if not each:
        return float("nan"), float("nan"), 0
    variances = [e.var(ddof=1) / len(e) if len(e) > 1 else np.nan for e in each]
    error = float(np.sqrt(np.sum(variances))) / len(each)
    return float(np.mean([e.mean() for e in each])), error, sum(len(e) for e in each)
