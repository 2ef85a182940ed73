"""Families of virtual trials: from the names in benchmarks/trials.toml to simulated runs and outcomes.

Reporting families are problems of `descentcast.problems`; development families are the chains below, which no reported
figure uses.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import descentcast as dc

DESIGN: dict[str, Any] = tomllib.loads((Path(__file__).parents[1] / "trials.toml").read_text(encoding="utf-8"))
EFFECTS = ("null", "small", "large")
# Quantiles of the law of starts that virtual runs begin from.
STARTS = 64
PART = 4000


@dataclass(frozen=True)
class Walls:
    """Soft walls of unequal steepness: gradient `exp(1.5 (x - shift)) - exp(-3 (x - shift))`, Gaussian noise."""

    step_size: float = 0.1
    shift: float = 0.0

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return runs from the starts, shape (m, steps + 1)."""

        def gradient(x: np.ndarray) -> np.ndarray:
            u = np.clip(x - self.shift, -1, 2)
            return np.exp(1.5 * u) - np.exp(-3 * u)

        return _chain(starts, steps, lambda x: x - self.step_size * (gradient(x) + rng.standard_normal(len(x))))

    def loss(self, x: np.ndarray) -> np.ndarray:
        """Return the loss at states, zero at its minimum; linear where the gradient is cut off."""
        u = np.clip(x - self.shift, -1, 2)
        beyond = (x - self.shift - u) * (np.exp(1.5 * u) - np.exp(-3 * u))
        return np.exp(1.5 * u) / 1.5 + np.exp(-3 * u) / 3 - 1 + beyond


@dataclass(frozen=True)
class Rational:
    """A Cauchy loss in a weak bowl, Student-t noise of five degrees of freedom."""

    step_size: float = 0.1
    shift: float = 0.0

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return runs from the starts, shape (m, steps + 1)."""

        def gradient(x: np.ndarray) -> np.ndarray:
            u = x - self.shift
            return 1.5 * u / (1 + u**2) + 0.1 * u

        return _chain(starts, steps, lambda x: x - self.step_size * (gradient(x) + 0.8 * rng.standard_t(5, len(x))))


@dataclass(frozen=True)
class Power:
    """The loss |x|^1.5: a gradient that is steep at its minimum, with noise in proportion to it and a floor."""

    step_size: float = 0.08

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return runs from the starts, shape (m, steps + 1)."""

        def step(x: np.ndarray) -> np.ndarray:
            gradient = 0.5 * np.sign(x) * np.sqrt(np.abs(x))
            return x - self.step_size * (gradient + (0.3 + 0.5 * np.abs(gradient)) * rng.standard_normal(len(x)))

        return _chain(starts, steps, step)


@dataclass(frozen=True)
class Pits:
    """Two Gaussian pits at -1 and 1 in a bowl, tilted: runs settle in one of them."""

    step_size: float = 0.1
    tilt: float = 0.0

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return runs from the starts, shape (m, steps + 1)."""

        def gradient(x: np.ndarray) -> np.ndarray:
            pits = sum(2.5 * (x - c) * np.exp(-((x - c) ** 2) / 0.5) for c in (-1.0, 1.0))
            return pits + 0.1 * x + self.tilt

        return _chain(starts, steps, lambda x: x - self.step_size * (gradient(x) + 0.6 * rng.standard_normal(len(x))))

    def loss(self, x: np.ndarray) -> np.ndarray:
        """Return the loss at states."""
        pits = sum(-0.625 * np.exp(-((x - c) ** 2) / 0.5) for c in (-1.0, 1.0))
        return pits + 0.05 * x**2 + self.tilt * x


@dataclass(frozen=True)
class Floor:
    """A loss that falls to a floor of the run's own: its initial weights decide, no step of it shows."""

    level: float = 0.2

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return runs from the starts, shape (m, steps + 1)."""
        floor = self.level * np.exp(0.1 * rng.standard_normal(len(starts)))
        rate = 0.08 * np.exp(0.1 * rng.standard_normal(len(starts)))

        def step(x: np.ndarray) -> np.ndarray:
            gap = np.log(np.maximum(x / floor, 1e-3))
            return x * np.exp(-rate * gap + 0.02 * rng.standard_normal(len(x)))

        return _chain(starts, steps, step)


@dataclass(frozen=True)
class Momentum:
    """SGD with momentum 0.8 on the soft walls: the position alone is not Markov."""

    step_size: float = 0.03
    shift: float = 0.0

    def paths(self, starts: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return runs from the starts, shape (m, steps + 1)."""
        velocity = np.zeros(len(starts))

        def step(x: np.ndarray) -> np.ndarray:
            u = np.clip(x - self.shift, -1, 2)
            gradient = np.exp(1.5 * u) - np.exp(-3 * u) + rng.standard_normal(len(x))
            velocity[:] = 0.8 * velocity - self.step_size * gradient
            return x + velocity

        return _chain(starts, steps, step)


DEVELOPMENT: dict[str, Callable[..., Any]] = {
    "walls": Walls, "rational": Rational, "power": Power, "pits": Pits, "floor": Floor, "momentum": Momentum,
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """One family: how runs of an arm are made, and what is read off them.

    Attributes:
        name: As in the file.
        part: "development" or "reporting".
        entry: What the file says.
    """

    name: str
    part: str
    entry: Mapping[str, Any]

    def problem(self, arm: str, **changed: Any) -> Any:
        """Return the problem of an arm: "base", "null", "small" or "large"."""
        arms = self.entry["arms"]
        settings = {**arms["base"], **arms[arm], **changed}
        registry = DEVELOPMENT if self.part == "development" else vars(dc.problems)
        return registry[self.entry["problem"]](**settings)

    def starts(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """Draw first values."""
        components = np.array(self.entry["starts"])
        chosen = components[rng.integers(len(components), size=number)]
        return chosen[:, 0] + chosen[:, 1] * rng.standard_normal(number)

    def runs(self, problem: Any, number: int, rng: np.random.Generator) -> np.ndarray:
        """Simulate runs from starts of their own, shape (number, steps + 1)."""
        starts, steps = self.starts(number, rng), self.entry["steps"]
        if self.part == "development":
            return problem.paths(starts, steps, rng)
        return problem.paths(starts, steps, rng)[..., 0]

    def outcome(self, problem: Any) -> Any:
        """Return the outcome of a trial: its name, or the full loss at the last iterate."""
        if self.entry["outcome"] != "final_loss":
            return self.entry["outcome"]

        def final_loss(paths: np.ndarray) -> np.ndarray:
            return problem.loss(paths[:, -1])

        return final_loss

    def truth(self, problem: Any, number: int, rng: np.random.Generator) -> tuple[float, float, float]:
        """Return mean, standard deviation and standard error of the mean of the outcome, by simulation."""
        measure = dc.trials.outcome_of(self.outcome(problem), "lower")
        pooled = np.concatenate([measure(self.runs(problem, PART, rng)) for _ in range(0, number, PART)])
        return float(pooled.mean()), float(pooled.std()), float(pooled.std() / np.sqrt(len(pooled)))


def families(part: str) -> list[Family]:
    """Return the families of a part of the file."""
    return [Family(name, part, entry) for name, entry in DESIGN[part].items()]


def _chain(starts: np.ndarray, steps: int, step: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    found = np.empty((len(starts), steps + 1))
    found[:, 0] = starts
    for t in range(steps):
        found[:, t + 1] = step(found[:, t])
    return found
