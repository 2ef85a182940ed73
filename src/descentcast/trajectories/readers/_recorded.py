"""Recordings of this package: JSON lines with the settings of the run in a file beside them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from descentcast.trajectories.readers._records import Record

ROWS, SETTING, VERSION = ".jsonl", ".setting.json", 1
STEP_SIZE = "step_size"  # or `step_size:group`: recorded at every step, but no coordinate unless asked for


def with_setting(path: Path, records: Sequence[Record]) -> list[Record]:
    """Return the records of a table with the settings that a recorder wrote beside it, as they are if none did."""
    content = _setting(path.with_name(path.name.removesuffix(ROWS) + SETTING)) if path.suffix == ROWS else None
    if content is None or len(records) != 1:
        return list(records)
    setting, arm = content.get("setting"), content.get("arm")
    setting = setting if isinstance(setting, dict) else {}
    aside = _aside(content, records[0])
    series = {name: replace(points, aside=name in aside) for name, points in records[0].series.items()}
    name = str(content.get("run") or records[0].run)
    labels = {**setting, "arm": arm}
    piece = found if isinstance(found := content.get("piece"), int) and found > 0 else 1
    known = replace(records[0], run=name, series=series, setting=setting, labels=labels, arm=arm and str(arm))
    return [replace(known, piece=piece)]


def nothing_yet(path: Path) -> Record:
    """Return the record of an empty file: of a recording that has only just begun."""
    number = path.stem.rpartition(".")[2]
    return Record("", {}, piece=int(number) if number.isdecimal() and number != path.stem else 1)


def _aside(content: dict[str, Any], record: Record) -> set[str]:
    """Return what is no coordinate unless asked for: step sizes, and what was not measured at every recorded step."""
    names = content.get("columns")
    usual = {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
    others = record.series.keys() - usual if usual & record.series.keys() else set()
    return others | {name for name in record.series if name.split(":")[0] == STEP_SIZE}


def _setting(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("version") == VERSION else None
