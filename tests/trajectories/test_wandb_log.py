"""The decoding of `.wandb` files side by side, against wandb's own messages record by record."""

import json
from typing import Any

import numpy as np
import pytest
from benchmarks.readers import append_frames
from hypothesis import given, settings
from hypothesis import strategies as st
from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

from descentcast.errors import DataError
from descentcast.trajectories.readers import _wandb, _wandb_history, _wandb_log

keys = st.sampled_from([["loss"], ["val", "loss"], ["a.b"], ["ключ"], ["_step"], ["k" * 200], ["x"]])
texts = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True).map(json.dumps),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(
        ['"NaN"', '"text"', "null", "true", '{"_type": "image"}', "[1]", "1e999", "-0", "01", "1.", "+1", ""]
    ),
    st.text("0123456789.eE+-", max_size=40),
)
plain = st.floats(-1e3, 1e3).map(json.dumps)


def history(step, items, nested=False, number=None):
    record = Record(num=number or step + 1)
    for key, text in items:
        item = record.history.item.add()
        item.nested_key.extend(key)
        if not nested and len(key) == 1:
            item.ClearField("nested_key")
            item.key = key[0]
        item.value_json = text
    record.history.step.num = step
    return record.SerializeToString()


def write(path, raws):
    out = bytearray(_wandb_log.HEADER + bytes(3))
    for raw in raws:
        append_frames(out, raw)
    path.write_bytes(out)
    return path


def outcome(path) -> tuple[Any, Any]:
    try:
        [record] = _wandb.read_wandb(path)
    except DataError as error:
        return str(error), ()
    return {
        name: (series.steps.tolist(), series.values.tobytes(), series.fault) for name, series in record.series.items()
    }, record.notes


def by_library(path):
    """Return what comes of the file where every record goes through wandb's messages."""
    with pytest.MonkeyPatch.context() as patch:
        nothing = _wandb_history.Items(*(np.zeros(0, dtype=np.int64),) * 5)
        patch.setattr(_wandb_history, "_walked", lambda *_: (nothing, np.zeros(0, dtype=np.int64), False))
        return outcome(path)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_log_is_read_as_the_library_reads_it(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("log") / "run.wandb"
    cells = data.draw(st.sampled_from([plain, texts]))
    rows = data.draw(st.lists(st.lists(st.tuples(keys, cells), max_size=5), max_size=12))
    nested = data.draw(st.booleans())
    raws = [history(k, row, nested) for k, row in enumerate(rows)]
    if data.draw(st.booleans()):
        raws.insert(len(raws) // 2, Record(num=7).SerializeToString())
    expected = by_library(write(path, raws))
    assert outcome(path) == expected


def test_many_windows_blocks_and_keys(tmp_path, monkeypatch):
    """Records split over blocks and over windows, and more keys than are told apart as columns."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 100))
    raws = []
    for step, row in enumerate(values.tolist()):
        items = [([f"layer{i}", "norm"], json.dumps(x)) for i, x in enumerate(row)]
        raws.append(history(10 * step, [items[i] for i in rng.permutation(100)]))
        raws.append(Record(num=1, summary={}).SerializeToString())
    path = write(tmp_path / "run.wandb", raws)
    assert path.stat().st_size > 20 * _wandb_log.BLOCK
    whole = outcome(path)
    monkeypatch.setattr(_wandb_log, "WINDOW", 3 * _wandb_log.BLOCK)
    assert outcome(path) == whole
    [record] = _wandb.read_wandb(path)
    assert len(record.series) == 100
    for i in (0, 63, 64, 99):
        series = record.series[f"layer{i}.norm"]
        assert series.values.tolist() == values[:, i].tolist()
        assert series.steps.tolist() == list(range(0, 3000, 10))
    data = path.read_bytes()
    for at in rng.integers(7, len(data), size=12).tolist():
        path.write_bytes(data[:at])
        _, notes = outcome(path)
        assert "cut off within record" in notes[0] or not notes  # not where a record ends there
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        damaged, notes = outcome(path)
        assert len(notes) == 1, "a bit that is not padding is noticed"
        assert damaged.keys() <= whole[0].keys()
        assert len(damaged["layer0.norm"][0] if damaged else []) <= 300


def test_steps_are_those_that_were_logged_or_the_records_own(tmp_path):
    raws = [history(3, [(["x"], "1.5"), (["_step"], "40")]), history(2**20, [(["x"], "2.5")])]
    [record] = _wandb.read_wandb(write(tmp_path / "run.wandb", raws))
    assert record.series["x"].steps.tolist() == [40, 2**20]
    for text in ("1.5", '"a"', "1e300"):
        with pytest.raises(DataError, match="must be a whole number"):
            _wandb.read_wandb(write(tmp_path / "run.wandb", [history(0, [(["_step"], text), (["x"], "1")])]))
