"""Loss curves, one step ahead: log scores over the last 70 % given what came before, on one grid for all.

Forty evenly spaced steps of the last 70 % are read. Grids follow `stretches`: what was known sets them. Beside the
language models: the last value with Gaussian increments of estimated scale, AR(1), local-linear regression on the last
value, and a power law with Gaussian residuals.
"""

import numpy as np
from benchmarks.suite.chains import generator, masses_below
from benchmarks.suite.curves import curve_of
from benchmarks.suite.measures import floored
from benchmarks.suite.one_step import CLASSICAL, Stretch, classical_laws, model_laws, stretches
from scipy.optimize import least_squares
from scipy.special import ndtr

from descentcast import scoring
from descentcast.language_models import LanguageModel

SHARE, READ, REHEARSED = 0.3, 40, 12
# Exponents and relative sizes of the floor that a fit of a power law starts from.
EXPONENTS, FLOORS = (0.2, 0.7, 2.0), (1e-3, 0.5)
LAST, POWER = "last value", "power law"


def loss_scores(family: str, seed: int, model: LanguageModel | None, mend: bool = True) -> dict[str, float]:
    """Return the mean log score (a loss, nats a step, of the log loss) of each estimator on one curve.

    To `mend` a language model's laws too, it is read at every step.
    """
    values = curve_of(family, seed)
    first = int(SHARE * len(values))
    steps = np.unique(np.linspace(first, len(values) - 2, READ).round().astype(int))
    scored = stretches(values, steps)
    if model is None:
        laws = {LAST: [last_value_laws(values, s) for s in scored], POWER: power_law_laws(values, scored)}
        for name in ("AR(1)", "local-linear"):
            laws[name] = [classical_laws(CLASSICAL[name], values[:-1], s) for s in scored]
    else:
        rehearsed = np.unique(np.linspace(first // 3, first - 1, REHEARSED).round().astype(int))
        laws = model_laws(model, values, rehearsed, scored, generator("views", family, seed), mend=mend)
    return {
        name: float(
            np.concatenate(
                [
                    scoring.log_score(floored(law), s.edges, values[s.steps + 1])
                    for law, s in zip(each, scored, strict=True)
                ]
            ).mean()
        )
        for name, each in laws.items()
    }


def last_value_laws(values: np.ndarray, stretch: Stretch) -> np.ndarray:
    """Return Gaussians around the last value, as wide as the increments so far (root mean square)."""
    laws = []
    for t in stretch.steps:
        scale = np.sqrt(np.mean(np.diff(values[: t + 1]) ** 2))
        laws.append(masses_below(ndtr((stretch.edges - values[t]) / scale)))
    return np.stack(laws)


def power_law_laws(values: np.ndarray, scored: list[Stretch]) -> list[np.ndarray]:
    """Return Gaussians around a power law fitted to what was known, `loss = a + b s^-c` at the s-th value."""
    laws, parameters = [], None
    for stretch in scored:
        rows = []
        for t in stretch.steps:
            known = values[: t + 1]
            parameters = fit_power_law(known, parameters)
            residuals = known - power_law(parameters, np.arange(1, t + 2))
            scale = np.sqrt(residuals @ residuals / (t + 1 - 3))
            following = power_law(parameters, np.array([t + 2]))
            rows.append(masses_below(ndtr((stretch.edges - following) / scale)))
        laws.append(np.stack(rows))
    return laws


def power_law(parameters: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return `log(a + b s^-c)` for the parameters (log a, log b, log c)."""
    a, b, c = parameters
    return np.logaddexp(a, b - np.exp(c) * np.log(s))


def fit_power_law(known: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Return the least-squares fit to log losses, from the fit before or, at first, the best of several starts."""
    s = np.arange(1, len(known) + 1)
    starts = [before] if before is not None else []
    if before is None:
        starts += [np.array([known[-1] + np.log(f), known[0], np.log(c)]) for f in FLOORS for c in EXPONENTS]
    low, high = np.array([known.min() - 20, -30.0, -6.0]), np.array([known.max() + 1, known.max() + 20, 3.0])
    fits = [
        least_squares(lambda p: power_law(p, s) - known, np.clip(start, low + 1e-6, high - 1e-6), bounds=(low, high))
        for start in starts
    ]
    return min(fits, key=lambda fit: fit.cost).x
