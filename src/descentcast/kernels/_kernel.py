"""The transition kernel: what every estimator returns and every forecast starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from descentcast import _checks
from descentcast._types import Edges, Overflow, Rows
from descentcast.errors import ArgumentError

SOURCES = ("visited", "probed", "completed", "extrapolated", "exact", "simulated", "estimated")
TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Evidence:
    """What each row of a kernel rests on.

    Attributes:
        visits: How often the context visited the cell, shape (n,).
        source: One of `SOURCES` a row, shape (n,): read at a visit, probed, completed between visited rows,
            extrapolated outside their hull, exact, simulated, or estimated by a classical method.
        weight: The share of the row that rests on its own visits or probe, in [0, 1], shape (n,).
    """

    visits: np.ndarray
    source: np.ndarray
    weight: np.ndarray

    @classmethod
    def uniform(cls, source: str, n: int, visits: np.ndarray | None = None) -> "Evidence":
        """Return the evidence of `n` rows that all rest on one source."""
        counts = np.zeros(n) if visits is None else np.asarray(visits, dtype=np.float64)
        return cls(visits=counts, source=np.full(n, source, dtype="<U12"), weight=np.ones(n))

    def to_dict(self) -> dict[str, Any]:
        """Return the three columns as lists."""
        return {"visits": self.visits.tolist(), "source": self.source.tolist(), "weight": self.weight.tolist()}


@dataclass(frozen=True, eq=False)
class TransitionKernel:
    """A Markov transition kernel on the cells of a grid, each row a cell average (Ulam's method).

    The estimand is `P_ij = 1/|c_i| * integral over c_i of P(x, c_j) dx`; mass that leaves the grid is kept in
    `overflow`, so that `matrix` and `overflow` together sum to 1 in every row.

    Attributes:
        edges: Cell edges, shape (n + 1,), strictly increasing.
        matrix: Row i: probabilities of the next cell from cell i, shape (n, n).
        overflow: Probability of leaving the grid below and above, shape (n, 2). Absorbing: reported as divergence.
        evidence: What each row rests on.
        name: The coordinate or observable.
        setting: What the runs were made with.
        projected: True where the observable is not Markov by itself (one coordinate of a coupled problem): then the
            kernel is an approximation.
        notes: Numerical outcomes worth knowing, in words a person can act on.

    Raises:
        ArgumentError: Shapes that do not fit, entries that are not probabilities, rows that do not sum to 1.
    """

    edges: Edges
    matrix: Rows
    overflow: Overflow
    evidence: Evidence = field(default_factory=lambda: Evidence.uniform("estimated", 0))
    name: str = "x"
    setting: Mapping[str, Any] = field(default_factory=dict)
    projected: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        edges = _checks.edges("edges", self.edges).copy()
        n = len(edges) - 1
        matrix, overflow = np.array(self.matrix, dtype=np.float64), np.array(self.overflow, dtype=np.float64)
        if matrix.shape != (n, n):
            raise ArgumentError(f"matrix has shape {matrix.shape}, must be {(n, n)} for {n + 1} edges")
        if overflow.shape != (n, 2):
            raise ArgumentError(f"overflow has shape {overflow.shape}, must be {(n, 2)}")
        _checks.distributions("matrix and overflow", np.hstack([matrix, overflow]), tolerance=TOLERANCE)
        evidence = self.evidence if len(self.evidence.visits) == n else Evidence.uniform("estimated", n)
        for array, attribute in ((edges, "edges"), (matrix, "matrix"), (overflow, "overflow")):
            array.flags.writeable = False
            object.__setattr__(self, attribute, array)
        object.__setattr__(self, "evidence", evidence)
        object.__setattr__(self, "setting", MappingProxyType(dict(self.setting)))

    @property
    def centres(self) -> np.ndarray:
        """Cell centres, shape (n,)."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def widths(self) -> np.ndarray:
        """Cell widths, shape (n,)."""
        return np.diff(self.edges)

    def cell(self, x: Any) -> np.ndarray:
        """Return the cell index of each state, -1 below the grid and n above it."""
        return np.searchsorted(self.edges, np.asarray(x, dtype=np.float64), side="right") - 1
