"""Metastable sets of a chain that need not be reversible: generalised Perron cluster analysis (GPCCA)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import schur
from scipy.linalg.lapack import dtrsen  # pyright: ignore[reportAttributeAccessIssue]
from scipy.optimize import minimize

from descentcast import _checks
from descentcast._shown import Shown
from descentcast.errors import ArgumentError
from descentcast.kernels import _chains

MOST_PARAMETERS = 25  # (sets - 1)^2 of them: beyond, the simplex search is no longer worth its time


@dataclass(frozen=True, eq=False, repr=False)
class MetastableSets(Shown):
    """Sets of cells that runs seldom leave, as overlapping memberships.

    The memberships `chi = X A` are a linear map of the dominant real Schur vectors `X` of the kernel, not negative and
    of row sum 1, as crisp as can be: `A` maximises `trace(diag(1 / A_0j) A^T A) / k`.

    Attributes:
        memberships: Membership of each cell in each set, shape (n, k); rows sum to 1. Sets are ordered along the grid.
        assignment: The set of highest membership, shape (n,).
        transition: Transition matrix among the sets, `(chi^T chi)^-1 chi^T P chi`, shape (k, k). Its rows sum to 1 and
            its eigenvalues are the dominant ones of P; entries can be slightly negative where sets overlap.
        eigenvalues: Eigenvalues of the kernel by falling modulus, complex, shape (n,).
        crispness: How far from overlap the sets are, 1 at best.
        note: What to know before using them, in words; empty if nothing.

    References:
        Reuter, Weber, Fackeldey, Röblitz, Garcia (2018), J. Chem. Theory Comput. 14, 3579; start by the inner simplex
        algorithm of Weber and Galliat (2002).
    """

    memberships: np.ndarray
    assignment: np.ndarray
    transition: np.ndarray
    eigenvalues: np.ndarray
    crispness: float
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the sets as plain values; eigenvalues as pairs (real, imaginary)."""
        return {
            "memberships": self.memberships.tolist(),
            "assignment": self.assignment.tolist(),
            "transition": self.transition.tolist(),
            "eigenvalues": [[float(v.real), float(v.imag)] for v in self.eigenvalues],
            "crispness": self.crispness,
            "note": self.note,
        }


def metastable(matrix: np.ndarray, overflow: np.ndarray, n_sets: int | None = None) -> MetastableSets:
    """Return the metastable sets of a kernel's matrix, its rows renormalised to stay on the grid.

    Raises:
        ArgumentError: `n_sets` outside [1, n], or one that would split a complex pair of eigenvalues.
    """
    staying, lost = _staying(*_chains.proper(matrix, overflow))
    n = len(staying)
    triangular, vectors = schur(staying, output="real")  # pyright: ignore[reportAssignmentType]
    values = _eigenvalues(triangular)
    # Moduli that differ by rounding are equal: of a periodic chain's eigenvalues on the unit circle 1 comes first.
    order = np.lexsort((-values.real, -np.abs(values).round(12)))
    moduli = np.append(np.abs(values[order]), 0.0)
    if n_sets is None:
        k = int(np.argmax(moduli[:-1] - moduli[1:])) + 1
    else:
        k = _checks.integer("n_sets", n_sets, low=1, high=n)
    basis = _dominant(triangular, vectors, order[:k])
    mixing, refined = _crispest(basis)
    memberships = np.clip(basis @ mixing, 0, None)
    memberships /= memberships.sum(axis=1, keepdims=True)
    by_place = np.argsort(np.arange(n) @ memberships / memberships.sum(axis=0), kind="stable")
    memberships, mixing = memberships[:, by_place], mixing[:, by_place]
    transition = np.linalg.solve(mixing, basis.T @ staying @ basis / n @ mixing)
    notes = [] if refined else ["too many sets to optimise: left at the inner simplex"]
    if (values[order[:k]].real < -1e-6).any():
        notes.append("a leading eigenvalue is negative: sets are visited in turn rather than held")
    if lost:
        notes.append(f"{lost} cells leave the grid for certain: taken to go anywhere")
    return MetastableSets(
        memberships, memberships.argmax(axis=1), transition, values[order], -_blur(mixing) / k, "; ".join(notes)
    )


