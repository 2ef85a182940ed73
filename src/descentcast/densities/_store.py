"""The density store: what a model has read once is not read again.

A density is a function of the model's weights, the symbols of the prompt, the points and the bound on what is pruned:
these are its key. What comes back from the disk and is not a distribution is read again.
"""

import functools
import hashlib
import os
import sqlite3
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from descentcast.densities._array_store import ArrayStore
from descentcast.densities._context import Context, Points
from descentcast.densities._digit_tree import CodeDensities, read_densities
from descentcast.errors import ArgumentError, DataError
from descentcast.language_models import LanguageModel, cache_dir

# To be raised when `read_densities` returns other numbers for the same arguments: older entries are then never found.
FORM = 3
DEFAULT_MB = 2048
ARRAYS, DTYPES = ("probs", "pruned", "outside"), ("<f4", "<f8")
TOLERANCE = 1e-5

T = TypeVar("T")


def stored_densities(model: LanguageModel, context: Context, points: Points, bound: float) -> CodeDensities:
    """Return what `read_densities` returns, to the last bit, reading only what has not been read before.

    Models with a `fingerprint` are stored; the attribute must cover whatever else decides their answers: weights,
    adapter, dtype. `DESCENTCAST_CACHE_MB` bounds the store, and 0 turns it off. Where the store cannot be used, the
    densities are read without it, and one warning says why.

    Args:
        model: The language model.
        context: The prompt.
        points: Where to read.
        bound: Largest mass at a point that may go unrefined.

    Raises:
        ArgumentError: `DESCENTCAST_CACHE_MB` is not a number of at least 0.
    """
    fingerprint = getattr(model, "fingerprint", None)
    store = _store() if fingerprint else None
    if store is None:
        return read_densities(model, context, points, bound)
    key = _key(str(fingerprint), context, points, bound)
    shape = len(points), context.alphabet.base**context.groups
    known = _attempt(lambda: store.get(key))
    if known is not None and _plausible(known, shape):
        return CodeDensities(**known)
    found = read_densities(model, context, points, bound)
    arrays = {name: np.asarray(getattr(found, name)) for name in ARRAYS}
    if _plausible(arrays, shape):
        _attempt(lambda: store.put(key, arrays))
    return found


def store_info() -> dict[str, Any]:
    """Return where the density store is, its entries, bytes on the disk and their limit, 0 where it is turned off.

    Raises:
        ArgumentError: `DESCENTCAST_CACHE_MB` is not a number of at least 0.
        DataError: The store cannot be read.
    """
    return _reported(ArrayStore.info)


def clear_store() -> dict[str, Any]:
    """Drop every entry of the density store; return how many there were and where.

    Raises:
        ArgumentError: `DESCENTCAST_CACHE_MB` is not a number of at least 0.
        DataError: The store cannot be read or written.
    """
    return _reported(lambda store: {"path": str(store.path), "removed": store.clear()})


def _reported(act: Callable[[ArrayStore], T]) -> T:
    store = ArrayStore(_path(), _limit())
    try:
        return act(store)
    except (sqlite3.Error, OSError) as error:
        raise DataError(f"{store.path}: the density store cannot be used: {error}") from error


def _store() -> ArrayStore | None:
    limit = _limit()
    path = _attempt(_path) if limit else None
    return ArrayStore(path, limit) if path else None


def _path() -> Path:
    return cache_dir() / "densities.sqlite"


def _limit() -> int:
    text = os.environ.get("DESCENTCAST_CACHE_MB") or str(DEFAULT_MB)
    try:
        megabytes = float(text)
    except ValueError:
        megabytes = -1.0
    if not 0 <= megabytes < 1e9:
        raise ArgumentError(f"DESCENTCAST_CACHE_MB == {text!r}, must be a number of at least 0")
    return int(megabytes * 1e6)


def _attempt(act: Callable[[], T]) -> T | None:
    """Return what `act` does; None, with a warning, where the disk does not let it: no result hangs on the store."""
    try:
        return act()
    except (sqlite3.Error, OSError) as error:
        _warn(str(error))
        return None


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(f"densities are not stored, so they will be read again: {reason}", RuntimeWarning, stacklevel=4)


def _key(fingerprint: str, context: Context, points: Points, bound: float) -> str:
    """Return a digest of all that decides the densities; each part is led by its length, so that none runs over."""
    digest = hashlib.sha256()
    numbers = struct.pack("<qqqd", FORM, context.alphabet.base, context.groups, bound)
    parts = [fingerprint.encode(), numbers, _bytes(context.prompt)]
    # The context's own points too: mass outside numbers is sampled at them.
    for some in (context.points, points):
        lengths = [len(chain) for chain in some.chains]
        symbols = [symbol for chain in some.chains for symbol in chain]
        parts += [_bytes(some.prefix), _bytes(lengths), _bytes(symbols)]
    for part in parts:
        digest.update(struct.pack("<q", len(part)) + part)
    return digest.hexdigest()


def _bytes(integers: Any) -> bytes:
    return np.asarray(integers, dtype="<i8").tobytes()


def _plausible(arrays: dict[str, np.ndarray], shape: tuple[int, int]) -> bool:
    """Return whether arrays are densities of this shape: distributions, with masses beside them."""
    if set(arrays) != set(ARRAYS) or any(a.dtype not in map(np.dtype, DTYPES) for a in arrays.values()):
        return False
    probs, pruned, outside = (arrays[name] for name in ARRAYS)
    masses = np.concatenate([pruned.ravel(), outside.ravel(), probs.ravel()])
    return (
        probs.shape == shape
        and pruned.shape == shape[:1]
        and outside.ndim == 1
        and bool((np.abs(probs.sum(axis=1) - 1) < TOLERANCE).all())
        and bool(((masses >= -TOLERANCE) & (masses <= 1 + TOLERANCE)).all())
    )
