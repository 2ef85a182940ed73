"""What recording costs: steps of a digits network with a recorder against the same steps without, side by side.

    python benchmarks/recorder.py [--pairs 30] [--block 100] [--floor] [--once] [--warm] [--json]

Two copies of one network train on the same minibatches of scikit-learn's digits, one of them recorded to a file. They
take turns in blocks of steps, in random order within each pair of blocks, so that whatever else the machine does meets
both. Each block is a recording of its own, since a plain block must not be listened to. It begins with 100 steps that
are not timed, which write the first chunk and the settings: what a recording costs once (`--once`) is told apart from
what it costs a step; `--floor` and `--warm` are the norms of all gradients and the recorder's hooks alone, where
nothing else empties the caches. The overhead is the sum of the differences within pairs over the sum of the steps
without; its standard error is that of a ratio of means over pairs. The median over pairs is printed
beside it: on a machine that others use, caches are emptied now and then, which is dear to whatever runs next.

Time is the processor time of this thread; wall-clock time is printed beside it. One thread: set OMP_NUM_THREADS=1.
"""

import argparse
import json
import tempfile
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

import descentcast as dc

LEAD = 100  # Steps of a block that are not timed.
NETWORKS = {"64-100-10, batch 200": ((100,), 200), "64-256-256-10, batch 128": ((256, 256), 128)}
SETS = {
    "loss": (["loss"], 1),
    "loss, gradient_norm": (["loss", "gradient_norm"], 1),
    "loss, gradient_norm, parameter_norm, distance": (["loss", "gradient_norm", "parameter_norm", "distance"], 1),
    "the same, every 10th step": (["loss", "gradient_norm", "parameter_norm", "distance"], 10),
    "loss, projection:4": (["loss", "projection:4"], 1),
    "loss, projection:4, every 10th step": (["loss", "projection:4"], 10),
}


class Training:
    """One network, its optimizer, and blocks of steps."""

    def __init__(self, hidden: tuple[int, ...], batch: int) -> None:
        torch.manual_seed(0)
        digits = load_digits()
        self.inputs = torch.as_tensor(digits.data / 16, dtype=torch.float32)
        self.targets = torch.as_tensor(digits.target)
        sizes, layers = [64, *hidden, 10], []
        for a, b in pairwise(sizes):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.generator, self.batch = torch.Generator().manual_seed(1), batch

    def block(self, steps: int) -> tuple[float, float]:
        """Take steps; return processor and wall-clock seconds."""
        wall, own = time.perf_counter(), time.thread_time()
        for _ in range(steps):
            chosen = torch.randint(len(self.inputs), (self.batch,), generator=self.generator)
            self.optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.model(self.inputs[chosen]), self.targets[chosen]).backward()
            self.optimizer.step()
        return time.thread_time() - own, time.perf_counter() - wall


def ratio(extra: np.ndarray, plain: np.ndarray) -> tuple[float, float]:
    """Return the ratio of the means of pairs, and its standard error."""
    value = extra.mean() / plain.mean()
    spread = (extra - value * plain).std(ddof=1) / plain.mean() / np.sqrt(len(plain))
    return float(value), float(spread)


