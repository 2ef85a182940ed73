"""Principal components of iterates: fitted on some runs, recorded in others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from descentcast import _checks
from descentcast._shown import Shown
from descentcast.errors import ArgumentError, DataError
from descentcast.trajectories._trajectories import Trajectory
from descentcast.trajectories.recording._state import HALF, Meter, State

BLOCK = 2**22  # Entries of a snapshot that are in double precision at a time.


class Snapshots:
    """An observable that keeps all parameters, evenly spaced, in the computer's memory: what components are fitted on.

    It adds no column. Where `most` is reached every other snapshot goes, and they are taken half as often.

    Args:
        most: The most snapshots that are kept, each of 4 bytes a weight.

    Attributes:
        steps: The step of each snapshot.
        rows: All parameters in single precision, one flat array a snapshot.
        shapes: The shape of each parameter by name, in the order of the entries.
    """

    def __init__(self, most: int = 64) -> None:
        self.most = _checks.integer("most", most, low=2)
        self.steps: list[int] = []
        self.rows: list[np.ndarray] = []
        self.shapes: dict[str, tuple[int, ...]] = {}

    def bind(self, state: State) -> Meter:
        """Return a meter without columns that fills the snapshots, from none."""
        self.steps, self.rows = [], []
        self.shapes = {name: tuple(p.shape) for name, p in state.parameters.items()}
        tensors, seen, stride = list(state.parameters.values()), 0, 1

        def measure(state: State) -> tuple[float, ...]:
            nonlocal seen, stride
            if len(self.rows) == self.most and seen % stride == 0:
                del self.rows[1::2], self.steps[1::2]
                stride *= 2
            if seen % stride == 0:
                self.rows.append(np.concatenate([p.detach().float().cpu().numpy().ravel() for p in tensors]))
                self.steps.append(state.step)
            seen += 1
            return ()

        return Meter((), measure)


@dataclass(frozen=True, eq=False, repr=False)
class PrincipalComponents(Shown):
    """The directions in which iterates varied most; as an observable, the coordinates along them.

        z_k = v_k' (x - mean),    columns pc:0, pc:1, ...

    Attributes:
        shapes: The shape of each parameter by name.
        mean: The mean of the snapshots, shape (P,).
        components: Orthonormal directions, shape (k, P), the widest first; each one's largest entry is positive.
        variance: The variance of the snapshots along each, shape (k,).
        share: Its share in their total variance, shape (k,).
    """

    shapes: Mapping[str, tuple[int, ...]]
    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    share: np.ndarray

    @classmethod
    def fit(cls, runs: Sequence[Snapshots], components: int = 2) -> "PrincipalComponents":
        """Fit the components to the snapshots of context runs, each snapshot with equal weight.

        Works on the snapshots' inner products, N by N, in blocks: never on anything of P by P.

        Raises:
            ArgumentError: Runs of different models, or more components than directions in which the snapshots vary.
        """
        runs = [runs] if isinstance(runs, Snapshots) else list(runs)
        if not runs or any(run.shapes != runs[0].shapes for run in runs):
            raise ArgumentError("runs must be at least one Snapshots, all of models with the same parameters")
        rows = [row for run in runs for row in run.rows]
        count = _checks.integer("components", components, low=1)
        if len(rows) < 2:
            raise ArgumentError(f"runs hold {len(rows)} snapshot(s), at least 2 are needed")
        size = rows[0].size
        blocks = [slice(a, a + BLOCK // len(rows) + 1) for a in range(0, size, BLOCK // len(rows) + 1)]
        mean, products = np.empty(size), np.zeros((len(rows), len(rows)))
        for block in blocks:
            centred = np.stack([row[block] for row in rows]).astype(np.float64)
            mean[block] = centred.mean(axis=0)
            centred -= mean[block]
            products += centred @ centred.T
        values, vectors = np.linalg.eigh(products)
        values, vectors = values[::-1], vectors[:, ::-1]
        rank = int((values > values[0] * len(rows) * np.finfo(np.float64).eps).sum()) if values[0] > 0 else 0
        if count > rank:
            raise ArgumentError(f"components == {count}, the snapshots vary in {rank} direction(s) only")
        weights = (vectors[:, :count] / np.sqrt(values[:count])).T
        directions = np.empty((count, size), dtype=np.float32)
        for block in blocks:
            directions[:, block] = weights @ (np.stack([row[block] for row in rows]) - mean[block])
        largest = directions[np.arange(count), np.abs(directions).argmax(axis=1)]
        directions *= np.sign(largest)[:, None]
        variance = values[:count] / (len(rows) - 1)
        return cls(dict(runs[0].shapes), mean.astype(np.float32), directions, variance, values[:count] / values.sum())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coordinates."""
        return tuple(f"pc:{k}" for k in range(len(self.components)))

    def project(self, snapshots: Snapshots, run: str = "run 0") -> Trajectory:
        """Return the coordinates of the snapshots themselves, as a run."""
        values = [self.components @ row - self.components @ self.mean for row in snapshots.rows]
        return Trajectory(np.array(values), names=self.names, steps=np.array(snapshots.steps), run=run)

    def bind(self, state: State) -> Meter:
        """Return the meter of the coordinates.

        Raises:
            ArgumentError: The training has other parameters than the snapshots had.
        """
        if {name: tuple(p.shape) for name, p in state.parameters.items()} != dict(self.shapes):
            raise ArgumentError("principal components were fitted on a model with other parameters")
        ends = np.cumsum([p.numel() for p in state.parameters.values()])[:-1]
        split = zip(state.parameters.values(), np.split(self.components, ends, axis=1), strict=True)
        parts = [
            (p, torch.as_tensor(part).to(p.device, torch.float32 if p.dtype in HALF else p.dtype)) for p, part in split
        ]
        offset = self.components.astype(np.float64) @ self.mean.astype(np.float64)

        def measure(_: State) -> list[torch.Tensor]:
            return [part.mv(p.detach().reshape(-1).to(part.dtype)) for p, part in parts]

        def finish(measured: np.ndarray) -> np.ndarray:
            return measured.reshape(len(measured), len(parts), -1).sum(axis=1) - offset

        return Meter(self.names, measure, finish)

    def save(self, path: str | Path) -> None:
        """Write the components to a `.npz` file."""
        shapes = {f"shape:{name}": np.array(shape, dtype=np.int64) for name, shape in self.shapes.items()}
        arrays = {"mean": self.mean, "components": self.components, "variance": self.variance, "share": self.share}
        with Path(path).open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, **shapes)

    @classmethod
    def load(cls, path: str | Path) -> "PrincipalComponents":
        """Read what `save` wrote.

        Raises:
            DataError: No such file, or another kind of file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                shapes = {
                    key.removeprefix("shape:"): tuple(int(n) for n in file[key])
                    for key in file.files
                    if key.startswith("shape:")
                }
                return cls(shapes, file["mean"], file["components"], file["variance"], file["share"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
            raise DataError(f"{path}: no principal components: {error}") from None
