"""Fit the prior of the variance between runs on development families, as `CALIBRATED` was.

    PYTHONPATH=. python benchmarks/suite/trials_fit.py [--trials 6] [--evaluations 300]

Trials of 1, 2 and 4 runs an arm are put together at random from the stored development runs and the trainings on
breast_cancer, so many of each family, effect and number of runs. What is maximised, by Powell's method, is the mean
over families of the log marginal likelihood of the squares between the runs of the arms and of the error of the effect,
in units of the spread of outcomes; the bias is fixed. Ten minutes of one core; the numbers in the package were rounded.
The arm of walls_loss at the largest step size, which is hardly stable, is left out.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from benchmarks.suite import trials_training as training
from benchmarks.suite.store import Store
from benchmarks.suite.trials_families import DESIGN
from benchmarks.suite.trials_units import Said, said
from scipy import optimize
from scipy.special import softmax

from descentcast.trials import CALIBRATED, VariancePrior
from descentcast.trials._contrasts import ArmMean, arm_means, between_runs, law_of

RESULTS = Path(__file__).parents[1] / "results" / "trials"
UNSTABLE = ("walls_loss", "large")
# Log dof and log scale of the first component; how fast the weights of runs that differ for good fall, and around which
# component those of runs that settle lie; the log odds that a second run settles where the first did; the log odds of
# either kind, and how they grow with the share of the starts that runs come back to and that they passed.
START = (3.0, -0.3, 0.3, 0.0, 0.3, -0.5, 0.5, -2.0, -4.0, -1.0, -2.0)


@dataclass(frozen=True)
class Made:
    """One trial of the development part: what its arms say, and how wrong its effect is, in standard deviations."""

    family: str
    means: list[ArmMean]
    error: float
    sd: float


def prior_of(t: np.ndarray) -> VariancePrior:
    """Return the prior of parameters, with the components and the bias of the calibrated one."""
    odds = np.exp([0.0, t[5], t[6]])
    offset, settled = softmax(-t[2] * np.arange(8)), softmax(-0.5 * ((np.arange(7) - 4 - t[3]) / 1.5) ** 2)
    weights = np.concatenate([odds[:1], odds[1] * offset, odds[2] * settled]) / odds.sum()
    return replace(
        CALIBRATED,
        weights=tuple((weights / weights.sum()).tolist()),
        recurrence=(0.0, *[t[7]] * 8, *[t[8]] * 7),
        passage=(0.0, *[t[9]] * 8, *[t[10]] * 7),
        dof=(float(np.exp(t[0])), *CALIBRATED.dof[1:]),
        scales=(float(np.exp(t[1])), *CALIBRATED.scales[1:]),
        together=(*[0.0] * 9, *[float(1 / (1 + np.exp(-t[4])))] * 7),
    )


def pools(store: Store) -> Iterator[tuple[str, dict[str, list[Said]], dict[str, tuple[float, float]]]]:
    """Yield each family: what the runs of each arm say, and the true mean and spread of each."""
    truth = {r["family"]: r["values"] for r in store.records("development-truth")}
    found: dict[str, dict[str, list[Said]]] = {}
    for record in store.records("development"):
        family, effect = record["family"].split("/")
        own = found.setdefault(family, {"base": [], "small": [], "large": []})
        own["base"] += said(record["values"]["A"])
        own["base" if effect == "null" else effect] += said(record["values"]["B"])
    for family, arms in found.items():
        kept = {arm: runs for arm, runs in arms.items() if (family, arm) != UNSTABLE}
        true = {arm: truth[f"{family}/{arm}"] for arm in kept}
        yield family, kept, {arm: (t["mean"], t["sd"]) for arm, t in true.items()}
    ends = {arm: runs[:, -1] for arm, runs in training.arms("breast_cancer").items()}
    records = store.records("breast_cancer")
    real = {arm: said(runs) for record in records for arm, runs in record["values"].items()}
    yield "breast_cancer", real, {arm: (float(e.mean()), float(e.std(ddof=1))) for arm, e in ends.items()}


def trials(store: Store, number: int, rng: np.random.Generator) -> list[Made]:
    """Return trials of every family, effect and number of runs an arm, the runs drawn at random."""
    found = []
    for family, arms, truth in pools(store):
        for n in DESIGN["design"]["runs"]:
            for other in ("base", *(arm for arm in arms if arm != "base")):
                for _ in range(number):
                    first = rng.permutation(len(arms["base"]))
                    second = first[n:] if other == "base" else rng.permutation(len(arms[other]))
                    pair = [[arms["base"][i] for i in first[:n]], [arms[other][i] for i in second[:n]]]
                    means = [mean for mean in arm_means(pair, CALIBRATED) if mean is not None]
                    error = means[1].mean - means[0].mean - (truth[other][0] - truth["base"][0])
                    found.append(Made(family, means, error, float(np.hypot(truth["base"][1], truth[other][1]))))
    return found


def log_likelihood(made: list[Made], prior: VariancePrior) -> float:
    """Return the mean over families of the mean log likelihood of their trials, in nats."""
    by_family: dict[str, list[float]] = {}
    for trial in made:
        posterior = between_runs(trial.means, prior)
        law = law_of(trial.means, prior, posterior, [1, 0])
        density = float(law.weights @ (np.exp(-0.5 * (trial.error / law.sd) ** 2) / law.sd))
        nats = posterior.evidence + np.log(max(density * trial.sd, 1e-300))
        by_family.setdefault(trial.family, []).append(nats)
    return float(np.mean([np.mean(values) for values in by_family.values()]))


def main() -> None:
    """Fit, and print the parameters beside what the calibrated prior reaches."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--evaluations", type=int, default=300)
    arguments = parser.parse_args()
    made = trials(Store(RESULTS), arguments.trials, np.random.default_rng(0))
    print(f"{len(made)} trials: calibrated {log_likelihood(made, CALIBRATED):.4f}, start", end=" ")
    print(f"{log_likelihood(made, prior_of(np.array(START))):.4f}")
    if arguments.evaluations:
        found = optimize.minimize(
            lambda t: 0.0005 * float(np.square(t[2:]).sum()) - log_likelihood(made, prior_of(t)),
            np.array(START),
            method="Powell",
            options={"maxfev": arguments.evaluations, "ftol": 1e-3},
        )
        print(f"fitted {-found.fun:.4f}: {np.round(found.x, 2).tolist()}")


if __name__ == "__main__":
    main()
