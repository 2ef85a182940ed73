"""Transforms: round trips, Jacobians against differences, domains, masses."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from descentcast.encoding import Identity, Log, Logit, transform
from descentcast.errors import ArgumentError

ends = st.tuples(st.floats(-100, 100), st.floats(0.1, 100)).map(lambda e: (e[0], e[0] + e[1]))
transforms = st.one_of(
    st.just(Identity()), st.floats(-100, 100).map(lambda low: Log(low=low)), ends.map(lambda e: Logit(*e))
)


@given(which=transforms, z=st.lists(st.floats(-6, 6), min_size=1, max_size=8))
def test_round_trips(which, z):
    x = which.inverse(z)
    # x lost digits beside ends as large as 200, which is what z is off by, times its slope e^6 there.
    assert which.forward(x) == pytest.approx(z, abs=1e-8)
    assert which.inverse(which.forward(x)) == pytest.approx(x, rel=1e-12, abs=1e-12)
    assert which.holds(x).all()


@given(which=transforms, z=st.lists(st.floats(-3, 3), min_size=2, max_size=8, unique=True))
def test_forward_increases_with_the_slope_that_the_jacobian_says(which, z):
    x = which.inverse(np.sort(z))
    assert (np.diff(which.forward(x)) >= 0).all()
    step = 1e-4 * np.exp(-which.log_jacobian(x))
    slope = (which.forward(x + step) - which.forward(x - step)) / (2 * step)
    assert np.log(slope) == pytest.approx(which.log_jacobian(x), abs=1e-5)


@pytest.mark.parametrize("low", [0.0, 2.0])
def test_a_normal_logarithm_has_the_lognormal_density(low):
    law, which = stats.lognorm(s=0.7, loc=low), Log(low=low)
    x = law.ppf(np.linspace(0.05, 0.95, 10))
    density = stats.norm.logpdf(which.forward(x), scale=0.7) + which.log_jacobian(x)
    assert density == pytest.approx(law.logpdf(x))


def test_a_logistic_logit_has_the_uniform_density():
    which = Logit(low=-1.0, high=3.0)
    x = np.linspace(-0.9, 2.9, 10)
    density = stats.logistic.logpdf(which.forward(x)) + which.log_jacobian(x)
    assert density == pytest.approx(np.full(10, -np.log(4.0)))


@pytest.mark.parametrize(
    ("which", "x", "message"),
    [
        (Log(), [1.0, 0.0], r"x holds 0, must lie strictly in \(0, inf\)"),
        (Log(low=1.0), [0.5], r"x holds 0.5, must lie strictly in \(1, inf\)"),
        (Logit(), [0.5, 1.0], r"x holds 1, must lie strictly in \(0, 1\)"),
        (Identity(), [np.inf], "x holds inf"),
    ],
)
def test_values_outside_the_domain_are_named(which, x, message):
    for method in (which.forward, which.log_jacobian):
        with pytest.raises(ArgumentError, match=message):
            method(x)
    assert not which.holds(x).all()


def test_parameters_are_checked_and_names_resolved():
    with pytest.raises(ArgumentError, match="low == nan"):
        Log(low=np.nan)
    with pytest.raises(ArgumentError, match=r"low, high"):
        Logit(low=1.0, high=1.0)
    with pytest.raises(ArgumentError, match="transform == 'sqrt'"):
        transform("sqrt")
    given_one = Logit(high=100.0)
    assert transform(given_one) is given_one
    assert json.loads(json.dumps(given_one.to_dict())) == {"name": "logit", "low": 0.0, "high": 100.0}
