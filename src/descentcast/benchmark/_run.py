"""Running the benchmark: units of work, results in one file of JSON lines that a later run goes on from."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descentcast import _checks, language_models
from descentcast.benchmark._estimators import baseline, estimator_of, nearest_landing
from descentcast.benchmark._files import append_results, read_results
from descentcast.benchmark._measures import (
    judged_landing,
    law_measures,
    predictive_coverage,
    row_distances,
)
from descentcast.benchmark._names import BASELINES, DEFAULT, ESTIMATORS, NEAREST, RESULTS, SEEDS, VIEWS
from descentcast.benchmark._suite import load_suite
from descentcast.benchmark._truth import Truth, truth_of
from descentcast.forecasts import forecast
from descentcast.language_models import LanguageModel
from descentcast.trajectories import Trajectories


@dataclass(frozen=True)
class Unit:
    """What is computed at once: every estimator on the same recorded runs.

    Attributes:
        problem: Name of the problem.
        length: Values in the context.
        seed: Seed of the recorded runs and of views.
        estimators: Who is still to be measured.
    """

    problem: str
    length: int
    seed: int
    estimators: tuple[str, ...]


def run_benchmark(
    folder: Path,
    estimators: Sequence[str] = DEFAULT,
    seeds: int = SEEDS,
    views: int = VIEWS,
    jobs: int = 1,
    progress: Callable[[int, int], Any] | None = None,
) -> list[dict[str, Any]]:
    """Measure estimators on every problem, context and seed of the suite, and return all that the folder then holds.

    Every result is a line of `kernels.jsonl`, written as soon as its unit is done: what is there already, from this
    version of the suite and the same number of views, is not computed again, and a last line that was cut off is
    dropped.

    Args:
        folder: Where results are kept; made where it is not there.
        estimators: Of `ESTIMATORS`. Baselines and the floor are always measured.
        seeds: How many seeds, from 0 on.
        views: Encodings that language models read.
        jobs: Processes.
        progress: Called with (units done, units in all).

    Returns:
        The records: problem, length, seed, estimator, and the measures.

    Raises:
        ArgumentError: An unknown estimator, a number out of range.
        DataError: The folder cannot be written.
        ModelError: A language model cannot be had.
    """
    wanted = tuple(dict.fromkeys(_checks.one_of("estimators", name, ESTIMATORS) for name in estimators)) + BASELINES
    _checks.integer("seeds", seeds, low=1)
    _checks.integer("jobs", jobs, low=1)
    suite = load_suite()
    key = {"suite": suite.digest, "views": _checks.integer("views", views, low=1, high=64)}
    path = folder / RESULTS
    known = [r for r in read_results(path) if all(r.get(k) == v for k, v in key.items())]
    there = {(r["problem"], r["length"], r["seed"], r["estimator"]) for r in known}
    units = [
        Unit(problem.name, length, seed, missing)
        for seed in range(seeds)
        for problem in suite.problems
        for length in suite.contexts
        if (missing := tuple(e for e in wanted if (problem.name, length, seed, e) not in there))
    ]
    for done, records in enumerate(_computed(units, views, jobs), start=1):
        found = [key | r for r in records]
        append_results(path, found)
        known += found
        if progress:
            progress(done, len(units))
    return [r for r in known if r["seed"] < seeds and r["estimator"] in wanted]


def measure(unit: Unit, views: int) -> list[dict[str, Any]]:
    """Return the records of a unit, one an estimator."""
    suite = load_suite()
    truth = _truth(unit.problem)
    runs, values = suite.contexts[unit.length]
    recorded = truth.problem.record(runs, values, unit.seed)
    about = {k: v for k, v in asdict(unit).items() if k != "estimators"}
    return [
        about | {"estimator": name} | _plain(_measured(name, truth, recorded, unit, views)) for name in unit.estimators
    ]


def _measured(name: str, truth: Truth, recorded: Trajectories, unit: Unit, views: int) -> dict[str, Any]:
    judging = load_suite().judging
    horizon, level, certain = judging["horizon"], judging["level"], judging["certain"]
    if name == NEAREST:
        laws = nearest_landing(truth)
        return law_measures(laws, truth, certain) if laws else {}
    started = time.process_time()
    if name in BASELINES:
        fitted: Any = baseline(name, truth, recorded)
        kernels = fitted
    else:
        edges = truth.problem.edges
        fitted = estimator_of(name, _model, views, unit.seed).fit(recorded, edges[0] if len(edges) == 1 else edges)
        kernels = fitted.kernel_ if isinstance(fitted.kernel_, tuple) else (fitted.kernel_,)
    landing = judged_landing(fitted, truth, horizon, certain)
    seconds = time.process_time() - started
    # Near the end of the grid a step may leave it: forecasts start on it all the same.
    ahead = forecast(fitted, truth.states if len(kernels) > 1 else truth.states[:, 0], max(judging["lags"]))
    covered = {f"covered_{lag}": predictive_coverage(ahead, truth, lag, level) for lag in judging["lags"]}
    return row_distances(kernels, truth, recorded) | landing | covered | {"seconds": seconds}


def _computed(units: Sequence[Unit], views: int, jobs: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of each unit as soon as they are there."""
    if jobs == 1:
        for unit in units:
            yield measure(unit, views)
        return
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        futures = [pool.submit(measure, unit, views) for unit in units]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@lru_cache(maxsize=32)
def _truth(problem: str) -> Truth:
    suite = load_suite()
    return truth_of(next(p for p in suite.problems if p.name == problem), suite.judging)


@cache
def _model(name: str) -> LanguageModel:
    return language_models.load_model(name, adapter=None)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: round(float(v), 6) if np.isfinite(v) else None for k, v in values.items()}
