"""Runs that ended before the horizon: what they end at is foretold, and counts for what is known of it."""

import numpy as np
import pytest

import descentcast as dc
from descentcast.encoding import Identity, Log
from descentcast.errors import ArgumentError
from descentcast.trajectories import Trajectories, Trajectory
from descentcast.trials import outcome_of
from descentcast.trials._unfinished import foretold

STEPS, KNOWN = 100, 60
FINAL = outcome_of("final", "lower")


def curves(floor, seed, runs=2, known=STEPS):
    rng, t = np.random.default_rng(seed), np.arange(STEPS + 1)
    values = floor + np.exp(-t / 15) + 0.01 * rng.standard_normal((runs, STEPS + 1))
    return Trajectories.from_arrays(list(values[:, : known + 1]), names=["loss"])


def trial(**options):
    arms = {"a": curves(0.3, 1, known=KNOWN), "b": curves(0.5, 2, known=KNOWN)}
    return dc.Trial(arms, steps=STEPS, estimator=dc.LocalLinearKernel(), **options)


@pytest.fixture(scope="module")
def result():
    return trial().run(400)


def test_the_end_is_foretold_and_its_uncertainty_counted(result):
    for name, floor in (("a", 0.3), ("b", 0.5)):
        evidence = result.evidence[result.names.index(name)]
        assert all(abs(run.real - floor) < 0.05 for run in evidence)
        assert all(run.unknown > 0 for run in evidence)
        assert not len(result.real[name])  # recorded outcomes there are none
    row = result.effects.iloc[0]
    assert row["low"] < 0.2 < row["high"]
    assert any("ended before step 100: what they end at is foretold" in note for note in result.notes)


def test_kernels_alone_are_what_is_left_without(result):
    alone = trial(unfinished="kernels").run(400)
    assert all(np.isnan(run.real) for runs in alone.evidence for run in runs)
    assert [run.mean for run in alone.evidence[0]] == [run.mean for run in result.evidence[0]]
    with pytest.raises(ArgumentError, match="unfinished == 'guess'"):
        trial(unfinished="guess")


def test_what_was_recorded_is_part_of_the_outcome():
    """The best value of a run that rises from now on is one that it has had: certain, but for what is to come."""
    rising = Trajectory(np.concatenate([[3.0, -5.0], np.linspace(0, 4, 40)]))
    found = foretold(rising, outcome_of("best", "lower"), Identity(), 50, 0)
    assert found.mean == pytest.approx(-5.0, abs=0.2)
    time = foretold(rising, outcome_of("time_to(0)", "lower"), Identity(), 50, 0)
    assert (time.mean, time.variance) == (1.0, 0.0)


def test_a_loss_followed_in_logarithms_stays_positive():
    run = Trajectory(np.log(curves(0.001, 3, runs=1, known=40)[0].values.clip(1e-4)), names=("loss",))
    found = foretold(run, outcome_of(lambda paths: paths.min(axis=1), "lower"), Log(), STEPS, 0)
    assert found.mean > 0


def test_more_of_a_run_leaves_less_unknown():
    short, long = (foretold(curves(0.3, 5, runs=1, known=k)[0], FINAL, Identity(), STEPS, 0) for k in (25, 85))
    assert long.variance < short.variance / 3


def test_runs_whose_rest_cannot_be_told_say_so():
    for run, why in (
        (Trajectory(np.arange(5.0), run="brief"), "brief: 5 rows are too few"),
        (Trajectory(np.arange(9.0), steps=np.arange(9) ** 2, run="odd"), "odd: recorded at an uneven stride"),
    ):
        found = foretold(run, FINAL, Identity(), 20, 0)
        assert np.isnan(found.mean)
        assert why in found.notes[0]
