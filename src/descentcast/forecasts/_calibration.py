"""Are forecasts of held-out steps as sure as they say? Coverage and transforms, with a verdict in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import RandomState
from descentcast.errors import ArgumentError, DataError
from descentcast.kernels import KernelEstimator, TransitionKernel, default_edges, rows_at
from descentcast.scoring import RecalibrationMap, pit
from descentcast.scoring import calibration as coverage_table
from descentcast.trajectories import Trajectories, Trajectory

# Runs are left out one at a time up to so many; more are left out in so many groups.
MOST_FOLDS = 10
# A single run: the kernel of a beginning, half of the run at least, is held against the block that comes next.
FORWARD_BLOCKS = 5
# With fewer runs than this, blocks within runs are the units of replication.
LEAST_RUNS = 5
BLOCKS = 10
# A map is learnt from so many whole runs at least.
RUNS_FOR_A_MAP = 8
BINS = 10


@dataclass(frozen=True, eq=False, repr=False)
class Calibration(Shown):
    """Coverage of forecasts on steps that the kernels had not seen.

    Attributes:
        table: One row a coordinate, lag and level: `coordinate`, `lag`, `level` (nominal), `coverage`,
            `standard_error` over `units`, `width` of the intervals, `steps`, `units` (runs, or blocks of them), `p` of
            the difference.
        histogram: One row a coordinate and lag: the share of the randomised transforms in each tenth of [0, 1]; each is
            0.1 where forecasts are calibrated.
        verdicts: One row a coordinate and lag: `coordinate`, `lag`, `verdict` ("calibrated", "too narrow", "too wide",
            "off centre", "too little to tell"), `words`.
        transforms: The randomised transforms of each (coordinate, lag), shape (N,).
        runs: How many runs there were.
        notes: What was left out and on what the numbers rest.
    """

    table: pd.DataFrame
    histogram: pd.DataFrame
    verdicts: pd.DataFrame
    transforms: dict[tuple[str, int], np.ndarray]
    runs: int
    notes: tuple[str, ...]

    def summary(self) -> str:
        """Return the verdicts and notes in plain words."""
        return "\n".join([*self.verdicts["words"], *self.notes])

    def recalibration(self, lag: int = 1, coordinate: str | None = None) -> RecalibrationMap:
        """Return the map that makes forecasts at a lag calibrated, learnt from all held-out runs.

        Raises:
            ArgumentError: A lag or a coordinate that was not examined.
            DataError: Fewer than 8 runs: the steps of a few runs depend on each other too much to learn a map from.
        """
        names = tuple(dict.fromkeys(name for name, _ in self.transforms))
        name = _checks.one_of("coordinate", names[0] if coordinate is None else coordinate, names)
        _checks.one_of("lag", lag, tuple(k for n, k in self.transforms if n == name))
        if self.runs < RUNS_FOR_A_MAP:
            raise DataError(f"{self.runs} run(s), at least {RUNS_FOR_A_MAP} whole runs are needed to learn a map")
        return RecalibrationMap.fit(self.transforms[name, lag])

    def to_dict(self) -> dict[str, Any]:
        """Return the tables as plain values."""
        return {
            "table": _records(self.table),
            "histogram": _records(self.histogram),
            "verdicts": _records(self.verdicts),
            "runs": self.runs,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class _Piece:
    """Values that a kernel of other values is held against."""

    kernels: tuple[TransitionKernel, ...]
    run: int
    first: int
    values: np.ndarray


def calibration(
    estimator: KernelEstimator,
    runs: Trajectories,
    lags: Sequence[int] = (1, 10),
    levels: Sequence[float] = (0.5, 0.8, 0.9),
    random_state: RandomState = 0,
) -> Calibration:
    """Measure how often held-out values fall where forecasts of 1, 10, ... steps say they do.

    Each run is forecast by the kernel fitted to all the other runs (from 11 runs on, by that of the other nine tenths);
    a single run by the kernels of its beginnings, one block ahead at a time through its second half. From every value
    x_t the law of x_{t+k} is `P^k` at x_t, its first step interpolated between rows. Reported are the share of values
    within the central intervals of each level, and the randomised transforms F(x_{t+k}), uniform where all is right.

    Steps of a run depend on each other, so standard errors are over runs; over blocks of them, at least twice the lag
    long, where there are fewer than five runs. They hold no difference between runs that are not there.

    Args:
        estimator: Anything with `fit` and `kernel_`; it is not changed, copies are fitted.
        runs: The runs.
        lags: Horizons in recorded steps, each at least 1. One that no run reaches twice is left out, with a note.
        levels: Nominal coverages, each in (0, 1).
        random_state: Seed of the randomised transforms.

    Returns:
        The coverages, transforms and verdicts.

    Raises:
        ArgumentError: A lag below 1, a level outside (0, 1), an argument of another type.
        DataError: A single run of fewer than 40 values, or no lag that can be examined.

    References:
        Gneiting, Balabdaoui, Raftery (2007), Probabilistic forecasts, calibration and sharpness, J. R. Stat. Soc. B 69;
        Czado, Gneiting, Held (2009), Predictive model assessment for count data, Biometrics 65.

    Examples:
        >>> import descentcast as dc
        >>> rng = np.random.default_rng(0)
        >>> x = np.zeros((8, 60))
        >>> for t in range(59):
        ...     x[:, t + 1] = 0.8 * x[:, t] + rng.normal(size=8)
        >>> found = calibration(dc.AutoregressiveKernel(), Trajectories.from_arrays(x), lags=[1])
        >>> found.verdicts["verdict"].tolist()
        ['calibrated']
    """
    if not isinstance(estimator, KernelEstimator):
        raise ArgumentError(
            f"estimator is a {type(estimator).__name__}, must be an estimator such as LocalLinearKernel"
        )
    if not isinstance(runs, Trajectories):
        raise ArgumentError(f"runs is a {type(runs).__name__}, must be Trajectories")
    wanted = [_checks.integer("lags", k, low=1) for k in _checks.several("lags", lags)]
    shares = [
        _checks.real("levels", level, low=0, high=1, open_low=True) for level in _checks.several("levels", levels)
    ]
    if not wanted or not shares or max(shares) == 1:
        raise ArgumentError(f"lags == {list(lags)!r}, levels == {list(levels)!r}: one of each at least, levels below 1")
    rng = _checks.generator(random_state)
    pieces = _held_out(estimator, runs)
    kept = [k for k in wanted if sum(max(len(p.values) - k, 0) for p in pieces) >= 2 * BLOCKS]
    if not kept:
        raise DataError(f"no lag of {wanted} fits into the held-out steps: record longer runs, or take shorter lags")
    rows, histogram, verdicts, transforms = [], [], [], {}
    for index, name in enumerate(runs.names):
        for lag in kept:
            probs, observed, labels, edges = _forecasts(pieces, index, lag, len(runs))
            table = coverage_table(probs, edges, observed, shares, labels)
            table.insert(0, "lag", lag)
            table.insert(0, "coordinate", name)
            table = table.rename(columns={"runs": "units"}).assign(p=[_p(row) for row in table.to_dict("records")])
            rows.append(table)
            drawn = transforms[name, lag] = pit(probs, edges, observed, rng)
            counts = np.histogram(drawn, bins=BINS, range=(0, 1))[0] / len(drawn)
            histogram.append({"coordinate": name, "lag": lag, **{f"{i / BINS:.1f}": c for i, c in enumerate(counts)}})
            verdicts.append({"coordinate": name, "lag": lag, **_verdict(name, lag, table, drawn, labels)})
    return Calibration(
        table=pd.concat(rows, ignore_index=True),
        histogram=pd.DataFrame(histogram),
        verdicts=pd.DataFrame(verdicts),
        transforms=transforms,
        runs=len(runs),
        notes=_notes(runs, [k for k in wanted if k not in kept]),
    )


def _held_out(estimator: KernelEstimator, runs: Trajectories) -> list[_Piece]:
    """Return every held-out stretch with the kernels, one a coordinate, of what it was held out from."""
    # Only the grid, on which laws are told apart, comes from all the values.
    edges = [default_edges(runs, i)[0] for i in range(len(runs.names))]

    def kernels(known: list[Trajectory]) -> tuple[TransitionKernel, ...]:
        fresh = type(estimator)(**estimator.get_params(deep=False))
        found = fresh.fit(Trajectories(tuple(known)), edges[0] if len(edges) == 1 else edges).kernel_
        found = (found,) if isinstance(found, TransitionKernel) else found
        if not isinstance(found, tuple):
            raise ArgumentError(f"estimator makes a {type(found).__name__}, must make kernels of one coordinate each")
        return found

    if len(runs) == 1:
        (run,) = runs
        T = len(run)
        if T < 4 * BLOCKS:
            raise DataError(f"{run.run}: {T} values of a single run, at least {4 * BLOCKS} are needed, or more runs")
        cuts = np.linspace(T // 2, T, FORWARD_BLOCKS + 1).astype(int)
        beginnings = [Trajectory(run.values[:cut], names=run.names, steps=run.steps[:cut]) for cut in cuts[:-1]]
        # The last value known is the first that is forecast from.
        return [
            _Piece(kernels([beginning]), 0, start - 1, run.values[start - 1 : end])
            for beginning, start, end in zip(beginnings, cuts[:-1], cuts[1:], strict=True)
        ]
    folds = np.array_split(np.arange(len(runs)), min(len(runs), MOST_FOLDS))
    fitted = [kernels([run for i, run in enumerate(runs) if i not in fold]) for fold in folds]
    return [_Piece(found, i, 0, runs[i].values) for fold, found in zip(folds, fitted, strict=True) for i in fold]


def _forecasts(
    pieces: Sequence[_Piece], index: int, lag: int, runs: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the laws k steps ahead, what came, the unit of replication of each, and the edges."""
    size = max(2 * lag, -(-sum(len(p.values) for p in pieces) // BLOCKS))
    probs, observed, labels = [], [], []
    powers: dict[int, TransitionKernel] = {}
    for piece in pieces:
        values = piece.values[:, index]
        if len(values) <= lag:
            continue
        kernel = piece.kernels[index]
        power = powers.setdefault(id(kernel), kernel if lag == 1 else kernel.power(lag))
        probs.append(rows_at(power, values[:-lag]))
        observed.append(values[lag:])
        block = (piece.first + np.arange(len(values) - lag)) // size if runs < LEAST_RUNS else np.zeros(1, dtype=int)
        labels.append(np.broadcast_to(1_000_000 * piece.run + block, len(values) - lag))
    return np.concatenate(probs), np.concatenate(observed), np.concatenate(labels), pieces[0].kernels[index].edges


def _p(row: dict[str, Any]) -> float:
    """Return the p-value of coverage = level, by Student's law over units; no error below that of independent steps."""
    floor = np.sqrt(row["level"] * (1 - row["level"]) / row["steps"])
    error = max(row["standard_error"], floor)
    units = int(row["runs"])
    return float(2 * stats.t.sf(abs(row["coverage"] - row["level"]) / error, units - 1)) if units > 1 else float("nan")


def _verdict(name: str, lag: int, table: pd.DataFrame, drawn: np.ndarray, labels: np.ndarray) -> dict[str, str]:
    """Return a verdict at 5 % over all levels and the mean of the transforms (Bonferroni), and say it in words."""
    steps = f"{lag} step" + ("s" if lag > 1 else "")
    records: list[dict[str, Any]] = table.to_dict("records")  # pyright: ignore[reportAssignmentType]
    widest = max(records, key=lambda row: row["level"])
    said = (
        f"{name}, {steps} ahead: intervals of {widest['level']:.0%} hold {widest['coverage']:.0%} "
        f"± {widest['standard_error']:.0%} of the held-out values"
    )
    _, unit = np.unique(labels, return_inverse=True)
    means = np.bincount(unit, drawn) / np.bincount(unit)
    units = len(means)
    if units < 3:
        return {"verdict": "too little to tell", "words": f"{said}; too few runs or blocks to tell."}
    level = 0.05 / (len(records) + 1)
    wrong = [row for row in records if row["p"] < level]
    if wrong:
        worst = min(wrong, key=lambda row: row["p"])
        narrow = worst["coverage"] < worst["level"]
        advice = "they are too sure: widen or recalibrate them" if narrow else "they claim less than they know"
        return {"verdict": "too narrow" if narrow else "too wide", "words": f"{said}: {advice}."}
    weights = np.bincount(unit) / len(unit)
    error = np.sqrt(units / (units - 1) * (weights**2 * (means - drawn.mean()) ** 2).sum())
    error = max(float(error), float(np.sqrt(1 / 12 / len(drawn))))
    if 2 * stats.t.sf(abs(drawn.mean() - 0.5) / error, units - 1) < level:
        side = "low" if drawn.mean() > 0.5 else "high"
        return {"verdict": "off centre", "words": f"{said}, but forecasts are too {side} on the whole."}
    return {"verdict": "calibrated", "words": f"{said}: no sign that they are wrong."}


def _notes(runs: Trajectories, left_out: Sequence[int]) -> tuple[str, ...]:
    notes = []
    if len(runs) == 1:
        notes.append("A single run: beginnings of it forecast what follows, and errors are over blocks of steps.")
    elif len(runs) < LEAST_RUNS:
        notes.append(f"{len(runs)} runs: errors are over blocks of steps within them, not over runs.")
    if left_out:
        notes.append(f"Lags {', '.join(map(str, left_out))} were left out: the held-out stretches are too short.")
    return tuple(notes)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(k): None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
        for row in table.to_dict("records")
    ]
