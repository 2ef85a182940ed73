"""Runs that go on where they stopped, tables and claims by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from descentcast.benchmark import _run, by_problem, claims, load_suite, read_results, run_benchmark, summarised
from descentcast.benchmark._files import append_results, write_whole
from descentcast.benchmark._names import MEMBERS
from descentcast.errors import ArgumentError, DataError

CHEAP = ("local-linear", "counts")


@pytest.fixture
def small(monkeypatch):
    """Return a suite of two problems at one length, judged by few runs."""
    suite = load_suite()
    problems = tuple(p for p in suite.problems if p.name in ("double_well_gaussian", "interpolating_regression"))
    judging = suite.judging | {"simulated": 50, "pairs": 50, "starts": 3}
    found = replace(suite, problems=problems, contexts={30: (1, 30)}, judging=judging)
    monkeypatch.setattr(_run, "load_suite", lambda: found)
    _run._truth.cache_clear()
    yield found
    _run._truth.cache_clear()


def test_a_stopped_run_goes_on_and_computes_nothing_twice(tmp_path, small, monkeypatch):
    told = []
    records = run_benchmark(tmp_path, CHEAP, seeds=1, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    assert len(records) == 2 * 6
    assert {r["estimator"] for r in records} >= {*CHEAP, "true kernel", "nearest minimum"}
    path = tmp_path / "kernels.jsonl"
    whole = path.read_text()
    # Killed in the middle of the last line of what was asked for once more with another estimator.
    lines = whole.splitlines(keepends=True)
    path.write_text("".join(lines[:7]) + lines[7][:20])
    calls = []
    measure = _run.measure
    monkeypatch.setattr(_run, "measure", lambda unit, views: calls.append(unit) or measure(unit, views))
    again = run_benchmark(tmp_path, CHEAP, seeds=1)
    (unit,) = calls
    assert unit.problem == small.problems[1].name
    assert len(unit.estimators) == 5  # one of six was there
    drop = ("seconds",)
    plain = lambda rs: sorted(json.dumps({k: v for k, v in r.items() if k not in drop}) for r in rs)  # noqa: E731
    assert plain(again) == plain(records)
    calls.clear()
    run_benchmark(tmp_path, CHEAP, seeds=1)
    assert calls == []
    assert len(run_benchmark(tmp_path, CHEAP, seeds=1, views=2)) == 12  # other views are other results
    assert len(calls) == 2


def test_results_of_another_suite_do_not_count(tmp_path, small, monkeypatch):
    run_benchmark(tmp_path, ["counts"], seeds=1)
    monkeypatch.setattr(_run, "load_suite", lambda: replace(small, digest="other"))
    run_benchmark(tmp_path, ["counts"], seeds=1)
    assert {r["suite"] for r in read_results(tmp_path / "kernels.jsonl")} == {"other", small.digest}


def test_the_same_seed_gives_the_same_figures(tmp_path, small):
    first, second = (run_benchmark(tmp_path / name, ["counts"], seeds=2) for name in "ab")
    for a, b in zip(first, second, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}
    own = [r["bhattacharyya"] for r in first if r["estimator"] == "counts"]
    assert len(set(own)) == 4  # two problems, two seeds


def test_the_floor_is_never_beaten_in_rows(tmp_path, small):
    records = run_benchmark(tmp_path, CHEAP, seeds=1)
    for problem in small.problems:
        own = {r["estimator"]: r for r in records if r["problem"] == problem.name}
        assert all(own["true kernel"]["bhattacharyya"] <= own[e]["bhattacharyya"] for e in (*CHEAP, "marginal"))
        assert own["nearest minimum"].get("landing") is None or problem.basins
        assert own["counts"]["landing_covered"] is None or 0 <= own["counts"]["landing_covered"] <= 1


def record(problem, estimator, seed, value, **more):
    return {
        "problem": problem, "length": 30, "seed": seed, "estimator": estimator, "bhattacharyya": value,
        "landing": value, "covered_1": 0.9, "covered_10": 0.9, "landing_covered": 0.9, "right_basin": 1.0,
    } | more  # fmt: skip


def test_averages_errors_and_ranks_by_hand():
    records = [
        record("a", "counts", 0, 0.1), record("a", "counts", 1, 0.3), record("b", "counts", 0, 0.4),
        record("b", "counts", 1, 0.4), record("a", "autoregressive", 0, 0.2), record("a", "autoregressive", 1, 0.2),
        record("b", "autoregressive", 0, 0.2), record("b", "autoregressive", 1, 0.2),
        record("a", "true kernel", 0, 0.0),
    ]  # fmt: skip
    table = summarised(records).set_index("estimator")
    assert table.index.tolist() == ["autoregressive", "counts", "true kernel"]
    counts = table.loc["counts"]
    assert counts["bhattacharyya"] == pytest.approx(0.3)
    # Variance over seeds 0.02 on a, 0 on b; over two seeds each, over two problems.
    assert counts["bhattacharyya_se"] == pytest.approx(np.sqrt(0.02 / 2) / 2)
    assert counts["landing_rank"] == pytest.approx((1 + 2 + 2 + 2) / 4)
    assert np.isnan(table.loc["true kernel", "landing_rank"])
    assert by_problem(records).query("problem == 'a' and estimator == 'counts'")["landing"].tolist() == [0.2]


def stack_records(own, best=0.1, **more):
    others = dict(zip(MEMBERS, (0.5, best, 0.4), strict=True))
    return [
        record(problem, name, seed, value, **(more if name == "stack" else {}))
        for problem in ("a", "b")
        for seed in (0, 1)
        for name, value in {**others, "stack": own[problem] + 0.001 * seed}.items()
    ]


def test_claims_by_hand():
    good = claims(stack_records({"a": 0.08, "b": 0.111}))
    assert [c.met for c in good] == [True] * len(good)
    # On b by more than 10 % + 0.002 of 0.1, though the average is the lowest.
    bad = {c.claim: c for c in claims(stack_records({"a": 0.02, "b": 0.113}))}
    assert [c.met for k, c in bad.items() if k.startswith("lowest")] == [True, True]
    (never, _) = (c for k, c in bad.items() if k.startswith("on no problem"))
    assert not never.met
    assert "1 of 2 problems: b 0.114 against 0.100" in never.measured
    worse = claims(stack_records({"a": 0.2, "b": 0.2}))
    assert not any(c.met for c in worse if c.claim.startswith("lowest"))
    wide = {c.claim: c.met for c in claims(stack_records({"a": 0.1, "b": 0.1}, covered_10=0.99, right_basin=0.94))}
    assert [met for claim, met in wide.items() if "10 steps" in claim or "right basin" in claim] == [False, False]
    assert claims([record("a", "counts", 0, 0.1)]) == []


def test_with_one_seed_a_tie_is_within_the_error_over_problems():
    """0.01 better than the best on one problem, 0.03 worse on the other: worse by 0.01 ± 0.02."""
    records = [r for r in stack_records({"a": 0.09, "b": 0.13}) if r["seed"] == 0]
    (lowest, *_) = claims(records)
    assert lowest.met
    assert "difference +0.0100 ± 0.0200, paired over problems" in lowest.measured


def test_a_cut_line_is_dropped_and_what_follows_it_kept(tmp_path):
    path = tmp_path / "sub" / "kernels.jsonl"
    assert read_results(path) == []
    append_results(path, [{"a": 1}])
    with path.open("a") as file:
        file.write('{"a": 2, "b"')
    append_results(path, [{"a": 3}])
    assert read_results(path) == [{"a": 1}, {"a": 3}]
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="cannot be read"):
        read_results(path)


def test_a_table_is_written_whole_or_not_at_all(tmp_path):
    assert write_whole(tmp_path / "t.csv", "a\n").read_text() == "a\n"
    with pytest.raises(DataError, match="cannot be written"):
        write_whole(tmp_path / "none" / "t.csv", "a\n")
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        append_results(blocked / "kernels.jsonl", [{}])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"estimators": ["magic"]}, "estimators == 'magic'"), ({"seeds": 0}, "seeds == 0"), ({"views": 0}, "views == 0"),
     ({"jobs": 0}, "jobs == 0")],
)  # fmt: skip
def test_bad_arguments_are_named_before_any_work(tmp_path, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        run_benchmark(tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []
