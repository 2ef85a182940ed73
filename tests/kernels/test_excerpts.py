"""Excerpts of long runs: short enough, contiguous, from everywhere, and all of what fits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descentcast.errors import ModelError
from descentcast.kernels._excerpts import PIECES, excerpt


def numbered(lengths):
    return np.split(np.arange(float(sum(lengths))), np.cumsum(lengths)[:-1])


def test_what_fits_is_kept_as_it_is():
    columns = numbered([10, 20])
    assert excerpt(columns, 30, np.random.default_rng(0)) is columns


@given(st.lists(st.integers(2, 400), min_size=1, max_size=12), st.integers(2 * PIECES, 600), st.integers(0, 99))
def test_pieces_are_short_enough_contiguous_and_within_one_run(lengths, most, seed):
    columns = numbered(lengths)
    pieces = excerpt(columns, most, np.random.default_rng(seed))
    assert pieces
    assert sum(map(len, pieces)) <= max(most, 0)
    run_of = np.repeat(np.arange(len(lengths)), lengths)
    for piece in pieces:
        assert len(piece) > 1
        assert (np.diff(piece) == 1).all()
        assert len(set(run_of[piece.astype(int)])) == 1


def test_views_see_the_whole_run_between_them():
    columns = numbered([2000])
    seen = np.concatenate([p for s in range(60) for p in excerpt(columns, 400, np.random.default_rng(s))])
    counts = np.histogram(seen, bins=PIECES, range=(0, 2000))[0]
    assert (counts == counts[0]).all()  # every stretch is shown equally often
    assert len(np.unique(seen)) > 1900


@pytest.mark.parametrize(("count", "length"), [(200, 10), (50, 40), (2000, 2)])
def test_many_short_runs_fill_what_a_model_reads(count, length):
    shown = [excerpt(numbered([length] * count), 1000, np.random.default_rng(seed)) for seed in range(5)]
    # A piece of 125 values may lose one at either end.
    assert all(984 <= sum(map(len, pieces)) <= 1000 for pieces in shown)


def test_a_model_that_reads_next_to_nothing_is_refused():
    with pytest.raises(ModelError, match="the model reads 15 values, must read 16 at least"):
        excerpt(numbered([100]), 15, np.random.default_rng(0))
