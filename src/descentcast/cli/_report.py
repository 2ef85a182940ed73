"""`descentcast report`: saved results on one page."""

import json
from pathlib import Path

import click

import descentcast as dc


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The page: a file .html or .json.")
@click.option("--title", default="descentcast report", help="Heading of a page of several results.")
@click.option("--json", "as_json", is_flag=True, help="Print where the page is as JSON.")
def report(results: tuple[Path, ...], out: Path, title: str, as_json: bool) -> None:
    """Write RESULTS, JSON files that --out of other commands has left, on one page, with the plots beside them."""
    named = {}
    for path in results:
        name = path.stem if path.stem not in named else str(path)
        named[name] = dc.reports.read_result(path)
    page = dc.report(named, out, title)
    click.echo(json.dumps({"path": str(page), "results": list(named)}) if as_json else f"written: {page}")
