"""The suite as values: its problems, contexts and rules of judging, read from `suite.toml` beside this file."""

import hashlib
import tomllib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np

from descentcast import problems
from descentcast._shown import Shown
from descentcast.benchmark._noises import LogLoss, NoisyDescent
from descentcast.problems import Problem
from descentcast.trajectories import Trajectories

# Points between two minima at which the maximum of the loss is looked for.
RESOLUTION = 10_001
PARAMETER = {"student": "freedom", "skewed": "shape", "proportional": "relative"}


@dataclass(frozen=True, eq=False, repr=False)
class BenchmarkProblem(Shown):
    """A problem of the suite.

    Attributes:
        name: What tables call it.
        problem: The problem.
        starts: The interval that runs start in, shape (D, 2).
        edges: The grid, one array of shape (n + 1,) a coordinate.
        cuts: What parts the places where runs land, one increasing array a coordinate.
        basins: Whether these places are the basins of several minima.
    """

    name: str
    problem: Problem
    starts: np.ndarray
    edges: tuple[np.ndarray, ...]
    cuts: tuple[np.ndarray, ...]
    basins: bool

    def record(self, runs: int, values: int, seed: int) -> Trajectories:
        """Return recorded runs that stay on the grid.

        Starts are one in each equal part of the first coordinate's interval, and uniform in the others'.
        """
        rng = self.generator(f"{runs} runs of {values} values", seed)
        low, high = self.starts.T
        while True:
            share = rng.random((runs, len(low)))
            share[:, 0] = (np.arange(runs) + share[:, 0]) / runs
            paths = self.problem.paths(low + (high - low) * share, values - 1, rng)
            if self.inside(paths).all():
                return Trajectories.from_arrays(list(paths), self.problem.coordinates, self.problem.setting)

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Return which points, shape (..., D), lie on the grid."""
        ends = np.array([[e[0], e[-1]] for e in self.edges])
        return np.asarray(((points >= ends[:, 0]) & (points <= ends[:, 1])).all(axis=-1))

    def unseen(self, count: int) -> np.ndarray:
        """Return the starts of landings, shape (m, D): the centres of `count` equal parts of the interval.

        With two coordinates a lattice of about as many.
        """
        each = count if len(self.starts) == 1 else max(2, round(count ** (1 / len(self.starts))))
        axes = [low + (high - low) * (np.arange(each) + 0.5) / each for low, high in self.starts]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))

    def generator(self, purpose: str, seed: int) -> np.random.Generator:
        """Return the generator of one purpose and seed: the same for every estimator."""
        return np.random.default_rng([zlib.crc32(self.name.encode()), zlib.crc32(purpose.encode()), seed])


@dataclass(frozen=True)
class Suite:
    """The problems, contexts and rules of a benchmark.

    Attributes:
        problems: The reporting problems, in the order of the file.
        contexts: Length in values -> (runs, values of each).
        judging: Cells, horizon, starts, simulated, pairs, lags, level, certain: as `suite.toml` says.
        digest: What tells this version of the suite from others.
    """

    problems: tuple[BenchmarkProblem, ...]
    contexts: dict[int, tuple[int, int]]
    judging: dict[str, Any]
    digest: str


@cache
def load_suite() -> Suite:
    """Return the suite that comes with the package.

    Examples:
        >>> suite = load_suite()
        >>> len(suite.problems), list(suite.contexts)
        (13, [30, 100, 300])
    """
    text = files("descentcast.benchmark").joinpath("suite.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    judging = table["judging"]
    return Suite(
        problems=tuple(_problem(name, entry, judging["cells"]) for name, entry in table["report"].items()),
        contexts={int(length): (c["runs"], c["values"]) for length, c in table["contexts"].items()},
        judging=judging,
        # Development does not enter figures, so that it may grow without making results of another suite.
        digest=hashlib.sha256(
            repr([table[k] for k in ("version", "contexts", "judging", "report")]).encode()
        ).hexdigest()[:12],
    )


def _problem(name: str, entry: dict[str, Any], cells: int) -> BenchmarkProblem:
    problem: Any = getattr(problems, entry["class"])(**entry["parameters"])
    if "noise" in entry:
        kind = entry["noise"]["name"]
        problem = NoisyDescent(problem, kind, entry["noise"][PARAMETER[kind]])
    if entry.get("observed") == "log_loss":
        problem = LogLoss(problem)
    cuts = entry.get("cuts")
    return BenchmarkProblem(
        name=name,
        problem=problem,
        starts=np.atleast_2d(np.array(entry["starts"])),
        edges=tuple(np.linspace(low, high, cells + 1) for low, high in np.atleast_2d(entry["grid"])),
        cuts=tuple(map(np.array, cuts if isinstance(cuts[0], list) else [cuts])) if cuts else (_maxima(problem),),
        basins=entry.get("basins", cuts is None),
    )


def _maxima(problem: Problem) -> np.ndarray:
    """Return the maxima of the loss between the minima of a problem of one coordinate."""
    grids = [np.linspace(a, b, RESOLUTION) for a, b in pairwise(problem.minima)]
    return np.array([grid[np.argmax(problem.loss(grid))] for grid in grids])


def chosen(suite: Suite, names: Sequence[str] | None) -> list[BenchmarkProblem]:
    """Return the problems of these names, all where None, in the order of the suite."""
    return [p for p in suite.problems if names is None or p.name in names]