def _staying(matrix: np.ndarray, overflow: np.ndarray) -> tuple[np.ndarray, int]:
    """Rows given that they stay on the grid; one that cannot is spread evenly, so that it makes no set of its own."""
    stay = matrix.sum(axis=1, keepdims=True)
    rows = np.divide(matrix, stay, out=np.full_like(matrix, 1 / len(matrix)), where=stay > 0)
    return rows, int((stay == 0).sum())


def _eigenvalues(triangular: np.ndarray) -> np.ndarray[Any, np.dtype[np.complex128]]:
    """Eigenvalues in the order of a real Schur form, whose 2x2 blocks have equal diagonals."""
    below = np.diag(triangular, -1)
    imaginary = np.where(below != 0, np.sqrt(np.abs(below * np.diag(triangular, 1))), 0.0)
    values = np.diag(triangular).astype(np.complex128)
    values[:-1] += 1j * imaginary
    values[1:] -= 1j * imaginary
    return values


def _dominant(triangular: np.ndarray, vectors: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Basis `X` of the invariant subspace of the chosen eigenvalues: `X^T X = n I`, first column 1; shape (n, k)."""
    n, k = len(vectors), len(chosen)
    select = np.zeros(n, dtype=np.int32)
    select[chosen] = 1
    result = dtrsen(select, triangular, vectors, job="N")
    leading, size, info = result[1], result[4], result[-1]
    if size != k:
        raise ArgumentError(f"n_sets == {k}, splits a complex pair of eigenvalues: take {k - 1} or {k + 1}")
    if info != 0:
        raise ArgumentError(f"n_sets == {k}, its eigenvalues cannot be told from the next: take another number")
    # The constant vector belongs to the subspace: taken out and put first, whatever basis the Schur form came with.
    rest = leading[:, :k] - leading[:, :k].mean(axis=0)
    return np.column_stack([np.ones(n), np.sqrt(n) * np.linalg.svd(rest)[0][:, : k - 1]])


def _crispest(basis: np.ndarray) -> tuple[np.ndarray, bool]:
    """The matrix `A` of the crispest memberships `X A`, and whether it was optimised past its start."""
    k = basis.shape[1]
    start = _feasible(np.linalg.inv(basis[_corners(basis)])[1:, 1:], basis)
    if k <= 2:
        return start, True  # with two sets or one the feasible matrix is the only one
    if (k - 1) ** 2 > MOST_PARAMETERS:
        return start, k == len(basis)
    best = minimize(
        lambda free: _blur(_feasible(free.reshape(k - 1, k - 1), basis)),
        start[1:, 1:].ravel(),
        method="Nelder-Mead",
        options={"adaptive": True, "xatol": 1e-6, "fatol": 1e-9, "maxfev": 1000 * (k - 1) ** 2},
    )
    found = _feasible(best.x.reshape(k - 1, k - 1), basis)
    return (found if _blur(found) <= _blur(start) else start), True


def _corners(basis: np.ndarray) -> list[int]:
    """Cells that span the largest simplex, one after the other (inner simplex algorithm)."""
    corners = [int(np.linalg.norm(basis, axis=1).argmax())]
    rest = basis - basis[corners[0]]
    for _ in range(basis.shape[1] - 1):
        lengths = np.linalg.norm(rest, axis=1)
        corners.append(int(lengths.argmax()))
        direction = rest[corners[-1]] / lengths[corners[-1]]
        rest = rest - np.outer(rest @ direction, direction)
    return corners


def _feasible(free: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The matrix `A` with the given inner block for which `X A` is not negative, touches 0 and sums to 1."""
    lower = np.column_stack([-free.sum(axis=1), free])
    upper = -(basis[:, 1:] @ lower).min(axis=0)
    return np.vstack([upper, lower]) / upper.sum() if len(lower) else np.ones((1, 1))


def _blur(mixing: np.ndarray) -> float:
    """Minus the number of sets times their crispness."""
    return -float((mixing**2 / mixing[0]).sum())
