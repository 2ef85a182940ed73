"""The density store: the same bytes without the model, other numbers for anything else, and no result hangs on it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import FakeModel

import descentcast as dc
from descentcast.densities import Points, lay_out, read_densities, stored_densities
from descentcast.densities import _store as store_module
from descentcast.densities._store import _key
from descentcast.encoding import View
from descentcast.errors import ArgumentError, DataError
from descentcast.language_models import Alphabet, Forest, ForestLogProbs

VALUES = np.array([0.1, 0.9, 0.5, 0.3, 0.7])
CONTEXT = lay_out([VALUES, VALUES[::-1]], View(0.0, 1.0, 2), Alphabet(1))


class Counted(FakeModel):
    """A model that can be told from others, and counts how often it is asked."""

    def __init__(self, fingerprint: str | None = "fake weights", noise: float = 0.0) -> None:
        super().__init__()
        self.fingerprint, self.noise, self.calls = fingerprint, noise, 0

    def log_probs(self, forest: Forest) -> ForestLogProbs:
        self.calls += 1
        found = super().log_probs(forest)
        return replace(found, prompt=found.prompt + self.noise, nodes=found.nodes + self.noise)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A cache of its own, with the store turned on."""
    monkeypatch.setenv("DESCENTCAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DESCENTCAST_CACHE_MB", "10")
    store_module._warn.cache_clear()
    return tmp_path / "cache"


def same(a, b) -> bool:
    return all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes() and getattr(a, name).dtype == getattr(b, name).dtype
        for name in ("probs", "pruned", "outside")
    )


def test_the_second_time_the_bytes_are_the_same_and_the_model_is_not_asked(folder):
    model, plain = Counted(), Counted(None)
    for points in (CONTEXT.points, CONTEXT.probes(np.arange(100))):
        first = stored_densities(model, CONTEXT, points, 1e-3)
        asked = model.calls
        second = stored_densities(model, CONTEXT, points, 1e-3)
        assert model.calls == asked
        assert same(first, second)
        assert same(first, read_densities(plain, CONTEXT, points, 1e-3))
    assert store_module.store_info()["entries"] == 2


def test_a_kernel_and_densities_come_back_the_same_without_the_model(folder):
    runs = dc.Trajectories.from_arrays([VALUES, VALUES[::-1], VALUES])
    for rows in ("probed", "visited"):
        model = Counted()
        first = dc.InContextKernel(model, rows=rows).fit(runs)
        asked = model.calls
        second = dc.InContextKernel(model, rows=rows).fit(runs)
        assert asked == model.calls > 0
        assert first.kernel_.to_dict() == second.kernel_.to_dict()
        assert [k.to_dict() for k in first.replicates_] == [k.to_dict() for k in second.replicates_]
        assert (first.log_score_, first.outside_mass_) == (second.log_score_, second.outside_mass_)
    model = Counted()
    densities = [dc.next_densities(VALUES, model, views=2).to_dict() for _ in range(2)]
    assert densities[0] == densities[1]
    assert model.calls == 2 * 2  # views and levels of digits, once each


def test_another_run_extends_what_is_known_and_shares_nothing_it_should_not(folder):
    model = Counted()
    short = dc.next_densities(VALUES[:4], model, range=(0, 1)).probs
    longer = dc.next_densities(VALUES, model, range=(0, 1)).probs
    np.testing.assert_allclose(longer[:4], short, atol=1e-12)
    assert len(longer) == 5


def test_whatever_decides_the_densities_is_in_the_key():
    points = CONTEXT.points
    probes = CONTEXT.probes(np.array([3]))
    three = lay_out([VALUES], View(0.0, 1.0, 3), Alphabet(1))
    keys = [
        _key("a", CONTEXT, points, 0.1),
        _key("b", CONTEXT, points, 0.1),
        _key("a", CONTEXT, points, 0.2),
        _key("a", CONTEXT, points.take(np.array([0, 1])), 0.1),
        _key("a", CONTEXT, points.take(np.array([1, 0])), 0.1),
        _key("a", CONTEXT, probes, 0.1),
        _key("a", replace(CONTEXT, prompt=CONTEXT.prompt[::-1]), points, 0.1),
        _key("a", replace(CONTEXT, points=points.take(np.array([0]))), points, 0.1),
        _key("a", replace(CONTEXT, groups=3), points, 0.1),
        _key("a", replace(CONTEXT, alphabet=Alphabet(3)), points, 0.1),
        _key("a", three, three.points, 0.1),
    ]
    assert len(set(keys)) == len(keys)
    assert _key("a", CONTEXT, points, 0.1) == keys[0]


CHAINS = st.lists(st.lists(st.integers(0, 2), max_size=3).map(tuple), max_size=3).map(tuple)


@given(CHAINS, CHAINS)
def test_different_branches_have_different_keys(some, others):
    """Chains (1, 2), (3,) and (1,), (2, 3) hold the same symbols."""

    def key(chains: tuple[tuple[int, ...], ...]) -> str:
        return _key("a", CONTEXT, Points(np.zeros(len(chains), dtype=int), chains), 0.1)

    assert (key(some) == key(others)) == (some == others)


def test_a_model_without_fingerprint_is_never_stored(folder):
    for model in (FakeModel(), Counted(None), Counted("")):
        stored_densities(model, CONTEXT, CONTEXT.points, 1e-3)
    assert not folder.exists()


