"""Every tracker's files, written here by the tracker itself, come back as they were logged."""

import json
import math
import struct
import sys
import warnings

import numpy as np
import pytest
import torch
from benchmarks.tracker_files import Run
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import tracker_files
from descentcast.errors import DataError
from descentcast.trajectories import list_runs, read
from descentcast.trajectories.readers._event_records import _masked_crc, event_records

nan, inf = math.nan, math.inf
NAMES = ("loss", 'x/"quoted" <b>&', "acc")
RUNS = [
    Run("adam-1", {"lr": 0.1, "opt": "adam"}, {
        "loss": ([0, 1, 2, 30], [1.5, 0.1 + 0.2, -1e-300, 3.0]),
        'x/"quoted" <b>&': ([0, 1, 2, 30], [1e30, 0.0, 1e-40, -1.0]),
        "acc": ([0, 30], [0.5, 0.6]),
    }),
    Run("sgd-1", {"lr": 0.2, "opt": "sgd"}, {
        "loss": ([0, 1, 2, 3], [1.0, 5e10, nan, inf]),
        'x/"quoted" <b>&': ([0, 1, 2, 3], [1.0, 2.0, 3.0, 4.0]),
        "acc": ([0, 1], [0.1, 0.2]),
    }),
]  # fmt: skip


def single(x):
    return float(np.float32(x))


def check(path, exact=float, names=("adam-1", "sgd-1"), name="loss"):
    """Assert that both runs come back, the diverged one up to its divergence."""
    runs = read(path, columns=[name])
    found = {run.run: run for run in runs}
    assert set(found) == set(names)
    first, second = (found[name] for name in names)
    assert first.steps.tolist() == [0, 1, 2, 30]
    assert first.values.ravel().tolist() == [exact(x) for x in RUNS[0].series["loss"][1]]
    assert second.values.ravel().tolist() == [exact(1.0), exact(5e10)]
    assert (first.diverged, second.diverged) == (None, 2)
    return first, runs


def arms(path, arm):
    """Return the arm of each run; ids, and with them the order of files, are drawn by chance in some trackers."""
    return {run.run: run.arm for run in read(path, ["loss"], arm=arm)}


def check_all(path, exact=float):
    """Assert that several columns are read at the steps that all have, and that paths name arms."""
    [both] = [run for run in read(path, columns=list(NAMES[1::-1])) if run.run == "adam-1"]
    expected = list(zip(*(RUNS[0].series[name][1] for name in NAMES[1::-1]), strict=True))
    assert both.values.tolist() == [[exact(x) for x in row] for row in expected]
    [joint] = [run for run in read(path, columns=["loss", "acc"]) if run.run == "adam-1"]
    assert joint.steps.tolist() == [0, 30]
    assert "2 steps at which not all of loss, acc were recorded: left out" in joint.notes
    assert arms(path, "{arm}-*") == {"adam-1": "adam", "sgd-1": "sgd"}
    with pytest.raises(DataError, match=r"recorded at different steps: .*loss \(4\).*: name those to read"):
        read(path)
    listed = list_runs(path)
    assert set(NAMES) <= set(listed["column"])
    assert dict(listed.loc[listed["column"] == "loss", ["run", "rows"]].values) == {"adam-1": 4, "sgd-1": 2}


@pytest.mark.parametrize("style", [{}, {"new_style": True}, {"new_style": True, "double_precision": True}])
def test_tensorboard(tmp_path, style):
    path = tracker_files.write_tensorboard(tmp_path / "logs", RUNS, **style)
    exact = float if "double_precision" in style else single
    check(path, exact)
    check_all(path, exact)
    [event_file] = (path / "adam-1").iterdir()
    assert read(event_file, ["loss"])[0].run == "adam-1"


def test_tensorboard_gives_all_points_not_a_sample(tmp_path):
    values = np.random.default_rng(0).normal(size=12_000).astype(np.float32)
    tracker_files.write_tensorboard(tmp_path, [Run("long", {}, {"loss": (range(12_000), values.tolist())})])
    [run] = read(tmp_path)
    assert run.values.ravel().tolist() == values.tolist()


