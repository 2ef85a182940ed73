"""Stop or go on? The law of the final loss of a run at 30 % of its budget, with two whole runs beside it and without.

`dc.extend` weighs curves of the run's own past, the mean curve of the other runs and a kernel by how well they foretell
what is known. Last value, power law and the mean of the two runs stand beside it, and the real end.

Run it with `python examples/plot_study_partial.py`; it reads the runs that `plot_study_digits.py` and
`plot_study_transformer.py` recorded, and writes `out/study_partial.png`.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import descentcast as dc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `benchmarks` is a folder of the repository

from benchmarks.suite import studies_data as data
from benchmarks.suite import studies_laws as laws
from benchmarks.suite import studies_pictures as pictures

STUDIES = {
    "MLP on digits": ("digits_mlp", ["validation:0"]),
    "CNN on digits": ("digits_cnn", ["validation:0"]),
    "Character transformer": ("transformer", ["val_loss", "step_size"]),
}

figure, axes = pictures.figure(1, 3, (12, 4))
for ax, (title, (study, columns)) in zip(axes[0], STUDIES.items(), strict=True):
    given, run = data.runs(study, "given", columns)[:2], data.runs(study, "report", columns)[0]
    last = len(run) - 1
    row = int(0.3 * last)
    known = replace(run, values=run.values[: row + 1], steps=run.steps[: row + 1])
    quantiles = np.asarray(dc.extend(known, last - row, given).quantiles([0.05, 0.25, 0.5, 0.75, 0.95])[0])
    low, _, middle, _, high = quantiles[-1]
    end = run.values[-1, 0]
    power = np.exp(laws.power_law_at([np.log(known.values[:, 0])], last)[0])
    mean = np.exp(np.mean([np.log(other.values[-1, 0]) for other in given]))
    print(f"{title}: {middle:.3f} ({low:.3f} to {high:.3f}), the end {end:.3f}, power law {power:.3f}, mean {mean:.3f}")

    for other in given:
        ax.plot(other.steps, other.values[:, 0], color=pictures.ORANGE, linewidth=0.9, alpha=0.8)
    pictures.fan(ax, run.steps[row:], quantiles)
    ax.plot(run.steps[row:], run.values[row:, 0], color=pictures.INK, linewidth=0.9, linestyle=(0, (2, 1.5)), zorder=6)
    ax.plot(known.steps, known.values[:, 0], color=pictures.INK, linewidth=1.8, zorder=6)
    ax.axvline(known.steps[-1], color=pictures.GREY, linewidth=0.7)
    baselines = {"last value": (known.values[-1, 0], "s"), "power law": (power, "^"), "mean of the two": (mean, "D")}
    for name, (value, marker) in baselines.items():
        style = {"markerfacecolor": "white", "markeredgecolor": pictures.INK, "markersize": 5.5, "linestyle": "none"}
        ax.plot(1.03 * run.steps[-1], value, marker, clip_on=False, label=name, **style)
    ax.set(yscale="log", xlabel="step", xlim=(0, run.steps[-1]))
    ax.set_yticks([0.1, 0.2, 0.5, 1, 2] if study != "transformer" else [2, 3, 4, 5])
    ax.set_yticks([], minor=True)
    ax.yaxis.set_major_formatter("{x:g}")
    pictures.titled(ax, title, f"90 %: {low:.3g} to {high:.3g}; it ended at {end:.3g}")
axes[0, 0].set_ylabel("validation loss")
axes[0, 0].text(172, 2.4, "known", fontsize=8, color=pictures.INK, ha="right")
axes[0, 0].text(190, 2.4, "forecast; dashed: what came; orange: two whole runs", fontsize=8, color=pictures.GREY)
axes[0, 0].legend(frameon=False, fontsize=8, loc="lower left")
pictures.save(figure, "study_partial.png")
