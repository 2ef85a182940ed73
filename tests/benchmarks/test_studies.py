"""The real studies: what is scored, against closed forms; which runs there are, against the seeds that are fixed."""

import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks.suite import studies_data as data
from benchmarks.suite import studies_laws as laws
from benchmarks.suite.store import Store
from benchmarks.suite.studies_laws import Law
from benchmarks.suite.studies_page import filled, titles
from benchmarks.suite.studies_tables import tables, with_error
from benchmarks.suite.studies_work import Landed, basin_of, beyond, by_start, grid, sets, worse
from scipy.stats import norm

import descentcast as dc

STUDIES = ("digits_mlp", "digits_cnn", "transformer", "minimum", "mixture", "step_size", "step_size_linear")
COLUMN = {
    "digits_mlp": "validation:0",
    "minimum": "a",
    "mixture": "means[0]",
    "step_size_linear": "error",
    "transformer": "val_loss",
}


def test_crps_of_a_gaussian_is_its_closed_form():
    mean, deviation, y = np.array([0.0, 0.5]), np.array([0.3, 0.2]), np.array([0.4, 0.1])
    z = (y - mean) / deviation
    closed = deviation * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert laws.gaussian(mean, deviation).crps(y, -5, 5) == pytest.approx(closed, rel=2e-3)


def test_the_stated_law_is_that_of_the_quantiles():
    """Of a stack the law holds what is not known of the kernel; alone it is narrower."""
    runs = dc.problems.DoubleWell(step_size=0.15).simulate([0.5, -0.5], 60, random_state=0)
    result = dc.forecast(dc.StackedKernel([dc.LocalLinearKernel(), dc.KernelDensityKernel()]).fit(runs), [0.2], 10)
    levels = [0.05, 0.5, 0.95]
    law = laws.of_forecast(result, log=False)
    assert law.below(np.asarray(result.quantiles(levels))[:, -1])[0] == pytest.approx(levels, abs=1e-6)
    alone = laws.of_forecast(result, log=False, alone=True)
    assert alone.masses[0, 1:-1] == pytest.approx(np.asarray(result.density)[0, -1])
    assert law.within([(-9.0, 0.0), (0.0, 9.0)]).sum() == pytest.approx(1)
    assert law.within([(-9.0, 0.0), (0.0, 9.0)])[0, 1] == pytest.approx(np.diff(law.below(np.array([0.0, 9.0])))[0, 0])


def test_what_lies_below_zero_is_out_of_the_way_in_logarithms():
    kernel = dc.TransitionKernel([-1.0, 0.0, 1.0, 2.0], np.full((3, 3), 1 / 3), np.zeros((3, 2)))
    law = laws.of_forecast(dc.forecast(kernel, [0.5], 1), log=True)
    assert law.below(np.log([0.5, 1.0, 2.0]))[0, 1:] == pytest.approx([2 / 3, 1.0])
    assert law.below(np.array([-30.0, -27.0]))[0] == pytest.approx([0.0, 1 / 3], abs=0.01)


def test_crps_is_that_of_the_library_inside_the_grid():
    masses = np.array([[0.0, 0.2, 0.5, 0.3, 0.0]])
    edges = np.array([0.0, 1.0, 1.5, 3.0])
    ours = Law(masses, edges[None]).crps(np.array([1.2]), 0.0, 3.0)
    assert ours == pytest.approx(dc.scoring.crps(masses[:, 1:-1], edges, [1.2]), rel=2e-3)


def test_what_diverged_counts_as_the_end_where_values_are_censored():
    # Half of the mass is at infinity: F = 1/2 from 0 to 10, so the CRPS of an infinite value is the integral of 1/4.
    law = Law(np.array([[0.0, 0.5, 0.5]]), np.array([[-1e-9, 0.0]]))
    assert law.crps(np.array([np.inf]), 0.0, 10.0) == pytest.approx([2.5], rel=2e-3)


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    law = laws.gaussian(np.zeros(4000), np.ones(4000))
    assert law.covered(rng.normal(size=4000)).mean() == pytest.approx(0.9, abs=0.015)
    assert law.covered(np.array([1.64, 1.65, -1.64, -1.65] * 1000))[:4].tolist() == [True, False, True, False]


def test_one_more_run_varies_by_more_than_the_given_ones():
    # Two runs at -1 and 1: standard deviation sqrt(2), and sqrt(3 / 2) times that for one more.
    law = laws.mean_of(np.array([-1.0, 1.0]), 1)
    assert law.below(np.array([[np.sqrt(3.0)]]))[0, 0] == pytest.approx(norm.cdf(1), abs=1e-3)


def test_a_random_walk_spreads_with_the_root_of_the_steps():
    law = laws.last_value(np.array([2.0]), [np.array([0.0, 0.1, 0.0, -0.1])], 16)
    assert law.below(np.array([[2.4]]))[0, 0] == pytest.approx(norm.cdf(1), abs=1e-3)


def test_a_power_law_is_continued():
    curve = np.log(0.2 + 2.0 * np.arange(1, 61) ** -0.8)
    mean, deviation = laws.power_law_at([curve[:30]], 59)
    assert mean == pytest.approx(curve[-1], abs=1e-3)
    assert deviation < 1e-3


