"""`descentcast trial`: is one arm better than another, from one or a few recorded runs of each."""

import json
from collections import Counter
from pathlib import Path

import click

import descentcast as dc
from descentcast.cli._base import close, reading_notes
from descentcast.errors import ArgumentError

SHOWN = ("contrast", "effect", "low", "high", "p_superior", "p_adjusted", "equivalent_runs", "verdict")
SHOWN_OF_ARMS = ("arm", "runs", "mean", "low", "high", "iqm", "q5", "q95", "p_diverged")


@click.command()
@click.argument("arms", nargs=-1, required=True)
@click.option("--outcome", default="final", help="final, best, area or time_to(x).")
@click.option("--metric", help="The recorded column that is compared; by default the only one, or the first.")
@click.option("--better", type=click.Choice(["lower", "higher"]), default="lower", help="Which outcomes are better.")
@click.option("--steps", type=int, help="Horizon in recorded steps; by default as many as every run has.")
@click.option(
    "--unfinished",
    type=click.Choice(["extend", "kernels"]),
    default="extend",
    help="Runs that ended before the horizon: foretell their ends, or use them for kernels alone.",
)
@click.option("--contrasts", type=click.Choice(["pairs", "control"]), default="pairs", help="control: with the first.")
@click.option("--rope", type=float, help="Differences up to this are called equivalent.")
@click.option("--replicates", default=1000, help="Virtual runs an arm.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the virtual runs.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the plot (PNG) and the result (JSON).")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def trial(
    arms: tuple[str, ...],
    outcome: str,
    metric: str | None,
    better: str,
    steps: int | None,
    unfinished: str,
    contrasts: str,
    rope: float | None,
    replicates: int,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare ARMS, each a file, folder or glob of recorded runs, as a trial over seeds that nobody ran would."""
    if len(arms) < 2:
        raise ArgumentError(f"arms are {len(arms)} of them, must be at least two paths: one an arm")
    names = _names(arms)
    read = [metric] if metric else None
    runs = {name: dc.read(path, read) for name, path in zip(names, arms, strict=True)}
    folder = dc.reports.writable(out) if out else None
    result = dc.Trial(
        runs, outcome, better, steps=steps, contrasts=contrasts, rope=rope, coordinate=metric, unfinished=unfinished
    ).run(replicates, seed)  # fmt: skip
    notes = [f"{name}: {note}" for name, recorded in runs.items() for note in reading_notes(recorded)]
    summary = result.to_dict() | {"reading": notes}
    saved = dc.reports.save_result(folder, "trial", summary, dc.plot(result)) if folder else ()
    if as_json:
        click.echo(json.dumps(summary))
        return
    for frame, columns, title in (
        (result.arms, SHOWN_OF_ARMS, f"Arms: {result.outcome} of {result.name}"),
        (result.effects, SHOWN, f"Effects, with {result.level:.0%} intervals"),
    ):
        records = frame.to_dict(orient="records")
        dc.reports.show_table([{column: row[column] for column in columns} for row in records], title)
    click.echo(result.summary())
    close([*notes, *result.notes], saved)


def _names(paths: tuple[str, ...]) -> list[str]:
    """Return what arms are called: the last parts of the paths, as many as tell them apart; a file loses its suffix."""
    parts = [(p.with_suffix("") if p.is_file() else p).parts for p in map(Path, paths)]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if max(Counter(names).values()) == 1:
            return names
    raise ArgumentError(f"arms name {paths[0]!r} twice or more, must be different paths")
