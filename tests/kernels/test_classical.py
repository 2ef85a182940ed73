"""Classical estimators: known kernels recovered, oracles met, every row a law, no look-ahead."""

import time

import numpy as np
import pytest
from deeptime.markov import TransitionCountEstimator
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.base import clone

from descentcast.errors import ArgumentError
from descentcast.kernels import (
    AutoregressiveKernel,
    CountKernel,
    KernelDensityKernel,
    LocalLinearKernel,
    TransitionKernel,
    default_edges,
)
from descentcast.kernels._laws import mixture, residual, student
from descentcast.kernels._normal_scores import Transitions
from descentcast.scoring import hellinger, pit, prequential_log_score
from descentcast.trajectories import Trajectories

ESTIMATORS = [
    CountKernel(),
    KernelDensityKernel(),
    KernelDensityKernel(bandwidth=0.2),
    LocalLinearKernel(),
    LocalLinearKernel(noise="residual"),
    AutoregressiveKernel(),
    AutoregressiveKernel(order=3, noise="residual"),
]
every = pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)


def ar1(steps, seed=0, slope=0.8, noise=0.3, start=2.0):
    rng, x = np.random.default_rng(seed), [start]
    for _ in range(steps):
        x.append(slope * x[-1] + noise * rng.normal())
    return np.array(x)


def ar1_rows(edges, slope=0.8, noise=0.3, nodes=40):
    """Cell averages of the AR(1) kernel with overflow, by a midpoint rule of its own."""
    share = (np.arange(nodes) + 0.5) / nodes
    x = edges[:-1, None] + np.diff(edges)[:, None] * share
    cdf = stats.norm.cdf((edges - slope * x[..., None]) / noise)
    ends = np.zeros((*x.shape, 1))
    return np.diff(np.concatenate([ends, cdf, ends + 1], axis=-1), axis=-1).mean(axis=1)


def rows_of(kernel):
    return np.hstack([kernel.overflow[:, :1], kernel.matrix, kernel.overflow[:, 1:]])


@pytest.mark.parametrize(
    ("estimator", "least"),
    [
        (AutoregressiveKernel(), 0.003),
        (AutoregressiveKernel(noise="residual"), 0.012),
        (LocalLinearKernel(), 0.012),
        (LocalLinearKernel(noise="residual"), 0.025),
        (KernelDensityKernel(), 0.03),
        (CountKernel(), 0.2),
    ],
    ids=str,
)
def test_the_ar1_kernel_is_recovered_as_data_grow(estimator, least):
    """Squared Hellinger distance, weighted by the stationary law, falls and ends small."""
    edges = np.linspace(-3, 3, 41)
    true = ar1_rows(edges)
    weight = np.diff(stats.norm.cdf(edges / (0.3 / np.sqrt(1 - 0.8**2))))
    distances = []
    for steps in (60, 300, 3000):
        repeats = [ar1(steps, seed) for seed in range(4 if steps < 3000 else 1)]
        rows = [rows_of(estimator.fit(Trajectories.from_arrays([x]), edges).kernel_) for x in repeats]
        distances.append(np.mean([weight @ hellinger(r, true, squared=True) for r in rows]))
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < least


def test_counts_are_those_of_deeptime():
    rng = np.random.default_rng(0)
    paths = [rng.integers(0, 5, size=n) for n in (40, 7, 90)]
    counted = TransitionCountEstimator(lagtime=1, count_mode="sliding").fit(paths).fetch_model().count_matrix
    kernel = CountKernel(prior=0.5).fit(Trajectories.from_arrays([p + 0.5 for p in paths]), np.arange(6.0)).kernel_
    total = counted.sum(axis=1, keepdims=True)
    assert kernel.matrix == pytest.approx((counted + 0.5 / 5) / (total + 0.5), abs=1e-14)
    assert (kernel.evidence.visits == total[:, 0]).all()
    assert kernel.evidence.weight == pytest.approx(total[:, 0] / (total[:, 0] + 0.5))
    assert (kernel.overflow == 0).all()