def test_tensorboard_other_kinds_of_summaries_are_no_coordinates(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(3):
            writer.add_histogram("weights", np.arange(5.0), step)
            writer.add_text("note", "x", step)
            writer.add_scalar("loss", step / 2, step)
            writer.add_scalars("both", {"a": 1.0, "b": 2.0}, step)
    runs = read(tmp_path, ["loss"]) if len(list_runs(tmp_path)["run"].unique()) == 1 else None
    assert runs is None  # add_scalars keeps each line in a folder, a run, of its own
    [event_file] = [path for path in tmp_path.iterdir() if path.is_file()]
    [run] = read(event_file)
    assert (run.names, run.values.ravel().tolist()) == (("loss",), [0.0, 0.5, 1.0])


def test_event_records_stop_at_damage_and_take_every_kind_of_nan():
    def framed(body):
        def checksum(part):
            return _masked_crc(np.frombuffer(part, dtype=np.uint8)[None]).tobytes()

        return struct.pack("<Q", len(body)) + checksum(struct.pack("<Q", len(body))) + body + checksum(body)

    def event(step, value):
        scalar = b"\x0a\x01a\x15" + value
        summary = b"\x0a" + bytes([len(scalar)]) + scalar
        return b"\x09" + b"\0" * 8 + b"\x10" + bytes([step]) + b"\x2a" + bytes([len(summary)]) + summary

    good = [framed(event(step, struct.pack("<f", step / 2))) for step in range(1, 5)]
    signalling = framed(event(5, b"\x01\x00\x80\x7f"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = event_records(b"".join([*good, signalling]))
    [points] = found.scalars
    assert (points.tag, points.steps.tolist(), found.others, found.damage) == (b"a", [1, 2, 3, 4, 5], [], "")
    assert points.values[:4].tolist() == [0.5, 1.0, 1.5, 2.0]
    assert math.isnan(points.values[4])
    whole = b"".join(good)
    for at in range(len(good[0]) * 2, len(good[0]) * 3):  # any byte of the third record
        broken = whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
        found = event_records(broken)
        assert [points.steps.tolist() for points in found.scalars] == [[1, 2]]
        assert found.damage == "record 3 is damaged: it and what follows are left out"
        assert event_records(whole[:at]).damage in ("", "cut off within a record")


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**50), st.floats(width=32)), min_size=2, max_size=30, unique_by=lambda p: p[0]),
    st.text(max_size=20),
)
def test_tensorboard_agrees_with_its_own_loader(tmp_path_factory, points, tag):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    from descentcast.trajectories.readers._tensorboard import read_tensorboard

    folder = tmp_path_factory.mktemp("logs")
    writer = EventFileWriter(str(folder))
    for step, value in points:
        writer.add_event(
            Event(step=step, wall_time=1.0, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
        )
    writer.close()
    theirs = (
        EventAccumulator(str(folder), size_guidance={"scalars": 0}, purge_orphaned_data=False).Reload().Scalars(tag)
    )
    [record] = read_tensorboard(sorted(folder.iterdir()))
    ours = record.series[tag]
    assert ours.steps.tolist() == [event.step for event in theirs]
    assert np.array_equal(ours.values, [event.value for event in theirs], equal_nan=True)


@pytest.fixture(scope="module")
def wandb_folder(tmp_path_factory):
    return tracker_files.write_wandb(tmp_path_factory.mktemp("wandb"), RUNS)


@pytest.mark.slow
def test_wandb_offline_runs(wandb_folder):
    for place in (wandb_folder, wandb_folder.parent, str(wandb_folder / "offline-run-*")):
        first, _ = check(place)
    assert dict(first.setting) == {"lr": 0.1, "opt": "adam"}
    assert arms(wandb_folder, "opt") == {"adam-1": "adam", "sgd-1": "sgd"}
    check_all(wandb_folder)


def record_ends(whole):
    """Return where the records of a small `.wandb` file end: head of 7 bytes, frames of checksum, length and kind."""
    at, ends = 7, set()
    while at < len(whole) and at < 2**15:
        at += 7 + int.from_bytes(whole[at + 4 : at + 6], "little")
        ends.add(at)
    return ends


@pytest.mark.slow
def test_wandb_files_are_read_up_to_where_they_are_cut_or_damaged(wandb_folder, tmp_path):
    whole = next(p.read_bytes() for p in wandb_folder.rglob("*.wandb") if b"adam-1" in p.read_bytes())
    assert whole.count(b"loss") >= 4
    kept, between = set(), record_ends(whole)
    for end in sorted({*range(len(whole) // 3, len(whole), 97), *(e for e in between if e > len(whole) // 3)}):
        (tmp_path / "run.wandb").write_bytes(whole[:end])
        try:
            run = read(tmp_path / "run.wandb", ["loss"])[0]
        except DataError:
            continue
        kept.add(len(run))
        assert run.values.ravel().tolist() == [float(x) for x in RUNS[0].series["loss"][1][: len(run)]]
        assert any(note.startswith("cut off within record") for note in run.notes) == (end not in between)
    assert kept
    at = whole.index(b"loss")
    (tmp_path / "run.wandb").write_bytes(whole[:at] + b"lost" + whole[at + 4 :])
    with pytest.raises(DataError, match=r"adam-1: no numbers were recorded; record \d+ is damaged"):
        read(tmp_path / "run.wandb")


@pytest.mark.slow
def test_mlflow_database_and_folder(tmp_path):
    allowed = [run._replace(series={n: s for n, s in run.series.items() if '"' not in n}) for run in RUNS]
    for write in (tracker_files.write_mlflow_database, tracker_files.write_mlflow_folder):
        path = write(tmp_path, allowed)
        first, _ = check(path)
        assert dict(first.setting) == {"lr": "0.1", "opt": "adam"}
        assert arms(path, "opt") == {"adam-1": "adam", "sgd-1": "sgd"}
        assert arms(path, "experiment") == {"adam-1": "Default", "sgd-1": "Default"}
        assert {tuple(run.steps) for run in read(path, columns=["loss", "acc"])} == {(0, 30), (0, 1)}


@pytest.mark.slow
def test_trackio(tmp_path):
    path = tracker_files.write_trackio(tmp_path, RUNS)
    first, _ = check(path)
    assert dict(first.setting) == {"lr": 0.1, "opt": "adam"}
    assert arms(path, "opt") == {"adam-1": "adam", "sgd-1": "sgd"}
    check_all(path)


@pytest.mark.slow
def test_optuna(tmp_path):
    path = tracker_files.write_optuna(
        tmp_path, [*RUNS, Run("pruned", {"lr": 0.1, "opt": "sgd"}, {"loss": ([0], [9.0])})]
    )
    first, runs = check(path, names=("trial 0", "trial 1"), name="value")
    assert runs.notes == ("trial 2: 1 recorded step(s): left out",)
    assert dict(first.setting) == {"lr": 0.1, "opt": "adam"}
    assert [run.arm for run in read(path, arm="opt")] == ["adam", "sgd"]


@pytest.mark.parametrize("long", [False, True])
def test_parquet(tmp_path, long):
    path = tracker_files.write_parquet(tmp_path, RUNS, long=long)
    check(path)
    check_all(path)


def test_trainer_state(tmp_path):
    from torch.utils.data import Dataset
    from transformers import Trainer, TrainingArguments

    class Line(Dataset):
        def __len__(self):
            return 24

        def __getitem__(self, index):
            return {"x": torch.tensor([index / 24.0])}

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return {"loss": ((self.w - x) ** 2).mean()}

    quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True}
    arguments = TrainingArguments(str(tmp_path / "out"), max_steps=8, logging_steps=2, save_steps=4, **quiet)
    trainer = Trainer(Model(), arguments, train_dataset=Line())
    trainer.train()
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    [run] = read(tmp_path / "out", columns=["loss", "learning_rate"])
    assert run.run == "out"
    assert run.steps.tolist() == [2, 4, 6, 8]
    assert run.values.tolist() == [[entry["loss"], entry["learning_rate"]] for entry in history]
    assert any("mean of the loss" in note for note in run.notes)
    assert run.setting["logging_steps"] == 2
    first = tmp_path / "out" / "checkpoint-4" / "trainer_state.json"
    assert len(read(first, ["loss"])[0]) == 2


@pytest.mark.slow
def test_lightning(tmp_path):
    import lightning
    from lightning.pytorch.loggers import CSVLogger

    class Model(lightning.LightningModule):
        def __init__(self, lr):
            super().__init__()
            self.save_hyperparameters()
            self.w, self.seen = torch.nn.Parameter(torch.tensor(3.0)), []

        def training_step(self, batch, index):
            loss = ((self.w - batch) ** 2).mean()
            self.seen.append(loss.item())
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch, index):
            self.log("val_loss", (self.w - batch).mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])

    data = torch.utils.data.DataLoader(torch.linspace(0, 1, 12), batch_size=2)
    model = Model(lr=0.1)
    options = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    lightning.Trainer(
        max_epochs=2, logger=CSVLogger(str(tmp_path)), log_every_n_steps=1, accelerator="cpu", **options
    ).fit(model, data, data)
    [run] = read(tmp_path, columns=["train_loss"])
    assert run.values.ravel().tolist() == model.seen
    assert (run.run, run.steps.tolist(), dict(run.setting)) == ("version_0", list(range(12)), {"lr": 0.1})
    assert len(read(tmp_path, columns=["train_loss", "val_loss"])[0]) == 2
    with pytest.raises(DataError, match=r"train_loss \(12\), val_loss \(2\): name those to read"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [
        ("pyarrow.parquet", "a.parquet", "parquet"),
        ("tensorboard.compat.proto.event_pb2", "events.out.tfevents.1", "tensorboard"),
        ("wandb.proto.wandb_internal_pb2", "a.wandb", "wandb"),
    ],
)
def test_a_library_that_is_not_there_is_named_with_its_extra(tmp_path, monkeypatch, module, name, extra):
    (tmp_path / name).write_bytes(b":W&B" + b"\0" * 100)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=rf"needs a library: pip install 'descentcast\[{extra}\]'$"):
        read(tmp_path / name)


def test_a_recording_brings_its_setting(tmp_path):
    rows = [{"step": i, "step_size": 0.1, "loss": 1 / (i + 1) if i < 5 else "NaN"} for i in range(7)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": ')
    about = {"version": 1, "run": "first", "arm": "sgd", "setting": {"step": 0.1, "batch": 8}}
    (tmp_path / "a.setting.json").write_text(json.dumps(about))
    [run] = read(tmp_path)
    assert (run.run, run.arm, run.names, dict(run.setting)) == ("first", "sgd", ("loss",), {"step": 0.1, "batch": 8})
    assert (len(run), run.diverged, run.notes) == (5, 5, ("the last line is cut off: left out",))
