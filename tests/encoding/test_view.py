"""Encoding is exact: every code decodes to a value that encodes to it, and nothing is clipped."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descentcast.encoding import View, draw_views
from descentcast.errors import ArgumentError

ranges = st.tuples(
    st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(1, 3), st.booleans()
).map(lambda r: View(r[0], r[0] + r[1], digits=r[2], flipped=r[3]))  # fmt: skip


@given(view=ranges)
def test_every_code_comes_back(view):
    codes = np.arange(view.cells)
    np.testing.assert_array_equal(view.encode(view.decode(codes)), codes)


@given(view=ranges, share=st.floats(0, 1))
def test_a_value_lies_in_the_cell_of_its_code(view, share):
    value = min(max(view.low + share * (view.high - view.low), view.low), view.high)
    cell = int(view.encode(value))
    cell = view.cells - 1 - cell if view.flipped else cell
    assert view.edges[cell] <= value <= view.edges[cell + 1]


@given(view=ranges)
def test_decoding_gives_the_centre(view):
    centres = (view.edges[:-1] + view.edges[1:]) / 2
    np.testing.assert_allclose(np.sort(view.decode(np.arange(view.cells))), centres, rtol=1e-12)


@given(view=ranges)
def test_digits_keep_leading_zeros(view):
    digits = view.digits_of(np.arange(view.cells))
    assert digits.shape == (view.cells, view.digits)
    np.testing.assert_array_equal(digits @ 10 ** np.arange(view.digits - 1, -1, -1), np.arange(view.cells))


def test_by_hand():
    view = View(0.0, 1.0, digits=1)
    assert view.encode([0.0, 0.05, 0.1, 0.95, 1.0]).tolist() == [0, 0, 1, 9, 9]
    assert View(0.0, 1.0, digits=1, flipped=True).encode([0.0, 1.0]).tolist() == [9, 0]
    # 0.29 * 100 is 28.999999999999996 in floating point: truncating a product would give 28.
    assert View(0.0, 1.0, digits=2).encode(0.29) == 29


def test_by_value_turns_a_flipped_density():
    probs = np.array([0.7, 0.2, *[0.0125] * 8])
    assert View(0, 1, 1, flipped=True).by_value(probs)[-1] == 0.7
    assert View(0, 1, 1).by_value(probs)[0] == 0.7


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_a_value_outside_is_an_error(value):
    with pytest.raises(ArgumentError, match="must be within the view's range"):
        View(0.0, 1.0).encode([0.5, value])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 1.0), "low < high"),
        ((0.0, np.inf), "finite"),
        ((0.0, 1.0, 0), r"digits == 0, must be in \[1, 6\]"),
        ((1e16, 1e16 + 4), "too narrow"),
        ((1.0, 1.0 + 100 * 2**-52), "too narrow"),
        ((-1.5e308, 1.5e308), "too wide"),
    ],
)
def test_views_that_cannot_be(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        View(*arguments)


@given(seed=st.integers(0, 1000), count=st.integers(1, 8))
def test_random_views_hold_the_range_and_are_reproducible(seed, count):
    views = [draw_views(-1.0, 2.0, count, 2, np.random.default_rng(seed)) for _ in range(2)]
    assert [v.to_dict() for v in views[0]] == [v.to_dict() for v in views[1]]
    assert all(v.holds([-1.0, 2.0]).all() for v in views[0])
    assert views[0][0].to_dict() == {"low": -1.0, "high": 2.0, "digits": 2, "flipped": False}


@pytest.mark.parametrize("code", [-1, 100, 1.5])
def test_codes_are_integers_within_the_view(code):
    with pytest.raises(ArgumentError, match=r"codes must be integers in \[0, 99\]"):
        View(0.0, 1.0).decode([code])
