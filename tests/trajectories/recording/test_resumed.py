"""Trainings that were stopped and went on from a checkpoint: one run, whatever the number of files."""

import copy
import itertools

import numpy as np
import pytest
import torch

import descentcast as dc
from descentcast.errors import ArgumentError, DataError


class Training:
    """A training on data that depend on the step alone, so that a resumed one goes the same way."""

    def __init__(self, rate: float = 0.1) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(3, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate, momentum=0.5)
        self.step = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step += 1
            x = torch.randn(8, 3, generator=torch.Generator().manual_seed(self.step))
            self.optimizer.zero_grad()
            (self.model(x) - x[:, :1]).square().mean().backward()
            self.optimizer.step()

    def record(self, path, steps, observables=("loss", "weight[0,0]"), **options) -> None:
        with dc.record(self.optimizer, self.model, observables, path=path, first_step=self.step, **options):
            self.run(steps)


def whole(observables=("loss", "weight[0,0]"), steps=20):
    training = Training()
    with dc.record(training.optimizer, training.model, observables) as recorder:
        training.run(steps)
    return recorder.trajectory()


def test_a_resumed_recording_is_the_run_that_was_never_stopped(tmp_path):
    training, path = Training(), tmp_path / "seed1.jsonl"
    training.record(path, 8)
    checkpoint = copy.deepcopy(training)
    training.step = checkpoint.step
    training.record(path, 5)  # Crashes; what follows starts from the checkpoint again.
    checkpoint.record(path, 12)
    assert {p.name for p in tmp_path.glob("*.jsonl")} == {"seed1.jsonl", "seed1.2.jsonl", "seed1.3.jsonl"}
    (run,) = dc.read(tmp_path)
    expected = whole()
    assert run.run == "seed1"
    np.testing.assert_array_equal(run.steps, expected.steps)
    np.testing.assert_array_equal(run.values, expected.values)
    assert (run.setting["step"], run.setting["schedule"]) == (0.1, "constant")
    assert run.notes == ("resumed at step 8", "resumed at step 8: 5 rows of before were left out")


def test_more_pieces_than_digits_are_in_order(tmp_path):
    training, path = Training(), tmp_path / "a.jsonl"
    for _ in range(12):
        training.record(path, 2)
    (run,) = dc.read(tmp_path)
    np.testing.assert_array_equal(run.values, whole(steps=24).values)


def test_runs_of_one_name_are_told_apart_by_their_files(tmp_path):
    for name in ("seed1.jsonl", "seed2.jsonl"):
        training = Training()
        training.record(tmp_path / name, 6, run="same")
        training.record(tmp_path / name, 4, run="same")
    found = dc.read(tmp_path)
    assert [(len(run), run.steps[-1]) for run in found] == [(10, 9), (10, 9)]
    branches = tmp_path / "branches"
    training = Training()
    training.record(branches / "pretrained.jsonl", 6, run="same")
    for name in ("a.jsonl", "b.jsonl"):
        copy.deepcopy(training).record(branches / name, 4, run="same")
    assert sorted(len(run) for run in dc.read(branches)) == [4, 4, 6]


def test_a_piece_in_which_nothing_was_recorded_stops_nobody(tmp_path):
    training, path = Training(), tmp_path / "a.jsonl"
    training.record(path, 6)
    (tmp_path / "a.2.jsonl").touch()  # Of a process that was killed before its first chunk.
    training.record(path, 6)
    (tmp_path / "b.jsonl").touch()
    found = dc.read(tmp_path)
    np.testing.assert_array_equal(found[0].values, whole(steps=12).values)
    assert found.notes == ("b: no numbers were recorded: left out",)
    with pytest.raises(DataError, match=r"^b: no numbers were recorded, at least 2 are needed$"):
        dc.read(tmp_path / "b.jsonl")


def test_a_first_piece_without_rows_is_gone_on_with(tmp_path):
    (tmp_path / "a.jsonl").touch()
    training = Training()
    training.run(3)
    training.record(tmp_path / "a.jsonl", 5)
    (run,) = dc.read(tmp_path)
    assert (run.run, run.steps.tolist()) == ("a", [3, 4, 5, 6, 7])


def test_a_file_that_is_read_by_itself_says_where_it_goes_on(tmp_path):
    training, path = Training(), tmp_path / "a.jsonl"
    training.record(path, 6)
    training.record(path, 6)
    (run,) = dc.read(path)
    assert (len(run), run.notes) == (6, ("goes on in a.2.jsonl, which is not read",))


def test_a_step_size_that_was_changed_is_no_constant_schedule(tmp_path):
    training, path = Training(), tmp_path / "a.jsonl"
    training.record(path, 8)
    training.optimizer.param_groups[0]["lr"] = 0.01
    training.record(path, 8)
    (run,) = dc.read(tmp_path, ["loss", "step_size"])
    assert (run.setting["step"], run.setting["schedule"]) == (0.1, "column step_size")
    assert [float(rate) for rate, _ in itertools.groupby(run.values[:, 1])] == [0.1, 0.01]


def test_a_step_size_that_falls_in_a_later_piece_is_no_constant_schedule(tmp_path):
    training, path = Training(), tmp_path / "a.jsonl"
    training.record(path, 4)
    with dc.record(training.optimizer, training.model, path=path, first_step=training.step):
        training.run(4)
        training.optimizer.param_groups[0]["lr"] = 0.01
        training.run(4)
    training.record(path, 4)
    (run,) = dc.read(tmp_path, ["loss", "step_size"])
    assert (run.setting["step"], run.setting["schedule"]) == (0.1, "column step_size")


def test_the_distance_of_a_piece_is_no_coordinate_of_the_run(tmp_path):
    training, path = Training(), tmp_path / "a.jsonl"
    training.record(path, 8, ("loss", "distance"))
    training.record(path, 8, ("loss", "distance"))
    (run,) = dc.read(tmp_path)
    assert run.names == ("loss",)
    (asked,) = dc.read(tmp_path, ["distance"])
    assert "distance: measured from where each piece began" in asked.notes


@pytest.mark.parametrize("begin", [0, 3])
def test_a_recording_that_began_no_earlier_is_not_gone_on_with(tmp_path, begin):
    path = tmp_path / "a.jsonl"
    for attempt in range(2):
        training = Training()
        training.run(begin)
        if attempt:
            with pytest.raises(ArgumentError, match="already there, recordings are not overwritten"):
                training.record(path, 4)
        else:
            training.record(path, 4)
    assert [p.name for p in tmp_path.glob("*.jsonl")] == ["a.jsonl"]


def test_a_file_that_is_no_recording_is_left_alone(tmp_path):
    (path := tmp_path / "a.jsonl").write_text("notes\n")
    training = Training()
    training.run(3)
    with pytest.raises(ArgumentError, match="already there"):
        training.record(path, 4)
    assert path.read_text() == "notes\n"
