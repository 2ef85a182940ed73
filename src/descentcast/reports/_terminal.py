"""What a person sees in a terminal: tables and a progress bar with the time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table


def show_table(rows: pd.DataFrame | list[dict[str, Any]], title: str) -> None:
    """Print a table: numbers to three decimals on the right, words on the left, missing numbers as a dash."""
    frame = pd.DataFrame(rows)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    numeric = [pd.api.types.is_numeric_dtype(frame[column]) for column in frame]
    for column, is_number in zip(frame, numeric, strict=True):
        table.add_column(str(column), justify="right" if is_number else "left")
    for row in frame.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    console = Console()
    console.print(title, style="bold", highlight=False)
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


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.3f}"
    if isinstance(value, tuple):
        return ", ".join(_cell(v) for v in value)
    if value is None or value is pd.NA:
        return "–"
    text = str(value)  # Names come from files of others: neither markup nor control characters.
    return escape(text if text.isprintable() else ascii(text))
