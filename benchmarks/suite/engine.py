"""What `benchmarks/speed.py` measures, one function a part; every one returns rows of the table."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from benchmarks.suite.branches import one_by_one
from benchmarks.suite.roofline import Executed

import descentcast as dc
from descentcast.densities import lay_out, read_views
from descentcast.encoding import View, draw_views
from descentcast.kernels import _reading
from descentcast.language_models import cache_dir
from descentcast.language_models._transformers import TransformersModel

VALUES, ROWS, VIEWS = 250, 100, 4
BOUND = 1e-3
# Branches of the baseline that are timed; the others take as long.
SAMPLED = 60
CONTEXTS, GRIDS = (50, 100, 250, 500, 1000, 2000), (50, 100, 250, 500, 1000)


@dataclass(frozen=True)
class Row:
    """One line: what, how much, and what is asked for, `low` or `high` being the limit."""

    model: str
    what: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the value is within the limits; None where there are none."""
        if self.low is None and self.high is None:
            return None
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    def to_dict(self) -> dict:
        """Return it as plain values."""
        return {**asdict(self), "met": self.met}


def load(name: str, dtype: str = "auto") -> TransformersModel:
    """Return a model on the processor; `name@frozen` is the one without its adapter, `name@FOLDER` with that one."""
    base, _, adapter = name.partition("@")
    model = dc.load_model(base, dtype, "cpu", {"": "default", "frozen": None}.get(adapter, adapter))
    assert isinstance(model, TransformersModel)
    return model


def run_of(values: int, seed: int = 0) -> np.ndarray:
    """Return a run of an AR(1) chain."""
    rng, x = np.random.default_rng(seed), np.zeros(values)
    for t in range(1, values):
        x[t] = 0.9 * x[t - 1] + 0.3 * rng.normal()
    return x


def edges_of(x: np.ndarray, rows: int = ROWS) -> np.ndarray:
    """Return a grid that holds a run."""
    return np.linspace(x.min() - 0.5, x.max() + 0.5, rows + 1)


def kernel(model: TransformersModel, x: np.ndarray, rows: int = ROWS, views: int = VIEWS) -> tuple[float, np.ndarray]:
    """Return seconds of a probed kernel that nothing is kept of, and its matrix."""
    model.forget()
    started = time.perf_counter()
    estimator = dc.InContextKernel(model=model, views=views, rows="probed")
    fitted = estimator.fit(dc.Trajectories.from_arrays([x]), edges_of(x, rows)).kernel_
    return time.perf_counter() - started, fitted.matrix


def whole_kernels(name: str, rate: dict[str, float], views: int, values: int) -> Iterator[Row]:
    """A kernel in float32 with nothing pruned, as a share of the machine's rate; and by default."""
    x = run_of(values)
    plain = load(name, "float32")
    kernel(plain, x[:20], views=1)  # the first pass of a process pays for starting threads
    with no_pruning(), Executed(plain) as executed:
        seconds, exact = kernel(plain, x, views=views)
    what = f"kernel, {ROWS} rows, {values} values, {views} views"
    yield Row(name, f"{what}: tokens", executed.tokens, "")
    for part in ("layers", "attention", "head", "total"):
        yield Row(name, f"{what}: operations, {part}", getattr(executed, part) / 1e9, "GFLOP")
    yield Row(name, f"{what}, float32, unpruned", seconds, "s")
    yield Row(
        name, f"{what}, float32, unpruned: share of the rate", executed.total / seconds / rate["float32"], "", 0.6
    )
    del plain
    model = load(name)
    kernel(model, x[:20], views=1)
    with Executed(model) as executed:
        seconds, found = kernel(model, x, views=views)
    yield Row(name, f"{what}, default: operations in bfloat16", executed.halves / 1e9, "GFLOP")
    yield Row(name, f"{what}, default", seconds, "s", high=1.0 if name == "descent-small" else 10.0)
    yield Row(name, f"{what}: largest difference of a cell", float(np.abs(found - exact).max()), "", high=BOUND)


@contextmanager
def no_pruning() -> Iterator[None]:
    """Refine every branch of a kernel."""
    before, _reading.PRUNED = _reading.PRUNED, 0.0
    try:
        yield
    finally:
        _reading.PRUNED = before


class _Kept:
    """Passes a model's answers on, and keeps the forests with them."""

    def __init__(self, model: TransformersModel) -> None:
        self._model, self.asked = model, []
        self.alphabet = model.alphabet

    def log_probs_of(self, forests):
        answers = self._model.log_probs_of(forests)
        self.asked += zip(forests, answers, strict=True)
        return answers


def densities(name: str, digits: int, values: int) -> Iterator[Row]:
    """Next-value densities of a run against one cached forward pass a branch, the same branches."""
    x = run_of(values)
    model = load(name)
    context = lay_out([x], View(x.min() - 0.5, x.max() + 0.5, digits), model.alphabet)
    read_views(
        model, [lay_out([x[:20]], View(-9, 9, digits), model.alphabet)], [context.points.take(np.arange(9))], BOUND
    )
    model.forget()
    kept = _Kept(model)
    started = time.perf_counter()
    read_views(kept, [context], [context.points], BOUND)  # pyright: ignore[reportArgumentType]
    seconds = time.perf_counter() - started
    forest, answer = kept.asked[-1]  # the last level holds all nodes before it
    count = len(forest.symbols)
    nodes = np.sort(np.random.default_rng(0).choice(count, min(SAMPLED, count), replace=False))
    exact = load(name, "float32")
    prompt_seconds, each, laws = one_by_one(exact, forest, nodes)
    off = forest.mass[nodes, None] * np.abs(np.exp(answer.nodes[nodes]) - laws)
    what = f"densities of {values} values, {digits} digits, pruned at {BOUND:g}"
    yield Row(name, f"{what}: branches", count, "")
    yield Row(name, what, seconds, "s")
    yield Row(name, f"{what}: one by one ({len(nodes)} branches timed, scaled)", prompt_seconds + each * count, "s")
    yield Row(name, f"{what}: times faster", (prompt_seconds + each * count) / seconds, "", low=25.0)
    yield Row(name, f"{what}: largest difference, times mass", float(off.max()), "", high=BOUND)


