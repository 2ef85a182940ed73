"""The command line: arguments only. Bad input is one line and exit code 2."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

import descentcast as dc
from descentcast.errors import ArgumentError, DescentcastError

BAD_INPUT = 2
MOST_NOTES = 10  # of reading, on the terminal
IN_CONTEXT = "in-context"
# Those of the default stack first.
ESTIMATORS = (IN_CONTEXT, "local-linear", "conditional-density", "autoregressive", "counts")


def main() -> None:
    """Run the command line; what a person can mend is said in one line, without a traceback."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        _fail(error.format_message())
    except DescentcastError as error:
        _fail(str(error))
    except click.Abort:
        _fail("stopped")


def _fail(message: str) -> NoReturn:
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(message.split()))
    click.echo(f"descentcast: {line}", err=True)
    sys.exit(BAD_INPUT)


def _reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a language model reads runs, and where results go."""
    completions, rows = click.Choice(["quantile", "sinkhorn", "nearest"]), click.Choice(["auto", "visited", "probed"])
    options = (
        click.option("--model", default="smollm2-135m", help="Catalogue name, folder, GGUF or hub id."),
        click.option("--digits", default=2, help="Digits a value is written with."),
        click.option("--views", default=4, help="Encodings that are read and pooled."),
        click.option("--rows", type=rows, default="auto", help="Read rows where runs passed, or probe every row."),
        click.option("--completion", type=completions, default="quantile", help="How rows nobody visited are filled."),
        click.option("--seed", default=0, help="Seed of views and resamples."),
        click.option("--out", type=click.Path(path_type=Path), help="Folder for the plot (PNG) and the result (JSON)."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True})
@click.version_option(package_name="descentcast")
def cli() -> None:
    """Forecast where stochastic-gradient training converges, from one or a few recorded runs."""


@cli.command()
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--start", "starts", multiple=True, required=True, help="A start, several coordinates as 0.1,0.2; repeat."
)
@click.option("--steps", type=int, required=True, help="How many recorded steps ahead.")
@click.option("--columns", help="Coordinates to read, comma-separated; all by default.")
@click.option(
    "--estimator", "estimators", multiple=True, type=click.Choice(ESTIMATORS), default=ESTIMATORS[:3],
    help="Whose kernels are stacked, weighted by held-out score; repeat. One alone is used as it is.",
)  # fmt: skip
@_reading_options
def forecast(
    runs: tuple[str, ...],
    starts: tuple[str, ...],
    steps: int,
    columns: str | None,
    estimators: tuple[str, ...],
    model: str,
    digits: int,
    views: int,
    rows: str,
    completion: str,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Forecast from each --start, --steps ahead, given RUNS: tables or a tracker's files, folders or globs."""
    recorded = dc.read(list(runs), columns.split(",") if columns else None)
    points = [_numbers(text, recorded.names) for text in starts]
    if steps < 1:
        raise ArgumentError(f"steps == {steps}, must be at least 1")
    _check_starts(points, recorded)
    folder = dc.reports.writable(out) if out else None
    hidden = as_json or IN_CONTEXT not in estimators
    with dc.reports.show_progress(f"{model} reads", hidden=hidden) as progress:
        reader = dc.InContextKernel(model, digits, views, rows, completion, random_state=seed, progress=progress)
        stack = dc.StackedKernel([_member(name, reader) for name in dict.fromkeys(estimators)], seed)
        stack.fit(recorded)
    result = dc.forecast(stack, points if len(recorded.names) > 1 else [p[0] for p in points], steps)
    summary = result.to_dict() | {
        "runs": [run.run for run in recorded],
        "reading": _reading_notes(recorded),
        "estimators": list(dict.fromkeys(estimators)),
        "held_out": json.loads(str(stack.held_out_scores_.to_json(orient="records"))),
    }
    readers = [member for member in stack.members_ if isinstance(member, dc.InContextKernel)]
    for read in readers:
        summary |= {
            "model": model,
            "log_score": read.log_score_,
            "pooling": read.rules_,
            "outside_mass": read.outside_mass_,
        }
    saved = dc.reports.save_result(folder, "forecast", summary, dc.plot(result)) if folder else ()
    if as_json:
        click.echo(json.dumps(summary))
        return
    title = f"Landing after {steps} steps, from {len(recorded)} run(s) of {sum(map(len, recorded))} values in all"
    dc.reports.show_table(result.landing, title)
    shown = [{k: v for k, v in row.items() if k != "coordinate" or recorded.names[1:]} for row in summary["held_out"]]
    dc.reports.show_table(shown, "Held-out score: log density of steps after those known, nats, higher is better")
    for read in readers:
        click.echo(f"{model}: views pooled by {', '.join(read.rules_)}")
    _close([*_reading_notes(recorded), *result.notes], saved)


