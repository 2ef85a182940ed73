"""Least squares with the form of the drift given: with exact data it is the problem's own kernel."""

import numpy as np
import pytest
from benchmarks.landings import FORMS, fitted
from benchmarks.suite.chains import REPORTING


@pytest.mark.parametrize("family", list(FORMS))
def test_every_form_but_a_polynomial_for_a_wave_holds_the_true_drift(family):
    chain = REPORTING[family]
    edges, x = np.linspace(-1.6, 1.6, 101), np.linspace(-1.6, 1.6, 400)
    y = x - chain.problem.step_size * chain.problem.gradient(x)
    spread = float(chain.spread(np.zeros(1))[0])
    exact = chain.problem.kernel(edges).matrix
    off = {
        name: np.abs(fitted(basis, x, y, edges, spread).matrix - exact).max() for name, basis in FORMS[family].items()
    }
    assert max(value for name, value in off.items() if name != "degree 7") < 1e-4
    assert off.get("degree 7", 1.0) > 1e-2  # a polynomial is no wave
