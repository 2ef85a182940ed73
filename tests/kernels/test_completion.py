import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from descentcast.errors import ArgumentError
from descentcast.kernels._completion import METHODS, complete


def gaussian_row(edges, mean, sd):
    below = norm.cdf((edges - mean) / sd)
    return np.concatenate([[below[0]], np.diff(below), [1 - below[-1]]])


def moments(edges, rows):
    """Mean and standard deviation of rows that hardly overflow, uniform within cells."""
    centres = (edges[:-1] + edges[1:]) / 2
    mean = rows[:, 1:-1] @ centres
    return mean, np.sqrt(rows[:, 1:-1] @ (centres**2 + np.diff(edges) ** 2 / 12) - mean**2)


def known_at(n, cells):
    return np.isin(np.arange(n), cells)


def two_rows(n, left, right):
    """Rows of which only the first and the last are filled, and which ones are."""
    rows = np.full((n, n + 2), np.nan)
    rows[0], rows[-1] = left, right
    return rows, known_at(n, [0, n - 1])


def test_a_gap_of_four_cells_by_hand():
    # Left law uniform on [0, 1], right law uniform on [3, 5]: quantile functions q and 3 + 2 q. A third of the way the
    # average is 1 + 4/3 q, uniform on [1, 7/3]; two thirds of the way 2 + 5/3 q, uniform on [2, 11/3].
    rows, known = two_rows(4, [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0])
    rows[3] = [0, 0, 0, 0, 1, 0]
    edges = np.array([0.0, 1.0, 2.0, 3.0, 5.0])
    centres = np.array([0.5, 1.5, 2.5, 4.0])
    w = (centres[1:3] - 0.5) / 3.5  # 2/7 and 4/7: shares by centres, not by index
    # Uniform on [3 w, 1 + 4 w]: at w = 2/7 on [6/7, 15/7], at w = 4/7 on [12/7, 23/7].
    done = complete(edges, rows, known)
    assert_allclose(w, [2 / 7, 4 / 7])
    assert_allclose(done.rows[1], [0, 1 / 9, 7 / 9, 1 / 9, 0, 0], atol=1e-14)
    assert_allclose(done.rows[2], [0, 0, 2 / 11, 7 / 11, 2 / 11, 0], atol=1e-14)
    assert done.source.tolist() == ["visited", "completed", "completed", "visited"]


@pytest.mark.parametrize("gap", [1, 2, 3, 7])
def test_each_place_of_a_gap_has_its_own_weight(gap):
    # Point-like laws one cell wide, moved by exactly one cell a row: the row at place k is cell k alone.
    n = gap + 2
    rows, known = two_rows(n, np.eye(n + 2)[1], np.eye(n + 2)[n])
    done = complete(np.arange(n + 1.0), rows, known)
    assert_allclose(done.rows[:, 1:-1], np.eye(n), atol=1e-14)
    assert done.source.tolist() == ["visited", *["completed"] * gap, "visited"]


def test_neighbouring_known_rows_leave_no_gap():
    rows = np.eye(6)[[1, 1, 4, 4]]
    done = complete(np.arange(5.0), rows, np.ones(4, bool))
    assert_array_equal(done.rows, rows)
    assert set(done.source) == {"visited"}
    assert_array_equal(done.weight, 1.0)


