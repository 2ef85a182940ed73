"""Is it Markov? Recorded runs held against runs of one kernel, with every statistic computed alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import Edges, RandomState
from descentcast.errors import DataError
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._departures import Schedule, chapman_kolmogorov, fitting, halves, memory, schedule
from descentcast.kernels._grid import CELLS_PER_SPREAD, MOST_CELLS, as_trajectories, default_edges, one_step_spread
from descentcast.kernels._interpolation import walk
from descentcast.kernels._local_linear import LocalLinearKernel
from descentcast.trajectories import Trajectories

LEVEL = 0.05
FEWEST_CELLS = 40
# With fewer transitions nothing can be told; with fewer pairs at a lag, nothing of that lag.
LEAST_TRANSITIONS, LEAST_PAIRS = 40, 20
# Shorter runs have no halves and quarters.
LEAST_VALUES = 5
# Nats a step: a forecast that is wrong by 0.14, or 0.32, standard deviations in its mean.
SLIGHT, STRONG = 0.01, 0.05

FORECAST, MEMORY, HALVES, DRIFT, NOISE = "k-step forecast", "memory", "halves", "drift over time", "noise over time"


@dataclass(frozen=True, eq=False, repr=False)
class MarkovTest(Shown):
    """How recorded runs depart from one Markov kernel, if they do.

    Attributes:
        table: One row a question: `question`; `lag` in recorded steps; `statistic` in nats a step; `expected`, its mean
            over runs simulated from a Markov kernel; `effect`, the difference: what the departure costs a forecast;
            `p`, the share of the simulations with a statistic as large; `p_adjusted`, the same for the largest of all
            the rows, so that one false alarm in any row has probability 0.05 at most where p_adjusted <= 0.05 counts;
            `detectable`, the smallest effect that would have counted; `departs`, whether this one does.
        drift_ratio: Strength of the drift at the end of the runs over that at the beginning, given the state.
        noise_ratio: Standard deviation of the noise at the end over that at the beginning, given the state.
        name: The coordinate.
        replicates: How many times the runs were simulated.
        notes: What the numbers rest on, in words.
    """

    table: pd.DataFrame
    drift_ratio: float
    noise_ratio: float
    name: str
    replicates: int
    notes: tuple[str, ...] = ()

    @property
    def markov(self) -> bool:
        """Whether no row departs: not a proof, as few runs show little."""
        return not bool(self.table["departs"].any())

    def summary(self) -> str:
        """Return what was found, how strong it is, and what to do, in plain words."""
        return "\n".join([*_findings(self), *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """Return the test as plain values."""
        return {
            "name": self.name,
            "markov": self.markov,
            "table": [
                {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
                for row in self.table.to_dict("records")
            ],
            "drift_ratio": self.drift_ratio,
            "noise_ratio": self.noise_ratio,
            "replicates": self.replicates,
            "summary": self.summary(),
            "notes": list(self.notes),
        }


def markov_test(
    runs: Trajectories,
    estimator: KernelEstimator | None = None,
    lags: Sequence[int] = (2, 4, 8),
    coordinate: int = 0,
    random_state: RandomState = 0,
    replicates: int = 99,
) -> MarkovTest:
    """Test whether one Markov kernel can have made the runs: k-step forecasts, memory, and a schedule.

    Five statistics, each in nats a step (`_departures` has the formulas): what a kernel learnt at lag k gains over the
    k-th power of the one-step kernel (Chapman-Kolmogorov); what x_{t-1} adds to a prequential forecast from x_t;
    what forecasting one half of the runs by the other costs, against mixed halves; and what a drift, or a noise, that
    changes with time explains of what the state leaves unexplained.

    None is zero by itself, so all are held against what a Markov chain gives: runs of the same starts and lengths are
    simulated from the kernel fitted to the runs (with the residuals' own law of noise, where the estimator has one),
    and everything is computed and refitted on them (a parametric bootstrap). The runs are the evidence: a test on few
    steps finds strong departures only.

    Args:
        runs: The runs.
        estimator: What k-step forecasts are made with; by default `LocalLinearKernel()`. It is fitted
            `(1 + lags) * (1 + replicates)` times: no choice for a language model.
        lags: The k of the k-step forecasts, each at least 2, in recorded steps.
        coordinate: Index of the coordinate.
        random_state: Seed of the simulations.
        replicates: Simulations, at least 19. The smallest p is 1 / (replicates + 1).

    Returns:
        The test. Its cost grows with the square of the number of steps: seconds at a few hundred.

    Raises:
        ArgumentError: A lag below 2, a coordinate that is not there, fewer than 19 replicates.
        DataError: Fewer than 40 transitions in runs of 5 values or more, or values that never change.

    References:
        Anderson, Goodman (1957), Statistical inference about Markov chains, Ann. Math. Stat. 28; Ait-Sahalia, Fan,
        Jiang (2010), Nonparametric tests of the Markov hypothesis in continuous-time models, Ann. Stat. 38; Romano,
        Wolf (2005), Exact and approximate stepdown methods for multiple hypothesis testing, JASA 100.

    Examples:
        >>> rng, x, speed = np.random.default_rng(0), [2.0], 0.0
        >>> for _ in range(150):  # SGD with momentum on x^2 / 2: the position alone is not Markov
        ...     speed = 0.8 * speed - 0.05 * x[-1] + 0.1 * rng.normal()
        ...     x.append(x[-1] + speed)
        >>> test = markov_test(Trajectories.from_arrays([x]), lags=[4], replicates=19)
        >>> test.markov, bool(test.table.set_index("question").loc["memory", "effect"] > 0.1)
        (False, True)
    """
    runs = as_trajectories(runs)
    index = _checks.integer("coordinate", coordinate, low=0, high=len(runs.names) - 1)
    wanted = [_checks.integer("lags", k, low=2) for k in _checks.several("lags", lags)]
    count = _checks.integer("replicates", replicates, low=19)
    rng = _checks.generator(random_state)
    short, runs = len(runs), Trajectories(tuple(run for run in runs if len(run) >= LEAST_VALUES) or runs.runs[:1])
    short -= len(runs)
    columns, times = runs.coordinate(index), [run.steps for run in runs]
    transitions = sum(len(c) - 1 for c in columns)
    if transitions < LEAST_TRANSITIONS:
        raise DataError(
            f"{runs.names[index]}: {transitions} transitions in runs of {LEAST_VALUES} values or more, at least "
            f"{LEAST_TRANSITIONS} are needed"
        )
    if np.ptp(np.concatenate(columns)) == 0:
        raise DataError(f"{runs.names[index]}: always {columns[0][0]:g}: there is nothing to test")
    kept = [k for k in wanted if sum(max(len(c) - k, 0) for c in columns) >= LEAST_PAIRS]

    estimator = LocalLinearKernel() if estimator is None else estimator
    _checks.instance("estimator", estimator, KernelEstimator, "an estimator such as LocalLinearKernel()")
    edges = _grid(runs, index)
    fit = fitting(estimator, edges)

    def departures(values: Sequence[np.ndarray]) -> tuple[list[float], Schedule]:
        kernel = fit(values)
        change = schedule(values, times)
        gaps = [chapman_kolmogorov(fit, kernel, values, k) for k in kept]
        return [*gaps, memory(values), halves(values), change.drift, change.noise], change

    found, change = departures(columns)
    null = fitting(estimator, edges, noise="residual")(columns)
    paths = walk(null, np.array([c[0] for c in columns]), max(len(c) for c in columns) - 1, count, rng)
    simulated = [departures([p[: len(c)] for p, c in zip(path, columns, strict=True)])[0] for path in paths]
    questions = [*((FORECAST, k) for k in kept), (MEMORY, 2), (HALVES, None), (DRIFT, None), (NOISE, None)]
    return MarkovTest(
        table=_table(questions, np.array(found), np.array(simulated)),
        drift_ratio=change.drift_ratio,
        noise_ratio=change.noise_ratio,
        name=runs.names[index],
        replicates=count,
        notes=_notes(runs, [k for k in wanted if k not in kept], short),
    )


def _table(questions: Sequence[tuple[str, int | None]], found: np.ndarray, simulated: np.ndarray) -> pd.DataFrame:
    """Return the table: p-values by rank, adjusted ones by the largest standardised statistic."""
    # By all of them, the one that was found too: ranks are exact only where it is treated as the simulated ones are.
    everything = np.vstack([found, simulated])
    expected, deviation = everything.mean(axis=0), everything.std(axis=0, ddof=1)
    deviation = np.where(deviation > 0, deviation, 1.0)
    largest = ((simulated - expected) / deviation).max(axis=1)
    p = (1 + (simulated >= found).sum(axis=0)) / (len(simulated) + 1)
    adjusted = (1 + (largest[:, None] >= (found - expected) / deviation).sum(axis=0)) / (len(simulated) + 1)
    return pd.DataFrame(
        {
            "question": [question for question, _ in questions],
            "lag": pd.array([lag for _, lag in questions], dtype="Int64").to_numpy(dtype=float, na_value=np.nan),
            "statistic": found,
            "expected": expected,
            "effect": found - expected,
            "p": p,
            "p_adjusted": adjusted,
            "detectable": np.quantile(largest, 1 - LEVEL) * deviation,
            "departs": adjusted <= LEVEL,
        }
    )


def _grid(runs: Trajectories, index: int) -> Edges:
    """Return as few cells as the grid rule allows: a test fits many kernels."""
    edges, _ = default_edges(runs, index)
    needed = CELLS_PER_SPREAD * (edges[-1] - edges[0]) / max(one_step_spread(*runs.transitions(index)), 1e-300)
    return default_edges(runs, index, cells=int(np.clip(np.ceil(needed), FEWEST_CELLS, MOST_CELLS)))[0]


def _notes(runs: Trajectories, left_out: Sequence[int], short: int) -> tuple[str, ...]:
    notes = []
    if short:
        notes.append(f"{short} run(s) of fewer than {LEAST_VALUES} values were left out.")
    if left_out:
        notes.append(f"Lags {', '.join(map(str, left_out))} were left out: fewer than {LEAST_PAIRS} pairs of values.")
    if len({int(gap) for run in runs for gap in np.diff(run.steps)}) > 1:
        notes.append("The runs were not recorded at one stride: that alone makes them depart; resample them first.")
    return tuple(notes)


def _findings(test: MarkovTest) -> list[str]:
    records: list[dict[str, Any]] = test.table.to_dict("records")  # pyright: ignore[reportAssignmentType]
    rows = [row for row in records if row["departs"]]
    if not rows:
        unseen = [row["detectable"] for row in records]
        return [
            f"{test.name}: nothing speaks against one Markov kernel (smallest adjusted p "
            f"{min(row['p_adjusted'] for row in records):.2g}). Departures that cost less than {min(unseen):.2g} to "
            f"{max(unseen):.2g} nats a step, by question, would not have been seen in so few steps."
        ]
    lines = [f"{test.name}: one Markov kernel cannot have made these runs."]
    time = {row["question"]: row for row in rows if row["question"] in (HALVES, DRIFT, NOISE)}
    if time:
        lines.append(_schedule_words(test, time))
    lines += [
        f"Memory: the value before the present one improves the next forecast by {_weight(row)}. Take a larger stride, "
        "or another observable (choose_observable compares them), or record what is missing, such as the momentum "
        "buffer."
        for row in rows
        if row["question"] == MEMORY
    ]
    gaps = [row for row in rows if row["question"] == FORECAST]
    if gaps:
        worst = max(gaps, key=lambda row: row["effect"])
        lines.append(
            f"k-step forecasts: {int(worst['lag'])} steps of the kernel lose to a kernel learnt at that lag by "
            f"{_weight(worst)}. Forecast with a kernel of a larger stride, and read long horizons with care."
        )
    if time and len(lines) > 2:
        lines.append("The schedule can be behind what was found after it: split the runs first, then test again.")
    return lines


def _schedule_words(test: MarkovTest, rows: dict[str, dict[str, Any]]) -> str:
    parts = []
    if NOISE in rows:
        parts.append(f"the noise at the end is {test.noise_ratio:.2g} times that at the beginning")
    if DRIFT in rows:
        parts.append(f"the drift at the end is {test.drift_ratio:.2g} times that at the beginning, or has shifted")
    if HALVES in rows:
        parts.append("the two halves of the runs do not forecast each other")
    worst = max(rows.values(), key=lambda row: row["effect"])
    return (
        f"A schedule: in the same states, {', '.join(parts)}: {_weight(worst)}. Fit the phases apart, or the last one "
        "only; a known change of step or batch size goes into kernel.rescaled."
    )


def _weight(row: dict[str, Any]) -> str:
    effect = row["effect"]
    strength = "slight" if effect < SLIGHT else "moderate" if effect < STRONG else "strong"
    return f"{effect:.3f} nats a step, which is {strength} (adjusted p {row['p_adjusted']:.2g})"
