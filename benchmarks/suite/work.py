"""Units: which there are, what each computes, and computing many of them, in several processes if asked."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import torch
from benchmarks.suite.chains import PRIOR, REPORTING, chain_of
from benchmarks.suite.curves import CURVES
from benchmarks.suite.losses import loss_scores
from benchmarks.suite.models import CLASSICAL_MODEL, MODELS, load
from benchmarks.suite.one_step import LENGTHS, SWEEP, one_step
from benchmarks.suite.speed import kernel_seconds
from benchmarks.suite.store import Unit
from benchmarks.suite.whole_kernel import whole_kernel

from descentcast.language_models import LanguageModel

EVERY = (CLASSICAL_MODEL, *MODELS)


def reads_every_step(model: LanguageModel | None) -> bool:
    """Return whether laws one step ahead are recalibrated too: for a frozen model that would take a third longer."""
    return model is None or model.restarts


@dataclass(frozen=True)
class Part:
    """One part of the benchmark.

    Attributes:
        families: What it runs over.
        models: Whom it compares.
        seeds: How many seeds of a reporting family or curve.
        seeds_of_prior: How many of a family of the prior.
        compute: (family, seed, model, lengths) -> values.
    """

    families: tuple[str, ...]
    models: tuple[str, ...]
    seeds: int
    seeds_of_prior: int
    compute: Callable[..., dict]

    def count(self, family: str) -> int:
        """Return how many seeds a family gets."""
        return self.seeds_of_prior if family in PRIOR else self.seeds


PARTS: dict[str, Part] = {
    "one-step": Part(
        (*REPORTING, *PRIOR),
        EVERY,
        seeds=20,
        seeds_of_prior=5,
        compute=lambda family, seed, model, lengths: one_step(
            chain_of(family, seed), seed, model, lengths or LENGTHS, mend=reads_every_step(model)
        ),
    ),
    "kernels": Part(
        (*REPORTING, *PRIOR),
        EVERY,
        seeds=20,
        seeds_of_prior=5,
        compute=lambda family, seed, model, lengths: whole_kernel(chain_of(family, seed), seed, model),
    ),
    "lengths": Part(
        tuple(REPORTING),
        (CLASSICAL_MODEL, "descent-small", "adapter"),
        seeds=5,
        seeds_of_prior=0,
        compute=lambda family, seed, model, lengths: one_step(chain_of(family, seed), seed, model, lengths or SWEEP),
    ),
    "speed": Part(
        ("double_well",),
        tuple(MODELS),
        seeds=1,
        seeds_of_prior=0,
        compute=lambda family, seed, model, lengths: kernel_seconds(chain_of(family, seed), seed, model),
    ),
    "losses": Part(
        tuple(CURVES),
        EVERY,
        seeds=20,
        seeds_of_prior=0,
        compute=lambda family, seed, model, lengths: loss_scores(family, seed, model, mend=reads_every_step(model)),
    ),
}


def units(part: str, model: str, families: tuple[str, ...] | None, seeds: int | None) -> list[Unit]:
    """Return the units of a part for one model, all families of a seed before the next seed."""
    about = PARTS[part]
    chosen = [f for f in about.families if families is None or f in families]
    counts = {f: about.count(f) if seeds is None else seeds for f in chosen}
    return [
        Unit(part, model, family, seed)
        for seed in range(max(counts.values(), default=0))
        for family in chosen
        if seed < counts[family]
    ]


def compute(unit: Unit, lengths: tuple[int, ...] | None = None) -> tuple[Unit, dict, dict[str, Any]]:
    """Compute one unit: its values, and what it took: seconds, processor seconds, threads."""
    model = load(unit.model)
    started, before = time.perf_counter(), time.process_time()
    values = PARTS[unit.part].compute(unit.family, unit.seed, model, lengths)
    device = str(getattr(model, "device", "cpu"))
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - before}
    return unit, values, {**took, "threads": torch.get_num_threads(), "device": device}


def computed(
    todo: list[Unit], jobs: int, lengths: tuple[int, ...] | None = None
) -> Iterator[tuple[Unit, dict, dict[str, Any]]]:
    """Compute units, each result as soon as it is there; the cores are shared out among the jobs."""
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    if jobs == 1:
        torch.set_num_threads(min(threads, int(os.environ.get("OMP_NUM_THREADS", threads))))
        for unit in todo:
            yield compute(unit, lengths)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        futures = [pool.submit(compute, unit, lengths) for unit in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
