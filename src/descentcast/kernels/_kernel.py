"""The transition kernel: what every estimator returns and every forecast starts from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import Edges, Overflow, Rows
from descentcast.errors import ArgumentError, DataError
from descentcast.kernels import _chains, _persistence, _rescaling, _spectrum
from descentcast.kernels._metastable import MetastableSets, metastable
from descentcast.kernels._spectrum import StationaryLaw
from descentcast.scoring._cells import cells_of

SOURCES = ("visited", "probed", "completed", "extrapolated", "exact", "simulated", "estimated")
TOLERANCE = 1e-6
FORM = "descentcast transition kernel 1"


@dataclass(frozen=True, eq=False, repr=False)
class Evidence(Shown):
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


@dataclass(frozen=True, eq=False, repr=False)
class TransitionKernel(Shown):
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
        object.__setattr__(self, "setting", dict(self.setting))

    @property
    def centres(self) -> np.ndarray:
        """Cell centres, shape (n,)."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def widths(self) -> np.ndarray:
        """Cell widths, shape (n,)."""
        return np.diff(self.edges)

    def cell(self, x: Any) -> np.ndarray:
        """Return the cell index of each state, -1 below the grid and n above it; the last cell holds its upper end."""
        return cells_of(np.asarray(x, dtype=np.float64), self.edges)

    def power(self, k: int) -> "TransitionKernel":
        """Return the kernel of `k` steps: `P^k`, with the overflow of all k steps.

        A kernel of several steps has `stride` in its setting multiplied by `k`.

        Args:
            k: Number of steps, at least 0.

        Raises:
            ArgumentError: `k` is not an integer of at least 0.

        Examples:
            >>> kernel = TransitionKernel([0, 1, 2], [[0.5, 0.25], [0.0, 1.0]], [[0.25, 0.0], [0.0, 0.0]])
            >>> kernel.power(2).matrix
            array([[0.25 , 0.375],
                   [0.   , 1.   ]])
            >>> kernel.power(2).overflow[0]
            array([0.375, 0.   ])
        """
        k = _checks.integer("k", k, low=0)
        matrix, overflow = _chains.power(self.matrix, self.overflow, k)
        setting = {**self.setting, "stride": self.setting.get("stride", 1) * k}
        return replace(self, matrix=matrix, overflow=overflow, setting=setting)

    def stationary(self) -> StationaryLaw:
        """Return the law that runs settle in, with its mixing time and the rate at which they leave the grid.

        The stationary law `pi P = pi`; with overflow the quasi-stationary law `pi P = (1 - escape_rate) pi`. Nothing
        is assumed reversible, and small probabilities keep their relative accuracy however nearly disconnected the
        chain is.

        Examples:
            >>> kernel = TransitionKernel([0, 1, 2], [[0.9, 0.1], [0.2, 0.8]], np.zeros((2, 2)))
            >>> np.asarray(kernel.stationary()).round(6)
            array([0.666667, 0.333333])
        """
        return _spectrum.stationary(self.matrix, self.overflow)

    def spectral_gap(self) -> float:
        """Return the spectral gap `1 - |lambda_2| / lambda_1` of the matrix, in [0, 1].

        Without overflow `lambda_1 = 1`. With overflow the quotient is the second eigenvalue of the chain given that it
        stays on the grid for ever (its Doob transform), so the gap is of mixing alone and escape does not count.
        A periodic chain, and one that never forgets its start, has gap 0.

        Examples:
            >>> kernel = TransitionKernel([0, 1, 2], [[0.9, 0.1], [0.2, 0.8]], np.zeros((2, 2)))
            >>> round(kernel.spectral_gap(), 6)
            0.3
        """
        return _spectrum.relative_gap(_chains.proper(self.matrix, self.overflow)[0])

    def metastable(self, n_sets: int | None = None) -> MetastableSets:
        """Return the sets of cells that runs seldom leave, by generalised PCCA: see `MetastableSets`.

        Rows are renormalised to stay on the grid.

        Args:
            n_sets: Number of sets; by default where the moduli of the eigenvalues have their largest gap.

        Raises:
            ArgumentError: `n_sets` outside [1, n], or one that would split a complex pair of eigenvalues.

        Examples:
            >>> rows = [[0.6, 0.39, 0.01, 0], [0.4, 0.6, 0, 0], [0, 0, 0.5, 0.5], [0, 0.01, 0.49, 0.5]]
            >>> TransitionKernel([0, 1, 2, 3, 4], rows, np.zeros((4, 2))).metastable().assignment
            array([0, 0, 1, 1])
        """
        return metastable(self.matrix, self.overflow, n_sets)

    def rescaled(self, step: float = 1.0, batch: float = 1.0) -> "TransitionKernel":
        """Return the kernel at another step size or batch size of plain SGD.

        There `x' - x = -step_size * g(x, batch)`: at `step` times the step size each row is pushed forward under
        `x + step (x' - x)`; at `batch` times the batch size its mean stays and the residual shrinks by `sqrt(batch)`,
        which is exact in the first two moments. The variance that averaging over a cell adds is not scaled along.

        Args:
            step: New step size divided by that of this kernel, greater than 0.
            batch: New batch size divided by that of this kernel, greater than 0.

        Returns:
            The kernel, with `step` and `batch` of its setting multiplied; unchanged at ratios of 1. A note says where
            the setting makes the result an approximation.

        Raises:
            ArgumentError: A ratio that is not a positive number.

        Examples:
            >>> edges, rows = [-1.5, -0.5, 0.5, 1.5], [[0, 1, 0]] * 3
            >>> halved = TransitionKernel(edges, rows, np.zeros((3, 2)), setting={"step": 0.2}).rescaled(step=0.5)
            >>> halved.setting["step"], halved.matrix[0].round(2)
            (0.1, array([0.5, 0.5, 0. ]))
        """
        step = _checks.real("step", step, low=0, open_low=True)
        batch = _checks.real("batch", batch, low=0, open_low=True)
        if step == batch == 1:
            return self
        matrix, overflow = _rescaling.rescaled(self.edges, self.matrix, self.overflow, step, batch)
        setting = dict(self.setting)
        for key, ratio in (("step", step), ("batch", batch)):
            if isinstance(setting.get(key), (int, float, np.number)):
                setting[key] = setting[key] * ratio
        notes = self.notes + _rescaling.caveats(self.setting)
        return replace(self, matrix=matrix, overflow=overflow, setting=setting, notes=notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the kernel as plain values."""
        return {
            "edges": self.edges.tolist(),
            "matrix": self.matrix.tolist(),
            "overflow": self.overflow.tolist(),
            "evidence": self.evidence.to_dict(),
            **self._header(),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the kernel to `path`, a NumPy archive without pickled objects; an older file is replaced at once.

        Raises:
            ArgumentError: The setting holds something other than numbers, text, lists and dictionaries.
            DataError: The file cannot be written.
        """
        arrays = {"edges": self.edges, "matrix": self.matrix, "overflow": self.overflow, "visits": self.evidence.visits}
        arrays |= {"source": self.evidence.source.astype(str), "weight": self.evidence.weight}
        _persistence.write(path, arrays, {"form": FORM, **self._header()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "TransitionKernel":
        """Return the kernel that `save` wrote to `path`, the same to the last bit.

        Raises:
            DataError: No such file, a damaged one, or one that holds no kernel.

        Examples:
            >>> import pathlib, tempfile
            >>> kernel = TransitionKernel([0, 1, 2], [[0.9, 0.1], [0.2, 0.8]], np.zeros((2, 2)), name="w")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = pathlib.Path(folder) / "w.npz"
            ...     kernel.save(path)
            ...     TransitionKernel.load(path).name
            'w'
        """
        names = ("edges", "matrix", "overflow", "visits", "source", "weight")
        arrays, header = _persistence.read(path, FORM, names)
        try:
            return cls(
                edges=arrays["edges"],
                matrix=arrays["matrix"],
                overflow=arrays["overflow"],
                evidence=Evidence(arrays["visits"], arrays["source"], arrays["weight"]),
                name=header["name"],
                setting=header["setting"],
                projected=header["projected"],
                notes=tuple(header["notes"]),
            )
        except (ArgumentError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not a kernel: {error}") from error

    def _header(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "setting": _persistence.plain("setting", dict(self.setting)),
            "projected": self.projected,
            "notes": list(self.notes),
        }
