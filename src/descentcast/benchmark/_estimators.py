"""Who is compared: estimators by name, baselines that anyone would try, and the grid's own floor."""

from collections.abc import Callable
from typing import Any

import numpy as np

from descentcast.benchmark._names import (
    AUTOREGRESSIVE,
    COUNTS,
    DENSITY,
    FLOOR,
    LAST,
    LOCAL_LINEAR,
    MEMBERS,
    MODELS,
    RECALIBRATED,
    STACK,
)
from descentcast.benchmark._truth import Truth, places
from descentcast.kernels import (
    AutoregressiveKernel,
    CountKernel,
    InContextKernel,
    KernelDensityKernel,
    KernelEstimator,
    LocalLinearKernel,
    RecalibratedKernel,
    StackedKernel,
    TransitionKernel,
)
from descentcast.language_models import LanguageModel
from descentcast.trajectories import Trajectories

CLASSICAL: dict[str, Callable[[], KernelEstimator]] = {
    LOCAL_LINEAR: LocalLinearKernel,
    DENSITY: KernelDensityKernel,
    AUTOREGRESSIVE: AutoregressiveKernel,
    COUNTS: CountKernel,
}

Load = Callable[[str], LanguageModel]


def estimator_of(name: str, load: Load, views: int, seed: int) -> KernelEstimator:
    """Return a fresh estimator.

    Args:
        name: One of `ESTIMATORS`.
        load: Called with the name of a language model.
        views: Encodings that language models read.
        seed: Seed of views and resamples.
    """
    if name.endswith(RECALIBRATED):
        return RecalibratedKernel(estimator_of(name.removesuffix(RECALIBRATED), load, views, seed))
    if name == STACK:
        return StackedKernel([estimator_of(member, load, views, seed) for member in MEMBERS], seed)
    if name in MODELS:
        return InContextKernel(load(name), views=views, random_state=seed)
    return CLASSICAL[name]()


def baseline(name: str, truth: Truth, recorded: Trajectories) -> tuple[TransitionKernel, ...]:
    """Return the kernels of a baseline: the truth on the same cells, the marginal law of the runs, staying in place."""
    if name == FLOOR:
        return truth.kernels
    found = []
    for d, edges in enumerate(truth.problem.edges):
        n = len(edges) - 1
        if name == LAST:
            rows = np.eye(n)
        else:
            values = np.concatenate([c[1:] for c in recorded.coordinate(d)])
            rows = np.tile(np.histogram(values, edges)[0] / len(values), (n, 1))
        found.append(TransitionKernel(edges, rows, np.zeros((n, 2))))
    return tuple(found)


def nearest_landing(truth: Truth) -> tuple[np.ndarray, ...] | None:
    """Return the place of the minimum nearest to each start, laws (m, places) a coordinate; None without minima."""
    minima: Any = np.asarray(truth.problem.problem.minima)
    if not len(minima):
        return None
    points = minima.reshape(len(minima), -1)
    nearest = points[((truth.starts[:, None] - points) ** 2).sum(axis=-1).argmin(axis=1)]
    ends = [places(truth.problem, d) for d in range(points.shape[1])]
    return tuple(np.eye(len(e) + 1)[np.searchsorted(e, nearest[:, d], side="right")] for d, e in enumerate(ends))
