"""One random SGD problem of the prior: field, noise, step size and momentum, run from any starts.

The chain is v' = beta v + G(x), x' = x - eta v', with G the stochastic gradient; of x, only some coordinates are seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from training.fields import Field, random_field
from training.noise import NOISES, Noise, random_noise
from training.runs import Law, Run


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

    def run(self, rng: Generator, starts: np.ndarray, lengths: Sequence[int], observed: int) -> list[Run]:
        """Run from `starts`, shape (runs, D); see `observed` coordinates for `lengths` values, the start among them."""
        steps = max(lengths)
        stochastic = self.noise.draw(rng, (steps - 1, *starts.shape))
        path, gradients, carried = (np.empty((steps, *starts.shape)) for _ in range(3))
        path[0] = x = starts
        velocity = np.zeros_like(x)
        for t in range(steps - 1):
            gradients[t], carried[t] = self.field(x), self.momentum * velocity
            velocity = carried[t] + stochastic(t, x, gradients[t])
            # What a heavy tail throws out of every view is cut there; a bound keeps the numbers finite.
            path[t + 1] = x = np.minimum(np.maximum(x - self.step_size * velocity, -1e3), 1e3)
        return [
            Run(
                path[:n, i, :observed], self._law(path[:, i], gradients[:, i], carried[:, i]) if observed == 1 else None
            )
            for i, n in enumerate(lengths)
        ]

    def _law(self, x: np.ndarray, gradient: np.ndarray, carried: np.ndarray) -> Law | None:
        """Return the distribution function of the next value of the first coordinate, given all that moves the run."""
        law = self.noise.law
        if law is None:
            return None

        def below(y: np.ndarray) -> np.ndarray:
            n = len(y)
            least = (x[:n, :1] - y) / self.step_size - carried[:n, :1]  # the next value is below y if G is above this
            return 1 - law(x[:n], gradient[:n], least)

        return below


def random_problem(rng: Generator, fields: tuple[str, ...], observed: int) -> Problem:
    """Draw a problem with at least `observed` coordinates, its field from `fields`, its step over three decades."""
    coordinates = max(observed, int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1])))
    momentum = float(rng.uniform(0.4, 0.95)) if rng.random() < 0.2 else 0.0
    effective = np.exp(rng.uniform(np.log(2e-3), np.log(2.0)))
    jump = np.exp(rng.uniform(np.log(1.5e-3), np.log(0.25)))
    field = random_field(rng, coordinates, str(rng.choice(fields)))
    noise = random_noise(rng, str(rng.choice(list(NOISES))), coordinates, jump / effective)
    return Problem(field, noise, effective * (1 - momentum), momentum, coordinates, jump)
