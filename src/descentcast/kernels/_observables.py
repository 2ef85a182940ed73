"""Which recorded coordinate, in which transform and at which stride, is most nearly Markov and tells most."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from descentcast import _checks
from descentcast._shown import Shown
from descentcast.encoding import Transform, transform
from descentcast.errors import ArgumentError, DataError
from descentcast.kernels._grid import as_trajectories
from descentcast.kernels._local_lines import FIRST, Design, local_lines
from descentcast.trajectories import Trajectories

# Nats a step that a second lag may win before an observable counts as having memory.
TOLERATED = 0.01
LEAST_TRANSITIONS = 40
# A normal-reference bandwidth never falls below this share of the values' deviation, and a tail keeps the law positive.
LEAST_BANDWIDTH, TAIL = 1e-7, 0.02


@dataclass(frozen=True, eq=False, repr=False)
class ObservableChoice(Shown):
    """Observables ranked by how well their own present value forecasts them, those without memory first.

    Attributes:
        table: One row an observable, best first: `coordinate`, `transform`, `stride` (in recorded steps); `gain`: what
            the present value adds to a forecast of the next, over the marginal law, in nats a step; `memory`: what the
            value before it adds to that, `memory_error` its standard error; `log_score`: mean log density of the next
            value in the recorded units (compares transforms of one coordinate at one stride); `steps` scored; `markov`:
            whether `memory` is at most 0.01 nats, give or take two standard errors.
        coordinate: The chosen coordinate.
        transform: The chosen transform.
        stride: The chosen stride.
        left_out: What could not be examined, and why.
    """

    table: pd.DataFrame
    coordinate: str
    transform: Transform
    stride: int
    left_out: tuple[str, ...]

    def summary(self) -> str:
        """Return the choice and its reasons in plain words."""
        best = self.table.iloc[0]
        every = "every recorded value" if self.stride == 1 else f"every {self.stride}th recorded value"
        shape = "" if self.transform.name == "identity" else f", taken as its {self.transform.name}"
        words = (
            f"Take {self.coordinate}{shape}, at {every}: the present value forecasts the next {best['gain']:.2f} nats "
            f"a step better than the marginal law does"
        )
        if best["markov"]:
            words += f", and the value before it adds {max(best['memory'], 0):.3f} nats: next to nothing."
        else:
            words += (
                f". But no observable is without memory: here the value before it adds {best['memory']:.3f} nats a "
                "step, the least of all. Record more of the state, such as the momentum buffer, or take larger strides."
            )
        if best["markov"] and best["gain"] < TOLERATED:
            words += " It tells nearly nothing: successive values are as good as independent."
        return "\n".join([words, *self.left_out])

    def to_dict(self) -> dict[str, Any]:
        """Return choice and table as plain values."""
        return {
            "coordinate": self.coordinate,
            "transform": self.transform.to_dict(),
            "stride": self.stride,
            "table": self.table.to_dict("records"),
            "left_out": list(self.left_out),
            "summary": self.summary(),
        }


def choose_observable(
    runs: Trajectories,
    candidates: Sequence[str | int] | None = None,
    transforms: Sequence[str | Transform] = ("identity", "log", "logit"),
    strides: Sequence[int] = (1, 2, 5, 10),
) -> ObservableChoice:
    """Rank recorded observables by predictability, those that are Markov first.

    Of every coordinate, transform and stride three prequential log scores are taken, each law knowing only what came
    before: of the marginal law f(y), of a local-linear law f(y | x_t), and of f(y | x_t, x_{t-1}). All are in the
    recorded units, by the transform's Jacobian. The predictability is
    `gain = mean log f(x_{t+1} | x_t) - max over transforms of mean log f(x_{t+1})`, an estimate of the mutual
    information of successive values; the memory is `mean log f(x_{t+1} | x_t, x_{t-1}) - mean log f(x_{t+1} | x_t)`.
    The choice is the largest gain among those whose memory is small, or the smallest memory where none is.

    A stride of k keeps every k-th value from the first on, as a recorder with that stride would have. A transform whose
    domain does not hold all values is left out.

    Args:
        runs: The runs.
        candidates: Names or numbers of coordinates; all by default.
        transforms: Names, or transforms of your own ends such as `Log(low=0.3)`.
        strides: In recorded steps.

    Returns:
        The ranking and the choice.

    Raises:
        ArgumentError: A coordinate that is not there, an unknown transform, a stride below 1, an empty list.
        DataError: Nothing that can be examined: fewer than 40 transitions at every stride.

    References:
        Dawid (1984), Statistical theory: the prequential approach, J. R. Stat. Soc. A 147.

    Examples:
        >>> rng, x = np.random.default_rng(0), [5.0]
        >>> for _ in range(200):  # an error that shrinks and grows by factors
        ...     x.append(x[-1] ** 0.9 * np.exp(0.2 * rng.normal()))
        >>> choice = choose_observable(Trajectories.from_arrays([x], names=["error"]), strides=[1, 5])
        >>> choice.coordinate, choice.transform, choice.stride
        ('error', Log(low=0.0), 1)
    """
    runs = as_trajectories(runs)
    indices = [_coordinate(runs, which) for which in (range(len(runs.names)) if candidates is None else candidates)]
    maps = [transform(which) for which in _checks.several("transforms", transforms)]
    gaps = [_checks.integer("strides", stride, low=1) for stride in _checks.several("strides", strides)]
    if not (indices and maps and gaps):
        raise ArgumentError("candidates, transforms and strides must name one each at least")
    rows, left_out = [], []
    for index in indices:
        columns = runs.coordinate(index)
        usable = []
        if np.ptp(np.concatenate(columns)) == 0:
            left_out.append(f"{runs.names[index]}: always {columns[0][0]:g}, which tells nothing.")
            continue
        for which in maps:
            outside = np.concatenate(columns)[~which.holds(np.concatenate(columns))]
            if len(outside):
                low, high = which.domain
                left_out.append(
                    f"{runs.names[index]}: no {which.name}, as values such as {outside[0]:g} are not in ({low:g}, "
                    f"{high:g})."
                )
            else:
                usable.append(which)
        for stride in gaps:
            thinned = [c[::stride] for c in columns]
            steps = sum(max(len(c) - 2, 0) for c in thinned)
            if steps < LEAST_TRANSITIONS:
                left_out.append(f"{runs.names[index]}: no stride of {stride}, which leaves {steps} steps to score.")
                continue
            rows += _with_gain([_row(runs.names[index], which, stride, thinned) for which in usable])
    if not rows:
        raise DataError(f"nothing can be examined: {' '.join(left_out)}")
    # Without memory first, by gain; then the others, by memory.
    rows.sort(key=lambda row: (not row["markov"], -row["gain"] if row["markov"] else row["memory"]))
    best = rows[0]
    return ObservableChoice(
        table=pd.DataFrame([{**row, "transform": row["transform"].name} for row in rows]),
        coordinate=best["coordinate"],
        transform=best["transform"],
        stride=best["stride"],
        left_out=tuple(left_out),
    )


def _row(name: str, which: Transform, stride: int, columns: Sequence[np.ndarray]) -> dict[str, Any]:
    """Score one observable: marginal, one lag, two lags."""
    long = [which.forward(c) for c in columns if len(c) > 2]
    before, present, following = (np.concatenate([c[i : len(c) - 2 + i] for c in long]) for i in range(3))
    jacobian = which.log_jacobian(np.concatenate([c[2:] for c in columns if len(c) > 2]))[FIRST:]
    one, two = local_lines(present, [Design(following), Design(following, present - before)])
    won = (one.losses - two.losses)[FIRST:]
    error = _standard_error(won)
    memory = float(won.mean())
    return {
        "coordinate": name,
        "transform": which,
        "stride": stride,
        "gain": np.nan,
        "memory": memory,
        "memory_error": error,
        "log_score": float((jacobian - one.losses[FIRST:]).mean()),
        "marginal": float((jacobian + _marginal(following)[FIRST:]).mean()),
        "steps": len(won),
        "markov": bool(memory - 2 * error <= TOLERATED),
    }


def _with_gain(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Set the gain of one coordinate at one stride: over the best marginal law that any of the transforms gives."""
    marginals = [row.pop("marginal") for row in rows]
    for row in rows:
        yield {**row, "gain": row["log_score"] - max(marginals)}


