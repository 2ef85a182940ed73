"""`descentcast demo`: a real problem, forecast and then run."""

import json
from pathlib import Path

import click

import descentcast as dc
from descentcast.cli._base import close, model_of, reading_options


@click.command()
@reading_options("smollm2-135m")
def demo(
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
    """Forecast a real problem from eight starts nobody ran, then run 5,000 times from each and compare."""
    folder = dc.reports.writable(out or Path("out/demo"))
    read = dc.language_models.loaded(model_of(model, adapter))
    if not as_json:
        click.echo(dc.reports.DEMO_INTRODUCTION)
    with dc.reports.show_progress(f"{model} reads", hidden=as_json) as progress:
        options = {"rows": rows, "completion": completion}
        result = dc.reports.run_demo(read, digits, views, seed, progress, recalibrate, **options)
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
    close(result.details["notes"], saved)
