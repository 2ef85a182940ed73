"""What commands share: options of reading, starts as text, notes, the closing lines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import descentcast as dc
from descentcast.errors import ArgumentError

MOST_NOTES = 10  # of reading, on the terminal
OF_THE_MODEL = ("model", "adapter", "digits", "views", "rows", "completion")


def reading_options(model: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds the options that say how a language model, `model` by default, reads runs; where results go."""
    completions = click.Choice(["quantile", "sinkhorn", "nearest"])
    rows = click.Choice(["auto", "visited", "probed", "both"])
    options = (
        click.option("--model", default=model, show_default=True, help="Catalogue name, folder, GGUF or hub id."),
        click.option("--adapter", default="default", help="The one that is shipped, none, or the folder of another."),
        click.option("--digits", type=click.IntRange(1, 4), default=2, help="Digits a value is written with."),
        click.option("--views", type=click.IntRange(1, 64), default=4, help="Encodings that are read and pooled."),
        click.option("--rows", type=rows, default="auto", help="Read rows where runs passed, probe all, or mix both."),
        click.option("--completion", type=completions, default="quantile", help="How rows nobody visited are filled."),
        click.option(
            "--recalibrate/--as-fitted", default=True, help="Correct rows by the runs' own steps, or leave them."
        ),
        click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of views and resamples."),
        click.option("--out", type=click.Path(path_type=Path), help="Folder for the plot (PNG) and the result (JSON)."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def refuse_reading_options() -> None:
    """Refuse options that say how a language model reads where none does."""
    context = click.get_current_context()
    given = [name for name in OF_THE_MODEL if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        raise ArgumentError(f"--{given[0]} says how a language model reads, must be left out where none is asked to")


def model_of(name: str, adapter: str) -> Any:
    """Return a model's name, or the model itself where it is wanted without its adapter, or with another one."""
    return name if adapter == "default" else dc.load_model(name, adapter=None if adapter == "none" else adapter)


def numbers_of(text: str, names: tuple[str, ...]) -> list[float]:
    """Return the coordinates that a start such as "0.1,0.2" names, one for each of `names`."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != len(names):
        raise ArgumentError(f"start == {text!r}, must be {len(names)} number(s), one for each of {', '.join(names)}")
    return numbers


def reading_notes(recorded: Any) -> list[str]:
    """Return what reading mended or left out, and which runs diverged."""
    notes = list(recorded.notes)
    for run in recorded:
        own = [*run.notes, *([f"diverged at step {run.diverged}"] if run.diverged is not None else [])]
        notes += [f"{run.run}: {note}" for note in own]
    more = len(notes) - MOST_NOTES
    return notes if more <= 0 else [*notes[:MOST_NOTES], f"and {more} more about reading"]


def close(notes: Any, saved: tuple[Path, ...]) -> None:
    """Print notes, and where the result was written."""
    for note in notes:
        click.echo(f"note: {note}")
    if saved:
        click.echo(f"written: {', '.join(map(str, saved))}")
