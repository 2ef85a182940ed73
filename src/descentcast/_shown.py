"""How results show themselves at a prompt and in a notebook: in a few lines, arrays by shape and range."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

MOST_NUMBERS, MOST_ITEMS, LONGEST = 6, 4, 120


class Shown:
    """A dataclass whose arrays, tables and long tuples are described, not printed; what is empty is left out.

    To be used with `@dataclass(repr=False)`, which would write a `__repr__` of its own otherwise.

    Examples:
        >>> from descentcast.trajectories import Trajectory
        >>> Trajectory([[4.0], [2.0], [1.0]], run="seed 1")
        Trajectory(values=<3 x 1 from 1 to 4>, names=('x',), steps=[0, 1, 2], run='seed 1')
    """

    def __repr__(self) -> str:
        known = {f.name: getattr(self, f.name) for f in fields(self) if f.repr}  # pyright: ignore[reportArgumentType]
        shown = ", ".join(f"{name}={described(value)}" for name, value in known.items() if not _empty(value))
        return f"{type(self).__name__}({shown})"


def described(value: Any) -> str:
    """Return a value in a few words.

    Examples:
        >>> described(np.arange(12.0).reshape(4, 3)), described(np.array([0.25, 1e9])), described((1, 2, 3, 4, 5, 6))
        ('<4 x 3 from 0 to 11>', '[0.25, 1e+09]', '(1, 2, 3, ... 6 in all)')
    """
    if isinstance(value, np.ndarray):
        return _array(value)
    if type(value).__name__ == "DataFrame":
        return f"<{len(value)} rows of {', '.join(map(str, value.columns))}>"
    if isinstance(value, Mapping):
        return "{" + _several([f"{key!r}: {described(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, tuple | list):
        left, right = "()" if isinstance(value, tuple) else "[]"
        alone = "," if isinstance(value, tuple) and len(value) == 1 else ""
        return left + _several([described(item) for item in value]) + alone + right
    text = f"{value:g}" if isinstance(value, float | complex) else repr(value)
    return text if len(text) <= LONGEST or isinstance(value, Shown) else f"{text[: LONGEST - 3]}..."


def _array(value: np.ndarray) -> str:
    if value.ndim == 1 and value.size <= MOST_NUMBERS:
        return f"[{', '.join(described(item) for item in value.tolist())}]"
    shape = " x ".join(map(str, value.shape)) or "one"
    if value.dtype.kind in "UOb":
        return f"<{shape} of {_several([repr(item) for item in sorted(set(value.ravel().tolist()), key=str)])}>"
    if value.dtype.kind not in "fiu" or not np.isfinite(value).any():
        return f"<{shape} {value.dtype.name}>"
    finite = value[np.isfinite(value)]
    return f"<{shape} from {finite.min():g} to {finite.max():g}>"


def _several(parts: list[str]) -> str:
    if len(parts) <= MOST_ITEMS:
        return ", ".join(parts)
    return ", ".join([*parts[: MOST_ITEMS - 1], f"... {len(parts)} in all"])


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, tuple | list | Mapping) and not len(value))
