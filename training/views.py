"""Views of the prior: the range and orientation in which a context is written, set before what is scored is known.

A range comes from the starts (which carry no loss) and a prefix of the first run, plus a margin. Runs are cut where
they leave it, as no digits could say where they went.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from training.runs import Run


@dataclass(frozen=True)
class View:
    """Ranges and orientations, one a coordinate, and the number of digits.

    Attributes:
        low: Lower ends, shape (D,).
        high: Upper ends, shape (D,).
        flipped: Whether large values are written as small numbers, shape (D,).
        digits: Digits a coordinate.
    """

    low: np.ndarray
    high: np.ndarray
    flipped: np.ndarray
    digits: int

    def inside(self, run: np.ndarray) -> int:
        """Return how many values of `run`, shape (T, D), come before the first one outside the range."""
        outside = ((run < self.low) | (run >= self.high)).any(axis=1)
        return int(outside.argmax()) if outside.any() else len(run)

    def cells(self, run: np.ndarray) -> np.ndarray:
        """Return the cell numbers in [0, 10^digits) of values inside the range, shape (T, D)."""
        base = 10**self.digits
        cells = np.minimum((run - self.low) / (self.high - self.low) * base, base - 1).astype(np.int64)
        return np.where(self.flipped, base - 1 - cells, cells)

    def digit_laws(self, run: Run) -> np.ndarray:
        """Return the law of every digit of every value of a run inside the range, shape (T, D * digits, 10).

        P(digit = j), given the digits before it and that the value is inside the range, from the run's own law: a model
        is taught the law and not one draw of it, which has the same mean and none of the noise. Where the law is not
        known (or hardly allows what came) it is certain of the digit that came. A start's are zero.
        """
        cells = self.cells(run.values)
        powers = 10 ** np.arange(self.digits - 1, -1, -1)
        laws = np.eye(10)[cells[:, :, None] // powers % 10].reshape(len(cells), -1, 10)
        laws[0] = 0
        if run.law is not None and len(run) > 1:
            for level, power in enumerate(powers):
                bounds = (cells[1:] // (10 * power) * 10 + np.arange(11)) * power / 10**self.digits
                share = 1 - bounds if self.flipped[0] else bounds
                below = run.law(self.low + share * (self.high - self.low))
                masses = np.maximum(np.diff(below) * (-1 if self.flipped[0] else 1), 0)
                total = masses.sum(1, keepdims=True)
                laws[1:, level] = np.where(total > 1e-6, masses / np.maximum(total, 1e-6), laws[1:, level])
        return laws


def state_view(rng: Generator, starts: np.ndarray, prefix: np.ndarray, jump: float, digits: int) -> View:
    """Draw a view of states: hull of `starts` and `prefix`, (.., D), at least a few jumps wide, plus margins."""
    known = np.concatenate([starts, prefix])
    low, high = known.min(0), known.max(0)
    coordinates = known.shape[1]
    least = jump * np.exp(rng.uniform(np.log(5), np.log(40)))
    missing = np.maximum(least - (high - low), 0)
    share = rng.uniform(0, 1, coordinates)
    low, high = low - share * missing, high + (1 - share) * missing
    margins = np.exp(rng.uniform(np.log(0.05), np.log(1.0), (2, coordinates))) * (high - low)
    return View(low - margins[0], high + margins[1], rng.random(coordinates) < 0.5, digits)


def loss_view(rng: Generator, starts: np.ndarray, prefix: np.ndarray, digits: int, log: bool) -> View:
    """Draw a view of losses (of their logarithms, where `log`): room below, where losses go, and a margin above."""
    known = np.concatenate([starts, prefix])
    low, high = known.min(0), known.max(0)
    room = rng.uniform(0.2, 4.0) if log else np.abs(low) * rng.uniform(0.1, 1.05)
    low = low - room
    return View(low, high + (high - low) * np.exp(rng.uniform(np.log(0.03), np.log(0.6))), rng.random(1) < 0.5, digits)
