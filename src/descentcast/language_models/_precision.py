"""Two precisions in one network: float32 for what everything else rests on, bfloat16 for branches of little mass.

A wrong digit in a prompt or in a heavy branch moves every density that is read after it. The answer of a branch that
carries mass m is multiplied by m: an error e of it moves a density by m e. How large e is, and whether bfloat16 is
faster at all, is measured on the processor at hand.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descentcast.language_models._base import Alphabet, Forest, LanguageModel
from descentcast.language_models._catalogue import cache_dir
from descentcast.language_models._linear import packed, product

# What a probability may be off by, and how much larger than on the sample an error may be.
BOUND, SAFETY = 1e-3, 1.5
LIMITS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
FASTER = 1.2
VALUES, ROWS = 40, 12
REMEMBERED = 100


@dataclass(frozen=True)
class Choice:
    """What was measured of bfloat16 branches.

    Attributes:
        limit: Branches with less mass are computed in bfloat16; 0: none.
        error: Largest error of a probability in the answer of such a branch, on the sample.
        speedup: How many times faster a linear layer is.
    """

    limit: float
    error: float
    speedup: float

    def __str__(self) -> str:
        if self.limit:
            return (
                f"float32, and bfloat16 for branches with less than {self.limit:g} of the mass: measured to be "
                f"{self.speedup:.1f} times as fast and off by at most {self.limit * self.error:.1g} in probability"
            )
        if self.speedup < FASTER:
            return f"float32: bfloat16 is measured to be {self.speedup:.1f} times as fast here, which is not worth it"
        return f"float32: branches in bfloat16 are measured to be off by {self.error:.1g}, too much for any of them"


def choose(error: float, speedup: float) -> Choice:
    """Return the largest limit with limit * error, and a margin, within the bound; none where it is not faster.

    Examples:
        >>> choose(error=0.003, speedup=2.0).limit, choose(error=0.003, speedup=1.0).limit
        (0.2, 0.0)
    """
    fits = [limit for limit in LIMITS if speedup >= FASTER and limit * error * SAFETY <= BOUND]
    return Choice(max(fits, default=0.0), error, speedup)


def measured(model: LanguageModel, fingerprint: str, forget: Callable[[], None], shape: tuple[int, int]) -> Choice:
    """Return what bfloat16 branches do and save here, as it was measured once for this model on this processor.

    Args:
        model: Computes branches of no mass in bfloat16.
        fingerprint: Tells its weights from others.
        forget: Makes it forget what it has answered.
        shape: Of its largest linear layer.
    """
    key = f"{fingerprint} {torch.backends.cpu.get_cpu_capability()} torch {torch.__version__} one thread"
    with suppress(OSError, ValueError, TypeError, KeyError, RuntimeError):
        known = json.loads(_file().read_text())[key]
        return choose(float(known["error"]), float(known["speedup"]))
    speedup = speedup_of(shape)
    error = error_of(model, forget) if speedup >= FASTER else float("nan")
    with suppress(OSError, RuntimeError):
        _remember(key, {"error": error, "speedup": speedup})
    return choose(error, speedup)


def speedup_of(shape: tuple[int, int]) -> float:
    """Return how many times faster a linear layer with weights of this shape is in bfloat16.

    In processor time of one thread, which does not depend on what else the machine does: threads that wait count.
    """
    inputs, weight = torch.ones(256, shape[1]), packed(torch.ones(shape))
    half = packed(torch.ones(shape).bfloat16())

    def seconds(run: Callable[[], Any]) -> float:
        times = []
        for _ in range(7):
            started = time.process_time()
            run()
            times.append(time.process_time() - started)
        return min(times)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plain = seconds(lambda: product(inputs, weight, None))
        return plain / max(seconds(lambda: product(inputs.bfloat16(), half, None).float()), 1e-9)
    finally:
        torch.set_num_threads(threads)


def error_of(model: LanguageModel, forget: Callable[[], None]) -> float:
    """Return the largest difference of a probability between the answers of branches that weigh much and little."""
    forest = sample_forest(model.alphabet)
    leaves = forest.mass == 0
    rough = np.exp(model.log_probs(forest).nodes[leaves])
    forget()
    exact = np.exp(model.log_probs(replace(forest, mass=None)).nodes[leaves])
    forget()
    return float(np.abs(rough - exact).max())


def sample_forest(alphabet: Alphabet) -> Forest:
    """Return a run with branches as they are read: after its values and after states written behind it.

    The nodes that write a state have mass 1, the digits of what comes next, ten at each place, none.
    """
    rng = np.random.default_rng(0)
    values = np.zeros(VALUES)
    for t in range(1, VALUES):
        values[t] = 0.9 * values[t - 1] + rng.normal()
    codes = np.r_[np.clip(50 + 12 * values, 0, 99).astype(int), np.linspace(2, 97, ROWS).astype(int)]
    numbers = np.stack(np.divmod(codes, 10), axis=1) if alphabet.base == 10 else codes[:, None] * 10
    run, states = numbers[:VALUES].tolist(), numbers[VALUES:].tolist()
    prompt = np.concatenate([[*number, alphabet.separator] for number in run])
    inside = np.flatnonzero(prompt == alphabet.separator)[-ROWS:]
    chains = [(int(at), (), digit) for at in inside for digit in range(10)]
    chains += [
        (len(prompt) - 1, (alphabet.newline, *state, alphabet.separator), digit)
        for state in states
        for digit in range(10)
    ]
    nodes: dict[tuple[int, tuple[int, ...]], int] = {}
    mass = []
    for at, trunk, digit in chains:
        whole = (*trunk, digit)
        for length in range(1, len(whole) + 1):
            if nodes.setdefault((at, whole[:length]), len(nodes)) == len(mass):
                mass.append(0.0 if length == len(whole) else 1.0)
    prefix = np.array([at for at, _ in nodes])
    symbols = np.array([path[-1] for _, path in nodes])
    parents = np.array([nodes.get((at, path[:-1]), -1) for at, path in nodes])
    return Forest(prompt, np.array([], dtype=int), symbols, prefix, parents, mass=np.array(mass))


def _file() -> Path:
    return cache_dir() / "precision.json"


def _remember(key: str, values: dict[str, float]) -> None:
    path = _file()
    known = {}
    with suppress(OSError, ValueError):
        known = json.loads(path.read_text())
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}")
    last = dict(list({**known, key: values}.items())[-REMEMBERED:])
    scratch.write_text(json.dumps(last, indent=1))
    os.replace(scratch, path)
