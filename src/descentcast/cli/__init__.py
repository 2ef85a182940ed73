"""The command line: arguments only. Bad input is one line and exit code 2."""

import sys
from typing import NoReturn

import click

from descentcast.cli._bench import bench
from descentcast.cli._cache import cache
from descentcast.cli._demo import demo
from descentcast.cli._doctor import doctor
from descentcast.cli._forecast import forecast
from descentcast.cli._models import models
from descentcast.cli._report import report
from descentcast.cli._runs import list_runs
from descentcast.cli._trial import trial
from descentcast.errors import DescentcastError

BAD_INPUT = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True})
@click.version_option(package_name="descentcast")
def cli() -> None:
    """Forecast where stochastic-gradient training converges, from one or a few recorded runs."""


for _command in (forecast, trial, demo, list_runs, models, cache, bench, report, doctor):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; what a person can mend is said in one line, without a traceback."""
    try:
        sys.exit(cli.main(prog_name="descentcast", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(BAD_INPUT)
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
