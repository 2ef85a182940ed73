"""The language models that are compared, one held at a time, and what tells their weights apart."""

import functools
import hashlib

import torch

import descentcast as dc
from descentcast.errors import DescentcastError
from descentcast.language_models import LanguageModel

CLASSICAL_MODEL = "classical"
FROZEN = ("smollm2-frozen", "gemma3-frozen")
# Name in the tables: what `load_model` is called with.
MODELS: dict[str, dict] = {
    "smollm2-frozen": {"name_or_path": "smollm2-135m", "adapter": None},
    "gemma3-frozen": {"name_or_path": "gemma3-270m", "adapter": None},
    "adapter": {"name_or_path": "smollm2-135m"},
    "descent-small": {"name_or_path": "descent-small"},
}


class UnavailableError(Exception):
    """A model that cannot be loaded."""


def arguments_of(name: str) -> dict:
    """Return what `load_model` is called with for `name`: of `MODELS`, `label=path`, or `label=base+adapter folder`."""
    if name in MODELS:
        return MODELS[name]
    path = name.split("=", 1)[-1]
    base, _, adapter = path.partition("+")
    return {"name_or_path": base} | ({"adapter": adapter} if adapter else {})


@functools.lru_cache(maxsize=1)
def load(name: str) -> LanguageModel | None:
    """Return a model by its name here, None for the classical estimators.

    Raises:
        UnavailableError: It cannot be loaded.
    """
    if name == CLASSICAL_MODEL:
        return None
    try:
        return dc.load_model(**arguments_of(name))
    except DescentcastError as error:
        raise UnavailableError(f"{name}: {error}") from error


@functools.cache
def digest(name: str) -> str:
    """Return what tells the weights of a model apart: its tensors, or those of a base model and an adapter's files."""
    model = load(name)
    if model is None:
        return ""
    found = hashlib.sha256()
    fingerprint: str = model.fingerprint  # pyright: ignore[reportAttributeAccessIssue]
    merged = [part for part in fingerprint.split(":") if len(part) == 64]
    if len(merged) > 1:  # the last bits of merged tensors depend on the processor that multiplied them
        return hashlib.sha256("".join(merged).encode()).hexdigest()[:12]
    for key, tensor in sorted(model._network.state_dict().items()):  # pyright: ignore[reportAttributeAccessIssue]
        found.update(key.encode())
        # As bytes: NumPy has no bfloat16.
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:12]
