"""What the real studies compute: forecasts from every set of given runs, and baselines, held against the report runs.

A unit is one study and one set of given runs. Its values are, by method, arrays over the report runs (or over starts,
for landings), so that standard errors over seeds and over sets can both be had; and the processor seconds of the fit
and the forecast.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from benchmarks.suite import studies_data as data
from benchmarks.suite import studies_laws as laws
from benchmarks.suite.studies_laws import Law

import descentcast as dc

MODEL, VIEWS = "descent-small", 4
STACK, MODEL_ALONE, LINEAR, DENSITY = "stack", MODEL, "local-linear kernel", "conditional density"
MEAN, POWER, LAST = "mean of the given runs", "power law", "last value"
CHANGE, CLOCK = "change of the given runs from there", "given runs at equal step size times steps"
LINE = "autoregressive kernel"
ONE_KERNEL, PHASED = "stack, its kernel alone", "local-linear, phased"
EXTEND, EXTEND_ALONE = "extend, with the given runs", "extend, by itself"
REST, RESTS, ALL = "_rest", 5, "_all"
STEP_CELLS, RESAMPLED = 200, 10
STACK_STATED = "stack, with what is not known of it"
PAIR = 2
CURVES = {"digits_mlp": "validation:0", "digits_cnn": "validation:0", "transformer": "val_loss"}
KNOWN_SHARE = 0.3
# Logarithms of losses are censored here: nothing that was trained comes near either.
LOG_LOSSES = (float(np.log(0.01)), float(np.log(100.0)))
LANDINGS: dict[str, tuple[str, list[tuple[float, float]]]] = {
    "minimum": ("a", [(-4.0, 0.0), (0.0, 4.0)]),
    # Half way between the mean petal lengths of the three species.
    "mixture": ("means[0]", [(-1.0, 2.861), (2.861, 4.906), (4.906, 10.0)]),
}
CENSORED = {"minimum": (-4.0, 4.0), "mixture": (-1.0, 10.0)}

Values = dict[str, Any]


def estimator() -> dc.StackedKernel:
    """Return the estimator of every study: the default stack, of the small model and two classical kernels."""
    members = dc.InContextKernel(MODEL, views=VIEWS), dc.LocalLinearKernel(), dc.KernelDensityKernel()
    return dc.StackedKernel([dc.RecalibratedKernel(member) for member in members])


def sets(given: dc.Trajectories, size: int) -> list[dc.Trajectories]:
    """Return the given runs as disjoint sets, in their order."""
    return [given[i : i + size] for i in range(0, len(given), size)]


def remaining(found: list[dc.Trajectories], done: set[int]) -> Iterator[tuple[int, dc.Trajectories]]:
    """Return the sets whose numbers are not among those done, with their numbers."""
    return ((number, runs) for number, runs in enumerate(found) if number not in done)


def fitted(runs: dc.Trajectories, log: bool, edges: Any = None) -> tuple[dict[str, Any], float]:
    """Return kernels by method, and the processor seconds of the fit."""
    began = time.process_time()
    whole = dc.TransformedKernel(estimator(), "log" if log else "identity").fit(runs, edges)
    seconds = time.process_time() - began
    inner: Any = whole.estimator_
    grid = whole.edges_
    found: dict[str, Any] = {STACK: whole}
    for name, member in zip((MODEL_ALONE, LINEAR, DENSITY), inner.members_, strict=True):
        kernel = member.kernel_
        found[name] = dc.TransitionKernel(grid, kernel.matrix, kernel.overflow, name=kernel.name)
    return found, seconds


def forecasts(
    kernels: dict[str, Any],
    starts: np.ndarray,
    steps: int,
    basins: list[tuple[float, float]] | None = None,
    ratio: float | None = None,
) -> tuple[dict[str, dc.Forecast], float]:
    """Return the forecast of each method, at `ratio` times the step size, and the processor seconds of the stack's."""
    found, seconds = {}, 0.0
    for name, kernel in kernels.items():
        began = time.process_time()
        there = kernel if ratio is None else dc.rescale(kernel, step=ratio)
        within = None if basins is None else inside(basins, kernel)
        found[name] = dc.forecast(there, _within(starts, kernel), steps, within)
        if name == STACK:
            seconds = time.process_time() - began
    return found, seconds


