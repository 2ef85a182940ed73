"""The grid rule: the spread it measures, the hull and margin, the number of cells, and what it says when it fails."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descentcast.errors import ArgumentError, DataError
from descentcast.kernels import default_edges
from descentcast.kernels._grid import CELLS_PER_SPREAD, grids_of, one_step_spread
from descentcast.trajectories import Trajectories


def chain(rate, noise, steps, start=3.0, seed=0):
    rng, x = np.random.default_rng(seed), [start]
    for _ in range(steps):
        x.append((1 - rate) * x[-1] + noise * rng.normal())
    return np.array(x)


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.5, 1.0])
def test_spread_is_that_of_the_noise_whatever_the_drift(rate):
    x = chain(rate, 0.2, 4000)
    assert one_step_spread(x[:-1], x[1:]) == pytest.approx(0.2, rel=0.08)


def test_spread_ignores_a_drift_that_dominates_the_increments():
    x = chain(0.1, 1e-4, 60)
    assert np.diff(x).std() > 0.05
    assert one_step_spread(x[:-1], x[1:]) == pytest.approx(1e-4, rel=0.4)


def test_spread_of_a_nonlinear_noiseless_map_shrinks_with_the_distance_of_states():
    spread = [one_step_spread(x, np.sin(3 * x)) for x in (np.linspace(0, 1, 51), np.linspace(0, 1, 101))]
    assert spread[1] == pytest.approx(spread[0] / 4, rel=0.1)


def test_spread_by_hand_with_ties():
    # Sorted by x: (0, 0), (0, 2), (0, 1): the middle against the mean of the others, |2 - 0.5| / sqrt(1.5).
    assert one_step_spread(np.zeros(3), np.array([0.0, 2.0, 1.0])) == pytest.approx(1.4826 * 1.5 / np.sqrt(1.5))
    assert one_step_spread(np.array([1.0, 3.0]), np.array([2.0, 5.0])) == pytest.approx(np.sqrt(2.5))


@settings(max_examples=40, deadline=None)
@given(
    noise=st.floats(1e-3, 10),
    rate=st.floats(0, 1.5),
    shift=st.floats(-1e3, 1e3),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    steps=st.integers(2, 80),
)
def test_hull_margin_and_cells(noise, rate, shift, scale, steps):
    x = scale * (chain(rate, noise, steps) + shift)
    edges, note = default_edges(Trajectories.from_arrays([x]))
    spread, hull = one_step_spread(x[:-1], x[1:]), np.ptp(x)
    n, width = len(edges) - 1, edges[1] - edges[0]
    assert 100 <= n <= 400
    assert np.diff(edges) == pytest.approx(np.full(n, width))
    for margin in (x.min() - edges[0], edges[-1] - x.max()):
        assert margin == pytest.approx(0.1 * hull + 3 * spread, rel=1e-6)
    assert (note is None) == (spread >= CELLS_PER_SPREAD * width * (1 - 1e-6))
    assert n == 400 or note is None


def test_usual_number_of_cells_where_it_suffices_and_more_where_needed():
    broad, none = default_edges(Trajectories.from_arrays([chain(0.5, 0.5, 300, start=0.0)]))
    assert (len(broad), none) == (101, None)
    edges, none = default_edges(Trajectories.from_arrays([chain(0.05, 0.03, 300, start=4.0)]))
    assert 101 < len(edges) < 401
    assert none is None


def test_notes_say_what_is_wrong_and_what_to_do():
    _, note = default_edges(Trajectories.from_arrays([chain(0.01, 0.002, 1000)], names=["loss"]))
    assert note is not None
    assert note.startswith("loss: the typical one-step spread")
    assert "log coordinate" in note
    _, note = default_edges(Trajectories.from_arrays([chain(0.1, 0.0, 50)]))
    assert note is not None
    assert "hardly any noise" in note
    edges, note = default_edges(Trajectories.from_arrays([np.full(9, 2.0)], names=["lr"]))
    assert edges[0] < 2.0 < edges[-1]
    assert note is not None
    assert note.startswith("lr: always 2 in these runs")


def test_a_given_number_of_cells_is_used_and_judged():
    runs = Trajectories.from_arrays([chain(0.1, 0.1, 300)])
    edges, note = default_edges(runs, cells=20)
    assert len(edges) == 21
    assert note is not None
    for cells in (19, 401, 50.0):
        with pytest.raises(ArgumentError, match="cells == "):
            default_edges(runs, cells=cells)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 1e151, 3, 5], r"^w: values go from 0 to 1e\+151, must stay within 1e150: rescale them$"),
        ([-1.7e308, 1.7e308, 3], r"^w: values go from -1\.7e\+308 to 1\.7e\+308"),
        ([1e-310, 2e-310, 3e-310], r"^w: values go from 1e-310 to 3e-310, must reach 1e-150"),
        ([1e-200, 1e-200, 1e-200], r"^w: cells would be .* wide, must be at least 1e-150"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_values_whose_variances_float64_cannot_hold_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        default_edges(Trajectories.from_arrays([values], names=["w"]))


@pytest.mark.parametrize("scale", [1e-145, 1e149])
@pytest.mark.filterwarnings("error")
def test_the_rule_is_the_same_at_the_ends_of_the_range(scale):
    x = chain(0.05, 0.03, 300, start=4.0)
    (edges, note), (scaled, same) = (default_edges(Trajectories.from_arrays([s * x])) for s in (1.0, scale))
    assert scaled / scale == pytest.approx(edges)
    assert same == note


def test_each_coordinate_has_its_own_grid():
    runs = Trajectories.from_arrays([np.column_stack([chain(0.5, 1.0, 200), 100 + chain(0.5, 1.0, 200, seed=1)])])
    (first, second), notes = grids_of(runs, None)
    assert notes == (None, None)
    assert first[-1] < 50 < second[0]
    assert (default_edges(runs, 1)[0] == second).all()
    with pytest.raises(ArgumentError, match=r"coordinate == 2, must be in \[0, 1\]"):
        default_edges(runs, 2)


def test_grids_may_be_given_in_every_form():
    one, two = (Trajectories.from_arrays([np.ones((5, d))]) for d in (1, 2))
    for edges in ([0, 1, 2], (0, 1, 2), np.arange(3.0), [np.arange(3.0)], [[0, 1, 2]]):
        grids, notes = grids_of(one, edges)
        assert [g.tolist() for g in grids] == [[0, 1, 2]]
        assert notes == (None,)
    grids, _ = grids_of(two, [[0, 1, 2], [5, 6, 7, 8]])
    assert [len(g) for g in grids] == [3, 4]


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (3, "edges == 3"),
        ([], r"edges == \[\]"),
        ("abc", "edges == 'abc'"),
        ([2, 1, 0], "edges do not increase"),
        ([[0, 1, 2], [0, 1, 2]], "edges holds 2 grid"),
    ],
)
def test_bad_edges_are_named(edges, message):
    with pytest.raises(ArgumentError, match=message):
        grids_of(Trajectories.from_arrays([np.ones(5)]), edges)


def test_runs_must_be_trajectories():
    with pytest.raises(ArgumentError, match=r"trajectories is a list, must be Trajectories"):
        default_edges([[1.0, 2.0]])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("offset", [1e6, 1e9, 1e11])
def test_an_offset_moves_the_grid_and_nothing_else(offset):
    x = chain(0.3, 0.1, 300)
    plain, _ = default_edges(Trajectories.from_arrays([x]))
    moved, note = default_edges(Trajectories.from_arrays([x + offset]))
    assert len(moved) == len(plain)
    assert moved - offset == pytest.approx(plain, abs=1e-13 * offset)
    assert (np.diff(moved) > 0).all()
    assert note is None


def test_values_that_float64_hardly_tells_apart_count_as_one():
    edges, note = default_edges(Trajectories.from_arrays([1e14 + chain(0.3, 0.1, 300)]))
    assert note is not None
    assert "one part in 1e+12" in note
    assert edges[0] < 1e14 < edges[-1]
    assert (np.diff(edges) > 0).all()