@cli.command()
@_reading_options
def demo(
    model: str,
    digits: int,
    views: int,
    rows: str,
    completion: str,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Forecast a real problem from eight starts nobody ran, then run 5,000 times from each and compare."""
    folder = dc.reports.writable(out or Path("out/demo"))
    if not as_json:
        click.echo(dc.reports.DEMO_INTRODUCTION)
    with dc.reports.show_progress(f"{model} reads", hidden=as_json) as progress:
        result = dc.reports.run_demo(model, digits, views, seed, progress, rows=rows, completion=completion)
    saved = dc.reports.save_result(folder, "demo", result.to_dict(), dc.reports.plot_landing(result.landings))
    if as_json:
        click.echo(json.dumps(result.to_dict()))
        return
    dc.reports.show_table(result.table(), "Probability of the right-hand minimum (truth: 5,000 real runs a start)")
    dc.reports.show_table(result.scores(), "Total variation of the landing from the truth, averaged over starts")
    found, true = (
        ", ".join(f"{x:.2f}" for x in xs) for xs in (dc.minima(result.kernel).position, result.problem.minima)
    )
    click.echo(f"Minima in the language model's kernel: {found}. True: {true}.")
    _close(result.details["notes"], saved)


@cli.command("runs")
@click.argument("paths", nargs=-1, required=True)
@click.option("--arm", help="Column, setting or tag that names arms, or a path such as '{arm}/seed*'.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_runs(paths: tuple[str, ...], arm: str | None, as_json: bool) -> None:
    """List the runs at PATHS, files, folders or globs: what was recorded, at which steps, what diverged."""
    table = dc.list_runs(list(paths), arm)
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    if as_json:
        click.echo(json.dumps(rows))
    else:
        shown = [name for name in table if name not in ("arm", "note") or any(row[name] for row in rows)]
        dc.reports.show_table(table.filter(shown), f"{table['run'].nunique()} run(s)")


@cli.group()
def models() -> None:
    """List, fetch and locate language models."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_models(as_json: bool) -> None:
    """List the models that descentcast knows by name."""
    known = dc.language_models.known_models()
    if as_json:
        click.echo(json.dumps(known))
    else:
        dc.reports.show_table(known, "Models; a folder, a GGUF file or a hub id works too")


@models.command()
@click.argument("name")
def pull(name: str) -> None:
    """Fetch a model of the catalogue and convert it, where that has not been done; print where it is."""
    click.echo(dc.language_models.pull(name))


@models.command()
@click.argument("name")
def path(name: str) -> None:
    """Print where a fetched model is."""
    click.echo(dc.language_models.located(name))


@cli.group()
def cache() -> None:
    """Look at, or clear, the densities that are kept so that no model reads them twice."""


@cache.command("info")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def cache_info(as_json: bool) -> None:
    """Say where the densities are kept, and how much room they take."""
    info = dc.densities.store_info()
    if as_json:
        click.echo(json.dumps(info))
        return
    taken, limit = (info[key] / 1e6 for key in ("bytes", "limit_bytes"))
    click.echo(info["path"])
    click.echo(f"{info['entries']} entries, {taken:.1f} MB; " + (f"at most {limit:g} MB" if limit else "turned off"))


@cache.command("clear")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def cache_clear(as_json: bool) -> None:
    """Drop all densities that are kept; models stay."""
    cleared = dc.densities.clear_store()
    click.echo(json.dumps(cleared) if as_json else f"{cleared['removed']} entries dropped from {cleared['path']}")


def _member(name: str, reader: Any) -> Any:
    """Return the estimator of that name; the language model's is `reader`."""
    classical = {
        "local-linear": dc.LocalLinearKernel,
        "conditional-density": dc.KernelDensityKernel,
        "autoregressive": dc.AutoregressiveKernel,
        "counts": dc.CountKernel,
    }
    return reader if name == IN_CONTEXT else classical[name]()


def _numbers(text: str, names: tuple[str, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != len(names):
        raise ArgumentError(f"start == {text!r}, must be {len(names)} number(s), one for each of {', '.join(names)}")
    return numbers


def _check_starts(points: list[list[float]], recorded: Any) -> None:
    """Refuse starts off the grid before the model reads anything."""
    for i, name in enumerate(recorded.names):
        edges, _ = dc.kernels.default_edges(recorded, i)
        for point in points:
            if not edges[0] <= point[i] <= edges[-1]:
                raise ArgumentError(
                    f"start == {point[i]:g}, must be within the grid of {name}, [{edges[0]:.4g}, {edges[-1]:.4g}]: "
                    "the runs say nothing about states so far from theirs"
                )


def _reading_notes(recorded: Any) -> list[str]:
    """Return what reading mended or left out, and which runs diverged."""
    notes = list(recorded.notes)
    for run in recorded:
        own = [*run.notes, *([f"diverged at step {run.diverged}"] if run.diverged is not None else [])]
        notes += [f"{run.run}: {note}" for note in own]
    more = len(notes) - MOST_NOTES
    return notes if more <= 0 else [*notes[:MOST_NOTES], f"and {more} more about reading"]


def _close(notes: Any, saved: tuple[Path, ...]) -> None:
    for note in notes:
        click.echo(f"note: {note}")
    if saved:
        click.echo(f"written: {', '.join(map(str, saved))}")
