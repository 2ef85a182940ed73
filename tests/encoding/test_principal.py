"""Principal components: round trips, no correlation, agreement with scikit-learn, directions without variance."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from descentcast.encoding import PrincipalComponents
from descentcast.errors import ArgumentError


def cloud(seed, n=40, coordinates=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, coordinates)) @ rng.normal(size=(coordinates, coordinates)) * [1.0, 100.0, 0.01] + 5


@given(seed=st.integers(0, 1000))
def test_round_trips_and_no_correlation(seed):
    values = cloud(seed)
    components = PrincipalComponents.of(values)
    z = components.forward(values)
    np.testing.assert_allclose(components.inverse(z), values, rtol=1e-9, atol=1e-9)
    covariance = np.cov(z.T, bias=True)
    np.testing.assert_allclose(covariance, np.diag(3 * components.shares), atol=1e-9)
    assert not components.rest(values).any()
    low, high = components.box(values.min(axis=0), values.max(axis=0))
    assert (z >= low - 1e-9).all()
    assert (z <= high + 1e-9).all()


def test_they_are_those_of_scikit_learn():
    values = cloud(1)
    components = PrincipalComponents.of(values)
    theirs = PCA().fit(StandardScaler().fit_transform(values))
    np.testing.assert_allclose(np.abs(components.axes), np.abs(theirs.components_), atol=1e-9)
    np.testing.assert_allclose(components.shares, theirs.explained_variance_ratio_)
    assert (components.axes[np.arange(3), np.abs(components.axes).argmax(axis=1)] > 0).all()


def test_directions_without_variance_are_dropped_and_what_lies_off_is_the_rest():
    rng = np.random.default_rng(2)
    line = rng.normal(size=(30, 1)) * [1.0, -2.0, 0.0] + [0.0, 0.0, 7.0]
    components = PrincipalComponents.of(line)
    assert len(components) == 1
    off = line + [0.5, 1.0, 2.0]  # scaled, it stands at right angles to the line
    np.testing.assert_allclose(components.inverse(components.forward(off)) + components.rest(off), off, atol=1e-9)
    assert np.abs(components.rest(off)[:, 2] - 2).max() < 1e-9
    constant = PrincipalComponents.of(np.ones((5, 2)))
    assert len(constant) == 1
    np.testing.assert_allclose(constant.inverse(constant.forward([[1.0, 1.0]])), [[1.0, 1.0]])


def test_the_result_is_plain_and_bad_input_is_named():
    assert len(json.loads(json.dumps(PrincipalComponents.of(cloud(3)).to_dict()))["axes"]) == 3
    with pytest.raises(ArgumentError, match="values holds nan"):
        PrincipalComponents.of([[np.nan, 1.0]])