def test_counts_on_unequal_cells_and_beyond_the_grid():
    runs = Trajectories.from_arrays([[0.5, 9.0, 0.5, 2.0, -1.0]])
    kernel = CountKernel(prior=1.0).fit(runs, [0, 1, 4]).kernel_
    # From cell 0: one step above the grid, one to cell 1; from cell 1: one below. The prior follows the widths.
    assert kernel.matrix == pytest.approx(np.array([[0.25, 1.75], [0.25, 0.75]]) / [[3], [2]])
    assert kernel.overflow == pytest.approx(np.array([[0, 1 / 3], [1 / 2, 0]]))


@pytest.mark.parametrize("slope", [0.5, -0.7, 0.95])
@pytest.mark.parametrize("estimator", [LocalLinearKernel(), AutoregressiveKernel()], ids=str)
def test_noiseless_linear_maps_are_met_up_to_the_grid_even_outside_the_hull(estimator, slope):
    runs = Trajectories.from_arrays([4 * slope ** np.arange(12) + 1, 1 - 3 * slope ** np.arange(9)])
    edges = np.linspace(-8, 10, 361)
    kernel = estimator.fit(runs, edges).kernel_
    centres, width = kernel.centres, edges[1] - edges[0]
    assert np.abs(kernel.matrix @ centres - (1 + slope * (centres - 1))).max() < width
    assert (kernel.overflow < 1e-6).all()
    spread = np.sqrt(kernel.matrix @ centres**2 - (kernel.matrix @ centres) ** 2)
    assert spread.max() < width


def test_autoregression_is_ordinary_least_squares_with_its_predictive_law():
    x = ar1(40, seed=3)
    edges, state = np.linspace(-4, 4, 81), 0.37
    line = stats.linregress(x[:-1], x[1:])
    N, present = 40, x[:-1]
    deviation = np.sqrt(((x[1:] - line.intercept - line.slope * present) ** 2).sum() / (N - 2))
    standard_error = deviation * np.sqrt(1 + 1 / N + (state - present.mean()) ** 2 / (N * present.var()))
    law = stats.t(N - 2, line.intercept + line.slope * state, standard_error)
    expected = np.diff(np.concatenate([[0], law.cdf(edges), [1]]))
    found = AutoregressiveKernel()._law(present[:, None], x[1:], np.array([state]), edges)
    assert found[0] == pytest.approx(expected, abs=1e-12)


def test_more_lags_find_what_one_cannot():
    rng, x = np.random.default_rng(1), [0.0, 0.0]
    for _ in range(1000):
        x.append(1.6 * x[-1] - 0.8 * x[-2] + 0.2 * rng.normal())
    runs, edges = Trajectories.from_arrays([x]), np.linspace(-4, 4, 161)
    one, two, three = (
        prequential_log_score(AutoregressiveKernel(order=p).prequential(runs, edges), edges, runs.coordinate(0))
        for p in (1, 2, 3)
    )
    # The noise's entropy with both lags; with one, the variance grows by 1 / (1 - 0.8^2).
    assert two[100:].mean() == pytest.approx(np.log(0.2 * np.sqrt(2 * np.pi * np.e)), abs=0.08)
    assert (one - two)[100:].mean() == pytest.approx(-0.5 * np.log(1 - 0.8**2), abs=0.1)
    assert three[100:].mean() == pytest.approx(two[100:].mean(), abs=0.02)
    kernel = AutoregressiveKernel(order=2).fit(runs, edges).kernel_
    assert kernel.projected
    assert any("present value only" in note for note in kernel.notes)
    assert kernel.matrix == pytest.approx(AutoregressiveKernel().fit(runs, edges).kernel_.matrix)


@pytest.mark.parametrize("estimator", [LocalLinearKernel(noise="residual"), KernelDensityKernel()], ids=str)
def test_noise_of_two_atoms_is_followed(estimator):
    """Steps of -0.5 or +0.5 about 0.5 x: two peaks and nothing between, where a Gaussian has most."""
    rng, x = np.random.default_rng(0), [0.0]
    for _ in range(800):
        x.append(0.5 * x[-1] + rng.choice([-0.5, 0.5]))
    edges = np.linspace(-2, 2, 41)
    row = estimator.fit(Trajectories.from_arrays([x]), edges).kernel_.matrix[20]
    assert row[19:21].sum() < 0.3 * row[24:26].sum()
    assert row[19:21].sum() < 0.3 * row[14:16].sum()