def test_barycenters_of_gaussians_average_means_and_deviations():
    # At a spread of 10 cells and more, cells of uniform mass are Gaussians up to 1e-3 in the moments.
    edges = np.linspace(-10, 10, 401)
    rows, known = two_rows(400, gaussian_row(edges, -4, 0.5), gaussian_row(edges, 3, 1.5))
    mean, sd = moments(edges, complete(edges, rows, known).rows)
    w = np.linspace(0, 1, 400)
    assert_allclose(mean, -4 + 7 * w, atol=3e-4)
    assert_allclose(sd, 0.5 + w, atol=2e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_quantile_averages_equal_brute_force(seed):
    rng = np.random.default_rng(seed)
    n = 9
    edges = np.cumsum(rng.uniform(0.2, 2, n + 1))
    laws = rng.dirichlet(np.full(n, 0.3), size=2) * (rng.random((2, n)) < 0.7) + 1e-9 * np.eye(n)[[2, 5]]
    laws = np.pad(laws / laws.sum(axis=1, keepdims=True), ((0, 0), (1, 1)))
    rows, known = two_rows(n, *laws)
    done = complete(edges, rows, known)

    q = (np.arange(40_000) + 0.5) / 40_000
    quantiles = []
    for law in laws[:, 1:-1]:  # quantile by quantile: find the cell, then the place within it
        below = np.concatenate([[0], np.cumsum(law)])
        cell = np.clip((below[1:-1, None] <= q).sum(axis=0), 0, n - 1)
        quantiles.append(edges[cell] + np.diff(edges)[cell] * (q - below[cell]) / law[cell])
    centres = (edges[:-1] + edges[1:]) / 2
    for i in range(1, n - 1):
        w = (centres[i] - centres[0]) / (centres[-1] - centres[0])
        values = (1 - w) * quantiles[0] + w * quantiles[1]
        assert_allclose(done.rows[i, 1:-1], np.histogram(values, edges)[0] / len(q), atol=2e-4)


def test_overflow_is_averaged_in_a_virtual_cell_and_folded_back():
    # Both known rows uniform on one cell (standard deviation below a cell): virtual cells are one cell wide. The left
    # law sits wholly below the grid, on [-1, 0], the right one on [0, 1]: half way lies [-1/2, 1/2].
    rows, known = two_rows(3, [1, 0, 0, 0, 0], [0, 1, 0, 0, 0])
    assert_allclose(complete([0, 1, 2, 3], rows, known).rows[1], [0.5, 0.5, 0, 0, 0], atol=1e-14)
    # And all of the mass above stays there.
    rows, known = two_rows(3, [0, 0, 0, 0, 1], [0, 0, 0, 0, 1])
    assert_allclose(complete([0, 1, 2, 3], rows, known).rows[1], [0, 0, 0, 0, 1], atol=1e-14)


@pytest.mark.parametrize(("sds", "apart"), [((2.5, 2.5), 1e-3), ((2.0, 3.0), 2e-2)])
def test_sinkhorn_agrees_with_the_exact_barycenter(sds, apart):
    # At POT's default tolerance the law is several times too wide. What is left between unequal spreads is the blur of
    # the regularisation.
    edges = np.arange(41.0)
    rows = np.tile(gaussian_row(edges, 12, sds[0]), (40, 1))
    rows[21:] = gaussian_row(edges, 28, sds[1])
    known = ~known_at(40, [20])
    sinkhorn, exact = (complete(edges, rows, known, m).rows[20] for m in ("sinkhorn", "quantile"))
    assert 0.5 * np.abs(sinkhorn - exact).sum() < apart
    _, sd = moments(edges, np.stack([sinkhorn, exact]))
    assert abs(sd[0] / sd[1] - 1) < 0.02


def test_sinkhorn_weights_are_those_of_the_place():
    edges = np.arange(31.0)
    rows, known = two_rows(30, gaussian_row(edges, 8, 2), gaussian_row(edges, 20, 2))
    rows[1:27], known[1:27] = rows[0], True
    done = complete(edges, rows, known, "sinkhorn")  # a gap of two: cells 27 and 28, at a third and two thirds
    assert_allclose(moments(edges, done.rows[[27, 28]])[0], [12, 16], atol=1e-2)


def test_nearest_copies_and_prefers_the_left_on_a_tie():
    rows = np.full((6, 8), np.nan)
    rows[1], rows[4] = np.eye(8)[3], np.eye(8)[5]
    done = complete(np.arange(7.0), rows, known_at(6, [1, 4]), "nearest")
    assert done.rows.argmax(axis=1).tolist() == [3, 3, 3, 5, 5, 5]
    assert done.source.tolist() == [
        "extrapolated", "visited", "completed", "completed", "visited", "extrapolated",
    ]  # fmt: skip
    middle = complete(
        np.arange(4.0), rows[[1, 0, 4]][:, :5] + [[0] * 5, [0] * 5, [0, 0, 0, 1, 0]], [True, False, True], "nearest"
    )
    assert_array_equal(middle.rows[1], middle.rows[0])


@pytest.mark.parametrize("a", [0.9, 0.5, -0.4])
@pytest.mark.parametrize("stride", [1, 3])
def test_outside_the_hull_an_autoregression_goes_on(a, stride):
    edges = np.linspace(-10, 10, 201)
    centres = (edges[:-1] + edges[1:]) / 2
    truth = np.array([gaussian_row(edges, a * c, 0.5) for c in centres])
    known = known_at(200, np.arange(60, 140, stride))
    done = complete(edges, truth, known)
    mean, sd = moments(edges, done.rows)
    true_mean, true_sd = moments(edges, truth)
    at = np.flatnonzero(known)
    for outside in (np.arange(40, at[0])[::-1], np.arange(at[-1] + 1, 160)):
        assert set(done.source[outside]) == {"extrapolated"}
        assert_allclose(mean[outside], true_mean[outside], atol=0.12)
        assert (sd[outside] >= true_sd[outside] - 1e-6).all()
        assert (np.diff(sd[outside[::10]]) > 0).all(), "the further out, the wider"
        assert sd[outside[-1]] > 1.05 * true_sd[outside[-1]]


@pytest.mark.parametrize("cells", [[10], [9, 10]])
def test_one_or_two_rows_keep_their_displacement(cells):
    edges = np.arange(41.0)
    rows = np.full((40, 42), np.nan)
    rows[10] = rows[9] = gaussian_row(edges, 12, 1.5)  # moves by 1.5 cells from 10.5
    done = complete(edges, rows, known_at(40, cells))
    mean, sd = moments(edges, done.rows)
    for i in (12, 15):
        assert abs(mean[i] - (i + 0.5 + 1.5)) < 1e-3
        # Slope 0 +- 0.5, 0.4 of the spread for the row itself, and the bend.
        distance, variance = i - 10, 1.5**2 + 1 / 6
        expected = variance * (1 + 0.4**2) + (0.5**2 + 0.1**2) * distance**2
        assert_allclose(sd[i] ** 2, expected, rtol=0.1)


def test_a_handful_of_noisy_rows_does_not_explode():
    # Three neighbours whose means scatter by a spread: least squares has a slope of standard deviation 2 / sqrt(2), and
    # ten cells out is off by 14 and more.
    rng = np.random.default_rng(0)
    edges = np.arange(101.0)
    rows = np.full((100, 102), np.nan)
    continued, fitted, stated = [], [], []
    for _ in range(100):
        noise = rng.normal(scale=2, size=3)
        rows[49:52] = [gaussian_row(edges, i + 0.5 + e, 2) for i, e in zip((49, 50, 51), noise, strict=True)]
        mean, sd = moments(edges, complete(edges, rows, known_at(100, [49, 50, 51])).rows)
        continued.append(mean[61] - 61.5)
        fitted.append(noise.mean() + 11 * (noise[2] - noise[0]) / 2)
        stated.append(np.sqrt(sd[61] ** 2 - sd[51] ** 2))
    assert np.std(continued) < 0.45 * np.std(fitted)
    assert np.abs(continued).max() < 0.6 * np.abs(fitted).max()
    assert 0.7 < np.sqrt(np.mean(np.square(continued)) / np.mean(np.square(stated))) < 1.5, "as wide as it is off"


def test_the_fit_counts_rows_by_their_weight():
    # Rows without displacement, but for one of the three outermost.
    edges = np.arange(61.0)
    rows = np.array([gaussian_row(edges, i + 0.5 + 6.0 * (i == 29), 2) for i in range(60)])
    known = known_at(60, np.arange(20, 32))
    weights = np.where(np.arange(60) == 29, 1e-3, 1.0)
    even = moments(edges, complete(edges, rows, known).rows)[0][36] - 36.5
    light = moments(edges, complete(edges, rows, known, weights=weights).rows)[0][36] - 36.5
    assert abs(light) < 0.1 < 1 < abs(even)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.sampled_from(["quantile", "nearest"]))
