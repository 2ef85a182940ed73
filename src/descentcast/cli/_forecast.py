"""`descentcast forecast`: where runs go from starts that nobody ran."""

import json
from pathlib import Path
from typing import Any

import click

import descentcast as dc
from descentcast.cli._base import (
    close,
    model_of,
    numbers_of,
    reading_notes,
    reading_options,
    refuse_reading_options,
)
from descentcast.errors import ArgumentError

IN_CONTEXT = "in-context"
# Those of the default stack first.
ESTIMATORS = (IN_CONTEXT, "local-linear", "conditional-density", "autoregressive", "counts")


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--start", "starts", multiple=True, required=True, help="A start, several coordinates as 0.1,0.2; repeat."
)
@click.option("--steps", type=int, required=True, help="How many recorded steps ahead.")
@click.option("--columns", help="Coordinates to read, comma-separated; all by default.")
@click.option(
    "--estimator", "estimators", multiple=True, type=click.Choice(ESTIMATORS), default=ESTIMATORS[:3],
    help="Whose kernels are stacked, weighted by held-out score; repeat. One alone needs no weights.",
)  # fmt: skip
@reading_options("descent-small")
def forecast(
    runs: tuple[str, ...],
    starts: tuple[str, ...],
    steps: int,
    columns: str | None,
    estimators: tuple[str, ...],
    model: str,
    adapter: str,
    digits: int,
    views: int,
    rows: str,
    completion: str,
    recalibrate: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Forecast from each --start, --steps ahead, given RUNS: tables or a tracker's files, folders or globs."""
    if IN_CONTEXT not in estimators:
        refuse_reading_options()
    recorded = dc.read(list(runs), None if columns is None else [name.strip() for name in columns.split(",")])
    points = [numbers_of(text, recorded.names) for text in starts]
    if steps < 1:
        raise ArgumentError(f"steps == {steps}, must be at least 1")
    _check_starts(points, recorded)
    folder = dc.reports.writable(out) if out else None
    hidden = as_json or IN_CONTEXT not in estimators
    with dc.reports.show_progress(f"{model} reads", hidden=hidden) as progress:
        read = model_of(model, adapter) if IN_CONTEXT in estimators else model
        reader = dc.InContextKernel(read, digits, views, rows, completion, random_state=seed, progress=progress)
        members = [_member(name, reader) for name in dict.fromkeys(estimators)]
        stack = dc.StackedKernel([dc.RecalibratedKernel(m) for m in members] if recalibrate else members, seed)
        stack.fit(recorded)
    result = dc.forecast(stack, points if len(recorded.names) > 1 else [p[0] for p in points], steps)
    summary = result.to_dict() | {
        "runs": [run.run for run in recorded],
        "reading": reading_notes(recorded),
        "estimators": list(dict.fromkeys(estimators)),
        "held_out": json.loads(str(stack.held_out_scores_.to_json(orient="records"))),
        "held_out_coverage": json.loads(str(stack.held_out_coverage_.to_json(orient="records"))),
    }
    fitted = [getattr(member, "estimator_", member) for member in stack.members_]
    readers = [member for member in fitted if isinstance(member, dc.InContextKernel)]
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
    for line in _coverage(summary["held_out_coverage"], several=len(recorded.names) > 1):
        click.echo(line)
    for read in readers:
        click.echo(f"{model}: views pooled by {', '.join(read.rules_)}")
    close([*reading_notes(recorded), *result.notes], saved)


def _coverage(rows: list[dict[str, Any]], several: bool) -> list[str]:
    """Say of each coordinate how many held-out values lay within the intervals of its kernel."""
    said: dict[str, list[str]] = {}
    for row in rows:
        if row["steps"]:
            ahead = f"{row['lag']} step" + ("s" if row["lag"] > 1 else "")
            said.setdefault(row["coordinate"], []).append(f"{row['coverage']:.0%} of {row['steps']}, {ahead} ahead")
    return [
        (f"{name}: " if several else "") + f"held-out values within the kernel's 90 % intervals: {'; '.join(parts)}"
        for name, parts in said.items()
    ]


def _member(name: str, reader: Any) -> Any:
    """Return the estimator of that name; the language model's is `reader`."""
    classical = {
        "local-linear": dc.LocalLinearKernel,
        "conditional-density": dc.KernelDensityKernel,
        "autoregressive": dc.AutoregressiveKernel,
        "counts": dc.CountKernel,
    }
    return reader if name == IN_CONTEXT else classical[name]()


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
