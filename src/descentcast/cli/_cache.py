"""`descentcast cache`: the densities that are kept."""

import json

import click

import descentcast as dc


@click.group()
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