def test_invariants(seed, n, method):
    rng = np.random.default_rng(seed)
    edges = np.cumsum(rng.uniform(0.1, 3, n + 1)) - 5
    rows = rng.dirichlet(np.full(n + 2, rng.choice([0.05, 1.0])), size=n)
    known = rng.random(n) < rng.random()
    known[rng.integers(n)] = True
    given_rows = np.where(known[:, None], rows, np.nan)
    before = given_rows.copy()
    done = complete(edges, given_rows, known, method, rng.uniform(0.5, 20, n))
    assert_array_equal(given_rows, before)
    assert done.rows[known].tobytes() == rows[known].tobytes()
    assert (done.rows >= 0).all()
    assert_allclose(done.rows.sum(axis=1), 1, atol=1e-12)
    assert_array_equal(done.source == "visited", known)
    assert_array_equal(done.weight == 1, known)
    at = np.flatnonzero(known)
    inside = (np.arange(n) > at[0]) & (np.arange(n) < at[-1]) & ~known
    assert_array_equal(done.source == "completed", inside)
    for side in (done.weight[: at[0] + 1], done.weight[at[-1] :][::-1]):
        assert (np.diff(side) > 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_reflection_of_the_line_reflects_the_rows(seed):
    rng = np.random.default_rng(seed)
    n = 20
    edges = np.cumsum(rng.uniform(0.5, 2, n + 1))
    rows = rng.dirichlet(np.ones(n + 2), size=n)
    known = rng.random(n) < 0.3
    known[7] = True
    there = complete(edges, rows, known)
    back = complete(-edges[::-1], rows[::-1, ::-1], known[::-1])
    assert_allclose(back.rows[::-1, ::-1], there.rows, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_equal_rows_between_give_the_same_row(method):
    edges = np.arange(21.0)
    law = 0.5 * gaussian_row(edges, 6, 1.5) + 0.5 * gaussian_row(edges, 14, 1.5)
    rows = np.tile(law, (20, 1))
    done = complete(edges, rows, known_at(20, [0, *range(3, 20)]), method)
    # Two modes closer than the regularisation's scale, the median standard deviation: the known blur of "sinkhorn".
    assert_allclose(done.rows[1:3], rows[1:3], atol=1e-12 if method != "sinkhorn" else 0.05)
    assert_allclose(done.rows.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"known": np.zeros(3, bool)}, "at least one row"),
        ({"known": [1, 0, 1]}, "booleans"),
        ({"known": np.ones(4, bool)}, "known has shape"),
        ({"rows": np.zeros((3, 3))}, "rows has shape"),
        ({"rows": np.zeros((3, 5))}, r"rows\[known\] must sum to 1"),
        ({"weights": [0, 1, 1]}, "greater than 0"),
        ({"weights": [1, 1]}, "weights"),
        ({"method": "linear"}, "method == 'linear'"),
        ({"edges": [0, 1, 1, 2]}, "edges do not increase"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"edges": [0, 1, 2, 3], "rows": np.eye(5)[1:4], "known": np.array([True, False, True])} | change
    with pytest.raises(ArgumentError, match=message):
        complete(**arguments)
