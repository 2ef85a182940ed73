import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import norm

from descentcast.problems._batch_law import batches, convolved, enumerated
from descentcast.problems._cell_averages import (
    GaussianNoise,
    LatticeNoise,
    NoNoise,
    average_below,
    rows,
    subdivide,
)
from descentcast.problems._stationary_points import zeros

EDGES = np.array([-1.0, -0.2, 0.3, 1.1])


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 2.0), st.floats(-2, 2), st.floats(-2, 2).filter(lambda w: abs(w) > 1e-3))
def test_gaussian_averages_equal_quadrature(scale, first, width):
    got = average_below(GaussianNoise(scale), EDGES, np.array(first), np.array(first + width))
    expected = [quad(lambda t, e=e: norm.cdf((e - first - width * t) / scale), 0, 1, limit=200)[0] for e in EDGES]
    assert_allclose(got, expected, atol=1e-7)


def test_a_point_image_has_the_distribution_function_itself():
    got = average_below(GaussianNoise(0.5), EDGES, np.array(0.1), np.array(0.1))
    assert_allclose(got, norm.cdf((EDGES - 0.1) / 0.5), atol=1e-15)


def test_without_noise_an_image_covers_its_interval_uniformly():
    # [-0.6, 0.4] has 0.4 below -0.2 and 0.9 below 0.3, in either direction.
    for first, last in ((-0.6, 0.4), (0.4, -0.6)):
        assert_allclose(average_below(NoNoise(), EDGES, np.array(first), np.array(last)), [0, 0.4, 0.9, 1], atol=1e-12)


def test_a_point_on_an_edge_belongs_to_the_cell_on_its_right():
    below = average_below(NoNoise(), EDGES, np.array([[0.3]]), np.array([[0.3]]))[0]
    assert rows(below)[0].tolist() == [[0.0, 0.0, 1.0]]


def test_lattice_noise_is_a_mixture_of_shifts():
    law = LatticeNoise(np.array([0.25, 0.5, 0.25]), origin=-0.3, spacing=0.3)
    shifted = [average_below(NoNoise(), EDGES, np.array(0.1 + r), np.array(0.7 + r)) for r in (-0.3, 0.0, 0.3)]
    expected = 0.25 * shifted[0] + 0.5 * shifted[1] + 0.25 * shifted[2]
    assert_allclose(average_below(law, EDGES, np.array(0.1), np.array(0.7)), expected, atol=1e-12)


def test_subcells_share_ends_and_cover_their_cell():
    ends = subdivide(EDGES, 4)
    assert_allclose(ends[:, 0], EDGES[:-1])
    assert_allclose(ends[:, -1], EDGES[1:])
    assert_allclose(np.diff(ends, axis=1), np.diff(EDGES)[:, None].repeat(4, axis=1) / 4)


def test_batches_are_all_draws_with_replacement():
    shares, probabilities = batches(3, 2)
    drawn = {}
    for i in range(3):
        for j in range(3):
            share = tuple((np.eye(3)[i] + np.eye(3)[j]) / 2)
            drawn[share] = drawn.get(share, 0.0) + 1 / 9
    assert {tuple(s): pytest.approx(p) for s, p in zip(shares, probabilities, strict=True)} == drawn


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_convolution_agrees_with_enumeration(batch):
    slopes, offsets = np.array([0.3, 0.8, 1.5, 1.1, 0.6]), np.array([0.2, -0.4, 0.7, 0.0, -0.5])

    def gradients(x):
        return x[..., None] * slopes + offsets

    edges = np.linspace(-1, 1, 17)
    exact, _ = enumerated(gradients, edges, 0.5, batch, affine=True)
    near, notes = convolved(gradients, edges, 0.5, batch)
    assert np.abs(exact - near).max() < 4e-3
    assert "lattice" in notes[0]
    bent, _ = enumerated(gradients, edges, 0.5, batch, affine=False)
    assert_allclose(bent, exact, atol=1e-7)


def test_zeros_tell_minima_from_maxima():
    assert_allclose(zeros(np.sin, -4, 7, rising=True), [0.0, 2 * np.pi], atol=1e-12)
    assert_allclose(zeros(np.sin, -4, 7, rising=False), [-np.pi, np.pi], atol=1e-12)