def growth(name: str, contexts: tuple[int, ...], grids: tuple[int, ...], views: int) -> Iterator[Row]:
    """Time and peak memory of probed kernels, each in a process of its own, and how they grow."""
    for axis, sizes in (("values", contexts), ("rows", grids)):
        found = []
        for size in sizes:
            values, rows = (size, ROWS) if axis == "values" else (VALUES, size)
            if values * 3 + 8 > load(name).max_length:
                continue
            done = in_a_process(["growth", name, str(values), str(rows), str(views)])
            found.append((size, done["seconds"]))
            what = f"kernel of {values} values, {rows} rows, {views} views"
            yield Row(name, what, done["seconds"], "s")
            limit = 3.0 if values >= 2000 else None
            yield Row(name, f"{what}: peak memory", done["bytes"] / 1e9, "GB", high=limit)
        if len(found) > 2:
            slope = np.polyfit(*np.log(np.array(found[-3:]).T), 1)[0]
            yield Row(name, f"time grows with {axis} to the power (last three)", float(slope), "")


def start() -> Iterator[Row]:
    """Importing the package without a model, and the command's help, in fresh processes: the best of three."""
    help_text = "import sys; sys.argv = ['descentcast', '--help']; from descentcast.cli import main; main()"
    for what, code, limit in (("import descentcast", "import descentcast", 0.5), ("--help", help_text, 0.7)):
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
            seconds.append(time.perf_counter() - started)
        yield Row("", what, min(seconds), "s", high=limit)


def second_call(name: str, views: int, values: int) -> Iterator[Row]:
    """The same densities, and the same kernel, again: from the store, with nothing kept in memory."""
    x, model = run_of(values), load(name)
    low, high = x.min() - 0.5, x.max() + 0.5

    def read() -> float:
        model.forget()
        started = time.perf_counter()
        dc.next_densities(x, model, views=views, range=(low, high))
        return time.perf_counter() - started

    with store_of_its_own():
        read()
        yield Row(name, f"densities of {values} values again, {views} views", min(read(), read()), "s", high=0.05)
        kernel(model, x, views=views)
        seconds = min(kernel(model, x, views=views)[0] for _ in range(2))
        yield Row(name, f"kernel of {values} values again, {views} views", seconds, "s", high=0.05)


def following(name: str, values: int, more: int, views: int) -> Iterator[Row]:
    """A run that grows: the density of what comes next after each new value, and all densities again."""
    model = load(name)
    x = run_of(values + more)
    low, high = x.min() - 0.5, x.max() + 0.5
    encodings = draw_views(low, high, views, 2, np.random.default_rng(0))

    def forecast(known: int) -> float:
        started = time.perf_counter()
        contexts = [lay_out([x[:known]], view, model.alphabet) for view in encodings]
        read_views(model, contexts, [c.points.take(np.array([known - 1])) for c in contexts], BOUND)
        return time.perf_counter() - started

    def all_densities(known: int) -> float:
        started = time.perf_counter()
        dc.next_densities(x[:known], model, views=views, range=(low, high))
        return time.perf_counter() - started

    for what, run, limit in (
        ("following a run, one more value", forecast, 0.15),
        ("following a run, all its densities again", all_densities, None),
    ):
        model.forget()
        run(values)
        seconds = [run(values + i + 1) for i in range(more)]
        yield Row(name, f"{what}, {views} views", float(np.median(seconds)), "s", high=limit)


@contextmanager
def store_of_its_own() -> Iterator[None]:
    """Turn the density store on, empty, beside the models that are there."""
    before = {key: os.environ.get(key) for key in ("DESCENTCAST_CACHE", "DESCENTCAST_CACHE_MB")}
    with tempfile.TemporaryDirectory() as folder:
        for file in cache_dir().iterdir():
            if not file.name.startswith("densities."):
                (Path(folder) / file.name).symlink_to(file)
        os.environ.update(DESCENTCAST_CACHE=folder, DESCENTCAST_CACHE_MB="500")
        try:
            yield
        finally:
            for key, value in before.items():
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value


def in_a_process(arguments: list[str]) -> dict:
    """Run one measurement of this file in a fresh process."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.suite.engine", *arguments],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure one kernel: its seconds and the peak memory of the process."""
    _, _, name, values, rows, views = sys.argv
    model = load(name)
    seconds, _ = kernel(model, run_of(int(values)), int(rows), int(views))
    print(json.dumps({"seconds": seconds, "bytes": peak_memory()}))


def peak_memory() -> int:
    """Return the most memory that this process has held, in bytes.

    Not what getrusage says: that remembers the process which this one was forked from.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


if __name__ == "__main__":
    main()