def test_models_are_told_apart_by_their_fingerprint(folder):
    other = Counted("other weights")
    other.sd = 9.0
    results = [stored_densities(m, CONTEXT, CONTEXT.points, 0.0).probs for m in (Counted(), other, Counted())]
    assert not np.allclose(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def tampered(arrays: dict[str, np.ndarray], how: str) -> dict[str, np.ndarray]:
    probs, pruned = arrays["probs"].copy(), arrays["pruned"].copy()
    if how == "sum":
        probs[2] *= 1.01
    elif how == "nan":
        probs[0, 0] = np.nan
    elif how == "negative":
        probs[0, :2] += (-0.5 - probs[0, 0], 0.5 + probs[0, 0])
    elif how == "shape":
        probs = probs[:-1]
    elif how == "flat":
        probs = probs.ravel()
    elif how == "pruned":
        pruned[0] = 2.0
    elif how == "dtype":
        return arrays | {"probs": probs.astype(np.int64)}
    elif how == "missing":
        return {"probs": probs, "pruned": pruned}
    return arrays | {"probs": probs, "pruned": pruned}


@pytest.mark.parametrize("how", ["sum", "nan", "negative", "shape", "flat", "pruned", "dtype", "missing"])
def test_an_entry_that_is_no_density_is_read_again(folder, how):
    """Each of these has a checksum that is right."""
    model = Counted()
    first = stored_densities(model, CONTEXT, CONTEXT.points, 1e-3)
    store, key = store_module._store(), _key(model.fingerprint, CONTEXT, CONTEXT.points, 1e-3)
    store.put(key, tampered(store.get(key), how))
    asked = model.calls
    again = stored_densities(model, CONTEXT, CONTEXT.points, 1e-3)
    assert same(first, again)
    assert model.calls > asked
    asked = model.calls
    assert same(first, stored_densities(model, CONTEXT, CONTEXT.points, 1e-3))
    assert model.calls == asked


def test_what_a_broken_model_says_is_not_kept(folder):
    model = Counted(noise=np.nan)
    for _ in range(2):
        assert np.isnan(stored_densities(model, CONTEXT, CONTEXT.points, 0.0).probs).any()
    assert store_module.store_info()["entries"] == 0


def test_densities_of_a_model_that_seldom_writes_numbers_are_kept(folder):
    """A twentieth of the mass is on a first digit, half of that on a second: the rest writes no number."""

    class Stray(Counted):
        def log_probs(self, forest: Forest) -> ForestLogProbs:
            self.calls += 1
            law = np.log([0.05] * 10 + [0.5, 1e-300])
            shapes = len(forest.asked), len(forest.symbols)
            return ForestLogProbs(*(np.tile(law, (k, 1)) for k in shapes), outside=np.full(1, 0.9))

    model = Stray()
    found = [stored_densities(model, CONTEXT, CONTEXT.points, 0.0) for _ in range(2)]
    assert found[1].outside == pytest.approx(1 - 0.05 * 0.5)
    assert same(*found)
    assert model.calls == 2  # levels


def test_zero_turns_it_off_and_the_limit_is_checked(folder, monkeypatch):
    model = Counted()
    monkeypatch.setenv("DESCENTCAST_CACHE_MB", "0")
    stored_densities(model, CONTEXT, CONTEXT.points, 1e-3)
    assert not folder.exists()
    assert store_module.store_info()["limit_bytes"] == 0
    for bad in ("many", "-1", "nan", "inf"):
        monkeypatch.setenv("DESCENTCAST_CACHE_MB", bad)
        with pytest.raises(ArgumentError, match=f"DESCENTCAST_CACHE_MB == '{bad}', must be a number of at least 0"):
            stored_densities(model, CONTEXT, CONTEXT.points, 1e-3)


def test_a_cache_that_cannot_be_written_costs_one_warning(folder):
    folder.write_text("a file where the folder should be")
    model = Counted()
    with pytest.warns(RuntimeWarning, match="densities are not stored, so they will be read again") as seen:
        found = [stored_densities(model, CONTEXT, CONTEXT.points, 1e-3) for _ in range(3)]
    assert len(seen) == 1
    assert same(found[0], found[2])
    with pytest.raises(DataError, match="the density store cannot be used"):
        store_module.clear_store()


def test_a_home_that_is_unknown_is_an_argument_error(folder, monkeypatch):
    monkeypatch.setenv("DESCENTCAST_CACHE", "~nobody-has-this-name/cache")
    with pytest.raises(ArgumentError, match="DESCENTCAST_CACHE == '~nobody-has-this-name/cache'"):
        stored_densities(Counted(), CONTEXT, CONTEXT.points, 1e-3)


FULL_DISK = """
import resource, warnings
import numpy as np
from descentcast.densities import lay_out, store_info, stored_densities
from descentcast.encoding import View
from descentcast.language_models import Alphabet, ForestLogProbs

class Uniform:
    name, alphabet, restarts, max_length, fingerprint = "uniform", Alphabet(1), True, 10_000, "uniform"
    def log_probs(self, forest):
        shapes = len(forest.asked), len(forest.symbols)
        return ForestLogProbs(*(np.full((k, 12), -np.log(12.0)) for k in shapes), outside=np.zeros(1))

context = lay_out([np.array([0.1, 0.9])], View(0.0, 1.0, 2), Alphabet(1))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for limit in (60_000, hard):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for k in range(1, 30):
            assert stored_densities(Uniform(), context, context.probes(np.arange(k)), 1e-3).probs.shape == (k, 100)
    print(len(seen), store_info()["entries"])
"""


def test_a_full_disk_costs_one_warning(folder):
    """The system refuses every byte of a file past 60 kB, as a full disk does; then there is room again."""
    done = subprocess.run([sys.executable, "-c", FULL_DISK], capture_output=True, text=True, check=True)
    full, free = (tuple(map(int, line.split())) for line in done.stdout.splitlines())
    assert full[0] == 1
    assert 0 < full[1] < 29
    assert free == (0, 29)