def measure(hidden: tuple[int, ...], batch: int, names: list[str], every: int, pairs: int, block: int) -> dict:
    """Return the overhead of one set of observables on one network."""
    plain, recorded = Training(hidden, batch), Training(hidden, batch)
    rng, times = np.random.default_rng(0), np.empty((pairs, 2, 2))
    with tempfile.TemporaryDirectory() as folder:
        for training in (plain, recorded):
            training.block(50)  # The first steps of a process are slow.
        for pair in range(pairs):
            for which in rng.permutation(2):
                training = (plain, recorded)[which]
                path = Path(folder, f"{pair}.jsonl")
                options = {"every": every, "path": path, "chunk": 100 // every}
                with dc.record(training.optimizer, training.model, names, **options) if which else nullcontext():
                    training.block(LEAD)
                    times[pair, which] = training.block(block)
    weights = [torch.cat([p.detach().reshape(-1) for p in t.model.parameters()]) for t in (plain, recorded)]
    assert torch.equal(*weights), "recording changed the training"
    overhead, error = ratio(times[:, 1, 0] - times[:, 0, 0], times[:, 0, 0])
    wall, wall_error = ratio(times[:, 1, 1] - times[:, 0, 1], times[:, 0, 1])
    return {
        "step_us": times[:, 0, 0].mean() / block * 1e6,
        "overhead_us": (times[:, 1, 0] - times[:, 0, 0]).mean() / block * 1e6,
        "overhead_percent": 100 * overhead,
        "median_percent": float(100 * np.median(times[:, 1, 0] / times[:, 0, 0] - 1)),
        "standard_error_percent": 100 * error,
        "wall_percent": 100 * wall,
        "wall_standard_error_percent": 100 * wall_error,
    }


def floor(hidden: tuple[int, ...], batch: int) -> dict:
    """Return what norms of all gradients cost at least: torch's own call beside a step, the fastest of some rounds."""
    training, rounds = Training(hidden, batch), 20
    training.block(50)
    gradients = [p.grad for p in training.model.parameters() if p.grad is not None]
    steps, norms = [], []
    for _ in range(rounds):
        steps.append(training.block(20)[0] / 20)
        own = time.thread_time()
        for _ in range(100):
            torch._foreach_norm(gradients)  # pyright: ignore[reportPrivateImportUsage]
        norms.append((time.thread_time() - own) / 100)
    step, norm = min(steps) * 1e6, min(norms) * 1e6
    return {"step_us": step, "foreach_norm_us": norm, "percent": 100 * norm / step}


def warm(hidden: tuple[int, ...], batch: int, names: list[str]) -> float:
    """Return the microseconds of a recorded step's hooks, one step after the other with nothing between."""
    training, times = Training(hidden, batch), []
    training.block(10)
    loss = training.model(training.inputs[:1]).sum()
    with (
        tempfile.TemporaryDirectory() as folder,
        dc.record(training.optimizer, training.model, names, path=Path(folder, "a.jsonl")) as recorder,
    ):
        training.block(1)
        for _ in range(20):
            start = time.thread_time()
            for _ in range(200):
                recorder._hear(loss)
                recorder._before(training.optimizer, (training.optimizer,), {})
                recorder._after(training.optimizer, (training.optimizer,), {})
            times.append((time.thread_time() - start) / 200)
    return 1e6 * float(np.quantile(times, 0.25))


def once() -> float:
    """Return the milliseconds that a recording costs beside its steps: to begin, to write its settings, to end."""
    training, times = Training(*NETWORKS["64-100-10, batch 200"]), []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(20):
            start = time.thread_time()
            with dc.record(training.optimizer, training.model, ["loss"], path=Path(folder, f"{i}.jsonl")) as recorder:
                recorder.log(x=0.0)
            times.append(time.thread_time() - start)
    return 1e3 * float(np.median(times))


def main() -> None:
    """Measure every set of observables on every network, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--block", type=int, default=100)
    parser.add_argument("--floor", action="store_true", help="only what torch takes for one norm of all gradients")
    parser.add_argument("--warm", action="store_true", help="only the hooks, one step after the other")
    parser.add_argument("--once", action="store_true", help="only what a recording costs once")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.floor:
        print(json.dumps({network: floor(*made) for network, made in NETWORKS.items()}))
        return
    if arguments.warm:
        for network, made in NETWORKS.items():
            found = {label: round(warm(*made, names), 1) for label, (names, every) in SETS.items() if every == 1}
            print(json.dumps({network: found}))
        return
    if arguments.once:
        print(f"{once():.2f} ms")
        return
    rows = []
    for network, (hidden, batch) in NETWORKS.items():
        for label, (names, every) in SETS.items():
            found = measure(hidden, batch, names, every, arguments.pairs, arguments.block)
            rows.append({"network": network, "observables": label, **found})
            if not arguments.json:
                print(
                    f"{network:26} {label:46} step {found['step_us']:7.1f} us, recording {found['overhead_us']:6.1f} us"
                    f" = {found['overhead_percent']:5.2f} % (s.e. {found['standard_error_percent']:.2f};"
                    f" median {found['median_percent']:.2f};"
                    f" wall {found['wall_percent']:.2f}, s.e. {found['wall_standard_error_percent']:.2f})",
                    flush=True,
                )
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
