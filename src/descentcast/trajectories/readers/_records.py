"""What every reader returns: each run of a source with its series as they were written, nothing mended yet."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from descentcast.errors import DataError
from descentcast.trajectories._trajectories import LAST_STEP

WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}  # of JSON writers
OWN = ("step", "batch", "stride")  # settings that have a meaning in kernels: never taken from a foreign configuration
DEEPEST = 8  # levels of a nested configuration or log entry
LONGEST = 60  # characters of a foreign name or cell in a message
MOST_NAMED = 20  # columns in a message


@dataclass(frozen=True, eq=False)
class Series:
    """One recorded quantity of one run, in the order in which it was written.

    Attributes:
        steps: The optimizer step of each point, int64; may repeat, may be out of order.
        values: The values, float64; NaN and infinity are kept.
        fault: Why the values cannot be used, with the place; empty where they can. Without values it is no quantity.
        aside: Whether it is a coordinate only where it is asked for by name, such as a time of day.
        note: What a reader of the values should know.
    """

    steps: np.ndarray
    values: np.ndarray
    fault: str = ""
    aside: bool = False
    note: str = ""


@dataclass(frozen=True, eq=False)
class Record:
    """One run of a source.

    Attributes:
        run: Its name within the source; empty where the source is one run.
        series: Its quantities by name.
        setting: Its configuration, flat, plain values.
        labels: What an arm can be named by: the setting, and tags or columns that are no setting.
        notes: What reading the file mended or left out.
        key: What tells runs of one name apart.
        arm: Its arm, where the recorder of this package noted one.
        piece: Which piece it is of a recording that was resumed, from 1; 0 of what is no recording.
    """

    run: str
    series: Mapping[str, Series]
    setting: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    key: str = ""
    arm: str | None = None
    piece: int = 0


class Points:
    """Collects logged entries into series; what is no number is remembered by its first place."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._points: dict[str, tuple[array[int], array[float]]] = {}
        self._odd: dict[str, str] = {}

    def add(self, name: str, step: int, cell: Any) -> None:
        """Add one point; a cell that is no number is a fault of the whole series."""
        kind = type(cell)
        if kind is not float:
            if kind is str and cell in WORDS:
                cell = WORDS[cell]
            elif kind is not int or abs(cell) >= 2**1023:
                self._odd.setdefault(name, f"step {step} holds {clipped(cell)}, must be a number")
                return
        found = self._points.get(name)
        if found is None:
            found = self._points[name] = array("q"), array("d")
        found[0].append(step)
        found[1].append(cell)

    def extend(self, name: str, steps: np.ndarray, values: np.ndarray) -> None:
        """Add many points."""
        found = self._points.setdefault(name, (array("q"), array("d")))
        found[0].frombytes(steps.astype(np.int64).tobytes())
        found[1].frombytes(values.astype(np.float64).tobytes())

    def series(self, aside: tuple[str, ...] = (), notes: Mapping[str, str] | None = None) -> dict[str, Series]:
        """Return the series, in order of appearance of their first number; those named in `aside` are aside."""
        out = {}
        for name in [*self._points, *(name for name in self._odd if name not in self._points)]:
            steps, values = self._points.get(name) or (array("q"), array("d"))
            odd = self._odd.get(name)
            out[name] = Series(
                np.frombuffer(steps, dtype=np.int64) if steps else np.empty(0, dtype=np.int64),
                np.frombuffer(values, dtype=np.float64) if values else np.empty(0),
                fault=f"{self.place}: {shown(name)}, {odd}" if odd else "",
                aside=name in aside,
                note=(notes or {}).get(name, ""),
            )
        return out


def whole_step(place: str, step: Any) -> int:
    """Return a step as an int.

    Raises:
        DataError: It is not a whole number of at most 2^53.
    """
    if type(step) is int and -LAST_STEP <= step <= LAST_STEP:
        return step
    if type(step) is float and step == step // 1 and abs(step) <= LAST_STEP:
        return int(step)
    raise DataError(f"{place}: step {clipped(step)}, must be a whole number of at most 2^53")


def flat(entry: Mapping[Any, Any], depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested mapping, names joined by dots; objects that say their type are left out."""
    for name, value in entry.items():
        if not isinstance(value, dict):
            yield str(name), value
        elif depth < DEEPEST and "_type" not in value:
            for below, leaf in flat(value, depth + 1):
                yield f"{name}.{below}", leaf


def plain_setting(configuration: Any) -> dict[str, Any]:
    """Return the plain values of a configuration, but for names that have a meaning of their own in kernels."""
    leaves = flat(configuration) if isinstance(configuration, dict) else ()
    return {k: v for k, v in leaves if isinstance(v, str | int | float | bool) and k not in OWN}


def well_formed(text: str) -> str:
    """Return text that can be encoded: halves of surrogate pairs, which JSON can hold, become question marks."""
    return text.encode("utf-8", "replace").decode()


def shown(name: Any) -> str:
    """Return a foreign name for a message: as it is where it prints on one line, quoted where it does not."""
    text = str(name)
    text = text if text.isprintable() and text else repr(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def clipped(cell: Any) -> str:
    """Return a foreign cell for a message, quoted and short."""
    try:
        return f"{cell!r:.40}"
    except ValueError:  # An integer of more digits than Python writes.
        return "an integer of thousands of digits"


def no_column(place: str, name: str, there: Sequence[str]) -> DataError:
    """Return the error for a column that was asked for and is not there."""
    names = ", ".join(map(shown, there[:MOST_NAMED])) + (", ..." if len(there) > MOST_NAMED else "")
    return DataError(f"{place}: no column {name!r:.60}, there are {names or 'none of numbers'}")


def missing(place: str, format_name: str, extra: str) -> DataError:
    """Return the error for a format whose library is not installed."""
    return DataError(f"{place}: reading {format_name} needs a library: pip install 'descentcast[{extra}]'")
