"""One random SGD problem of the prior: field, noise, step size and momentum, run from any starts.

The chain is v' = beta v + G(x), x' = x - eta v', with G the stochastic gradient; of x, only some coordinates are seen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from training.fields import Field, random_field
from training.noise import NOISES, Noise, random_noise


@dataclass(frozen=True)
class Problem:
    """A chain to run: gradient field, noise, step size, momentum.

    Attributes:
        field: The gradient, in units of the domain [-1, 1]^D.
        noise: Turns the gradient into a stochastic one.
        step_size: eta, already multiplied by 1 - beta.
        momentum: beta.
        coordinates: D, hidden ones included.
        jump: Typical size of one step's noise in x.
    """

    field: Field
    noise: Noise
    step_size: float
    momentum: float
    coordinates: int
    jump: float

    def run(self, rng: Generator, starts: np.ndarray, steps: int) -> np.ndarray:
        """Run from `starts`, shape (runs, D), for `steps` values, the start among them: shape (steps, runs, D)."""
        stochastic = self.noise(rng, (steps - 1, *starts.shape))
        path = np.empty((steps, *starts.shape))
        path[0] = x = starts
        velocity = np.zeros_like(x)
        for t in range(steps - 1):
            gradient = stochastic(t, x, self.field(x))
            velocity = self.momentum * velocity + gradient if self.momentum else gradient
            # What a heavy tail throws out of every view is cut there; a bound keeps the numbers finite.
            path[t + 1] = x = np.minimum(np.maximum(x - self.step_size * velocity, -1e3), 1e3)
        return path


def random_problem(rng: Generator, fields: tuple[str, ...], observed: int) -> Problem:
    """Draw a problem with at least `observed` coordinates, its field from `fields`, its step over three decades."""
    coordinates = max(observed, int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1])))
    momentum = float(rng.uniform(0.4, 0.95)) if rng.random() < 0.2 else 0.0
    effective = np.exp(rng.uniform(np.log(2e-3), np.log(2.0)))
    jump = np.exp(rng.uniform(np.log(1.5e-3), np.log(0.25)))
    field = random_field(rng, coordinates, str(rng.choice(fields)))
    noise = random_noise(rng, str(rng.choice(list(NOISES))), coordinates, jump / effective)
    return Problem(field, noise, effective * (1 - momentum), momentum, coordinates, jump)