def by_method(results: dict[str, dc.Forecast], log: bool) -> dict[str, Law]:
    """Return the laws at the end by method, of the stack also that of its one kernel."""
    found = {name: laws.of_forecast(result, log) for name, result in results.items()}
    return found | {ONE_KERNEL: laws.of_forecast(results[STACK], log, alone=True)}


def scored(by_law: dict[str, Law], observed: np.ndarray, censored: tuple[float, float]) -> Values:
    """Return CRPS and coverage of each method's laws, over the report runs."""
    return {
        name: {
            "crps": law.crps(observed, *censored).round(5).tolist(),
            "covered": law.covered(observed).astype(int).tolist(),
        }
        for name, law in by_law.items()
    }


def logs(runs: dc.Trajectories, column: int = 0) -> list[np.ndarray]:
    """Return the logarithms of a coordinate, run by run."""
    return [np.log(values) for values in runs.coordinate(column)]


def final_values(study: str, done: set[int]) -> Iterator[tuple[int, Values]]:
    """Forecast the final loss of the report runs from their first value, from every two given runs."""
    column = CURVES[study]
    report = data.runs(study, "report", [column])
    starts = np.array([c[0] for c in report.coordinate(0)])
    observed = np.array([c[-1] for c in logs(report)])
    for number, two in remaining(sets(data.runs(study, "given", [column]), PAIR), done):
        steps = len(two[0]) - 1
        kernels, seconds = fitted(two, log=True)
        results, seconds_forecast = forecasts(kernels, starts, steps)
        known = logs(two)
        found = by_method(results, log=True)
        found |= schedule_aware(study, two, starts, steps)
        mean, deviation = laws.power_law_at(known, steps)
        found[MEAN] = laws.mean_of(np.array([k[-1] for k in known]), len(starts))
        found[POWER] = laws.gaussian(np.full(len(starts), mean), np.full(len(starts), deviation))
        found[LAST] = laws.last_value(np.log(starts), known, steps)
        yield (
            number,
            {
                "methods": scored(found, observed, LOG_LOSSES),
                "partial": scored(from_there(study, two, kernels, report), observed, LOG_LOSSES),
                "seconds": seconds + seconds_forecast,
            },
        )


def from_there(study: str, two: dc.Trajectories, kernels: dict[str, Any], report: dc.Trajectories) -> dict[str, Law]:
    """Return laws of the final loss of runs of which the first 30 % are known, beside two whole ones."""
    steps = len(two[0]) - 1
    row = int(KNOWN_SHARE * steps)
    present = np.array([c[row] for c in report.coordinate(0)])
    known = logs(two)
    results, _ = forecasts(kernels, present, steps - row)
    found = by_method(results, log=True)
    found |= schedule_aware(study, two, present, steps - row)
    found[MEAN] = laws.mean_of(np.array([k[-1] for k in known]), len(present))
    changes = np.array([k[-1] - k[row] for k in known])
    change = laws.mean_of(changes, len(present))
    found[CHANGE] = Law(change.masses, change.edges + np.log(present)[:, None])
    own = [k[: row + 1] for k in logs(report)]
    fits = np.array([laws.power_law_at([k], steps) for k in own])
    found[POWER] = laws.gaussian(fits[:, 0], fits[:, 1])
    scale = np.array([np.sqrt(np.mean(np.diff(k) ** 2)) for k in own])
    found[LAST] = laws.gaussian(np.log(present), scale * np.sqrt(steps - row))
    return found