@settings(max_examples=40, deadline=None)
@given(
    centres=hnp.arrays(np.float64, (3, 4), elements=st.floats(-30, 30)),
    weights=hnp.arrays(np.float64, (3, 4), elements=st.floats(0.01, 1)),
    scale=hnp.arrays(np.float64, 3, elements=st.floats(1e-3, 20)),
)
def test_mixtures_are_sums_of_gaussians_on_and_beyond_the_grid(centres, weights, scale):
    edges = np.array([-10.0, -3.0, -2.5, 0.0, 0.1, 4.0, 12.0])
    weights /= weights.sum(axis=1, keepdims=True)
    ends = np.concatenate([[-np.inf], edges, [np.inf]])
    cdf = stats.norm.cdf(ends, centres[..., None], scale[:, None, None])
    expected = (weights[..., None] * np.diff(cdf, axis=-1)).sum(axis=1)
    assert mixture(weights, centres, scale, edges) == pytest.approx(expected, abs=1e-12)


def test_laws_by_hand():
    edges = np.array([-1.0, 0.0, 1.0, 30.0])
    row = student(np.array([0.0]), np.array([1.0]), np.array([1e8]), edges)[0]
    phi = stats.norm.cdf(1)
    assert row == pytest.approx([1 - phi, phi - 0.5, phi - 0.5, 1 - phi, 0], abs=1e-7)
    far = student(np.array([0.0]), np.array([1.0]), np.array([1e8]), np.array([9.0, 9.1, 10.0]))[0]
    assert far[1:] == pytest.approx(-np.diff(stats.norm.sf([9.0, 9.1, 10.0, np.inf])), rel=1e-3)
    rng = np.random.default_rng(0)
    residuals, fine = rng.normal(size=(1, 4000)) ** 3, np.linspace(-40, 40, 4001)
    residuals -= residuals.mean()
    row = residual(np.array([3.0]), np.array([2.0]), np.array([1e8]), np.full((1, 4000), 1 / 4000), residuals, fine)[0]
    centres = (fine[:-1] + fine[1:]) / 2
    assert row[1:-1] @ centres == pytest.approx(3.0, abs=0.01)
    assert row[1:-1] @ (centres - 3) ** 2 == pytest.approx(4.0, rel=0.02)


@every
@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(
        hnp.arrays(np.float64, st.integers(2, 12), elements=st.floats(-1e3, 1e3, width=32)), min_size=1, max_size=3
    ),
    low=st.floats(-2e3, 2e3),
    width=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_every_row_is_a_law_also_far_outside_the_hull(estimator, values, low, width):
    """`TransitionKernel` refuses rows that are not; here also that none is zero and drift stays bounded."""
    runs = Trajectories.from_arrays(values)
    for edges in (default_edges(runs, cells=20)[0], low + width * np.arange(21)):
        kernel = clone(estimator).fit(runs, edges).kernel_
        assert rows_of(kernel).sum(axis=1) == pytest.approx(np.ones(len(kernel.matrix)), abs=1e-9)
        assert (rows_of(kernel) >= 0).all()
        for rows in clone(estimator).prequential(runs, edges):
            assert rows.sum(axis=1) == pytest.approx(np.ones(len(rows)), abs=1e-9)


@every
def test_far_from_everything_seen_the_law_is_wide_or_stays_near(estimator):
    """No exploding slope: a run in one well, asked ten hulls away, does not claim a jump across the grid."""
    runs = Trajectories.from_arrays([ar1(200, start=0.5, noise=0.1)])
    hull = np.ptp(runs[0].values)
    edges = np.linspace(-10 * hull, 10 * hull, 201)
    kernel = clone(estimator).fit(runs, edges).kernel_
    mean = kernel.matrix @ kernel.centres + kernel.overflow @ edges[[0, -1]]
    inner = np.sqrt(kernel.matrix[100] @ (kernel.centres - mean[100]) ** 2)
    for row in (30, 170):
        spread = np.sqrt(kernel.matrix[row] @ (kernel.centres - mean[row]) ** 2)
        assert abs(mean[row]) <= abs(kernel.centres[row]) + 2 * hull
        assert spread > 1.2 * inner


