"""The picture of a trial shows the numbers of its result."""

import numpy as np
import pytest

import descentcast as dc
from descentcast.errors import ArgumentError


def test_arms_and_effects_are_drawn_where_they_are():
    arms = {
        name: dc.problems.Quadratic(step_size=0.3, minimum=m).simulate([0.0, 0.2], 60, random_state=seed)
        for name, m, seed in (("a", 0.0, 1), ("b", 1.0, 2))
    }
    result = dc.Trial(arms, estimator=dc.LocalLinearKernel(), rope=0.1).run(200)
    left, right = dc.plot(result).child_axes
    effect = result.effects.iloc[0]
    drawn = [line.get_xdata() for line in right.lines]
    assert any(np.allclose(x, [effect["low"], effect["high"]]) for x in drawn if len(x) == 2)
    assert any(text.get_text() == "b \N{MINUS SIGN} a" for text in right.texts)
    assert any(effect["verdict"] in text.get_text() for text in right.texts)
    dots = [line.get_xdata() for line in left.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(np.sort(np.concatenate(dots)), np.sort(np.concatenate(list(result.real.values()))))
    assert right.get_xlabel() == "difference of means, equivalent within 0.1"
    assert left.get_xlim()[0] < result.arms["mean"].min() < result.arms["mean"].max() < left.get_xlim()[1]
    with pytest.raises(ArgumentError, match="TrialResult"):
        dc.plot(object())
