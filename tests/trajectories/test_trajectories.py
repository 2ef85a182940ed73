import copy
import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descentcast.errors import DataError
from descentcast.trajectories import Trajectories, Trajectory

values = st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=8)


def test_a_run_cannot_be_changed_from_either_side():
    given_ = np.array([1.0, 2.0])
    run = Trajectory(given_, setting=(setting := {"step": 0.1}))
    given_[0], setting["step"] = 9.0, 9.0
    assert run.values.ravel().tolist() == [1, 2]
    assert run.setting["step"] == 0.1
    with pytest.raises(ValueError, match="read-only"):
        run.values[0] = 5
    with pytest.raises(AttributeError):
        run.run = "other"


def test_names_and_steps_have_defaults():
    assert Trajectory([1, 2]).names == ("x",)
    assert Trajectory([[1, 2], [3, 4]]).names == ("x0", "x1")
    assert Trajectory([1, 2, 3]).steps.tolist() == [0, 1, 2]


def test_steps_may_be_whole_floats():
    steps = Trajectory([1, 2], steps=[0.0, 50.0]).steps
    assert (steps.dtype, steps.tolist()) == (np.int64, [0, 50])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda runs: pickle.loads(pickle.dumps(runs))])
def test_runs_survive_copying_and_pickling(copied):
    runs = Trajectories.from_arrays([[1.0, 0.1 + 0.2]], names=["w"], setting={"step": 0.1})
    assert copied(runs).to_dict() == runs.to_dict()


def test_stride_is_the_cadence_where_there_is_one():
    assert Trajectory([1, 2, 3]).stride == 1
    assert Trajectory([1, 2, 3], steps=[5, 15, 25]).stride == 10
    assert Trajectory([1, 2, 3], steps=[0, 1, 10]).stride is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [1.0]}, "1 recorded step"),
        ({"values": []}, "0 recorded step"),
        ({"values": [1.0, np.nan]}, r"value nan at step 1, coordinate 'x': must be finite"),
        ({"values": [[1.0, 2.0], [3.0, -np.inf]]}, r"value -inf at step 1, coordinate 'x1'"),
        ({"values": [1, np.nan], "steps": [0, 50], "names": ["loss"]}, r"value nan at step 50, coordinate 'loss'"),
        ({"values": ["a", "b"]}, "must be numbers"),
        ({"values": [[1.0], [2.0, 3.0]]}, "must be numbers"),
        ({"values": 1.0}, "have shape"),
        ({"values": np.zeros((2, 2, 2))}, "have shape"),
        ({"values": np.zeros((2, 0))}, "have shape"),
        ({"values": [1, 2], "names": ["a", "b"]}, "must be 1 different names"),
        ({"values": [[1, 2], [3, 4]], "names": ["a", "a"]}, "must be 2 different names"),
        ({"values": [1, 2], "steps": [3, 3]}, "strictly increasing"),
        ({"values": [1, 2], "steps": [0, 0.5]}, "integers of at most 2.53, they hold 0.5$"),
        ({"values": [1, 2], "steps": [0, np.nan]}, "they hold nan$"),
        ({"values": [1, 2], "steps": [0, np.inf]}, "they hold inf$"),
        ({"values": [1, 2], "steps": [0, 1e30]}, r"they hold 1e\+30$"),
        ({"values": [1, 2], "steps": ["a", "b"]}, "they hold 'a'$"),
        ({"values": [1, 2], "steps": [[1], [2, 3]]}, "not a ragged list$"),
        ({"values": [1, np.nan], "steps": [5, 1]}, "strictly increasing"),
        ({"values": [1, 2], "steps": np.array([5, 1], dtype=np.uint64)}, "strictly increasing"),
        ({"values": [1, 2], "steps": [1, 2, 3]}, "must be 2 strictly increasing"),
    ],
)
def test_a_bad_run_is_refused_by_name(arguments, message):
    with pytest.raises(DataError, match=rf"^seed 7: .*{message}"):
        Trajectory(run="seed 7", **arguments)


@given(st.lists(values, min_size=1, max_size=4))
def test_transitions_pair_neighbours_and_never_cross_runs(arrays):
    runs = Trajectories.from_arrays(arrays)
    before, after = runs.transitions(0)
    expected = [pair for array in arrays for pair in pairwise(array)]
    assert list(zip(before, after, strict=True)) == expected


@given(st.lists(values, min_size=1, max_size=4))
def test_runs_behave_as_a_sequence(arrays):
    runs = Trajectories.from_arrays(arrays)
    assert len(runs) == len(list(runs)) == len(arrays)
    assert [run.run for run in runs] == [f"run {i}" for i in range(len(arrays))]
    assert runs[-1].values.ravel().tolist() == arrays[-1]
    assert isinstance(runs[:1], Trajectories)


def test_one_array_is_one_run():
    assert len(Trajectories.from_arrays(np.arange(5.0))) == 1
    assert len(Trajectories.from_arrays(np.zeros((3, 5)))) == 3
    assert Trajectories.from_arrays(np.zeros((3, 5, 2))).names == ("x0", "x1")


def test_the_shared_setting_is_what_all_runs_agree_on():
    one = Trajectory([1, 2], setting={"step": 0.1, "batch": 8, "seed": 1})
    other = Trajectory([1, 2], setting={"step": 0.1, "batch": 16})
    assert dict(Trajectories((one, other)).setting) == {"step": 0.1}


def test_arrays_in_settings_agree_entry_by_entry():
    features, targets = np.eye(2), np.array([1.0, 2.0])
    one = Trajectory([1, 2], setting={"features": features, "targets": targets, "odd": targets})
    other = Trajectory([1, 2], setting={"features": features.copy(), "targets": -targets, "odd": 3.0})
    assert list(Trajectories((one, other)).setting) == ["features"]


def test_runs_of_different_coordinates_and_no_runs_are_refused():
    one, other = Trajectory([1, 2], names=["w"], run="one"), Trajectory([1, 2], names=["b"], run="other")
    with pytest.raises(DataError, match=r"^other recorded \['b'\] but one recorded \['w'\]"):
        Trajectories((one, other))
    with pytest.raises(DataError, match=r"^no runs"):
        Trajectories(())


def test_a_dictionary_of_runs_survives_json():
    run = Trajectory(
        [[1.0, 2.0], [3.0, 0.1 + 0.2]], steps=[0, 5], run="a", arm="B", setting={"step": 0.1}, diverged=6, notes=["n"]
    )
    back = json.loads(json.dumps(Trajectories((run,)).to_dict()))["runs"][0]
    again = Trajectory(**back)
    assert again.values.tobytes() == run.values.tobytes()
    assert (again.names, again.steps.tolist(), again.run, again.arm) == (run.names, [0, 5], "a", "B")
    assert (again.diverged, again.notes) == (6, ("n",))
    assert dict(again.setting) == {"step": 0.1}


def test_arguments_of_the_wrong_kind_are_refused_by_name():
    with pytest.raises(DataError, match="arrays is a NoneType, must be a list of arrays"):
        Trajectories.from_arrays(None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="setting is a int, must be a mapping"):
        Trajectories.from_arrays([[0.0, 1.0]], setting=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="runs hold a int, must be of Trajectory"):
        Trajectories([1])  # pyright: ignore[reportArgumentType]