def rests(part: str, done: set[int]) -> Iterator[tuple[int, Values]]:
    """Forecast the rest of report runs known to 30 %: of every fifth of them with the help of one set of given runs."""
    study = part.removesuffix(REST)
    columns = [CURVES[study], "step_size"] if study == "transformer" else [CURVES[study]]
    report, given = (data.runs(study, role, columns) for role in ("report", "given"))
    for number, two in remaining(sets(given, PAIR)[:RESTS], done):
        steps = len(two[0]) - 1
        row = int(KNOWN_SHARE * steps)
        found: Values = {EXTEND: {"crps": [], "covered": []}, EXTEND_ALONE: {"crps": [], "covered": []}}
        began = time.process_time()
        chosen = report[number::RESTS]
        for run in chosen:
            known = replace(run, values=run.values[: row + 1], steps=run.steps[: row + 1])
            for name, others in ((EXTEND, two), (EXTEND_ALONE, None)):
                law = laws.of_forecast(dc.extend(known, steps - row, others), log=True)
                one = scored({name: law}, np.log(run.values[-1:, 0]), LOG_LOSSES)[name]
                for score, values in one.items():
                    found[name][score] += values
        yield number, {"methods": found, "seconds": (time.process_time() - began) / (2 * len(chosen))}


def schedule_aware(study: str, two: dc.Trajectories, starts: np.ndarray, steps: int) -> dict[str, Law]:
    """Return the forecast along the recorded schedule, for the study that has one."""
    if study != "transformer":
        return {}
    whole = data.runs(study, "given", [CURVES[study], "step_size"])
    names = {run.run for run in two}
    chosen = dc.Trajectories(tuple(in_logs(run) for run in whole if run.run in names))
    chain = dc.phased(chosen, ahead=chosen[0].values[-1 - steps : -1, 1]).kernel_
    began = np.clip(np.log(starts), chain.edges[0], np.nextafter(chain.edges[-1], chain.edges[0]))
    return {PHASED: laws.of_forecast(dc.forecast(chain, began, steps), log=False)}


def in_logs(run: dc.Trajectory) -> dc.Trajectory:
    """Return a run with its loss as a logarithm, and step sizes, if recorded, as they are."""
    return replace(run, values=np.column_stack([np.log(run.values[:, 0]), run.values[:, 1:]]))


@dataclass(frozen=True)
class Fitted:
    """What `dc.rescale` takes: a kernel, resampled ones, and their grid."""

    kernel_: Any
    replicates_: tuple[Any, ...]
    edges_: np.ndarray


@dataclass(frozen=True)
class Landed:
    """Where the report runs of a study of landings went: starts (m,), final values and basins (m, runs)."""

    starts: np.ndarray
    finals: np.ndarray
    basins: np.ndarray
    count: int

    def scores(self, landed: dict[str, np.ndarray]) -> Values:
        """Return by method total variation and share in the likeliest basin by start; landings (m, basins + 1)."""
        shares = np.stack([np.bincount(row, minlength=self.count + 1) for row in self.basins]) / self.basins.shape[1]
        return {
            name: {
                "total_variation": (0.5 * np.abs(p - shares).sum(axis=1)).round(5).tolist(),
                "right": [float((row == q[:-1].argmax()).mean()) for row, q in zip(self.basins, p, strict=True)],
                "probability": p.round(4).tolist(),
            }
            for name, p in landed.items()
        }


def landed_runs(study: str) -> Landed:
    """Return where the report runs went."""
    column, basins = LANDINGS[study]
    starts = np.array(data.seeds(study)["report_starts"])
    report = data.runs(study, "report", [column])
    finals = np.stack([[run.values[-1, 0] for run in report if run.arm == f"from {s:g}"] for s in starts])
    return Landed(starts, finals, basin_of(study, finals), len(basins))


def basin_of(study: str, values: np.ndarray) -> np.ndarray:
    """Return the number of the basin that each value is in."""
    basins = LANDINGS[study][1]
    return np.searchsorted([low for low, _ in basins[1:]], values, side="right")


