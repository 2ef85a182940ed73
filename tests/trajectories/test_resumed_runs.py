"""Runs of trackers that were stopped and gone on with, by the trackers' own writers."""

import time

import pytest

from descentcast.trajectories import read


def test_tensorboard_a_resumed_run_forgets_what_it_did_after_its_checkpoint(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    for first, last, value, suffix in ((0, 10, 1.0, ".0"), (6, 9, 2.0, ".1")):
        with SummaryWriter(str(tmp_path), filename_suffix=suffix) as writer:
            for step in range(first, last):
                writer.add_scalar("loss", value, step)
    files = sorted(tmp_path.iterdir())
    for number, file in enumerate(files):  # Written within one second: names do not tell which was first.
        file.rename(file.with_name(f"events.out.tfevents.{number}"))
    order = sorted(tmp_path.iterdir(), key=lambda file: read(file)[0].values[0, 0])
    order[0].rename(tmp_path / "events.out.tfevents.2.a")
    order[1].rename(tmp_path / "events.out.tfevents.3.b")
    [run] = read(tmp_path)
    assert run.steps.tolist() == list(range(9))
    assert run.values.ravel().tolist() == [1.0] * 6 + [2.0] * 3
    assert run.notes == ("loss: 4 points after the step at which the run was resumed are left out",)


def test_tensorboard_a_purge_step_holds_for_every_tag(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    for number, (first, last, purge) in enumerate(((0, 10, None), (6, 10, 6))):
        with SummaryWriter(str(tmp_path), purge_step=purge, filename_suffix=f".{number}") as writer:
            for step in range(first, last):
                writer.add_scalar("loss", number, step)
                if step % 4 == 1:  # Of the second session first at 9, of the first at 5 and 9.
                    writer.add_scalar("accuracy", number, step)
                if not number:
                    writer.add_scalar("warmup", number, step)
        written = next(path for path in tmp_path.iterdir() if path.name.endswith(f".{number}"))
        written.rename(tmp_path / f"events.out.tfevents.{number}")  # Names of one second do not tell which was first.
    for tag, steps, values in (
        ("loss", range(10), [0] * 6 + [1] * 4),
        ("accuracy", (1, 5, 9), (0, 0, 1)),
        ("warmup", range(6), [0] * 6),
    ):
        [run] = read(tmp_path, [tag])
        assert (run.steps.tolist(), run.values[:, 0].tolist()) == (list(steps), list(values))


@pytest.mark.slow
def test_a_resumed_wandb_run_is_one_run(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for piece, (begin, end) in enumerate([(0, 6), (4, 8)]):
        run = wandb.init(dir=tmp_path, id="abc", name="res", project="p", resume="allow")
        for step in range(begin, end):
            run.log({"loss": 100 * piece + step}, step=step)
        run.finish()
        time.sleep(1.1)  # Folders are named by the second.
    (found,) = read(tmp_path / "wandb", ["loss"])
    assert found.values[:, 0].tolist() == [0, 1, 2, 3, 104, 105, 106, 107]
    assert found.notes == ("resumed at step 4: 2 rows of before were left out",)
