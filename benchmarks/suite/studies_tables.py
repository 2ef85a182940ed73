"""Tables of the real studies, from what `benchmarks/studies.py` has kept."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from benchmarks.suite import studies_data as data
from benchmarks.suite.store import Store
from benchmarks.suite.studies_summary import summary
from benchmarks.suite.studies_work import ALL, CURVES, LANDINGS, PARTS, REST

Row = dict[str, Any]
# Which real runs one forecast stands for, in words and in number.
REPLACED = {study: len(data.seeds(study)["report"]) for study in CURVES} | {"minimum": 1000, "mixture": 800}
STEPS = {"step_size_linear": "Linear regression", "step_size": "MLP on digits"}


def tables(store: Store) -> dict[str, list[Row]]:
    """Return every table by its title; those of a study begin with its number."""
    records = {study: store.records(study) for study in PARTS}
    known = {study: found for study, found in records.items() if found}

    def finals(*studies: str) -> list[Row]:
        return [row for study in studies if study in known for row in values(study, known[study], "methods")]

    def landed(study: str) -> list[Row]:
        return [row for part in (study, study + ALL) for row in landings(study, known.get(part, []))]

    partial = [
        row
        for s in CURVES
        if s in known
        for row in [*values(s, known[s], "partial"), *rests(s, known.get(s + REST, []))]
    ]
    found = {
        "All studies: CRPS, in brackets the coverage of 90 % intervals": summary(known),
        "1. Final values from two runs": finals("digits_mlp", "digits_cnn"),
        "2. Landings": landed("minimum"),
        "2. Final values": finals("minimum"),
        "3. Landings": landed("mixture"),
        "3. Final values": finals("mixture"),
        "4. Final values of runs known to 30 %": partial,
        "5. Final values from two runs": finals("transformer"),
        **{
            f"6. {STEPS[study]}, {title}": steps(known[study], key)
            for study in STEPS
            if study in known
            for title, key in (("CRPS", "crps"), ("share of runs that diverge", "probability"))
        },
        "Processor seconds, and from where on a forecast is cheaper": [
            cost(s, found) for s, found in known.items() if not s.endswith((REST, ALL))
        ],
    }
    return {title: rows for title, rows in found.items() if rows}


def values(study: str, records: list[Row], key: str) -> list[Row]:
    """Return one row a method: CRPS and coverage, with standard errors over sets and report runs together.

    In studies of landings scores are means by start, and starts are not drawn: there errors are over sets alone.
    """
    rows, fixed = [], study in LANDINGS
    for method in records[0]["values"][key]:
        crps = matrix(records, key, method, "crps")
        covered = matrix(records, key, method, "covered")
        rows.append(
            {
                "study": study,
                "method": method,
                "CRPS": with_error(crps, 4, rows_only=fixed),
                "coverage": with_error(covered, 2, rows_only=fixed),
                "sets": len(crps),
                "report runs": REPLACED[study],
            }
        )
    return rows


def rests(study: str, records: list[Row]) -> list[Row]:
    """Return one row a method of those that read the run itself; errors are over report runs, each forecast once."""
    rows = []
    for method in records[0]["values"]["methods"] if records else ():
        crps, covered = (
            np.concatenate([r["values"]["methods"][method][score] for r in records]) for score in ("crps", "covered")
        )
        errors = [x.std(ddof=1) / np.sqrt(len(x)) for x in (crps, covered)]
        rows.append(
            {
                "study": study,
                "method": method,
                "CRPS": f"{crps.mean():.4f} ± {errors[0]:.4f}",
                "coverage": f"{covered.mean():.2f} ± {errors[1]:.2f}",
                "sets": len(records),
                "report runs": len(crps),
            }
        )
    return rows


def landings(study: str, records: list[Row]) -> list[Row]:
    """Return one row a method: total variation of landings, and the share of runs that end in the likeliest basin."""
    rows = []
    for method in records[0]["values"]["landing"] if records else ():
        found = [r["values"]["landing"][method] for r in records]
        rows.append(
            {
                "study": study,
                "method": method,
                "total variation": with_error(np.array([f["total_variation"] for f in found]), 3, rows_only=True),
                "right basin": with_error(np.array([f["right"] for f in found]), 2, rows_only=True),
                "sets": len(found),
            }
        )
    return rows


def steps(records: list[Row], key: str) -> list[Row]:
    """Return one row a method, one column a step size."""
    sizes = list(records[0]["values"]["steps"])
    sizes.sort(key=float)
    methods = list(records[0]["values"]["steps"][sizes[0]]["methods"])
    rows = []
    for method in methods:
        row: Row = {"method": method}
        for size in sizes:
            found = [r["values"]["steps"][size] for r in records]
            if key == "crps":
                row[size] = with_error(np.array([f["methods"][method]["crps"] for f in found]), 3)
            else:
                row[size] = f"{max(np.mean([f['probability'][method] for f in found]), 0.0):.2f}"
        rows.append(row)
    if key != "crps":
        truth = {size: f"{records[0]['values']['steps'][size]['diverged']:.2f}" for size in sizes}
        rows.append({"method": "real runs", **truth})
    return rows


def cost(study: str, records: list[Row]) -> Row:
    """Return processor seconds of a forecast and of a run, and how long a run has to be for the forecast to pay."""
    forecast, run = float(np.mean([r["values"]["seconds"] for r in records])), data.about(study)["seconds"]
    replaced = REPLACED.get(study) or len(data.seeds(study)["report"]) * (1 + len(data.seeds(study)["report_steps"]))
    return {
        "study": study,
        "seconds of a forecast": f"{forecast:.1f}",
        "seconds of a real run": f"{run:.2f}",
        "break-even, against one run": f"a run of {forecast:.1f} s",
        "runs that it stands for here": replaced,
        "break-even, against all of them": f"runs of {forecast / replaced:.3f} s",
    }


def matrix(records: Iterable[Row], key: str, method: str, score: str) -> np.ndarray:
    """Return scores, shape (sets, report runs)."""
    return np.array([r["values"][key][method][score] for r in records], dtype=float)


def with_error(scores: np.ndarray, digits: int = 4, rows_only: bool = False) -> str:
    """Return the mean with its standard error: over sets, and over report runs too unless these are starts.

    Sets and report runs are crossed and both drawn at random, so the variance of the mean is about the sum of that over
    sets and that over runs.
    """
    if len(scores) < 2:
        return f"{scores.mean():.{digits}f}"
    variance = scores.mean(axis=1).var(ddof=1) / len(scores)
    if not rows_only:
        variance += scores.mean(axis=0).var(ddof=1) / scores.shape[1]
    return f"{scores.mean():.{digits}f} ± {np.sqrt(variance):.{digits}f}"
