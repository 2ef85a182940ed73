"""Random loss curves of the prior: decay to a floor, plateaus, drops, schedules, spikes, correlated noise.

A family of curves is one setting; its runs are seeds: the same shape, slightly other constants, noise of their own.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from scipy.special import ndtr

from training.runs import Law, Run

# time in [0, 1], shape (steps,) -> share of the way still to go, from 1 down to about 0
Shape = Callable[[np.ndarray], np.ndarray]


def random_loss_curves(rng: Generator, family: str, runs: int, steps: int, log: bool) -> list[Run]:
    """Draw the losses, positive, of `runs` seeds of one setting; their logarithms, if `log`."""
    time = np.arange(steps) / max(steps, 2) * rng.uniform(0.2, 1.0)
    shape = SHAPES[family](rng)(time)
    floor = np.exp(rng.uniform(np.log(0.01), np.log(0.9)))
    jitter = np.exp(rng.normal(0, 0.05, (runs, 1)) * rng.choice([0.2, 1.0]))
    curve = np.log(floor + (1 - floor) * jitter * shape) + rng.normal(0, 1)
    memory = rng.choice([0.0, rng.uniform(0, 0.95)])
    relative = np.exp(rng.uniform(np.log(0.003), np.log(0.3)))
    noise = rng.standard_normal((runs, steps))
    if memory > 0:
        for t in range(1, steps):
            noise[:, t] = memory * noise[:, t - 1] + np.sqrt(1 - memory**2) * noise[:, t]
    values = curve + relative * noise
    centres, spread = curve[:, 1:] + relative * memory * noise[:, :-1], relative * np.sqrt(1 - memory**2)
    spikes = rng.random() < 0.15
    if spikes:
        values += np.log1p(_spikes(rng, runs, steps))
    return [
        Run((v if log else np.exp(v))[:, None], None if spikes else _log_normal(centre, spread, log))
        for v, centre in zip(values, centres, strict=True)
    ]


def _log_normal(centre: np.ndarray, spread: float, log: bool) -> Law:
    """Return the distribution function of losses whose logarithms are normal; of the logarithms, if `log`."""

    def below(y: np.ndarray) -> np.ndarray:
        level = y if log else np.log(np.maximum(y, 1e-300))
        return ndtr((level - centre[: len(y), None]) / spread)

    return below


def power_law(rng: Generator) -> Shape:
    """(1 + t / t0)^-a."""
    onset, exponent = np.exp(rng.uniform(np.log(0.002), np.log(0.3))), rng.uniform(0.2, 1.5)
    return lambda t: (1 + t / onset) ** -exponent


def exponential(rng: Generator) -> Shape:
    """exp(-t / tau)."""
    tau = np.exp(rng.uniform(np.log(0.02), np.log(1)))
    return lambda t: np.exp(-t / tau)


def stretched(rng: Generator) -> Shape:
    """exp(-(t / tau)^b), b from 0.3 to 0.8."""
    tau, b = np.exp(rng.uniform(np.log(0.01), np.log(0.5))), rng.uniform(0.3, 0.8)
    return lambda t: np.exp(-((t / tau) ** b))


def plateaus(rng: Generator) -> Shape:
    """Sigmoid steps between plateaus at random times."""
    count = int(rng.integers(1, 4))
    times, widths = rng.uniform(0.05, 0.95, count), np.exp(rng.uniform(np.log(0.01), np.log(0.1), count))
    shares = rng.dirichlet(np.ones(count))
    # tanh, not exp: a sharp step must not overflow.
    return lambda t: (shares * 0.5 * (1 - np.tanh((t[:, None] - times) / (2 * widths)))).sum(1)


def drops(rng: Generator) -> Shape:
    """A decay whose level is cut at milestones, as where the step size is."""
    decay = exponential(rng) if rng.random() < 0.5 else power_law(rng)
    milestones = rng.uniform(0.1, 0.9, int(rng.integers(1, 4)))
    factor = rng.uniform(0.3, 0.9)
    return lambda t: decay(t) * factor ** (t[:, None] >= milestones).sum(1)


def cosine(rng: Generator) -> Shape:
    """A decay under warm-up (the loss starts flat) and a cosine schedule (the last part falls again)."""
    decay, warm_up, fall = power_law(rng), rng.uniform(0.005, 0.1), rng.uniform(0, 0.4)

    def shape(t: np.ndarray) -> np.ndarray:
        progress = np.where(t < warm_up, t**2 / (2 * warm_up), t - warm_up / 2)
        return decay(progress) * (1 - fall * 0.5 * (1 - np.cos(np.pi * t)))

    return shape


SHAPES: dict[str, Callable[[Generator], Shape]] = {
    "power_law": power_law,
    "exponential": exponential,
    "stretched": stretched,
    "plateaus": plateaus,
    "drops": drops,
    "cosine": cosine,
}


def _spikes(rng: Generator, runs: int, steps: int) -> np.ndarray:
    """Rare sudden rises that decay over a few steps."""
    hits = (rng.random((runs, steps)) < 0.01) * rng.exponential(0.6, (runs, steps))
    tail = np.exp(-np.arange(min(steps, 30)) / rng.uniform(0.5, 8))
    return np.stack([np.convolve(h, tail)[:steps] for h in hits])