def landings(study: str, done: set[int]) -> Iterator[tuple[int, Values]]:
    """Forecast where the report runs land, from every set of given runs."""
    column, basins = LANDINGS[study]
    real = landed_runs(study)
    starts, finals = real.starts, real.finals
    given = data.runs(study, "given", [column])
    for number, few in remaining(sets(given, len(data.seeds(study)["given_starts"])), done):
        steps = len(few[0]) - 1
        kernels, seconds = fitted(few, log=False, edges=grid(few, starts))
        results, seconds_forecast = forecasts(kernels, starts, steps, basins)
        landed = {name: masses(result, len(basins)) for name, result in results.items()}
        ends = np.array([run.values[-1, 0] for run in few])
        seen = np.bincount(basin_of(study, ends), minlength=len(basins) + 1) / len(few)
        landed[MEAN] = np.tile(seen, (len(starts), 1))
        landed[LAST] = np.eye(len(basins) + 1)[basin_of(study, starts)]
        each = by_method(results, log=False)
        landed[STACK_STATED] = each[STACK].within(basins)
        by_law = {name: law.repeated(*finals.shape) for name, law in each.items()}
        by_law[MEAN] = laws.mean_of(ends, finals.size)
        known = [run.values[:, 0] for run in few]
        by_law[LAST] = laws.last_value(starts, known, steps).repeated(*finals.shape)
        values = {
            "methods": by_start(scored(by_law, finals.ravel(), CENSORED[study]), len(starts)),
            "landing": real.scores(landed),
            "seconds": seconds + seconds_forecast,
        }
        yield number, values


def by_start(scores: Values, count: int) -> Values:
    """Return the means over the runs of each of `count` starts."""
    return {
        name: {score: np.mean(np.reshape(values, (count, -1)), axis=1).tolist() for score, values in each.items()}
        for name, each in scores.items()
    }


def landings_of_all(part: str, done: set[int]) -> Iterator[tuple[int, Values]]:
    """Forecast landings from all given runs at once: what more runs would mend, and what they would not."""
    study = part.removesuffix(ALL)
    column, basins = LANDINGS[study]
    real = landed_runs(study)
    for number, runs in remaining([data.runs(study, "given", [column])], done):
        began = time.process_time()
        kernel = dc.LocalLinearKernel().fit(runs, grid(runs, real.starts)).kernel_
        result = dc.forecast(kernel, real.starts, len(runs[0]) - 1, inside(basins, kernel))
        landed = {f"{LINEAR}, {len(runs)} runs": masses(result, len(basins))}
        yield number, {"landing": real.scores(landed), "seconds": time.process_time() - began}


def grid(runs: dc.Trajectories, starts: np.ndarray) -> np.ndarray:
    """Return the default grid, widened by whole cells until it holds the starts."""
    edges = dc.kernels.default_edges(runs)[0]
    width, low, high = edges[1] - edges[0], edges[0], edges[-1]
    before = max(int(np.ceil((low - starts.min()) / width)) + 1, 0) if starts.min() < low else 0
    after = max(int(np.ceil((starts.max() - high) / width)) + 1, 0) if starts.max() >= high else 0
    return low + width * np.arange(-before, len(edges) + after)


