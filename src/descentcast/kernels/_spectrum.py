"""Where a kernel settles and how fast: stationary or quasi-stationary law, escape rate, mixing time, spectral gap."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from descentcast._shown import Shown
from descentcast.kernels import _chains

PARALLEL = 1e-12  # rows of a power that agree to this have forgotten their start
SQUARINGS = 50


@dataclass(frozen=True, eq=False, repr=False)
class StationaryLaw(Shown):
    """The law that a chain settles in.

    Without overflow it is the stationary law, `pi P = pi`. With overflow it is the quasi-stationary law: the limit of
    the law after t steps given that the run is still on the grid, the left Perron vector `pi P = (1 - escape_rate) pi`.

    Attributes:
        probabilities: The law over the cells, shape (n,). Where it is not unique, the limit from a start spread evenly
            over the cells.
        mixing_time: Steps in which what is left of the start falls by a factor e: `-1 / log(|lambda_2| / lambda_1)`.
            Infinite where the start is never forgotten (several closed classes, a periodic chain). At a shorter
            horizon than about three of them the law says little: use the law at the horizon.
        escape_rate: Probability of leaving the grid in a step, once settled: `1 - lambda_1`.
        unique: Whether every start leads to this law.
        note: What to know before using it, in words; empty if nothing.

    References:
        Collet, Martínez, San Martín (2013), Quasi-Stationary Distributions, chapter 3.
    """

    probabilities: np.ndarray
    mixing_time: float
    escape_rate: float
    unique: bool
    note: str = ""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.probabilities, dtype=dtype, copy=copy)

    def to_dict(self) -> dict[str, Any]:
        """Return the law as plain values; an infinite mixing time as None."""
        return {
            "probabilities": self.probabilities.tolist(),
            "mixing_time": self.mixing_time if np.isfinite(self.mixing_time) else None,
            "escape_rate": self.escape_rate,
            "unique": self.unique,
            "note": self.note,
        }


def stationary(matrix: np.ndarray, overflow: np.ndarray) -> StationaryLaw:
    """Return the stationary or quasi-stationary law of a kernel's matrix and overflow: see `StationaryLaw`."""
    matrix, overflow = _chains.proper(matrix, overflow)
    leave = overflow.sum(axis=1)
    closed = _chains.closed_classes(matrix, leave)
    if closed:
        law, notes = _settled(matrix, leave, closed), []
        everyone = bool(_chains.reaching(matrix, np.isin(np.arange(len(matrix)), closed[0])).all())
        unique = len(closed) == 1 and everyone
        if len(closed) > 1:
            notes.append(f"{len(closed)} closed classes: the limit depends on the start")
        elif not everyone:
            notes.append("from some starts every run leaves the grid: the limit given survival depends on the start")
        if leave.any():
            notes.append("some runs leave the grid before they settle: the law is that of the others")
    else:
        law, unique = _quasi_settled(matrix, leave)
        notes = [] if unique else ["the limit given survival depends on the start"]
    gap = relative_gap(matrix)
    mixing_time = float(-1 / np.log1p(-gap)) if unique and 0 < gap < 1 else (0.0 if unique and gap == 1 else np.inf)
    if unique and gap == 0:
        notes.append("the start is never forgotten: the chain is periodic, or mixes too slowly for double precision")
    return StationaryLaw(law, mixing_time, float(law @ leave), unique, "; ".join(notes))


def relative_gap(matrix: np.ndarray) -> float:
    """Return `1 - |lambda_2| / lambda_1` of a non-negative matrix with row sums at most 1, in [0, 1]."""
    moduli = np.sort(np.abs(np.linalg.eigvals(matrix)))[::-1]
    if moduli[0] < _chains.NEVER:
        return 1.0  # every run has left after n steps, nothing of its start is remembered
    gap = 1 - moduli[1] / moduli[0]
    # Below this the distance from 1 is rounding: the eigenvalues of a periodic chain must give 0, not 1e-16.
    return float(gap) if gap > 10 * len(matrix) * np.finfo(float).eps else 0.0


def _settled(matrix: np.ndarray, leave: np.ndarray, closed: list[np.ndarray]) -> np.ndarray:
    """Stationary laws of the closed classes, weighted by the chance to end in each from an even start."""
    law = np.zeros(len(matrix))
    passing = np.setdiff1d(np.arange(len(matrix)), np.concatenate(closed))
    into = np.stack([matrix[np.ix_(passing, members)].sum(axis=1) for members in closed], axis=1)
    absorbed = _chains.solve(matrix[np.ix_(passing, passing)], into.sum(axis=1) + leave[passing], into).sum(axis=0)
    for members, arriving in zip(closed, absorbed, strict=True):
        law[members] = (len(members) + arriving) * _irreducible(matrix[np.ix_(members, members)])
    return law / law.sum()


def _irreducible(matrix: np.ndarray) -> np.ndarray:
    """Stationary law of an irreducible stochastic matrix: expected visits between two returns to one state."""
    # A state that is often visited as the reference, lest the visits of the others overflow.
    reference = int(np.linalg.matrix_power(matrix, 1024).mean(axis=0).argmax())
    others = np.delete(np.arange(len(matrix)), reference)
    fundamental = _chains.solve(matrix[np.ix_(others, others)], matrix[others, reference], np.eye(len(others)))
    law = np.insert(matrix[reference, others] @ fundamental, reference, 1.0)
    return law / law.sum()


def _quasi_settled(matrix: np.ndarray, leave: np.ndarray) -> tuple[np.ndarray, bool]:
    """Left Perron vector of a matrix that is left at last, and whether every start leads to it.

    The inverse `(I - P)^-1` has the same vectors and eigenvalues `1 / (1 - lambda)`, far apart where those of P crowd
    below 1. It and its squares are sums of non-negative terms, so small entries keep their accuracy.
    """
    power = _chains.solve(matrix, leave, np.eye(len(matrix)))
    unique = False
    for _ in range(SQUARINGS):
        power = power / power.max()
        power = power @ power
        sums = power.sum(axis=1, keepdims=True)
        rows = np.divide(power, sums, out=np.zeros_like(power), where=sums > 0)
        unique = bool(np.abs(rows - rows[power.sum(axis=1).argmax()]).sum(axis=1).max() < PARALLEL)
        if unique:
            break
    return power.sum(axis=0) / power.sum(), unique
