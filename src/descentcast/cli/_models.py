"""`descentcast models`: which language models there are, and where."""

import json

import click

import descentcast as dc


@click.group()
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
        shown = [row | {"MB": f"{row['MB']:g}"} for row in known]
        dc.reports.show_table(shown, "Models; a folder, a GGUF file or a hub id works too")


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
