"""Seconds of a whole kernel: 100 probed rows, 240 values in four runs, 4 views."""

import time

from benchmarks.suite.chains import CELLS, Chain
from benchmarks.suite.one_step import DIGITS, VIEWS
from benchmarks.suite.whole_kernel import recorded

from descentcast.kernels import InContextKernel, default_edges
from descentcast.language_models import LanguageModel

REPEATS, LONG = 3, 5.0


def kernel_seconds(chain: Chain, seed: int, model: LanguageModel) -> dict[str, float]:
    """Time `InContextKernel.fit` after one fit to warm up: the best of three, or the first where that takes long.

    Returns:
        `fit`: all of it; `read`: until the last view was read, without pooling, completion and resampling; `cpu`: the
        processor's seconds of all of it, over all threads, which do not depend on what else a machine does.
    """
    runs = recorded(chain, seed, 4)
    edges, _ = default_edges(runs, 0, CELLS)
    times: list[tuple[float, float, float]] = []
    for repeat in range(1 + REPEATS):
        getattr(model, "forget", lambda: None)()
        ticks, before = [time.perf_counter()], time.process_time()
        estimator = InContextKernel(model, DIGITS, VIEWS, rows="probed", random_state=seed)
        estimator.progress = lambda *_, ticks=ticks: ticks.append(time.perf_counter())
        estimator.fit(runs, edges)
        times.append((time.perf_counter() - ticks[0], ticks[-1] - ticks[0], time.process_time() - before))
        if repeat and times[0][0] > LONG:
            break
    fit, read, cpu = (min(each) for each in zip(*times[1:], strict=True))
    return {"fit": fit, "read": read, "cpu": cpu}
