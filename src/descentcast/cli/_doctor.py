"""`descentcast doctor`: what this installation can do."""

import json
import sys

import click

import descentcast as dc


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor(as_json: bool) -> None:
    """Try every part that forecasts need; exit code 1 if one of them fails."""
    rows = dc.reports.examine()
    if as_json:
        click.echo(json.dumps(rows))
    else:
        dc.reports.show_table(rows, "What this installation can do")
    if any(row["state"] == "failed" for row in rows):
        sys.exit(1)
