"""One thing a coordinate: by itself where there is one coordinate, a tuple of them where there are several."""

from collections.abc import Sequence
from typing import Any

from descentcast.kernels._kernel import TransitionKernel


def several(kernels: Any) -> tuple[TransitionKernel, ...]:
    """Return kernels, one a coordinate, as a tuple."""
    return kernels if isinstance(kernels, tuple) else (kernels,)


def single(values: Sequence[Any]) -> Any:
    """Return the one value, or a tuple of several."""
    return values[0] if len(values) == 1 else tuple(values)
