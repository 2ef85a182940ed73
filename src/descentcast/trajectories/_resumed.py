"""Runs that were stopped and gone on with, in a file a piece: put together, so that nobody counts them twice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from descentcast.trajectories.readers import Record, Series, Source

Named = tuple[Source, str, Record]
WANDB = "W&B"  # A run of one id that begins again is the same run there.
FROM_THE_START = "distance"  # What a recorder measures from where the piece began.
CONSTANT, STEP_SIZE = "constant", "step_size"  # What a recorder says of a schedule, and where else it is.


def rejoined(found: Sequence[Named]) -> list[Named]:
    """Return runs with the pieces of a run that was resumed joined to its first.

    Pieces of a W&B run have one id and folders beside each other; those of a recording of this package are numbered by
    the recorder, `a.2.jsonl` after `a.jsonl`. All others begin after the first; those in which nothing was recorded are
    left out. From its first step on a later piece counts, for every quantity: what was logged between the checkpoint
    and the crash is left out. Where columns were asked for, its first step is the first that these have.
    """
    pieces: dict[tuple[str, ...], list[Named]] = {}
    for number, piece in enumerate(found):
        pieces.setdefault(_whose(piece) or (str(number),), []).append(piece)
    joined = []
    for several in pieces.values():
        several = sorted(filter(_begun, several), key=_when) or several[:1]
        begins = [_begin(record) for _, _, record in several]
        if all(begin > begins[0] for begin in begins[1:]):
            source, name, record = several[0]
            record = _alone(source, record) if len(several) == 1 else record
            for begin, (_, _, later) in zip(begins[1:], several[1:], strict=True):
                record = _joined(record, later, begin)
            joined.append((source, name, record))
        else:
            joined += several
    return joined


def _whose(piece: Named) -> tuple[str, ...] | None:
    """Return what pieces of one run have in common, None where a run is never in pieces."""
    source, _, record = piece
    folder, stem = Path(source.path).parent, Path(source.path).stem
    if source.format == WANDB and record.key:
        return (WANDB, str(folder.parent), record.key)
    return ("recording", str(folder), _first_stem(stem, record.piece)) if record.piece else None


def _first_stem(stem: str, piece: int) -> str:
    """Return the name of the first file of a recording."""
    return stem.removesuffix(f".{piece}") if piece > 1 else stem


def _alone(source: Source, record: Record) -> Record:
    """Return a recording that is read by itself, with a note where it goes on in a file that is not read."""
    if not record.piece:
        return record
    path = Path(source.path)
    after = path.with_name(f"{_first_stem(path.stem, record.piece)}.{record.piece + 1}{path.suffix}")
    notes = (f"goes on in {after.name}, which is not read",) if after.exists() else ()
    return replace(record, notes=(*record.notes, *notes))


def _begun(piece: Named) -> bool:
    return any(len(series.steps) for series in piece[2].series.values())


def _when(piece: Named) -> tuple[int, str]:
    """Return what pieces are sorted by: W&B's folders are named by when they were made, recordings numbered."""
    source, _, record = piece
    return (record.piece, str(source.path))


def _begin(record: Record) -> int:
    return min((int(series.steps.min()) for series in record.series.values() if len(series.steps)), default=0)


def _joined(first: Record, later: Record, begin: int) -> Record:
    nothing = Series(np.empty(0, dtype=np.int64), np.empty(0))
    series, dropped = {}, 0
    for name in dict.fromkeys([*first.series, *later.series]):
        a, b = first.series.get(name, nothing), later.series.get(name, nothing)
        kept = a.steps < begin
        dropped = max(dropped, int((~kept).sum()))
        values = np.concatenate([a.values[kept] if len(a.values) else a.values, b.values])
        steps = np.concatenate([a.steps[kept], b.steps])
        series[name] = Series(steps, values, a.fault or b.fault, a.aside or b.aside, a.note or b.note)
    notes = (*first.notes, *later.notes, f"resumed at step {begin}{_left_out(dropped)}")
    if later.piece and FROM_THE_START in series:
        note = "measured from where each piece began"
        series[FROM_THE_START] = replace(series[FROM_THE_START], aside=True, note=note)
    return replace(first, series=series, setting=_setting(first, later), notes=notes)


def _left_out(rows: int) -> str:
    return f": {rows} rows of before were left out" if rows else ""


def _setting(first: Record, later: Record) -> Mapping[str, Any]:
    """Return what is known of both pieces: of a W&B run as it is now, of a recording as it began."""
    if not later.piece:
        return {**first.setting, **later.setting}
    found = {**later.setting, **first.setting}
    schedules = {piece.setting["schedule"] for piece in (first, later) if "schedule" in piece.setting}
    changed = first.setting.get("step") != later.setting.get("step") or schedules != {CONSTANT}
    return found | ({"schedule": f"column {STEP_SIZE}"} if schedules and changed else {})