def step_sizes(study: str, done: set[int]) -> Iterator[tuple[int, Values]]:
    """Forecast final values at step sizes that nobody ran, from every two runs at one step size."""
    linear = study == "step_size_linear"
    column, (low, high) = ("error", (-4.0, 4.0)) if linear else ("val_loss", (float(np.log(0.05)), float(np.log(10.0))))
    fixed = data.seeds(study)
    report = [moved(run, linear) for run in data.runs(study, "report", [column])]
    for number, two in remaining(sets(data.runs(study, "given", [column]), PAIR), done):
        two = dc.Trajectories(tuple(moved(run, linear) for run in two))
        known, steps = two.coordinate(0), len(two[0]) - 1
        edges = np.linspace(low, high, STEP_CELLS + 1)
        kernels, seconds = fitted(two, log=False, edges=edges)
        if linear:
            kernels[LINE] = dc.AutoregressiveKernel().fit(two, edges).kernel_
        stack = kernels[STACK]
        # Few resampled kernels: each is carried to eight step sizes.
        kernels[STACK] = Fitted(stack.kernel_, tuple(stack.replicates_[:RESAMPLED]), edges)
        found: Values = {}
        for size in [fixed["given_step"], *fixed["report_steps"]]:
            ratio, there = size / fixed["given_step"], [run for run in report if run.arm == f"step {size:g}"]
            starts = np.array([run.values[0, 0] for run in there])
            finals = np.array([run.values[-1, 0] if run.diverged is None else np.inf for run in there])
            results, seconds_forecast = forecasts(kernels, starts, steps, ratio=ratio)
            seconds += seconds_forecast
            by_law = by_method(results, log=False)
            by_law[MEAN] = laws.mean_of(np.array([k[-1] for k in known]), len(starts))
            at_equal_time = np.array([np.interp(steps * ratio, range(steps + 1), k) for k in known])
            by_law[CLOCK] = laws.mean_of(at_equal_time, len(starts))
            by_law[LAST] = laws.last_value(starts, [ratio * k for k in known], steps)
            if not linear:
                mean, deviation = laws.power_law_at(known, max(round(steps * ratio), 1))
                by_law[POWER] = laws.gaussian(np.full(len(starts), mean), np.full(len(starts), deviation))
            found[f"{size:g}"] = {
                "methods": scored(by_law, finals, (low, high)),
                "diverged": float(worse(finals, starts, linear).mean()),
                "probability": {name: float(beyond(law, starts, linear).mean()) for name, law in by_law.items()},
            }
        yield number, {"steps": found, "seconds": seconds}


def moved(run: dc.Trajectory, linear: bool) -> dc.Trajectory:
    """Return a run in the coordinate that is forecast: the error as it is, a loss as its logarithm."""
    return run if linear else replace(run, values=np.log(run.values))


def worse(finals: np.ndarray, starts: np.ndarray, linear: bool) -> np.ndarray:
    """Return which runs diverged: ended further from the best than they had started, or with a loss no lower."""
    return np.abs(finals) > np.abs(starts) if linear else finals > starts


def beyond(law: Law, starts: np.ndarray, linear: bool) -> np.ndarray:
    """Return the probability that a law gives to that."""
    if not linear:
        return 1 - law.below(starts[:, None])[:, 0]
    size = np.abs(starts)[:, None]
    return 1 - law.below(size)[:, 0] + law.below(-size)[:, 0]


def inside(basins: list[tuple[float, float]], kernel: Any) -> list[tuple[float, float]]:
    """Return the basins as far as the grid of a kernel goes."""
    edges = getattr(kernel, "edges_", None) if not isinstance(kernel, dc.TransitionKernel) else kernel.edges
    low, high = float(edges[0]), float(edges[-1])  # pyright: ignore[reportOptionalSubscript]
    return [(max(a, low), min(b, high)) for a, b in basins]


def masses(result: dc.Forecast, count: int) -> np.ndarray:
    """Return landing probabilities, shape (starts, basins + 1): the last is whatever is in none of them."""
    found = []
    for start in result.starts:
        rows = result.landing[result.landing["start"] == start]
        within = rows.set_index("basin")["probability"].reindex([f"basin {i}" for i in range(count)]).fillna(0.0)
        found.append([*within, max(1 - within.sum(), 0.0)])
    return np.array(found)


def _within(starts: np.ndarray, kernel: Any) -> np.ndarray:
    """Return starts, moved onto the grid where they are a little beyond it."""
    edges = kernel.edges if isinstance(kernel, dc.TransitionKernel) else kernel.edges_
    return np.clip(starts, edges[0], np.nextafter(edges[-1], edges[0]))


PARTS: dict[str, Callable[[str, set[int]], Iterator[tuple[int, Values]]]] = {
    "digits_mlp": final_values,
    "digits_cnn": final_values,
    "transformer": final_values,
    **{f"{study}{REST}": rests for study in CURVES},
    "minimum": landings,
    "mixture": landings,
    **{f"{study}{ALL}": landings_of_all for study in LANDINGS},
    "step_size_linear": step_sizes,
    "step_size": step_sizes,
}
