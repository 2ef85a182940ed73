"""`descentcast runs`: what was recorded."""

import json

import click

import descentcast as dc


@click.command("runs")
@click.argument("paths", nargs=-1, required=True)
@click.option("--arm", help="Column, setting or tag that names arms, or a path such as '{arm}/seed*'.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_runs(paths: tuple[str, ...], arm: str | None, as_json: bool) -> None:
    """List the runs at PATHS, files, folders, globs or servers: what was recorded, at which steps, what diverged.

    A server is MLflow's, http://host:5000, or W&B's, wandb://entity/project.
    """
    table = dc.list_runs(list(paths), arm)
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    if as_json:
        click.echo(json.dumps(rows))
    else:
        shown = [name for name in table if name not in ("arm", "note") or any(row[name] for row in rows)]
        dc.reports.show_table(table.filter(shown), f"{table['run'].nunique()} run(s)")
