"""The paper's figures: series follow their laws, reading is aligned, pictures show what tables hold."""

import numpy as np
import pandas as pd
import pytest
from benchmarks.paper import drawing, ladder, minima, rows, scaling
from benchmarks.paper.reading import bins, by_bin, chain_distances, lengths_read, series_distances, written_law
from benchmarks.paper.series import SERIES, FiniteChain, Series, expected_of_counting, random_chain, two_states
from scipy.stats import kstest

from descentcast import scoring
from descentcast.encoding import View


@pytest.mark.parametrize("name", SERIES)
def test_a_run_follows_the_law_it_is_held_against(name):
    series = SERIES[name]
    values = series.draw(1500, np.random.default_rng(0))
    low, high = series.range(values)
    assert low <= values.min() <= values.max() <= high
    reached = [
        series.law(values[t : t + 1], np.array([low - 1, values[t + 1], high + 1]))[0, 0]
        for t in range(len(values) - 1)
    ]
    # The distribution function at what came is uniform, and independent from step to step.
    assert kstest(reached, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(reached[:-1], reached[1:])[0, 1]) < 0.08


@pytest.mark.parametrize("name", SERIES)
def test_a_law_given_digits_is_the_average_over_their_cell(name):
    series = SERIES[name]
    values = series.draw(300, np.random.default_rng(1))
    view = View(*series.range(values), 2)
    laws = written_law(series, values[:5], view)
    np.testing.assert_allclose(laws.sum(axis=1), 1)
    cells = view.encode(values[:5])
    rng = np.random.default_rng(2)
    inside = view.edges[cells] + np.diff(view.edges)[cells] * rng.random((3_000, 5))
    simulated = series.law(inside.ravel(), view.edges).reshape(3_000, 5, -1).mean(axis=0)
    assert scoring.total_variation(laws, simulated).max() < 0.02


def test_two_states_by_hand():
    chain = two_states(gap=0.2, share=0.75)
    np.testing.assert_allclose(chain.matrix, [[0.95, 0.05], [0.15, 0.85]])
    np.testing.assert_allclose(chain.stationary, [0.75, 0.25])
    assert chain.spectral_gap == pytest.approx(0.2)


def test_a_chain_moves_by_its_matrix():
    chain = random_chain(4, np.random.default_rng(3))
    np.testing.assert_allclose(chain.stationary @ chain.matrix, chain.stationary, atol=1e-12)
    path = chain.draw(60_000, np.random.default_rng(4))
    counts = np.zeros((4, 4))
    np.add.at(counts, (path[:-1], path[1:]), 1)
    np.testing.assert_allclose(counts / counts.sum(axis=1, keepdims=True), chain.matrix, atol=0.02)
    np.testing.assert_allclose(np.bincount(path) / len(path), chain.stationary, atol=0.02)


def test_counting_by_hand_knows_no_later_step():
    path = np.array([0, 1, 0, 0, 1])
    laws = two_states(0.5, 0.5).counted(path, np.array([0, 2, 3]))
    # After 0: nothing is known of 0. After 0 1 0: 0 went to 1. After 0 1 0 0: it also went to 0.
    np.testing.assert_allclose(laws, [[0.5, 0.5], [0, 1], [0.5, 0.5]])


def test_what_is_expected_of_counting_is_what_counting_does():
    lengths, found = np.arange(300, 401, 20), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        chain = FiniteChain(rng.dirichlet(5 * np.ones(3), size=3))
        path = chain.draw(401, rng)
        laws = chain.counted(path, lengths - 1)
        found.append(scoring.bhattacharyya(laws, chain.matrix[path[lengths - 1]]).mean())
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(expected_of_counting(3, lengths).mean(), abs=3 * error)


def test_a_model_that_knows_the_rows_is_at_no_distance(fake_model):
    model = type(fake_model)(digits=1, sd=1.5)
    chain = FiniteChain(np.stack([model.law(code) for code in range(10)]))
    path = chain.draw(40, np.random.default_rng(5))
    lengths = np.array([10, 25, 40])
    assert chain_distances(model, chain, path, lengths, digits=1).max() < 1e-4
    # One step off, it is not: what is read belongs to the row of the last value.
    other = FiniteChain(np.roll(chain.matrix, 3, axis=0))
    assert chain_distances(model, other, path, lengths, digits=1).min() > 0.1


