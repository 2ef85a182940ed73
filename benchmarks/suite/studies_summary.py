"""One table over all real studies: a row a study, what was forecast beside the baselines."""

from typing import Any

import numpy as np
from benchmarks.suite import studies_data as data
from benchmarks.suite.studies_work import CURVES, EXTEND, LANDINGS, LAST, LINEAR, MEAN, MODEL_ALONE, POWER, REST, STACK

Row = dict[str, Any]
SHOWN = {
    "digits_mlp": "1 MLP on digits, 2 runs",
    "digits_cnn": "1 CNN on digits, 2 runs",
    "minimum": "2 which minimum, 2 runs",
    "mixture": "3 Gaussian mixture, 4 runs",
    "transformer": "5 transformer, 2 runs",
    "step_size_linear": "6 linear regression, other step sizes",
    "step_size": "6 MLP on digits, other step sizes",
}
METHODS = {
    "stack": STACK,
    "descent-small alone": MODEL_ALONE,
    "local-linear": LINEAR,
    "mean of the given": MEAN,
    "power law": POWER,
    "last value": LAST,
}


def summary(known: dict[str, list[Row]]) -> list[Row]:
    """Return a row a study: CRPS (coverage of 90 % intervals) by method, landings, seconds."""
    rows = []
    for study, title in SHOWN.items():
        if study in known:
            rows.append(row_of(study, title, known[study]))
        if study in CURVES and study + REST in known and study in known:
            rows.append(rest_of(title.replace("1 ", "4 ").replace("5 ", "4 ") + ", known to 30 %", study, known))
    return rows


def row_of(study: str, title: str, records: list[Row]) -> Row:
    """Return the row of one study."""
    row: Row = {"study": title}
    for label, method in METHODS.items():
        if "steps" in records[0]["values"]:
            own = f"{data.seeds(study)['given_step']:g}"
            found = [v for r in records for size, v in r["values"]["steps"].items() if size != own]
        else:
            found = [r["values"] for r in records]
        row[label] = cell([f["methods"][method] for f in found if method in f["methods"]])
    landing = [r["values"].get("landing") for r in records]
    for label, score in (("landing: total variation", "total_variation"), ("right basin", "right")):
        row[label] = f"{np.mean([x[STACK][score] for x in landing]):.2f}" if study in LANDINGS else ""
    seconds = float(np.mean([r["values"]["seconds"] for r in records]))
    row["seconds"] = f"{seconds:.1f}"
    row["a real run, seconds"] = f"{data.about(study)['seconds']:.2f}"
    row["sets"] = len(records)
    return row


def rest_of(title: str, study: str, known: dict[str, list[Row]]) -> Row:
    """Return the row of partial runs: `extend` in the place of the stack."""
    row = row_of(study, title, [{"values": {**r["values"], "methods": r["values"]["partial"]}} for r in known[study]])
    records = known[study + REST]
    row["stack"] = "extend: " + cell([r["values"]["methods"][EXTEND] for r in records])
    row["seconds"] = f"{np.mean([r['values']['seconds'] for r in records]):.1f}"
    row["sets"] = len(records)
    return row


def cell(scores: list[Row]) -> str:
    """Return mean CRPS, and coverage in percent."""
    if not scores:
        return ""
    crps, covered = (np.mean([np.mean(s[name]) for s in scores]) for name in ("crps", "covered"))
    return f"{crps:.3f} ({covered:.0%})"