def test_divergence_is_ending_worse_than_the_start():
    law = Law(np.array([[0.1, 0.2, 0.4, 0.2, 0.1]]), np.array([[-2.0, -1.0, 1.0, 2.0]]))
    start = np.array([-1.0])
    assert beyond(law, start, linear=True) == pytest.approx([0.6])
    assert beyond(law, start, linear=False) == pytest.approx([0.7])
    assert worse(np.array([1.5, -0.5, np.inf]), np.array([-1.0, -1.0, 1.0]), linear=True).tolist() == [
        True,
        False,
        True,
    ]


def test_errors_hold_sets_and_runs():
    # Means 1 and 3 of two sets: variance 2 / 2 over sets; the three runs do not differ.
    assert with_error(np.array([[1.0, 1.0, 1.0], [3.0, 3.0, 3.0]]), 2) == "2.00 ± 1.00"
    # Runs 0 and 4, two sets that agree: variance 8 / 2 over runs.
    assert with_error(np.array([[0.0, 4.0], [0.0, 4.0]]), 2) == "2.00 ± 2.00"


@pytest.mark.parametrize("study", STUDIES)
def test_no_seed_has_two_roles(study):
    fixed = data.seeds(study)
    every = [seed for role in data.ROLES for seed in fixed[role]]
    assert len(every) == len(set(every))
    assert len(fixed["report"]) >= 20


@pytest.mark.parametrize("study", sorted(COLUMN))
def test_every_run_that_is_fixed_was_recorded(study):
    wanted = {case.run for case in data.cases(study)}
    found = {run.run for role in data.ROLES for run in data.runs(study, role, [COLUMN[study]])}
    assert found == wanted
    assert data.about(study)["seconds"] > 0


def test_sets_are_disjoint_and_of_one_seed_in_studies_of_landings():
    few = sets(data.runs("mixture", "given", ["means[0]"]), 4)
    assert len(few) == 10
    assert all(len({run.run.split()[1] for run in one}) == 1 for one in few)
    assert [run.values[0, 0] for run in few[3]] == [2.0, 3.5, 5.0, 6.5]


def test_basins_are_counted_from_their_borders():
    assert basin_of("minimum", np.array([-0.1, 0.0, 7.0])).tolist() == [0, 1, 1]
    assert basin_of("mixture", np.array([[1.5, 2.9], [4.9, 4.91]])).tolist() == [[0, 1], [1, 2]]


def test_landings_are_held_against_shares_of_real_runs():
    # From one start three of four runs end in basin 1; the forecast gives 1/2 to each and 0 to nowhere.
    real = Landed(np.array([0.0]), np.zeros((1, 4)), np.array([[1, 1, 1, 0]]), 2)
    scores = real.scores({"coin": np.array([[0.4, 0.6, 0.0]]), "nowhere": np.array([[0.25, 0.25, 0.5]])})
    assert scores["coin"]["total_variation"] == pytest.approx([0.15])
    assert scores["coin"]["right"] == pytest.approx([0.75])
    assert scores["nowhere"]["total_variation"] == pytest.approx([0.5])


def test_scores_of_landings_are_means_by_start():
    found = by_start({"m": {"crps": [1.0, 3.0, 5.0, 5.0], "covered": [0, 1, 1, 1]}}, 2)
    assert found == {"m": {"crps": [2.0, 5.0], "covered": [0.5, 1.0]}}


def test_a_grid_is_widened_by_whole_cells():
    runs = dc.Trajectories.from_arrays([np.linspace(0, 1, 50) + 0.01 * np.random.default_rng(0).normal(size=50)])
    usual = dc.kernels.default_edges(runs)[0]
    wider = grid(runs, np.array([-3.0, 0.5, 4.0]))
    assert wider[0] <= -3.0
    assert wider[-1] > 4.0
    assert np.diff(wider) == pytest.approx(np.diff(usual)[0])
    assert np.abs(wider[:, None] - usual).min(axis=0).max() < 1e-9
    assert grid(runs, np.array([0.5])) == pytest.approx(usual)


def test_a_table_is_put_between_its_markers_and_nowhere_else():
    end = "<!-- end of table -->\n"
    page = f"before\n<!-- table: a -->\nold\n{end}\nbetween 0.5\n<!-- table: b -->\n{end}"
    new = filled(page, {"a": [{"x": 1, "y": "2 ± 1"}], "b": [{"z": 3}], "c": []})
    assert titles(new) == ["a", "b"]
    assert "old" not in new
    assert "| 1 | 2 ± 1 |" in new
    assert new.startswith("before\n")
    assert "\nbetween 0.5\n" in new
    assert filled(new, {"a": [{"x": 1, "y": "2 ± 1"}], "b": [{"z": 3}]}) == new
    with pytest.raises(KeyError):
        filled(page, {"a": []})


def test_the_page_of_the_studies_holds_what_was_computed():
    """`python benchmarks/studies.py --table --markdown docs/studies.md` writes it."""
    page = (Path(data.BENCHMARKS).parent / "docs" / "studies.md").read_text(encoding="utf-8")
    found = tables(Store(data.BENCHMARKS / "results" / "studies"))
    assert len(titles(page)) >= 8
    assert filled(page, found) == page


def test_no_figure_of_the_studies_is_written_by_hand():
    """Outside the tables no score appears: only what the seeds, the data and the rule fix."""
    page = (Path(data.BENCHMARKS).parent / "docs" / "studies.md").read_text(encoding="utf-8")
    prose = re.sub(r"<!-- table:.*?<!-- end of table -->|```.*?```|`[^`]*`|\([^)]*\)", "", page, flags=re.DOTALL)
    assert set(re.findall(r"\d*\.\d{2,}", prose)) <= {"0.497"}
