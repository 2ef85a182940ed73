"""Resampling against plain loops, and what it must never do: look ahead."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import descentcast as dc
from descentcast.errors import ArgumentError, DataError

gaps = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def irregular(gaps_, first=3):
    steps = first + np.concatenate([[0], np.cumsum(gaps_)])
    return dc.Trajectory(np.random.default_rng(0).normal(size=(len(steps), 2)), steps=steps, run="r")


@given(gaps, st.integers(1, 6))
def test_each_row_is_the_last_record_or_on_the_line_to_the_next(gaps_, every):
    run = irregular(gaps_)
    if run.steps[-1] - run.steps[0] < every:
        with pytest.raises(DataError, match=f"r: every == {every}, must be at most"):
            run.resampled(every)
        return
    records = dict(zip(run.steps.tolist(), run.values.tolist(), strict=True))
    held, line = run.resampled(every), run.resampled(every, "linear")
    assert held.steps.tolist() == line.steps.tolist() == list(range(3, int(run.steps[-1]) + 1, every))
    for step, value, straight in zip(held.steps.tolist(), held.values, line.values, strict=True):
        before = max(s for s in records if s <= step)
        assert value.tolist() == records[before]
        after = min((s for s in records if s > step), default=before)
        share = (step - before) / (after - before) if after > before else 0.0
        expected = (1 - share) * np.array(records[before]) + share * np.array(records[after])
        np.testing.assert_allclose(straight, expected, rtol=1e-12, atol=1e-12)
        if step in records:
            assert straight.tolist() == records[step], "to the last bit"
    made = sum(step not in records for step in held.steps.tolist())
    assert [f"{made} of {len(held)} rows" in note for note in held.notes] == ([True] if made else [])


@given(gaps, st.integers(1, 5), st.data())
def test_by_default_a_row_does_not_depend_on_what_is_recorded_later(gaps_, every, data):
    run = irregular([*gaps_, 5])
    now = data.draw(st.integers(3, int(run.steps[-1])))
    values = run.values.copy()
    values[run.steps > now] += 100
    other = dc.Trajectory(values, steps=run.steps)
    one, two = run.resampled(every), other.resampled(every)
    early = one.steps <= now
    assert one.values[early].tolist() == two.values[early].tolist()


def test_a_regular_run_stays_as_it_is_and_every_run_is_resampled():
    run = dc.Trajectory([1.0, 2.0, 3.0, 4.0], steps=[0, 5, 10, 15], arm="a", setting={"lr": 0.1}, diverged=20)
    again = run.resampled(5)
    assert again.to_dict() == run.to_dict()
    assert run.resampled(10).values.ravel().tolist() == [1, 3]
    both = dc.Trajectories((run, dc.Trajectory([1.0, 2.0], steps=[7, 17]))).resampled(5)
    assert [r.steps.tolist() for r in both] == [[0, 5, 10, 15], [7, 12, 17]]
    assert [r.stride for r in both] == [5, 5]
    assert both[0].arm == "a"


def test_bad_arguments_are_named():
    run = irregular([2, 3])
    with pytest.raises(ArgumentError, match="every == 0, must be at least 1"):
        run.resampled(0)
    with pytest.raises(ArgumentError, match="method == 'cubic'"):
        run.resampled(1, "cubic")  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="makes 1000000001 rows, must make at most"):
        dc.Trajectory([0.0, 1.0], steps=[0, 10**9]).resampled(1)
