"""The file of the density store: whole entries or none, however processes end and disks fail; bounded in size."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from descentcast.densities._array_store import ArrayStore

PLENTY = 50_000_000
# A process that has imported the package forks writers: 30 times two that it kills, then four that come to an end.
FORKING = """
import os, signal, sys, time, traceback
from pathlib import Path
import numpy as np
from descentcast.densities._array_store import ArrayStore

def arrays_for(i):
    return {"a": np.random.default_rng(i).random((1 + i, 200)), "b": np.array([i], dtype=np.float32)}

def start(seed, rounds):
    pid = os.fork()
    if pid:
        return pid
    try:
        rng = np.random.default_rng(seed)
        while rounds:
            i = int(rng.integers(60))
            found = store.get(f"key {i}")
            assert found is None or (found["a"] == arrays_for(i)["a"]).all()
            store.put(f"key {i}", arrays_for(i))
            rounds -= 1
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

store, rng = ArrayStore(Path(sys.argv[1]), 1_000_000), np.random.default_rng(0)
for again in range(30):
    writers = [start(2 * again + k, -1) for k in range(2)]
    time.sleep(0.05 * rng.random())
    for pid in writers:
        os.kill(pid, signal.SIGKILL)
    assert [os.waitpid(pid, 0)[1] for pid in writers] == [signal.SIGKILL] * 2
    for i in range(60):
        found = store.get(f"key {i}")
        assert found is None or all((found[k] == a).all() for k, a in arrays_for(i).items())
    store.put("key 7", arrays_for(7))
writers = [start(100 + k, 40) for k in range(4)]
assert [os.waitpid(pid, 0)[1] for pid in writers] == [0] * 4
"""


def arrays_for(i: int) -> dict[str, np.ndarray]:
    """Return what the forked writers write under `key i`."""
    return {"a": np.random.default_rng(i).random((1 + i, 200)), "b": np.array([i], dtype=np.float32)}


def entries(store: ArrayStore) -> dict[str, dict[str, np.ndarray] | None]:
    with closing(sqlite3.connect(store.path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {key: store.get(key) for (key,) in db.execute("SELECT key FROM entries").fetchall()}


@pytest.fixture
def store(tmp_path):
    return ArrayStore(tmp_path / "new" / "densities.sqlite", PLENTY)


@given(
    st.dictionaries(
        st.text(max_size=3),
        arrays_of.arrays(st.sampled_from([np.float32, np.float64]), arrays_of.array_shapes(min_dims=0, min_side=0)),
        max_size=3,
    )
)
@settings(max_examples=15, deadline=None)
def test_what_comes_back_has_the_same_bytes(tmp_path_factory, arrays):
    store = ArrayStore(tmp_path_factory.mktemp("store") / "s", PLENTY)
    store.put("key", {"first": np.zeros(3)})
    store.put("key", arrays)
    found = store.get("key")
    assert found is not None
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags.writeable
    assert store.get("other") is None
    assert store.info()["entries"] == 1


def test_arrays_that_are_not_contiguous_keep_their_order(store):
    array = np.arange(12.0).reshape(3, 4)[::-1, ::2]
    store.put("key", {"a": array})
    np.testing.assert_array_equal(store.get("key")["a"], array)


def test_the_file_stays_within_its_limit_and_keeps_what_was_used_last(tmp_path):
    store = ArrayStore(tmp_path / "s", 400_000)
    one = {"a": np.zeros(2_500)}  # 20 kB
    for i in range(60):
        store.put(f"key {i}", one)
        store.get("key 0")
        assert store.path.stat().st_size <= store.limit
    left = sorted(int(key.removeprefix("key ")) for key in entries(store))
    assert left == [0, *range(61 - len(left), 60)]
    assert len(left) >= 14
    smaller = ArrayStore(store.path, 200_000)
    smaller.get("key 0")
    smaller.put("key 60", one)
    assert store.path.stat().st_size <= smaller.limit
    assert {"key 0", "key 60"} <= set(entries(store))


def test_what_would_fill_the_file_is_not_kept(tmp_path):
    store = ArrayStore(tmp_path / "s", 200_000)
    store.put("small", {"a": np.zeros(10)})
    store.put("large", {"a": np.zeros(25_000)})
    assert set(entries(store)) == {"small"}


def test_bytes_that_the_disk_has_changed_are_never_believed(tmp_path):
    """Flip bits anywhere in the file: an entry comes back as it was put or not at all, and the store goes on."""
    store = ArrayStore(tmp_path / "s", PLENTY)
    for i in range(4):
        store.put(f"key {i}", arrays_for(i))
    sound = store.path.read_bytes()
    rng = np.random.default_rng(0)
    lost = 0
    for place in np.concatenate([rng.integers(0, len(sound), 80), np.arange(0, 120, 7)]):
        bad = bytearray(sound)
        bad[place] ^= 0xFF
        store.path.write_bytes(bad)
        for i in range(4):
            found = store.get(f"key {i}")
            lost += found is None
            assert found is None or all((found[k] == a).all() for k, a in arrays_for(i).items())
        store.put("key 5", arrays_for(5))
        assert (store.get("key 5")["a"] == arrays_for(5)["a"]).all()
        store.clear()
    assert lost > 50


@pytest.mark.parametrize("garbage", [b"not a database " * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_a_broken_file_is_set_aside_and_a_new_one_made(store, garbage):
    store.path.parent.mkdir()
    store.path.write_bytes(garbage)
    assert store.get("key") is None
    store.put("key", arrays_for(3))
    np.testing.assert_array_equal(store.get("key")["a"], arrays_for(3)["a"])
    assert store.path.with_suffix(".broken").read_bytes() == garbage
    assert store.clear() == 1
    assert not store.path.with_suffix(".broken").exists()
    assert store.info()["entries"] == 0


def test_a_store_that_is_not_there_is_empty_and_stays_away(store):
    assert (store.get("key"), store.info()["entries"], store.info()["bytes"], store.clear()) == (None, 0, 0, 0)
    assert not store.path.parent.exists()


def test_clearing_gives_the_room_back(store):
    for i in range(20):
        store.put(f"key {i}", arrays_for(i))
    before = store.info()["bytes"]
    assert before > sum(a.nbytes for i in range(20) for a in arrays_for(i).values())
    assert store.clear() == 20
    assert store.info()["bytes"] < before / 5


def test_writers_that_are_killed_or_write_at_once_leave_whole_entries(tmp_path):
    store = ArrayStore(tmp_path / "s", 1_000_000)
    done = subprocess.run([sys.executable, "-c", FORKING, store.path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = entries(store)
    assert len(found) > 5
    for key, arrays in found.items():
        for name, array in arrays_for(int(key.removeprefix("key "))).items():
            np.testing.assert_array_equal(arrays[name], array)
    assert store.path.stat().st_size <= store.limit
    assert not store.path.with_suffix(".broken").exists()
