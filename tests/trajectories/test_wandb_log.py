"""The decoding of `.wandb` files side by side, against wandb's own messages record by record."""

import json
import zlib
from typing import Any

import numpy as np
import pytest
from benchmarks.readers import append_frames
from hypothesis import given, settings
from hypothesis import strategies as st
from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

from descentcast.errors import DataError
from descentcast.trajectories.readers import _checksums, _wandb, _wandb_history, _wandb_log

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


def outcome(path, columns=None) -> tuple[Any, Any]:
    try:
        [record] = _wandb.read_wandb(path, columns)
    except DataError as error:
        return str(error), ()
    return {
        name: (series.steps.tolist(), series.values.tobytes(), series.fault) for name, series in record.series.items()
    }, record.notes


def by_library(path, columns=None):
    """Return what comes of the file where every record goes through wandb's messages."""
    with pytest.MonkeyPatch.context() as patch:
        nothing = _wandb_history.Items(*(np.zeros(0, dtype=np.int64),) * 5)
        patch.setattr(_wandb_history, "_walked", lambda *_: (nothing, np.zeros(0, dtype=np.int64), False))
        return outcome(path, columns)


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
    if isinstance(expected[0], dict):
        for columns in (["loss"], ["val.loss", "x"], ["nothing"]):
            some, notes = outcome(path, columns)
            there = {name: series for name, series in expected[0].items() if name in columns}
            assert notes == expected[1]
            assert some == (there if len(there) == len(columns) else expected[0])
            assert by_library(path, columns) == (some, notes)


@given(st.integers(0, 2**32), st.lists(st.lists(st.sampled_from([1, 2, 99, 255, 256, 5000]), min_size=1), min_size=1))
def test_the_checksum_of_frames_is_put_together_from_theirs(seed, groups):
    rng = np.random.default_rng(seed)
    groups = [group[:6] for group in groups[:6]]
    heads = [[rng.bytes(6) for _ in group] for group in groups]
    bodies = [[rng.bytes(length) for length in group] for group in groups]
    wanted = [zlib.crc32(b"".join(map(bytes.__add__, head, body))) for head, body in zip(heads, bodies, strict=True)]
    flat = [body for group in bodies for body in group]
    found = _checksums.joined(
        np.frombuffer(b"".join(head for group in heads for head in group), dtype="<u2").reshape(-1, 3),
        np.array([zlib.crc32(body) for body in flat], dtype=np.uint32),
        np.array([len(body) for body in flat]),
        np.cumsum([0, *map(len, groups[:-1])]),
    )
    assert found.tolist() == wanted


@pytest.mark.parametrize("texts", [["0", "12", "7"], ["9" * 15, "1", "00"], ["9" * 16, "3"], ["5", "-0"], ["1.0", "2"]])
def test_digits_are_the_numbers_they_write(texts):
    buffer = np.frombuffer(("123" + "".join(texts)).encode(), dtype=np.uint8)
    ends = 3 + np.cumsum([len(text) for text in texts])
    starts = ends - [len(text) for text in texts]
    found = _wandb_history._digits(buffer, starts, ends, max(map(len, texts)))
    if all(text.isdecimal() for text in texts):
        assert found is None or found.tolist() == [float(text) for text in texts]
        assert found is not None or ends[0] < max(map(len, texts))
    else:
        assert found is None


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
    path.write_bytes(data[: 5 * _wandb_log.BLOCK])
    assert data[5 * _wandb_log.BLOCK + 6] != _wandb_log.FIRST, "the block goes on with a record"
    _, notes = outcome(path)
    assert "cut off within record" in notes[0]


def test_steps_are_those_that_were_logged_or_the_records_own(tmp_path):
    raws = [history(3, [(["x"], "1.5"), (["_step"], "40")]), history(2**20, [(["x"], "2.5")])]
    [record] = _wandb.read_wandb(write(tmp_path / "run.wandb", raws))
    assert record.series["x"].steps.tolist() == [40, 2**20]
    for text in ("1.5", '"a"', "1e300"):
        with pytest.raises(DataError, match="must be a whole number"):
            _wandb.read_wandb(write(tmp_path / "run.wandb", [history(0, [(["_step"], text), (["x"], "1")])]))
