"""Results survive being cut short; tables and requirements are arithmetic on them."""

import json

import numpy as np
import pytest
from benchmarks.suite.chains import PRIOR
from benchmarks.suite.gates import required
from benchmarks.suite.store import Store, Unit
from benchmarks.suite.tables import LINEAR, markdown, mean_and_error, one_step_table, ratio, tables
from benchmarks.suite.work import PARTS, units


def one_step_result(bhattacharyya: float) -> dict:
    measures = {"bhattacharyya": bhattacharyya, "hellinger": 0.1, "w1": 0.2, "expected_excess": 0.3, "excess": 0.3}
    return {"300": {"4 views": measures}}


def test_a_line_cut_short_is_computed_again_and_spoils_no_other(tmp_path):
    store, units = Store(tmp_path), [Unit("one-step", "adapter", "quadratic", seed) for seed in range(3)]
    for unit in units:
        store.add(unit, "w", one_step_result(0.01))
    path = tmp_path / "one-step.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert store.done("one-step", "adapter", "w") == {("quadratic", 0), ("quadratic", 1)}
    store.add(units[2], "w", one_step_result(0.02))
    assert store.done("one-step", "adapter", "w") == {("quadratic", seed) for seed in range(3)}
    assert len(store.records("one-step")) == 3


def test_results_of_other_weights_neither_count_nor_show(tmp_path):
    store, unit = Store(tmp_path), Unit("one-step", "adapter", "quadratic", 0)
    store.add(unit, "old", one_step_result(0.5))
    store.add(unit, "new", one_step_result(0.01))
    assert store.done("one-step", "adapter", "newer") == set()
    assert [r["weights"] for r in store.records("one-step")] == ["new"]
    # A unit that is computed twice counts once: the later line.
    store.add(unit, "new", one_step_result(0.02))
    (record,) = store.records("one-step")
    assert record["values"]["300"]["4 views"]["bhattacharyya"] == 0.02


def test_going_back_to_weights_measured_before_shows_what_was_measured_last(tmp_path):
    store = Store(tmp_path)
    for weights in ("first", "second", "first"):
        store.add(Unit("one-step", "adapter", "quadratic", 0), weights, one_step_result(0.1))
    assert {r["weights"] for r in store.records("one-step")} == {"first"}


def test_the_standard_error_is_over_seeds():
    mean, error = mean_and_error({0: 1.0, 1: 2.0, 2: 3.0})
    assert (mean, error) == (2.0, pytest.approx(1 / np.sqrt(3)))
    assert np.isnan(mean_and_error({0: 1.0})[1])


def test_a_ratio_is_geometric_over_families_and_pairs_the_seeds():
    values = {
        ("m", "4 runs", "a"): {0: 0.2, 1: 0.4},
        (LINEAR, "4 runs", "a"): {0: 0.1, 1: 0.2, 2: 99.0},
        ("m", "4 runs", "b"): {0: 0.1, 1: 0.1},
        (LINEAR, "4 runs", "b"): {0: 0.8, 1: 0.8},
    }
    value, error, seeds = ratio(values, "m", "4 runs", ("a", "b", "c"))
    assert value == pytest.approx(np.sqrt(2 * 1 / 8))
    assert error == pytest.approx(0, abs=1e-12) or np.isnan(error)
    assert seeds == 2
    assert ratio(values, "other", "4 runs", ("a", "b")) is None


def test_the_jackknife_of_a_ratio_is_the_delta_method_for_many_seeds():
    rng = np.random.default_rng(0)
    ours, theirs = rng.gamma(4, size=400), rng.gamma(4, size=400)
    values = {
        ("m", "", "a"): dict(enumerate(ours)),
        (LINEAR, "", "a"): dict(enumerate(theirs)),
    }
    value, error, _ = ratio(values, "m", "", ("a",))
    spread = np.std(ours / ours.mean() - theirs / theirs.mean()) / np.sqrt(400)
    assert error == pytest.approx(value * spread, rel=0.02)


def test_a_table_says_over_how_many_seeds(tmp_path):
    store = Store(tmp_path)
    for family, seeds in (("quadratic", 3), ("double_well", 2)):
        for seed in range(seeds):
            store.add(Unit("one-step", "adapter", family, seed), "w", one_step_result(0.01))
    (row,) = one_step_table(store, "bhattacharyya", ("quadratic", "double_well", "one_neuron"))
    assert row["seeds"] == "2 to 3"
    assert row["one neuron"] == "-"
    assert row["quadratic"] == "0.010 ± 0.000"
    lines = markdown([row]).splitlines()
    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1


def test_requirements_say_what_is_missed_and_by_how_much(tmp_path):
    store = Store(tmp_path)
    store.add(Unit("one-step", "adapter", "quadratic", 0), "w", one_step_result(0.011))
    store.add(Unit("one-step", "adapter", "double_well", 0), "w", one_step_result(0.015))
    store.add(Unit("speed", "descent-small", "double_well", 0), "w", {"fit": 0.7, "read": 0.6})
    met = {row["figure"]: row["met"] for row in required(store)}
    assert met["Bhattacharyya, one step, 4 views, 300 values, quadratic"] == "yes"
    assert met["Bhattacharyya, one step, 4 views, 300 values, double_well"] == "no, +0.003"
    assert met["seconds of a whole kernel"] == "yes"


def test_nothing_computed_makes_empty_tables(tmp_path):
    found = tables(Store(tmp_path), "bhattacharyya")
    assert all(rows == [] for rows in found.values())
    json.dumps(found)


def test_every_model_gets_twenty_seeds_of_each_reporting_family():
    for part in ("one-step", "kernels", "losses"):
        frozen, trained = (units(part, model, None, None) for model in ("smollm2-frozen", "adapter"))
        seeds = {family: {u.seed for u in frozen if u.family == family} for family in PARTS[part].families}
        assert all(found == set(range(5 if family in PRIOR else 20)) for family, found in seeds.items())
        assert [(u.family, u.seed) for u in frozen] == [(u.family, u.seed) for u in trained]
    assert {u.seed for u in units("one-step", "adapter", ("quadratic",), None)} == set(range(20))
    assert {u.seed for u in units("one-step", "adapter", ("quadratic",), 3)} == {0, 1, 2}
