"""Resampled runs: units that cover every transition once, and spreads that closed forms know."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descentcast.kernels import CountKernel, KernelDensityKernel, LocalLinearKernel
from descentcast.kernels._resampling import LEAST_RUNS, REPLICATES, blocks, redrawn
from descentcast.trajectories import Trajectories


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_units_cover_every_transition_once(lengths):
    units = blocks(lengths)
    covered = [(run, t) for run, first, after in units for t in range(first, after)]
    assert covered == [(run, t) for run, length in enumerate(lengths) for t in range(length)]
    if len(lengths) < LEAST_RUNS:
        assert all(after - first <= 2 * length**0.5 for length in lengths for _, first, after in blocks([length]))
    else:
        assert len(units) == len(lengths)


def test_pieces_are_stretches_of_runs_and_coordinates_stay_together():
    runs = [np.column_stack([np.arange(20.0), -np.arange(20.0)]), np.column_stack([100 + np.arange(9.0)] * 2)]
    pieces = redrawn(runs, np.random.default_rng(0))
    assert len(pieces) == len(blocks([19, 8]))
    for piece in pieces:
        assert (np.diff(piece[:, 0]) == 1).all()
        assert len(piece) >= 2
        assert (piece[:, 1] == -piece[:, 0]).all() or (piece[:, 1] == piece[:, 0]).all()


def test_many_runs_are_drawn_whole():
    runs = [np.full((5, 1), float(i)) for i in range(6)]
    drawn = [piece[0, 0] for piece in redrawn(runs, np.random.default_rng(1))]
    assert len(drawn) == 6
    assert set(drawn) < set(range(6))  # with replacement, at this seed, some are left out
    assert all(len(piece) == 5 for piece in redrawn(runs, np.random.default_rng(2)))


def test_counts_spread_as_binomials():
    """Of a sequence without memory, the standard error of P(1 -> 1) is sqrt(p (1 - p) / N_1)."""
    x = (np.random.default_rng(0).random(4000) < 0.3) + 0.5
    fitted = CountKernel().fit(Trajectories.from_arrays([x]), [0, 1, 2])
    assert len(fitted.replicates_) == REPLICATES
    found = np.array([kernel.matrix[1, 1] for kernel in fitted.replicates_])
    expected = np.sqrt(0.3 * 0.7 / (0.3 * 4000))
    assert found.std() == pytest.approx(expected, rel=0.3)
    assert found.mean() == pytest.approx(fitted.kernel_.matrix[1, 1], abs=3 * expected / 40**0.5)


@pytest.mark.parametrize("estimator", [LocalLinearKernel(), KernelDensityKernel(), CountKernel()], ids=str)
def test_replicates_follow_the_fit_and_repeat(estimator):
    rng = np.random.default_rng(0)
    first, second = (Trajectories.from_arrays([rng.normal(size=(40, 2)).cumsum(axis=0) / 9]) for _ in range(2))
    edges = [np.linspace(-4, 4, 21)] * 2
    one = estimator.fit(first, edges)
    before = one.replicates_
    again = copy.copy(estimator).fit(first, edges).replicates_
    assert all(
        (a.matrix == b.matrix).all()
        for one_of, other in zip(before, again, strict=True)
        for a, b in zip(one_of, other, strict=True)
    )
    assert all(len(k) == 2 for k in before)
    assert any((before[0][0].matrix != k[0].matrix).any() for k in before[1:])
    after = one.fit(second, edges).replicates_
    assert (after[0][0].matrix != before[0][0].matrix).any()


def test_no_replicates_before_a_fit():
    assert not hasattr(LocalLinearKernel(), "replicates_")
