"""Joint views: round trips, adjoining digits, densities in order of value, the format that models were trained on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descentcast.encoding import JointView, View, draw_joint_views
from descentcast.errors import ArgumentError


@given(
    coordinates=st.integers(1, 3),
    digits=st.integers(1, 2),
    seed=st.integers(0, 100),
    share=st.lists(st.floats(0, 1), min_size=1, max_size=4),
)
def test_every_code_is_the_code_of_its_centre(coordinates, digits, seed, share):
    low, high = np.arange(coordinates) - 3.0, np.arange(coordinates) + 1.5
    for view in draw_joint_views(low, high, 3, digits, np.random.default_rng(seed)):
        codes = (np.array(share) * (10**view.digits - 1)).astype(int)
        np.testing.assert_array_equal(view.encode(view.decode(codes)), codes)
        drawn = view.places(np.repeat(codes, 5), np.random.default_rng(seed))
        np.testing.assert_array_equal(view.encode(drawn), np.repeat(codes, 5))
        assert view.volume * 10**view.digits == pytest.approx(np.prod([v.high - v.low for v in view.views]))


def test_digits_of_coordinates_adjoin_and_orientations_are_their_own():
    view = JointView((View(0.0, 1.0, 2), View(0.0, 1.0, 2, flipped=True)))
    assert view.encode([[0.175, 0.345], [0.0, 1.0]]).tolist() == [1765, 0]
    density = np.zeros(10_000)
    density[1765] = 1.0
    assert np.argwhere(view.by_value(density)).tolist() == [[17, 34]]


def test_what_does_not_fit_is_named():
    with pytest.raises(ArgumentError, match=r"views have \[1, 2\] digits"):
        JointView((View(0.0, 1.0, 2), View(0.0, 1.0, 1)))
    with pytest.raises(ArgumentError, match=r"values hold 1\.5, must be within"):
        JointView((View(0.0, 1.0), View(0.0, 1.0))).encode([[0.5, 1.5]])
    with pytest.raises(ArgumentError, match=r"states have shape \(1, 3\), must have 2 on the last axis"):
        JointView((View(0.0, 1.0), View(0.0, 1.0))).encode([[0.5, 0.5, 0.5]])
    with pytest.raises(ArgumentError, match="views have 20 digits together, must be at most 18"):
        JointView((View(0.0, 1.0, 2),) * 10)