def _marginal(values: np.ndarray) -> np.ndarray:
    """Return the log density of each value under a Gaussian kernel estimate from those before it, NaN for the first.

    The bandwidth is `1.06 s N^(-1/5)`; a Cauchy tail of weight 0.02 keeps every density positive.
    """
    N = len(values)
    found = np.full(N, np.nan)
    least = LEAST_BANDWIDTH * (float(values.std()) or 1.0)
    for t in range(FIRST, N):
        known = values[:t]
        low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
        h = max(1.06 * (min(float(known.std()), float(high - low) / 1.349) or float(known.std())) * t**-0.2, least)
        inner = logsumexp(-0.5 * ((values[t] - known) / h) ** 2) - np.log(t * h) - 0.5 * np.log(2 * np.pi)
        wide = max(float(known.std()), least)
        outer = -np.log(np.pi * wide) - np.log1p(((values[t] - middle) / wide) ** 2)
        found[t] = np.logaddexp(np.log1p(-TAIL) + inner, np.log(TAIL) + outer)
    return found


def _standard_error(values: np.ndarray, blocks: int = 10) -> float:
    """Return the standard error of a mean from means of consecutive blocks: successive steps depend on each other."""
    means = np.array([block.mean() for block in np.array_split(values, blocks)])
    return float(means.std(ddof=1) / np.sqrt(blocks))


def _coordinate(runs: Trajectories, which: str | int) -> int:
    if isinstance(which, str):
        return runs.names.index(_checks.one_of("candidates", which, runs.names))
    return _checks.integer("candidates", which, low=0, high=len(runs.names) - 1)
