"""Calibration: nominal coverage with the true kernel, wrong kernels told and mended, one run and several."""

import json

import numpy as np
import pytest
from scipy import stats

from descentcast.errors import ArgumentError, DataError
from descentcast.forecasts import calibration
from descentcast.kernels import AutoregressiveKernel, KernelEstimator, TransitionKernel, rows_at
from descentcast.scoring import coverage
from descentcast.trajectories import Trajectories

SLOPE, SD = 0.8, 0.1


class Known(KernelEstimator):
    """The kernel of the chain below, or that with its variance multiplied, or its mean shifted; nothing is learnt."""

    def __init__(self, variance: float = 1.0, shift: float = 0.0) -> None:
        self.variance = variance
        self.shift = shift

    def _fit_coordinate(self, index, columns, edges):
        centres = (edges[:-1] + edges[1:]) / 2
        z = (edges - SLOPE * centres[:, None] - self.shift) / (SD * np.sqrt(self.variance))
        below = stats.norm.cdf(z)
        overflow = np.column_stack([below[:, 0], 1 - below[:, -1]])
        return TransitionKernel(edges, np.diff(below, axis=1), overflow)


def chains(runs, steps, seed, coordinates=1):
    rng = np.random.default_rng(seed)
    x = np.zeros((runs, steps + 1, coordinates))
    x[:, 0] = SD / np.sqrt(1 - SLOPE**2) * rng.normal(size=(runs, coordinates))
    for t in range(steps):
        x[:, t + 1] = SLOPE * x[:, t] + SD * rng.normal(size=(runs, coordinates))
    return Trajectories.from_arrays(list(x))


def test_the_true_kernel_covers_what_it_says_at_every_lag():
    found = calibration(Known(), chains(10, 150, 0), lags=[1, 10])
    assert found.verdicts["verdict"].tolist() == ["calibrated"] * 2
    for row in found.table.itertuples():
        assert row.coverage == pytest.approx(row.level, abs=0.05)
        assert row.coverage == pytest.approx(row.level, abs=3.5 * row.standard_error)
        assert row.units == 10
    shares = found.histogram.drop(columns=["coordinate", "lag"]).to_numpy()
    assert shares == pytest.approx(np.full((2, 10), 0.1), abs=0.05)
    # The intervals of ten steps are those of the law of ten steps.
    spread = SD * np.sqrt((1 - SLOPE ** (2 * np.array([1, 10]))) / (1 - SLOPE**2))
    widths = found.table[found.table["level"] == 0.8]["width"]
    assert widths.to_numpy() == pytest.approx(2 * stats.norm.ppf(0.9) * spread, rel=0.05)


def test_half_the_variance_is_told_and_the_map_restores_coverage():
    wrong = calibration(Known(variance=0.5), chains(10, 150, 1), lags=[1])
    assert wrong.verdicts["verdict"].tolist() == ["too narrow"]
    assert "recalibrate" in wrong.summary()
    table = wrong.table.set_index("level")
    # A central interval of half the variance reaches to sqrt(1/2) of where it should.
    for level in (0.5, 0.8, 0.9):
        truth = 2 * stats.norm.cdf(stats.norm.ppf((1 + level) / 2) * np.sqrt(0.5)) - 1
        assert table.loc[level, "coverage"] == pytest.approx(truth, abs=0.04)
    fresh = chains(10, 150, 2)
    kernel = Known(variance=0.5).fit(fresh).kernel_
    present, following = fresh.transitions(0)
    mended = wrong.recalibration(lag=1).apply(rows_at(kernel, present))
    for level in (0.5, 0.8, 0.9):
        assert coverage(mended, kernel.edges, following, level) == pytest.approx(level, abs=0.04)


@pytest.mark.parametrize(("options", "verdict"), [({"variance": 2.0}, "too wide"), ({"shift": 0.04}, "off centre")])
def test_other_errors_are_named(options, verdict):
    found = calibration(Known(**options), chains(8, 120, 3), lags=[1], levels=[0.8])
    assert found.verdicts["verdict"].tolist() == [verdict]


def test_verdicts_on_true_kernels_are_seldom_wrong():
    wrong = sum(
        calibration(Known(), chains(6, 40, seed), lags=[1]).verdicts["verdict"][0] != "calibrated" for seed in range(30)
    )
    # 30 verdicts at 5 %: more than 6 wrong ones have probability 0.1 %.
    assert wrong <= 6


def test_a_run_is_forecast_by_the_others_only():
    runs = chains(3, 60, 4)
    seen = []

    class Spy(Known):
        def fit(self, trajectories, edges=None):
            seen.append([run.run for run in trajectories])
            return super().fit(trajectories, edges)

    found = calibration(Spy(), runs, lags=[1])
    assert seen == [["run 1", "run 2"], ["run 0", "run 2"], ["run 0", "run 1"]]
    assert set(found.table["steps"]) == {180}
    assert "3 runs: errors are over blocks" in found.summary()


def test_a_single_run_is_forecast_from_its_beginnings():
    run = chains(1, 199, 5)
    known = []

    class Spy(Known):
        def fit(self, trajectories, edges=None):
            known.append(len(trajectories[0]))
            return super().fit(trajectories, edges)

    found = calibration(Spy(), run, lags=[1, 90])
    assert known == [100, 120, 140, 160, 180]
    # Every value of the second half is held out once, forecast from the one before it.
    assert set(found.table["steps"]) == {100}
    assert set(found.table["lag"]) == {1}
    assert found.table["units"].min() >= 5
    assert "A single run" in found.summary()
    assert "Lags 90 were left out" in found.summary()


def test_several_coordinates_and_the_plain_result():
    runs = chains(6, 50, 6, coordinates=2)
    found = calibration(AutoregressiveKernel(), runs, lags=[1, 2])
    again = calibration(AutoregressiveKernel(), runs, lags=[1, 2])
    assert json.loads(json.dumps(found.to_dict())) == json.loads(json.dumps(again.to_dict()))
    assert found.verdicts[["coordinate", "lag"]].to_numpy().tolist() == [["x0", 1], ["x0", 2], ["x1", 1], ["x1", 2]]
    assert found.histogram.iloc[:, 2:].sum(axis=1).to_numpy() == pytest.approx(np.ones(4))


def test_bad_input_is_named():
    runs = chains(6, 50, 7)
    for arguments, message in (
        ({"estimator": 3}, "estimator is a int"),
        ({"runs": [1.0]}, "runs is a list"),
        ({"lags": [0]}, "lags == 0"),
        ({"levels": [1.0]}, "levels below 1"),
        ({"levels": []}, "one of each"),
    ):
        with pytest.raises(ArgumentError, match=message):
            calibration(**{"estimator": Known(), "runs": runs, **arguments})
    with pytest.raises(DataError, match="run 0: 21 values of a single run, at least 40"):
        calibration(Known(), chains(1, 20, 8))
    with pytest.raises(DataError, match="no lag of"):
        calibration(Known(), runs, lags=[60])
    found = calibration(Known(), runs, lags=[1])
    with pytest.raises(DataError, match="at least 8 whole runs"):
        found.recalibration()
    with pytest.raises(ArgumentError, match="lag == 2"):
        found.recalibration(lag=2)


def test_kernels_of_several_coordinates_together_are_refused_by_name():
    class Together(Known):
        def fit(self, trajectories, edges=None):
            self.kernel_ = object()
            return self

    runs = Trajectories.from_arrays([np.random.default_rng(i).normal(size=60) for i in range(3)])
    with pytest.raises(ArgumentError, match="estimator makes a object, must make kernels of one coordinate each"):
        calibration(Together(), runs)
