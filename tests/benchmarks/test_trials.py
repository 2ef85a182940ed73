"""The benchmark of trials: what is kept of a recorded run is all that a trial needs of it."""

import json

import numpy as np
import pytest
from benchmarks.suite.store import Store, rounded
from benchmarks.suite.trials_units import LEVEL, evidence, said, virtual
from benchmarks.trials import RESULTS, entries

import descentcast as dc
from descentcast.trials import CALIBRATED, compare


def runs(centre: float, start: float, seed: int) -> list[np.ndarray]:
    problem = dc.problems.Quadratic(step_size=0.2, minimum=centre)
    return [run.values[:, 0] for run in problem.simulate([start, start + 0.3], 60, random_state=seed)]


@pytest.mark.parametrize("starts", [None, np.array([-0.5, 0.5])])
def test_what_is_kept_of_runs_says_what_they_said(starts):
    arms = {"A": runs(0.0, 0.2, 1), "B": runs(0.7, 0.2, 2)}
    kept = json.loads(json.dumps(rounded(evidence(arms, "final", 60, starts, 0))))
    trial = dc.Trial(
        {name: dc.Trajectories.from_arrays(values) for name, values in arms.items()}, "final", "lower",
        starts=starts, steps=60, estimator=dc.LocalLinearKernel(),
    )  # fmt: skip
    a, b = trial.run(replicates=2000, random_state=0).evidence
    whole = compare(b, a, CALIBRATED, LEVEL)
    found = virtual(said(kept["A"]), said(kept["B"]))
    expected = (whole.effect, whole.halfwidth, whole.p_value, whole.equivalent_runs)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_recorded_results_can_be_judged():
    record = Store(RESULTS).records("reporting")[0]
    a, b = (said(record["values"][arm]) for arm in "AB")
    judged = entries(a, b, np.zeros(8), len(a), (1.0, 0.0))
    assert [entry["method"] for entry in judged] == ["virtual trial", "Welch", "pooled prior"]
    assert all(np.isfinite(entry["half"]) and entry["half"] > 0 for entry in judged)
