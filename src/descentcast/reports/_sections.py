"""The plain dict of a result, as a page shows it: a summary, notes, tables. Nothing is computed here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_ROWS = 200
# A list of more numbers than this is for machines: it is in the JSON.
MOST_NUMBERS = 12
SUMMARIES = ("summary", "conclusion")


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: What it shows.
        columns: Names.
        rows: Cells.
        numeric: Which columns hold numbers.
        left_out: What is not shown, in words; empty if nothing.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    left_out: str = ""


@dataclass(frozen=True)
class Section:
    """One result on a page.

    Attributes:
        title: Its heading.
        summary: What was found, in words; may be empty.
        notes: What a reader must know.
        tables: The numbers.
        picture: A PNG file, base64; None where there is no picture.
    """

    title: str
    summary: str
    notes: list[str]
    tables: list[Table]
    picture: str | None = None


def section(title: str, result: Mapping[str, Any], picture: str | None = None) -> Section:
    """Return a result's dict as a section.

    Lists of dicts become tables, single values one table of their own, dicts within tables of their own; long lists of
    numbers are left to the JSON.

    Args:
        title: The heading.
        result: What `to_dict` of a result returned.
        picture: A PNG file, base64.
    """
    notes = [str(note) for note in result.get("notes") or ()]
    summary = next((str(result[key]) for key in SUMMARIES if result.get(key)), "")
    # Results put their notes under their summary too.
    lines = [line for line in summary.splitlines() if line not in notes]
    shown = {key: value for key, value in result.items() if key not in (*SUMMARIES, "notes")}
    return Section(title, "\n".join(lines), notes, _tables("Settings and figures", shown), picture)


def _tables(title: str, values: Mapping[str, Any]) -> list[Table]:
    single = {key: value for key, value in values.items() if _is_single(value)}
    tables = []
    for key, value in values.items():
        name = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            tables += _tables(name, value)
        elif _is_records(value):
            columns = {column: None for row in value for column, cell in row.items() if _is_single(cell)}
            tables.append(_table(name, list(columns), [[row.get(c) for c in columns] for row in value]))
    if single:
        tables.append(
            _table(title, ["", "value"], [[str(key).replace("_", " "), value] for key, value in single.items()])
        )
    return [table for table in tables if table.rows and table.columns]


def _table(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    numeric = [all(_is_number(row[i]) or row[i] is None for row in rows) for i in range(len(columns))]
    more = len(rows) - MOST_ROWS
    return Table(
        title[:1].upper() + title[1:],
        [str(column).replace("_", " ") for column in columns],
        [[cell(value) for value in row] for row in rows[:MOST_ROWS]],
        numeric,
        f"{more} more rows are in the JSON." if more > 0 else "",
    )


def cell(value: Any) -> str:
    """Return a value as text: four digits, true minus signs, a dash where there is none.

    Examples:
        >>> cell(0.123456), cell(None), cell(True), cell([0.5, 2])
        ('0.1235', '–', 'yes', '0.5, 2')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_number(value):
        return f"{value:.4g}".replace("-", "\N{MINUS SIGN}") if isinstance(value, float) else str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(cell, value))
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_single(value: Any) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return len(value) <= MOST_NUMBERS and all(_is_number(v) or isinstance(v, str) or v is None for v in value)
    return not isinstance(value, Mapping)


def _is_records(value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(row, Mapping) for row in value)
