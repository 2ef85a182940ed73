"""Pictures of tests, choices and calibration: what is marked is what the tables say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from descentcast.encoding import Identity
from descentcast.forecasts import Calibration
from descentcast.kernels import MarkovTest, ObservableChoice
from descentcast.reports import plot
from descentcast.reports._style import BLUE, PALE, VERMILION


def markov(departs):
    rows = [("k-step forecast", 4, 0.3, 0.1, 0.05), ("memory", 1, 0.01, 0.04, 0.6)]
    table = pd.DataFrame(
        [{"question": q, "lag": lag, "effect": e, "detectable": d, "p_adjusted": p} for q, lag, e, d, p in rows]
    ).assign(departs=[departs, False])
    return MarkovTest(table, 1.0, 1.0, "w", 19)


def choice():
    rows = [("a", "log", 2, 1.0, 0.0, True), ("b", "identity", 1, 2.0, 0.5, False)]
    names = ("coordinate", "transform", "stride", "gain", "memory", "markov")
    table = pd.DataFrame([dict(zip(names, row, strict=True)) for row in rows]).assign(memory_error=0.01)
    return ObservableChoice(table, "a", Identity(), 2, ())


def calibrated(error=0.05):
    table = pd.DataFrame(
        [
            {"coordinate": "w", "lag": lag, "level": level, "coverage": level - 0.01 * lag, "standard_error": error}
            for lag in (1, 10)
            for level in (0.9, 0.5)
        ]
    )
    verdicts = pd.DataFrame(
        [
            {"coordinate": "w", "lag": 1, "verdict": "calibrated"},
            {"coordinate": "w", "lag": 10, "verdict": "too narrow"},
        ]
    )
    return Calibration(table, pd.DataFrame(), verdicts, {}, 6, ())


@pytest.mark.parametrize(("departs", "colour"), [(True, VERMILION), (False, BLUE)])
def test_a_departure_is_marked_at_its_cost(departs, colour):
    ax = plot(markov(departs))
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == [0.3, 0.01]
    assert [dot.get_color() for dot in dots] == [colour, BLUE]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["k-step forecast, lag 4", "memory"]
    assert ("nothing speaks against" in ax.get_title(loc="left")) is not departs
    assert {t.get_text() for t in ax.texts} == {"p 0.05", "p 0.6"}


def test_observables_stand_in_their_order_with_what_is_left_of_memory():
    ax = plot(choice())
    bars = [b for b in ax.patches if b.get_width() > 0]
    assert [b.get_width() for b in bars] == [1.0, 2.0]
    assert [b.get_facecolor()[:3] for b in bars] == [matplotlib_rgb(BLUE), matplotlib_rgb(PALE)]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["log a, every 2", "b"]
    low, high = ax.get_ylim()
    assert low > high  # the best on top


def matplotlib_rgb(colour):
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_coverage_is_drawn_against_its_nominal_value():
    ax = plot(calibrated())
    drawn = {c.get_label(): c for c in ax.containers}
    assert set(drawn) == {"1 step: calibrated", "10 steps: too narrow"}
    line = drawn["10 steps: too narrow"].lines[0]
    assert line.get_ydata().tolist() == pytest.approx([0.4, 0.8])
    assert np.abs(line.get_xdata() - [0.5, 0.9]).max() < 0.02
    # Bars end where probabilities do, and there are none where nothing is known of the error.
    plot(calibrated(error=0.9)).figure.canvas.draw()
    plot(calibrated(error=np.nan)).figure.canvas.draw()


def test_given_axes_are_used():
    for result in (markov(True), choice(), calibrated()):
        own = Figure().add_subplot()
        assert plot(result, ax=own) is own
        own.figure.canvas.draw()
