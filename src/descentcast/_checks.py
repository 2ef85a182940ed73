"""Argument checks: each returns the value, cleaned, or raises `ArgumentError` naming argument, value and rule."""

from collections.abc import Collection, Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from descentcast.errors import ArgumentError, DataError

T = TypeVar("T")
# Squares of values and of differences, as variances take them, stay normal float64 between these.
LARGEST, NARROWEST = 1e150, 1e-150


def integer(name: str, value: Any, *, low: int | None = None, high: int | None = None) -> int:
    """Return `value` as an int within `[low, high]`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ArgumentError(f"{name} == {value!r}, must be an integer")
    if (low is not None and value < low) or (high is not None and value > high):
        raise ArgumentError(f"{name} == {value}, must be {_interval(low, high)}")
    return int(value)


def real(
    name: str, value: Any, *, low: float | None = None, high: float | None = None, open_low: bool = False
) -> float:
    """Return `value` as a finite float within `[low, high]` (`(low, high]` where `open_low`)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ArgumentError(f"{name} == {value!r}, must be a number")
    number = float(value)
    below = low is not None and (number <= low if open_low else number < low)
    if not np.isfinite(number) or below or (high is not None and number > high):
        rule = _interval(low, high)
        if open_low and low is not None:
            rule = f"greater than {low:g}" if high is None else f"in ({low:g}, {high:g}]"
        raise ArgumentError(f"{name} == {value}, must be a finite number {rule}".rstrip())
    return number


def one_of(name: str, value: T, allowed: Collection[T]) -> T:
    """Return `value` if it is one of `allowed`."""
    if value not in allowed:
        raise ArgumentError(f"{name} == {value!r}, must be one of {', '.join(repr(a) for a in allowed)}")
    return value


def vector(name: str, value: ArrayLike, *, least: int = 1) -> np.ndarray:
    """Return `value` as a finite float array of one dimension with at least `least` entries."""
    array = numeric(name, value)
    if array.ndim != 1 or array.size < least:
        raise ArgumentError(f"{name} has shape {array.shape}, must be one-dimensional with at least {least} entries")
    finite(name, array)
    return array


def edges(name: str, value: ArrayLike) -> np.ndarray:
    """Return `value` as strictly increasing cell edges: n + 1 of them for n cells, n >= 2."""
    array = vector(name, value, least=3)
    if not (np.diff(array) > 0).all():
        raise ArgumentError(f"{name} do not increase strictly at position {int(np.argmin(np.diff(array) > 0)) + 1}")
    return array


def interval(name: str, value: Iterable[float]) -> tuple[float, float]:
    """Return `value` as a pair (low, high) with low < high."""
    if not isinstance(value, Iterable):
        raise ArgumentError(f"{name} == {value!r}, must be a pair (low, high)")
    pair = numeric(name, tuple(value))
    if pair.shape != (2,) or not np.isfinite(pair).all() or pair[0] >= pair[1]:
        raise ArgumentError(f"{name} == {tuple(value)!r}, must be a pair (low, high) of finite numbers, low < high")
    return float(pair[0]), float(pair[1])


def distributions(name: str, value: ArrayLike, *, tolerance: float = 1e-6) -> np.ndarray:
    """Return `value` as an array whose last axis holds probabilities that sum to 1 within `tolerance`."""
    array = numeric(name, value)
    finite(name, array)
    if array.ndim < 1 or (array < -tolerance).any():
        raise ArgumentError(f"{name} must hold probabilities, got a smallest entry of {array.min(initial=np.inf):g}")
    error = float(np.abs(array.sum(axis=-1) - 1).max(initial=0))
    if error > tolerance:
        raise ArgumentError(f"{name} must sum to 1 over the last axis, off by {error:.2g} at worst")
    return array


def numeric(name: str, value: ArrayLike) -> np.ndarray:
    """Return `value` as a float64 array, refusing what is not numbers."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} == {value!r:.80}, must be numbers") from None


def several(name: str, value: Any) -> list[Any]:
    """Return `value` as a list; one alone, or a word, is not several."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ArgumentError(f"{name} == {value!r:.80}, must be a list")
    return list(value)


def finite(name: str, array: np.ndarray) -> np.ndarray:
    """Return `array` if it holds neither NaN nor infinity."""
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ArgumentError(f"{name} holds {array[place]} at {place}, must be finite")
    return array


def squarable(name: str, values: np.ndarray) -> None:
    """Refuse values whose variance float64 cannot hold: beyond 1e150, or all within 1e-150 of each other and of 0."""
    low, high = float(values.min()), float(values.max())
    if max(-low, high) > LARGEST:
        raise DataError(f"{name}: values go from {low:g} to {high:g}, must stay within 1e150: rescale them")
    if low != high and max(-low, high) < NARROWEST:
        raise DataError(f"{name}: values go from {low:g} to {high:g}, must reach 1e-150: rescale them")


def instance(name: str, value: Any, kind: type[T] | tuple[type[T], ...], hint: str) -> T:
    """Return `value` if it is of that kind; `hint` says what is allowed."""
    if not isinstance(value, kind):
        raise ArgumentError(f"{name} is a {type(value).__name__}, must be {hint}")
    return value


def generator(random_state: Any) -> np.random.Generator:
    """Return a generator of its own: seeded by an integer or a SeedSequence, or the one that was given."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None:
        return np.random.default_rng()
    if isinstance(random_state, np.random.SeedSequence):
        # A copy, as it was made: spawning counts in the original, so that it would seed other streams each time.
        s = random_state
        return np.random.default_rng(np.random.SeedSequence(s.entropy, spawn_key=s.spawn_key, pool_size=s.pool_size))
    return np.random.default_rng(integer("random_state", random_state, low=0))


def _interval(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"in [{low:g}, {high:g}]"
    if low is not None:
        return f"at least {low:g}"
    return f"at most {high:g}" if high is not None else ""