class ReadCodes(Series):
    """A series whose law is that of a fake model on its codes."""

    def law(self, values, edges):
        return np.stack([self.scale.law(int(code)) for code in np.clip(values, 0, 99.9)])


def test_densities_of_a_series_are_held_against_the_law_of_the_last_value(fake_model):
    series = ReadCodes("codes", None, None, 0.0, fake_model, (0.0, 100.0))
    values = np.random.default_rng(6).uniform(20, 80, size=30)
    assert series_distances(fake_model, series, values, np.array([10, 20, 30])).max() < 1e-3
    assert series_distances(fake_model, series, values[::-1], np.array([10])).max() < 1e-3


def test_states_written_in_two_digits_are_read_as_the_nearest(fake_model):
    class Certain(type(fake_model)):
        """Says that the state stays."""

        def law(self, code):
            return np.eye(100)[code] * (1 - 1e-9) + 1e-11

    chain = FiniteChain(np.eye(4) * 0.97 + 0.01 * (1 - np.eye(4)))
    path = np.array([0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2, 3])
    found = chain_distances(Certain(), chain, path, np.arange(9, 13), digits=2)
    np.testing.assert_allclose(found, -0.5 * np.log(0.97), atol=1e-3)


@pytest.mark.parametrize("longest", [100, 600, 1000])
def test_every_bin_is_read_and_averages_what_is_in_it(longest):
    edges, lengths = bins(longest), lengths_read(longest)
    assert edges[0] == lengths[0] == 10
    assert edges[-1] == lengths[-1] == longest
    assert np.diff(np.log(edges)).min() > 0.3
    found = by_bin(lengths, 1.0 / lengths, longest)
    assert len(found) == len(edges) - 1
    # A power law stays one: bins are narrow.
    for row in found:
        assert row["distance"] == pytest.approx(1 / row["length"], rel=0.03)


def test_rows_are_kept_once_and_a_unit_is_known_by_all_its_columns(tmp_path):
    table = rows.Rows(tmp_path / "deep" / "a.csv", ("model", "seed"))
    assert not table.holds(model="m", seed=0)
    table.add({"model": "m", "seed": 0}, [{"distance": 0.25}, {"distance": 0.5}])
    table.add({"model": "m", "seed": 1}, [{"distance": 1.0}])
    assert table.holds(model="m", seed=1)
    assert not table.holds(model="n", seed=1)
    assert table.table()["distance"].tolist() == [0.25, 0.5, 1.0]


def power_law_table() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"model": model, "weights": "w", "family": family, "seed": seed, "length": n, "distance": (1 + seed) / n**a}
            for model, a in (("descent-small", 0.5), ("counting", 1.0))
            for family in ("iid Gaussian", "4-state chain")
            for seed in range(3)
            for n in (10.0, 30.0, 100.0, 300.0)
        ]
    ).assign(seconds=1.0)


def test_laws_of_a_table_are_its_power_laws():
    laws = scaling.fitted(power_law_table())
    assert len(laws) == 4
    assert laws["seeds"].eq(3).all()
    for _, law in laws.iterrows():
        assert law["exponent"] == pytest.approx(-1.0 if law["model"] == "counting" else -0.5)
    assert set(laws["published"]) == {-0.83, -0.48}


def test_the_laws_that_are_kept_are_those_of_the_rows_that_are_kept():
    kept = pd.read_csv(rows.RESULTS / "scaling-laws.csv")
    again = scaling.fitted(scaling.ROWS.table())
    assert kept["family"].tolist() == again["family"].tolist()
    for column in ("exponent", "low", "high", "at_the_longest"):
        np.testing.assert_allclose(kept[column], again[column], rtol=2e-3, atol=2e-3)