@every
def test_prequential_rows_ignore_the_future(estimator):
    rng = np.random.default_rng(5)
    before = [ar1(30, 1), ar1(40, 2), ar1(20, 3)]
    edges = np.linspace(-4, 4, 33)
    rows = clone(estimator).prequential(Trajectories.from_arrays(before), edges)
    after = [before[0], np.concatenate([before[1][:18], 10 * rng.normal(size=23)]), rng.normal(size=9)]
    changed = clone(estimator).prequential(Trajectories.from_arrays(after), edges)
    assert [r.shape for r in rows] == [(30, 34), (40, 34), (20, 34)]
    assert (rows[0] == changed[0]).all()
    # Row t is the law of the value at t + 1: rows 0 to 17 saw values 0 to 17, which are the same.
    assert (rows[1][:18] == changed[1][:18]).all()
    assert not np.allclose(rows[1][18], changed[1][18])


@every
def test_prequential_rows_use_everything_before(estimator):
    """The row after k transitions is the law of an estimator that was given those k and asked at the present value."""
    runs = Trajectories.from_arrays([ar1(30, 1), ar1(40, 2)])
    edges = np.linspace(-4, 4, 33)
    rows = clone(estimator).prequential(runs, edges)
    x, y = clone(estimator)._pairs([c[: 13 + 1] if i else c for i, c in enumerate(runs.coordinate(0))])
    asked = clone(estimator)._pairs([runs.coordinate(0)[1]])[0][13:14]
    assert rows[1][13] == pytest.approx(clone(estimator)._law(x, y, asked, edges)[0], abs=1e-12)


@pytest.mark.parametrize("estimator", [LocalLinearKernel(), AutoregressiveKernel(), KernelDensityKernel()], ids=str)
def test_prequential_laws_of_a_chain_they_can_fit_are_calibrated(estimator):
    runs, edges = Trajectories.from_arrays([ar1(600, 4)]), np.linspace(-4, 4, 161)
    rows = estimator.prequential(runs, edges)[0]
    transform = pit(rows[50:], edges, runs[0].values[51:, 0])
    assert stats.kstest(transform, "uniform").pvalue > 0.01


@every
def test_three_hundred_steps_take_less_than_a_second(estimator):
    runs, edges = Trajectories.from_arrays([ar1(300)]), np.linspace(-4, 4, 101)
    # Processor time, not wall time: it does not depend on what else runs.
    start = time.process_time()
    estimator.prequential(runs, edges)
    assert time.process_time() - start < 1


@every
def test_habits_of_scikit_learn(estimator):
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert not hasattr(copy, "kernel_")
    runs = Trajectories.from_arrays([ar1(60)], names=["w"], setting={"step": 0.1})
    assert copy.fit(runs) is copy
    assert copy.n_features_in_ == 1
    assert isinstance(copy.kernel_, TransitionKernel)
    assert (copy.kernel_.edges == copy.edges_).all()
    assert copy.kernel_.name == "w"
    assert dict(copy.kernel_.setting) == {"step": 0.1}
    assert copy.prequential(runs)[0].shape == (60, len(copy.edges_) + 1)
    with pytest.raises(ArgumentError, match="trajectories is a ndarray, must be Trajectories"):
        copy.fit(np.zeros((5, 1)))


