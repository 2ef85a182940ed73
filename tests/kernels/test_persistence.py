"""Kernels in files: exact there and back, never half written, never trusted."""

import numpy as np
import pytest
from kernel_chains import PERIODIC, dense, kernel
from numpy.testing import assert_array_equal

from descentcast.errors import ArgumentError, DataError
from descentcast.kernels import Evidence, TransitionKernel


def example():
    n = 7
    rows = dense(n + 2, seed=0)[:n]
    return TransitionKernel(
        edges=np.cumsum(np.random.default_rng(1).random(n + 1)),
        matrix=rows[:, :n],
        overflow=rows[:, n:],
        evidence=Evidence(
            np.arange(n) / 3, np.array(["visited", "extrapolated", "probed", *["completed"] * 4]), np.linspace(0, 1, n)
        ),
        name="Gewicht ω",
        setting={"step": 0.1, "batch": np.int64(8), "schedule": {"kind": "cosine", "ends": [1, 2]}, "seed": None},
        projected=True,
        notes=("pruned 1e-6", "rows 3 to 5 rest on one visit"),
    )


def test_there_and_back_to_the_last_bit(tmp_path):
    chain = example()
    chain.save(tmp_path / "chain.kernel")
    back = TransitionKernel.load(tmp_path / "chain.kernel")
    for field in ("edges", "matrix", "overflow"):
        assert getattr(back, field).tobytes() == getattr(chain, field).tobytes()
    for column in ("visits", "source", "weight"):
        assert_array_equal(getattr(back.evidence, column), getattr(chain.evidence, column))
    assert back.to_dict() == chain.to_dict()
    assert (back.name, back.projected, back.notes) == (chain.name, True, chain.notes)
    assert [entry.name for entry in tmp_path.iterdir()] == ["chain.kernel"]


def test_nothing_is_pickled(tmp_path):
    sources = np.array(["visited"] * 4, dtype=object)
    kernel(PERIODIC.matrix, evidence=Evidence(np.ones(4), sources, np.ones(4))).save(tmp_path / "k.npz")
    with np.load(tmp_path / "k.npz", allow_pickle=False) as archive:
        assert {archive[name].dtype.kind for name in archive.files} == {"f", "U"}


def test_an_older_file_survives_a_write_that_fails(tmp_path, monkeypatch):
    path = tmp_path / "k.npz"
    PERIODIC.save(path)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(DataError, match="cannot be written: No space left"):
        example().save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["k.npz"]


def test_every_truncation_and_any_flipped_byte_is_found_or_harmless(tmp_path):
    path = tmp_path / "k.npz"
    chain = example()
    chain.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"k\.npz"):
            TransitionKernel.load(path)
    for place in range(0, len(whole), 61):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            back = TransitionKernel.load(path)
        except DataError:
            continue
        assert back.to_dict() == chain.to_dict()  # a byte of the archive's padding or dates


def test_foreign_files_are_refused_by_name(tmp_path):
    path = tmp_path / "f"
    np.savez(path.open("wb"), a=np.eye(2))
    with pytest.raises(DataError, match="not a file of the form"):
        TransitionKernel.load(path)
    np.save(path.open("wb"), np.eye(2))
    with pytest.raises(DataError, match="not a file of the form"):
        TransitionKernel.load(path)
    path.write_text("step,loss\n0,1\n")
    with pytest.raises(DataError, match="not a file of the form"):
        TransitionKernel.load(path)
    np.savez(path.open("wb"), header=np.array('{"form": "something else"}'))
    with pytest.raises(DataError, match="holds 'something else'"):
        TransitionKernel.load(path)
    with pytest.raises(DataError, match="no such file"):
        TransitionKernel.load(tmp_path / "absent")
    with pytest.raises(DataError):
        TransitionKernel.load(tmp_path)


def test_a_file_whose_rows_are_no_distributions_is_refused(tmp_path):
    path = tmp_path / "k.npz"
    PERIODIC.save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, "matrix": 2 * arrays["matrix"]})
    with pytest.raises(DataError, match="not a kernel: matrix and overflow must sum to 1"):
        TransitionKernel.load(path)


def test_settings_that_json_cannot_write_are_named(tmp_path):
    with pytest.raises(ArgumentError, match="setting =="):
        kernel(np.eye(2), setting={"optimizer": object()}).save(tmp_path / "k")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        PERIODIC.save(tmp_path / "absent" / "k.npz")
