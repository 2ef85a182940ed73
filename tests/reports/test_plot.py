"""Plots show the numbers of their results: what was drawn is read back from the axes."""

import io
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from scipy.special import ndtr

from descentcast.errors import ArgumentError
from descentcast.forecasts import forecast, minima
from descentcast.kernels import Evidence, TransitionKernel
from descentcast.reports import plot, plot_landing
from descentcast.reports._fan import _depth


@pytest.fixture(scope="module")
def kernel():
    edges = np.linspace(-1.6, 1.6, 81)
    x = (edges[:-1] + edges[1:]) / 2
    below = ndtr((edges - (x - 0.15 * (x**3 - x))[:, None]) / 0.15)
    evidence = Evidence((x < 0).astype(float), np.where(x < 0, "visited", "extrapolated"), np.ones(80))
    return TransitionKernel(edges, np.diff(below), np.column_stack([below[:, 0], 1 - below[:, -1]]), evidence)


def png(ax):
    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png")
    return buffer.getvalue()


def panels(ax):
    return [child for child in ax.child_axes if child.lines]


def test_fan_charts_hold_median_basins_and_landing(kernel):
    seen = replace(kernel, evidence=Evidence.uniform("exact", 80))
    ahead = forecast(seen, [-0.7, 0.1, 0.7], steps=20)
    ax = plot(ahead)
    assert len(panels(ax)) == 3
    for i, panel in enumerate(panels(ax)):
        assert_allclose(panel.lines[0].get_ydata(), ahead.quantiles(0.5)[i, :, 0])
        assert_allclose(sorted(line.get_ydata()[0] for line in panel.lines[2:]), ahead.basins.position)
        texts = [text.get_text() for text in panel.texts]
        rows = ahead.landing[ahead.landing["start"] == ahead.starts[i]]
        assert {f"{p:.0%}" for p in rows.dropna(subset="position")["probability"]} <= set(texts)
    assert png(ax).startswith(b"\x89PNG")


def test_unknown_mass_is_written_above_its_panel(kernel):
    ahead = forecast(kernel, [0.8], steps=20)
    texts = " ".join(text.get_text() for panel in panels(plot(ahead)) for text in panel.texts)
    assert "nowhere seen" in texts


def test_regions_of_a_forecast_hold_their_mass_and_leave_the_gap_open(kernel):
    ahead = forecast(kernel, [0.0], steps=60)
    depth, density = _depth(ahead.marginals[0], 0), ahead.density[0] / ahead.density[0].sum(axis=1, keepdims=True)
    for level in (0.5, 0.9):
        held = np.where(depth[20:] <= level, density[20:], 0).sum(axis=1)
        assert_allclose(held, level, atol=0.06)
    gap = np.abs(kernel.centres) < 0.1
    assert (depth[-1, gap] > 0.9).all()


def test_many_starts_are_thinned_and_several_coordinates_get_a_row_each(kernel):
    many = plot(forecast(kernel, np.linspace(-1, 1, 57), steps=3))
    assert len(panels(many)) == 24
    assert "24 of 57 starts" in many.get_title(loc="left")
    two = plot(forecast((kernel, replace(kernel, name="y")), [[0.1, -0.5], [0.3, 0.9]], steps=3))
    assert [panel.get_ylabel() for panel in panels(two)] == ["x", "", "y", ""]


def test_heat_map_has_the_density_and_the_evidence(kernel):
    ax = plot(kernel)
    assert_allclose(ax.collections[0].get_array().reshape(80, 80), (kernel.matrix / kernel.widths).T)
    strip = next(child for child in ax.child_axes if child.patches)
    assert len({bar.get_facecolor() for bar in strip.patches}) == 2
    assert len(strip.lines[0].get_xdata()) == 40
    assert [t.get_text() for t in ax.get_legend().get_texts()][:2] == ["visited", "extrapolated"]
    assert png(ax).startswith(b"\x89PNG")


def test_basins_are_marked_on_the_potential(kernel):
    found = minima(kernel)
    ax = plot(found)
    assert_allclose(ax.lines[0].get_ydata(), found.potential)
    assert [line.get_xdata()[0] for line in ax.lines[1:]] == found.position.tolist()
    assert "no run has been there" in ax.texts[1].get_text()
    assert png(ax).startswith(b"\x89PNG")


def test_landings_stand_side_by_side(kernel):
    starts = [0.3, -0.3]
    tables = {
        "model": forecast(replace(kernel, evidence=Evidence.uniform("exact", 80)), starts, 20).landing,
        "unaware": forecast(kernel, starts, 20).landing,
        "truth": pd.DataFrame(
            {"start": starts, "basin": "basin 1", "position": 1.0, "probability": [0.8, 0.1], "low": 0.05, "high": 0.9}
        ),
    }
    ax = plot_landing(tables)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["−0.3", "0.3"]
    right = tables["model"].query("basin == 'basin 1'").set_index("start")["probability"]
    assert_allclose(ax.lines[0].get_ydata(), [right[-0.3], right[0.3]])
    assert_allclose(ax.lines[1].get_ydata(), [0, 0])  # it has seen no run there
    left = plot_landing(tables, basin="basin 0")
    assert "basin 0" in left.get_ylabel()
    assert png(ax).startswith(b"\x89PNG")
    with pytest.raises(ArgumentError, match="basin == 'basin 9'"):
        plot_landing(tables, basin="basin 9")
    with pytest.raises(ArgumentError, match="lacks position"):
        plot_landing({"model": tables["model"].drop(columns="position")})
    with pytest.raises(ArgumentError, match="empty"):
        plot_landing({})


def test_given_axes_are_used_and_pyplot_knows_of_no_other(kernel):
    before = plt.get_fignums()
    ax = Figure().add_subplot()
    for result in (kernel, minima(kernel), forecast(kernel, [0.1], 2)):
        own = Figure().add_subplot()
        assert plot(result, ax=own) is own
        assert plot(result) is not own
    assert plot_landing({"model": forecast(kernel, [0.1], 2).landing}, ax=ax) is ax
    assert plt.get_fignums() == before


def test_other_results_are_refused():
    with pytest.raises(ArgumentError, match="result is a dict, must be a Forecast"):
        plot({})
