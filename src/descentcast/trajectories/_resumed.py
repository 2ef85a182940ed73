"""Runs that were stopped and gone on with, in a file a piece: put together, so that nobody counts them twice."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from descentcast.trajectories.readers import Record, Series, Source

Named = tuple[Source, str, Record]
RESUMES = "W&B"  # A run of one id that begins again is the same run there.


def rejoined(found: Sequence[Named]) -> list[Named]:
    """Return runs with the pieces of a W&B run that was resumed joined to its first.

    Pieces have one id and folders beside each other, and each begins after the one before it began. From its first step
    on the later piece counts, for every quantity: what was logged between the checkpoint and the crash is left out.
    Where columns were asked for, its first step is the first that these have.
    """
    pieces: dict[tuple[str, ...], list[Named]] = {}
    for number, (source, name, record) in enumerate(found):
        folder = str(Path(source.path).parent.parent)
        key = (folder, record.key) if source.format == RESUMES and record.key else (str(number),)
        pieces.setdefault(key, []).append((source, name, record))
    joined = []
    for several in pieces.values():
        several.sort(key=lambda piece: str(piece[0].path))  # W&B's folders are named by when they were made.
        begins = [_begin(record) for _, _, record in several]
        if all(a < b for a, b in pairwise(begins)):
            source, name, record = several[0]
            for begin, (_, _, later) in zip(begins[1:], several[1:], strict=True):
                record = _joined(record, later, begin)
            joined.append((source, name, record))
        else:
            joined += several
    return joined


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
    note = f"resumed at step {begin}" + (f": {dropped} rows of before were left out" if dropped else "")
    notes = (*first.notes, *later.notes, note)
    return replace(first, series=series, setting={**first.setting, **later.setting}, notes=notes)
