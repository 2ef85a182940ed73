"""Recordings on disk: killed processes, torn lines, full disks."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import descentcast as dc
from descentcast.errors import DataError
from descentcast.trajectories.recording import _files

CHILD = """
import sys, torch, descentcast as dc
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
x = torch.randn(32, 4)
with dc.record(optimizer, model, ["weight[0,0]", "loss"], path=sys.argv[1], chunk=8):
    while True:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        print(repr(loss.item()), flush=True)
        optimizer.step()
"""


def test_a_killed_training_leaves_all_but_its_last_chunk(tmp_path):
    path = tmp_path / "run.jsonl"
    with (tmp_path / "said").open("w") as said:
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(CHILD), str(path)], stdout=said)
        deadline = time.monotonic() + 120
        while not (path.exists() and path.read_bytes().count(b"\n") > 50):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    losses = [float(line) for line in (tmp_path / "said").read_text().splitlines()]
    run = dc.read(tmp_path, ["weight[0,0]", "loss"])[0]
    assert run.steps.tolist() == list(range(len(run)))
    assert len(losses) - 9 <= len(run) <= len(losses)
    assert run.values[:, 1].tolist() == losses[: len(run)]
    assert (run.setting["optimizer"], run.setting["step"], run.setting["batch"]) == ("SGD", 1e-3, 32)
    assert json.loads((tmp_path / "run.setting.json").read_text())["finished"] is False


def rows(**logged: list[tuple[int, float]]) -> bytes:
    return _files.lines([], logged)


def test_rows_that_have_all_columns_are_written_as_others_are():
    """The quick way against JSON's own encoder, which writes the rest."""
    steps, values = np.array([0, 5, 2**53]), np.array([[0.1, -0.0], [1e-320, 1e300], [float(np.float32(0.1)), 3.0]])
    names = ["100 %s", 'a "b" \u00e9']
    quick = _files.lines([(names[:1], steps, values[:, :1]), (names[1:], steps, values[:, 1:])], {})
    kept = [
        dict(zip(["step", *names], [s, *row], strict=True))
        for s, row in zip(steps.tolist(), values.tolist(), strict=True)
    ]
    assert quick.decode() == "".join(json.dumps(row) + "\n" for row in kept)
    second = {names[1]: list(zip(steps.tolist(), values[:, 1].tolist(), strict=True))}
    assert _files.lines([(names[:1], steps, values[:, :1])], second) == quick
    values[1, 0] = np.inf
    assert [json.loads(line)[names[0]] for line in _files.lines([(names, steps, values)], {}).splitlines()][
        1
    ] == "Infinity"


@pytest.mark.parametrize("cut", [1, 5, 17, 21])
def test_a_torn_last_line_is_left_out(tmp_path, cut):
    file = _files.RowFile(path := tmp_path / "a.jsonl")
    file.append(rows(loss=[(i, 1 / (i + 3)) for i in range(4)]))
    file.close()
    *whole, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole) + last[:cut])
    assert dc.read(path).runs[0].values.ravel().tolist() == [1 / 3, 1 / 4, 1 / 5]


def test_a_full_disk_warns_once_and_loses_nothing_if_space_comes_back(tmp_path, monkeypatch):
    file = _files.RowFile(path := tmp_path / "a.jsonl")
    file.append(rows(a=[(0, 1.0)]))
    real, left = os.write, [5]

    def write(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        taken, left[0] = left[0], 0
        return real(descriptor, data[:taken])

    monkeypatch.setattr(_files.os, "write", write)
    with pytest.warns(UserWarning, match="cannot be written: No space left on device"):
        file.append(rows(a=[(1, float("nan"))]))
    assert path.read_text() == '{"step": 0, "a": 1.0}\n', "what was written of a chunk is taken back"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file.append(rows(a=[(2, 3.0)]))
    monkeypatch.setattr(_files.os, "write", real)
    file.append(rows(a=[(3, 4.0)]))
    file.close()
    assert [json.loads(line)["a"] for line in path.read_text().splitlines()] == [1.0, "NaN", 3.0, 4.0]


def test_rows_that_never_reached_the_disk_are_an_error_at_the_end(tmp_path, monkeypatch):
    file = _files.RowFile(tmp_path / "a.jsonl")

    def write(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files.os, "write", write)
    with pytest.warns(UserWarning, match="No space left"):
        file.append(rows(a=[(1, 1.0)]))
    with pytest.raises(DataError, match="the last rows could not be written"):
        file.close()


def test_numbers_come_back_bit_by_bit(tmp_path):
    values = np.random.default_rng(0).standard_normal(200) * 10.0 ** np.arange(-100, 100)
    file = _files.RowFile(path := tmp_path / "a.jsonl")
    file.append(rows(x=list(enumerate(values.tolist()))))
    file.close()
    assert dc.read(path)[0].values.tobytes() == values.tobytes()


def test_settings_are_replaced_as_a_whole(tmp_path):
    file = _files.RowFile(tmp_path / "a.jsonl")
    for i in range(3):
        file.write_setting({"version": 1, "setting": {"i": i, "odd": Path("x"), "nan": float("nan")}})
    file.close()
    assert {p.name for p in tmp_path.iterdir()} == {"a.jsonl", "a.setting.json"}
    assert json.loads((tmp_path / "a.setting.json").read_text())["setting"] == {"i": 2, "odd": "x", "nan": "NaN"}
