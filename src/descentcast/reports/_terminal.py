"""What a person sees in a terminal: tables and a progress bar with the time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

# Largest numbers of columns that are written with three decimals.
SMALLEST, LARGEST = 0.01, 1e4


def show_table(rows: pd.DataFrame | list[dict[str, Any]], title: str) -> None:
    """Print a table: numbers on the right, words on the left, missing numbers as a dash.

    Numbers have three decimals where that suits the largest of their column, else four significant digits.
    """
    frame = pd.DataFrame(rows)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in frame:
        is_number = pd.api.types.is_numeric_dtype(frame[column])
        table.add_column(escape(str(column)), justify="right" if is_number else "left", overflow="fold")
    formats = [_format(frame.iloc[:, i]) for i in range(frame.shape[1])]
    for row in frame.itertuples(index=False):
        table.add_row(*(_cell(value, spec) for value, spec in zip(row, formats, strict=True)))
    console = Console()
    console.print(title, style="bold", highlight=False, markup=False)
    console.print(table)


@contextmanager
def show_progress(label: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error while the block runs; the block gets a function (done, total)."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} views"))
    bar = Progress(
        *columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console,
        disable=hidden or not console.is_terminal, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _format(column: pd.Series) -> str:
    """Return how the numbers of a column are written; a cell may hold several."""
    each = column.explode() if column.dtype == object else column
    numbers = np.array([abs(v) for v in each if isinstance(v, float) and np.isfinite(v)])
    largest = numbers.max(initial=0.0)
    return ".3f" if largest == 0 or SMALLEST <= largest < LARGEST else ".4g"


def _cell(value: Any, spec: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if pd.isna(value) else format(value, spec)
    if isinstance(value, tuple):
        return ", ".join(_cell(v, spec) for v in value)
    if value is None or value is pd.NA:
        return "–"
    text = str(value)  # Names come from files of others: neither markup nor control characters.
    return escape(text if text.isprintable() else ascii(text))
