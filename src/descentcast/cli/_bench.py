"""`descentcast bench`: estimators of kernels on the fixed suite."""

import json
import os
from pathlib import Path
from typing import Any

import click

import descentcast as dc
from descentcast.benchmark import DEFAULT, ESTIMATORS, RESULTS, SEEDS, VIEWS

SHOWN = {
    "bhattacharyya": "rows",
    "landing": "landing",
    "right_basin": "basin",
    "covered_1": "1 step",
    "covered_10": "10 steps",
    "landing_covered": "landings",
    "seconds": "s",
}
WITH_ERRORS = ("bhattacharyya", "landing")
LEGEND = (
    "rows: Bhattacharyya distance; landing: total variation; basin: right one from sure unseen starts; "
    "1 step, 10 steps, landings: coverage of 90 % intervals; s: processor seconds"
)


@click.group()
def bench() -> None:
    """Measure estimators on problems whose kernels are known."""


@bench.command()
@click.option("--quick", is_flag=True, help="One seed of everything: minutes.")
@click.option(
    "--estimators", multiple=True, type=click.Choice(ESTIMATORS), default=DEFAULT,
    help="Whom to measure; repeat. smollm2-135m is frozen here. Baselines and the grid's floor are always there.",
)  # fmt: skip
@click.option("--seeds", type=int, help=f"Seeds, from 0 on; by default {SEEDS}, and 1 with --quick.")
@click.option("--views", default=VIEWS, help="Encodings that language models read.")
@click.option("--jobs", type=int, help="Processes; by default as many as there are cores, at most 2.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/bench"), help="Folder of the results.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def kernels(
    quick: bool,
    estimators: tuple[str, ...],
    seeds: int | None,
    views: int,
    jobs: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Estimators of transition kernels on the fixed suite; a run that was stopped is gone on with from --out."""
    folder = dc.reports.writable(out)
    count = seeds if seeds is not None else 1 if quick else SEEDS
    workers = jobs if jobs is not None else min(2, len(os.sched_getaffinity(0)))
    records = dc.benchmark.run_benchmark(folder, estimators, count, views, workers, None if as_json else _told)
    table: Any = dc.benchmark.summarised(records)
    told = dc.benchmark.claims(records)
    found = {
        "table": json.loads(str(table.to_json(orient="records"))),
        "problems": json.loads(str(dc.benchmark.by_problem(records).to_json(orient="records"))),
        "claims": [{"claim": c.claim, "measured": c.measured, "met": c.met} for c in told],
    }
    saved = (
        dc.benchmark.write_whole(folder / "kernels.json", json.dumps(found)),
        dc.benchmark.write_whole(folder / "kernels.csv", table.to_csv(index=False)),
    )
    if as_json:
        click.echo(json.dumps(found))
        return
    for length, rows in table.groupby("length"):
        dc.reports.show_table(_shown(rows), f"{length} values, {count} seed(s), {rows['problems'].iloc[0]} problems")
    click.echo(LEGEND)
    for claim in told:
        click.echo(f"{'met' if claim.met else 'MISSED'}: {claim.claim}: {claim.measured}")
    click.echo(f"written: {', '.join(map(str, (folder / RESULTS, *saved)))}")


def _shown(rows: Any) -> list[dict[str, Any]]:
    """Return the table that is printed: the columns of `SHOWN`, with errors where there are several seeds."""
    found = []
    for row in rows.to_dict("records"):
        line = {"estimator": row["estimator"]}
        for name, title in SHOWN.items():
            error = row[f"{name}_se"]
            with_error = name in WITH_ERRORS and error == error
            line[title] = f"{row[name]:.3f} ± {error:.3f}" if with_error else row[name]
        found.append(line)
    return found


def _told(done: int, total: int) -> None:
    """Say on the error stream how far the work is: a line a tenth."""
    if done * 10 // total > (done - 1) * 10 // total:
        click.echo(f"{done} of {total} problems, contexts and seeds", err=True)