def test_pictures_show_every_family_and_model(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "PICTURES", tmp_path)
    table = power_law_table()
    figure = drawing.scaling(table, scaling.fitted(table), scaling.PUBLISHED, scaling.CHAINS)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["iid Gaussian", "4-state chain"]
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert sum("\N{MINUS SIGN}0.50" in text for text in texts) == 2
    assert drawing.saved(figure, "a").stat().st_size > 0

    gaps = pd.DataFrame({"model": "counting", "gap": [0.1, 0.5, 0.1, 0.5], "distance": [0.2, 0.1, 0.3, 0.2]})
    (ax,) = drawing.spectral_gaps(gaps, 150, 300).axes
    assert {"counting", "theory of counting"} <= set(ax.get_legend_handles_labels()[1])

    steps = pd.DataFrame(
        {"model": ["descent-small", "classical"], "problem": "double_well", "estimator": ["4 views", "local-linear"]}
    ).assign(distance=[0.1, 0.2], seconds=1.0)
    (ax,) = drawing.ladder(steps).axes
    assert ax.get_title() == "double well"
    assert "local-linear" in ax.get_legend_handles_labels()[1]


def test_the_ladder_compares_models_on_the_same_runs():
    table = pd.DataFrame(
        {"model": ["a", "a", "b", "a"], "problem": ["p", "p", "p", "q"], "seed": [0, 1, 1, 5], "distance": 1.0}
    )
    kept = ladder.paired(table)
    assert kept[["model", "problem", "seed"]].to_numpy().tolist() == [["a", "p", 1], ["b", "p", 1], ["a", "q", 5]]


def test_wrong_minima_are_crossed_out_where_the_truth_is_certain(tmp_path):
    truth = np.array([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
    law = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.1, 0.9]])
    about = drawing.Landings(np.zeros((1, 5, 2)), (-1.0, 1.0), ("x", "y"), truth, {"m": law})
    _, ax = drawing.landings({"p": about}, ["m"]).axes
    (crosses,) = (line for line in ax.lines if line.get_marker() == "x")
    # Start 1 of a grid of 2 by 2, the second coordinate running fastest: (-1, 1).
    np.testing.assert_allclose(crosses.get_xydata(), [[-1, 1]])
    assert any("67%" in text.get_text() for text in ax.texts)


def test_minima_are_numbered_by_coordinate_and_predicted_by_the_true_kernels():
    wells = minima.wells()
    assert wells.minimum(np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 0.0]])).tolist() == [0, 2, 3, 4]
    starts = np.array([[-0.2, 0.5], [0.9, -0.9], [0.05, -0.5]])
    edges = np.linspace(-2, 2, 101)
    parts = (minima.dc.problems.DoubleWell(), minima.dc.problems.TiltedTripleWell())
    law = minima.predicted(tuple(p.kernel(edges) for p in parts), wells, starts)
    runs = 4000
    ends = wells.paths(np.repeat(starts, runs, axis=0), minima.STEPS, 0)[:, -1]
    reached = wells.minimum(ends).reshape(3, runs)
    truth = np.stack([(reached == m).mean(axis=1) for m in range(6)], axis=1)
    np.testing.assert_allclose(law.sum(axis=1), 1, atol=1e-6)
    assert scoring.total_variation(law / law.sum(axis=1, keepdims=True), truth).max() < 0.05


def test_the_principal_axis_of_deep_linear_runs_parts_the_branches():
    network = minima.deep_linear()
    axes = minima.axes_of(network.paths(network.recorded, minima.VALUES - 1, 0), network.turned)
    np.testing.assert_allclose(axes.T @ axes, np.eye(2), atol=1e-12)
    assert (axes[:, 0] > 0).all()
    branches = minima.dc.problems.ScalarDeepLinear().minima
    assert (network.minimum(branches @ axes) == (branches[:, 0] > 0)).all()


def test_pictures_that_are_kept_are_small():
    kept = sorted(rows.PICTURES.glob("*.png"))
    assert len(kept) >= 5
    assert all(path.stat().st_size < 150_000 for path in kept)