@every
def test_several_coordinates_are_several_projected_kernels(estimator):
    values = np.column_stack([ar1(80, 1), 50 + ar1(80, 2)])
    both = clone(estimator).fit(Trajectories.from_arrays([values], names=["a", "b"]))
    one = clone(estimator).fit(Trajectories.from_arrays([values[:, 1]], names=["b"]))
    assert both.n_features_in_ == 2
    assert [k.name for k in both.kernel_] == ["a", "b"]
    assert all(k.projected for k in both.kernel_)
    assert (both.kernel_[1].matrix == one.kernel_.matrix).all()
    assert (both.edges_[1] == one.edges_).all()
    rows = both.prequential(Trajectories.from_arrays([values], names=["a", "b"]), coordinate=1)
    assert (rows[0] == one.prequential(Trajectories.from_arrays([values[:, 1]], names=["b"]))[0]).all()


def test_evidence_says_what_rows_rest_on():
    runs = Trajectories.from_arrays([[0.5, 0.6, 3.5, 3.6, 9.0]])
    evidence = LocalLinearKernel().fit(runs, np.arange(-1.0, 11.0)).kernel_.evidence
    assert evidence.visits.tolist() == [0, 2, 0, 0, 2, 0, 0, 0, 0, 0, 0]
    assert evidence.source[1:5].tolist() == ["visited", "completed", "completed", "visited"]
    assert evidence.source[0] == "extrapolated"
    assert (evidence.source[5:] == "extrapolated").all()
    assert ((evidence.weight > 0) == (evidence.visits > 0)).all()
    assert evidence.weight.max() <= 1


def test_the_grid_note_reaches_the_kernel():
    runs = Trajectories.from_arrays([2 * 0.9 ** np.arange(40)])
    assert any("hardly any noise" in note for note in LocalLinearKernel().fit(runs).kernel_.notes)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (CountKernel(prior=0), "prior == 0"),
        (KernelDensityKernel(bandwidth=-1.0), "bandwidth == -1.0"),
        (LocalLinearKernel(bandwidth="wide"), "bandwidth == 'wide'"),  # pyright: ignore[reportArgumentType]
        (LocalLinearKernel(noise="student"), "noise == 'student', must be one of 'gaussian', 'residual'"),
        (AutoregressiveKernel(order=0), r"order == 0, must be in \[1, 50\]"),
        (AutoregressiveKernel(noise="none"), "noise == 'none'"),
    ],
    ids=str,
)
def test_bad_parameters_are_named_at_fit(estimator, message):
    runs = Trajectories.from_arrays([ar1(20)])
    for use in (estimator.fit, estimator.prequential):
        with pytest.raises(ArgumentError, match=message):
            use(runs)


@pytest.mark.parametrize("offset", [1e6, 1e9])
def test_an_offset_moves_every_kernel_along(offset):
    rng, x = np.random.default_rng(0), [0.0]
    for _ in range(240):
        x.append(0.8 * x[-1] + rng.normal())
    edges = np.linspace(-8, 8, 81)
    for estimator in (LocalLinearKernel(), LocalLinearKernel(noise="residual"), KernelDensityKernel()):
        plain = estimator.fit(Trajectories.from_arrays([x]), edges).kernel_.matrix.copy()
        moved = estimator.fit(Trajectories.from_arrays([np.array(x) + offset]), edges + offset).kernel_.matrix
        assert_allclose(moved, plain, atol=1e-15 * offset + 1e-12)


def test_the_upper_end_of_the_grid_belongs_to_the_last_cell():
    accuracy = np.array([0.2, 0.5, 0.8, 1, 1, 1, 0.9, 1, 1, 1, 1, 1])
    edges = np.linspace(0, 1, 11)
    kernel = CountKernel(prior=1e-9).fit(Trajectories.from_arrays([accuracy]), edges=edges).kernel_
    # Of 9 transitions from the last cell, which holds 0.9 too, 8 stay there and one goes to 0.9.
    assert kernel.evidence.visits.tolist() == [0, 0, 1, 0, 0, 1, 0, 0, 1, 8]
    assert (kernel.overflow == 0).all()
    assert_allclose(kernel.matrix[9], np.eye(10)[9], atol=1e-8)
    assert kernel.cell([0.0, 1.0, 1.1]).tolist() == [0, 9, 10]
    assert_allclose(Transitions.of([accuracy], edges).counts, kernel.evidence.visits)
