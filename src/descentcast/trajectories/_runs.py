"""From records, as they were written, to runs: chosen coordinates, ordered steps, divergence, names and arms."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from descentcast.errors import ArgumentError, DataError
from descentcast.trajectories._resumed import rejoined
from descentcast.trajectories._trajectories import Trajectories, Trajectory
from descentcast.trajectories.readers import Record, Series, Source, no_column, shown, well_formed

PLACE = "{arm}"


@dataclass(frozen=True, eq=False)
class Found:
    """One run of a source: its record, what it is called, and its arm."""

    source: Source
    record: Record
    run: str
    arm: str | None


def named_runs(
    sources: Sequence[tuple[Source, str]], arm: str | None, columns: Sequence[str] | None = None
) -> list[Found]:
    """Read sources, each with the name of its runs, and return all their runs under different names, with their arms.

    Where a source can be asked for some of its columns, it is asked for `columns` only.

    A run is called what its source calls it, or by its source; where that is the same for several, by both, and where
    one source has two of a name, by its key too.

    Raises:
        ArgumentError: `arm` is not a name or a path with one `{arm}`.
        DataError: A source cannot be read, or a run has no arm.
    """
    if arm is not None and (not isinstance(arm, str) or not arm or arm.count(PLACE) > 1):
        raise ArgumentError(f"arm == {arm!r}, must be the name of a column, setting or tag, or a path with one {PLACE}")
    column = arm if arm and PLACE not in arm else None
    pairs = rejoined([(source, name, one) for source, name in sources for one in source.records(column, columns)])
    several = len(sources) > 1
    short = [record.run or name for _, name, record in pairs]
    counts = Counter(short)
    runs = []
    for (_, name, record), own in zip(pairs, short, strict=True):
        runs.append(f"{name}/{record.run}" if counts[own] > 1 and several and record.run else own)
    counts = Counter(runs)
    found = []
    for (source, _, record), own in zip(pairs, runs, strict=True):
        run = f"{own} ({record.key[:8]})" if counts[own] > 1 and record.key else own
        found.append(Found(source, record, run, _arm_of(arm, source, record, run)))
    return found


def assembled(found: Sequence[Found], columns: Sequence[str] | None) -> Trajectories:
    """Return the runs; those of fewer than two finite rows are left out and named in the notes.

    Raises:
        DataError: An unknown column, one that holds other things than numbers, columns that were recorded at different
            steps while none was asked for, no run of two rows, runs that recorded different coordinates.
    """
    runs, notes = [], []
    for one in found:
        run = _trajectory(one, columns)
        if isinstance(run, Trajectory):
            runs.append(run)
        else:
            notes.append(f"{shown(one.run)}: {run}: left out")
    if not runs:
        others = f", nor has any other of the {len(notes)} runs" if len(notes) > 1 else ""
        raise DataError(f"{notes[0].removesuffix(': left out')}, at least 2 are needed{others}")
    return Trajectories(tuple(runs), tuple(notes))


def ordered(series: Series) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return steps that increase, the values, and what was mended: of equal steps the one written last counts."""
    steps, values = series.steps, series.values
    rising = np.diff(steps) > 0
    if rising.all():
        return steps, values, []
    order = np.argsort(steps, kind="stable")
    back = int((np.diff(steps) < 0).sum())
    steps, values = steps[order], values[order]
    last = np.append(np.diff(steps) > 0, True)
    again = int((~last).sum())
    mended = [f"{again} rows repeat a step: of each the one written last was kept"] if again else []
    mended += [f"steps went back {back} times: sorted"] if back else []
    return steps[last], values[last], mended


def divergence(values: np.ndarray) -> tuple[int, np.ndarray]:
    """Return from which row on no row is finite, and which rows before it are not finite; values of shape (T, D)."""
    finite = np.asarray(np.isfinite(values).all(axis=1))
    end = int(np.flatnonzero(finite)[-1]) + 1 if finite.any() else 0
    return end, ~finite[:end]


