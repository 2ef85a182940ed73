"""`load_model`: from a name to a language model that is ready to read."""

import errno
import functools
import os
import re
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock

from descentcast import _checks
from descentcast.errors import ArgumentError, FetchError
from descentcast.language_models._adapters import read_card
from descentcast.language_models._base import LanguageModel
from descentcast.language_models._catalogue import ModelSource, converted_dir, fetch, resolve
from descentcast.language_models._hub import on_the_hub_or_here
from descentcast.language_models._shipped import shipped_adapter, shipped_decoder
from descentcast.language_models._transformers import convert_gguf, load_network


def load_model(
    name_or_path: str | Path, dtype: str = "auto", device: str = "auto", adapter: str | Path | None = "default"
) -> LanguageModel:
    """Load a language model; fetch it and convert it first where that has not been done.

    Args:
        name_or_path: A name of the catalogue, a `.gguf` file, a folder with config.json, or a hub id `owner/name`.
        dtype: "auto", "float32", "bfloat16" or "float16". "auto" is float32, on a CPU with
            bfloat16 for branches of so little mass that no probability moves by more than 1e-3, where that is measured
            to be faster: the model's `precision` says what was chosen.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        adapter: "default" for the one that is shipped for a model of the catalogue, where there is one; None for the
            frozen model, the paper's setting; or the folder of another one (`training/` makes them).

    Raises:
        ArgumentError: An argument that is not one of these.
        FetchError: The model cannot be fetched or written.
        TokenizerError: Its tokenizer writes numbers neither digit by digit nor three digits at a time.
        ModelError: No such model, one that cannot be branched, or an adapter that was trained on another one.

    Examples:
        >>> load_model("no-such-model")
        Traceback (most recent call last):
        ...
        descentcast.errors.ModelError: model 'no-such-model' is unknown: give a name of the catalogue ...
    """
    _checks.one_of("dtype", dtype, ("auto", "float32", "bfloat16", "float16"))
    _checks.instance("name_or_path", name_or_path, (str, Path), "a name, path or hub id")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", str(device)):
        raise ArgumentError(f"device == {device!r}, must be 'auto', 'cpu' or 'cuda'")
    source = resolve(name_or_path)
    chosen = _adapter(adapter, source)
    if source.path is None:
        return load_network(on_the_hub_or_here(source.name), source.name, dtype, device, chosen)
    if source.kind == "folder":
        folder = source.path
    elif source.kind == "catalogue":
        folder = pull(source.name)
    else:
        folder = _converted(source.path, converted_dir(source.path))
    return load_network(folder, source.name, dtype, device, chosen)


def loaded(model: str | LanguageModel) -> LanguageModel:
    """Return a model that is given loaded, or by name: then with the defaults of `load_model`.

    The model that was named last is kept, with what it has read: a second fit by name neither loads nor reads it again.
    A file or folder that has been written since is loaded anew.
    """
    if not isinstance(model, str):
        if not hasattr(model, "log_probs"):
            raise ArgumentError(f"model is a {type(model).__name__}, must be a name or a model that load_model returns")
        return model
    path = resolve(model).path
    files = [path, *path.iterdir()] if path and path.is_dir() else [path] if path and path.exists() else []
    return _kept(model, path, tuple(file.stat().st_mtime_ns for file in files))


@functools.lru_cache(maxsize=1)
def _kept(name: str, path: Path | None, written: tuple[int, ...]) -> LanguageModel:
    return load_model(name)


def _adapter(given: str | Path | None, source: ModelSource) -> Path | None:
    """Return the folder of the adapter that was asked for; a folder is held to be one before any weights are read."""
    if given is None:
        return None
    if given == "default":
        return shipped_adapter(source.name) if source.kind == "catalogue" else None
    folder = Path(_checks.instance("adapter", given, (str, Path), "'default', None or a folder")).expanduser()
    if not folder.is_dir():
        raise ArgumentError(f"adapter == {str(given)!r}, must be 'default', None or the folder of an adapter")
    read_card(folder)
    return folder


def pull(name: str) -> Path:
    """Fetch a model and convert it, where that has not been done, and return its folder; some come with the package.

    Raises:
        FetchError: It cannot be fetched or written.
        ModelError: The catalogue has no such name.
    """
    return shipped_decoder(name) or _converted(fetch(name), converted_dir(name))


def _converted(gguf: Path, folder: Path) -> Path:
    """Return the folder with a GGUF file's weights as safetensors, converting it once.

    The folder appears by an atomic rename: a conversion that was stopped is never used.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix="converting-"))
                try:
                    convert_gguf(gguf, scratch)
                    os.replace(scratch, folder)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else str(error)
        raise FetchError(f"{gguf.name}: cannot write the converted model to {folder}: {reason}") from error
    return folder
