"""Shapes that a training curve may follow, as columns of a regression."""

from dataclasses import dataclass

import numpy as np

LEVEL, POWER, EXPONENTIAL = "level", "power law", "exponential"
# Time constants, as shares of what was recorded.
POWER_TIMES, POWERS = (0.003, 0.02, 0.1, 0.5, 2.0), (0.25, 0.5, 1.0, 2.0)
TIMES = (0.03, 0.05, 0.08, 0.13, 0.2, 0.32, 0.5, 0.8, 1.25, 2.0, 3.2)
FLOORS = (0.02, 0.1, 0.3, 0.6)


@dataclass(frozen=True, eq=False)
class Shapes:
    """Columns h_s(t) of a regression `z(t) = a + b h_s(t) + noise`, one a candidate; each spans 1 over what is known.

    Attributes:
        names: What each is called, S of them.
        known: Values at the recorded rows, shape (T, S).
        ahead: Values at the rows to come, shape (H, S).
    """

    names: tuple[str, ...]
    known: np.ndarray
    ahead: np.ndarray


def library(times: np.ndarray, ahead: np.ndarray, logarithmic: bool) -> Shapes:
    """Return the shapes of training curves: none, power laws, exponentials, also stretched, with floors in logarithms.

    In logarithms `a + b log(f + (1 - f) s(t))` stands for a value that decays to a floor, f of the way down, and
    `a + b log(1 + t / t0)` for a power law without one.

    Args:
        times: When the rows were recorded, shape (T,), from 0, in recorded steps.
        ahead: When the rows to come will be, shape (H,).
        logarithmic: Whether values are logarithms.
    """
    t = np.concatenate([times, ahead])
    length = max(float(times[-1]), 1.0)
    names, columns = [LEVEL], [np.zeros_like(t)]

    def add(name: str, column: np.ndarray) -> None:
        span = np.ptp(column[: len(times)])
        if span > 1e-9:
            names.append(name)
            columns.append((column - column[len(times) - 1]) / span)

    for share in POWER_TIMES:
        ratio = 1 + t / (share * length)
        for power in POWERS:
            add(POWER, ratio**-power)
        if logarithmic:
            add(POWER, np.log(ratio))
            for floor in FLOORS:
                add(POWER, np.log(floor + (1 - floor) / ratio))
    for share in TIMES:
        decay = np.exp(-t / (share * length))
        add(EXPONENTIAL, decay)
        if logarithmic:
            for floor in FLOORS:
                add(EXPONENTIAL, np.log(floor + (1 - floor) * decay))
    for share in POWER_TIMES:
        add(EXPONENTIAL, np.exp(-np.sqrt(t / (share * length))))
    table = np.column_stack(columns)
    return Shapes(tuple(names), table[: len(times)], table[len(times) :])