def _trajectory(one: Found, columns: Sequence[str] | None) -> Trajectory | str:
    """Return the run, or why there is none."""
    record, path = one.record, one.source.path
    if not record.series:
        return "".join(["no numbers were recorded", *(f"; {note}" for note in record.notes)])
    names = _chosen(record, one, columns)
    parts = {name: ordered(record.series[name]) for name in names}
    notes = [*record.notes, *dict.fromkeys(note for _, _, mended in parts.values() for note in mended)]
    if columns is None:
        once = (name for name, s in record.series.items() if len(s.values) == 1 and not s.aside and name not in names)
        notes += [f"{shown(name)} was recorded at one step only: no coordinate" for name in once]
        odd = (name for name, s in record.series.items() if s.note and not len(s.values))
        notes += [f"{shown(name)}: {record.series[name].note}" for name in odd]
    notes += [f"{shown(name)}: {note}" for name in names if (note := record.series[name].note)]
    first = parts[names[0]][0]
    if all(len(steps) == len(first) and (steps == first).all() for steps, _, _ in parts.values()):
        steps, values = first, np.stack([part[1] for part in parts.values()], axis=1)
    else:
        if columns is None:
            counts = ", ".join(f"{shown(name)} ({len(part[0])})" for name, part in parts.items())
            raise DataError(f"{path}: {shown(one.run)}: recorded at different steps: {counts}: name those to read")
        steps, values, left_out = _common(parts)
        notes.append(f"{left_out} steps at which not all of {', '.join(map(shown, names))} were recorded: left out")
    end, bad = divergence(values)
    diverged = int(steps[end]) if end < len(steps) else None
    if bad.any():
        notes.append(f"{int(bad.sum())} rows without finite values before others that have them: left out")
    steps, values = steps[:end][~bad], values[:end][~bad]
    if len(steps) < 2:
        before = "" if diverged is None else f" before it diverged at step {diverged}"
        return f"{len(steps)} recorded step(s){before}"
    return Trajectory(values, names, steps, one.run, one.arm, record.setting, diverged, tuple(notes))


def _chosen(record: Record, one: Found, columns: Sequence[str] | None) -> tuple[str, ...]:
    """Return the coordinates of a run: those asked for, or all that were recorded as such."""
    path, series = one.source.path, record.series
    numeric = [name for name in series if len(series[name].values)]
    if columns is None:
        coordinates = [name for name in numeric if not series[name].aside]
        chosen = [name for name in coordinates if len(series[name].values) > 1] or coordinates
        if not chosen:
            fault = next((s.fault for s in series.values() if s.fault), "")
            why = "".join(f"; {note}" for note in record.notes)
            raise DataError(fault or f"{path}: {shown(one.run)}: no numbers were recorded{why}")
    else:
        chosen = list(columns)
        for name in chosen:
            if name not in series:
                raise no_column(f"{path}: {shown(one.run)}" if one.record.run else str(path), name, numeric)
    for name in chosen:
        if series[name].fault:
            raise DataError(series[name].fault)
    return tuple(chosen)


def _common(parts: dict[str, tuple[np.ndarray, np.ndarray, list[str]]]) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the steps that all columns have, their values, and how many steps some columns have and others lack."""
    common = union = next(iter(parts.values()))[0]
    for steps, _, _ in parts.values():
        common = np.intersect1d(common, steps, assume_unique=True)
        union = np.union1d(union, steps)
    values = np.stack([values[np.searchsorted(steps, common)] for steps, values, _ in parts.values()], axis=1)
    return common, values, len(union) - len(common)


def _arm_of(arm: str | None, source: Source, record: Record, run: str) -> str | None:
    if arm is None:
        return record.arm
    if PLACE not in arm:
        if record.labels.get(arm) is None:
            there = ", ".join(shown(name) for name, value in record.labels.items() if value is not None) or "none"
            raise DataError(f"{source.path}: {shown(run)}: no label {arm!r:.60} to name an arm by, there are {there}")
        return well_formed(str(record.labels[arm]))
    for place in _places(source, record):
        if match := re.fullmatch(_pattern(arm), "/".join(place.split("/")[-arm.count("/") - 1 :])):
            return well_formed(match["arm"])
    raise DataError(f"{source.path}: {shown(run)}: its place does not match arm == {arm!r}")


def _places(source: Source, record: Record) -> Iterable[str]:
    place = source.place.absolute().as_posix()
    return (f"{place}/{record.run}", record.run, place) if record.run else (place,)


def _pattern(arm: str) -> str:
    """Return the pattern of a path: `*` stands for any part of a name, `{arm}` for the part that is the arm."""
    parts = re.split(r"(\*|\{arm\})", arm)
    return "".join({"*": "[^/]*", PLACE: "(?P<arm>[^/]+)"}.get(part, re.escape(part)) for part in parts)
