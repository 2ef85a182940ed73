"""Which minimum? A two-layer network on the diabetes data that learns a rising or a falling response.

`f(x) = a relu(w . x + b) + c` has two kinds of minima: the head a ends above 0, with a unit that is active where the
disease is severe, or below 0, with one that is active where it is mild. Where a starts, together with the random w,
decides. Two runs are recorded, one from a = -0.5 and one from 0.5; forecasts are for ten other starts, each with random
weights w, and a hundred real runs from each say how it was.

Run it with `python examples/plot_study_minimum.py`; it reads recorded runs and writes `out/study_minimum.png`. With
`--generate` it trains the networks anew, two minutes of one core.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale
from torch import nn

import descentcast as dc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `benchmarks` is a folder of the repository

from benchmarks.suite import studies_data as data
from benchmarks.suite import studies_pictures as pictures

STEPS, BATCH, STEP_SIZE = 150, 8, 0.1

diabetes = load_diabetes(scaled=False)
inputs, targets = (torch.as_tensor(scale(x), dtype=torch.float32) for x in (diabetes.data, diabetes.target))


class Hinge(nn.Module):
    """`f(x) = a relu(w . x + b) + c`."""

    def __init__(self, head: float) -> None:
        super().__init__()
        self.unit = nn.Linear(10, 1)
        nn.init.normal_(self.unit.weight, std=10**-0.5)
        nn.init.zeros_(self.unit.bias)
        self.a, self.c = nn.Parameter(torch.tensor(head)), nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the response, (B,), to x (B, 10)."""
        return self.a * self.unit(x).relu()[:, 0] + self.c


def train(case: data.Case) -> dc.Trajectory:
    """Train one network; its head is recorded at every step, of report runs at every tenth."""
    torch.manual_seed(1000 * case.seed + round(100 * case.value))
    model = Hinge(case.value)
    optimizer = torch.optim.SGD(model.parameters(), lr=STEP_SIZE)
    every = 10 if case.role == "report" else 1
    with dc.record(optimizer, model, [dc.recording.Scalar("a")], every=every, run=case.run) as recorder:
        for _ in range(STEPS):
            chosen = torch.randint(len(inputs), (BATCH,))
            optimizer.zero_grad()
            (0.5 * (model(inputs[chosen]) - targets[chosen]) ** 2).mean().backward()
            optimizer.step()
    return recorder.trajectory()


if "--generate" in sys.argv:
    data.generate("minimum", train)

given = data.runs("minimum", "given", ["a"])[:2]
report = data.runs("minimum", "report", ["a"])
starts = data.seeds("minimum")["report_starts"]

plain = dc.InContextKernel("descent-small"), dc.LocalLinearKernel(), dc.KernelDensityKernel()
members = [dc.RecalibratedKernel(member) for member in plain]
estimator = dc.StackedKernel(members).fit(given)
edges = estimator.edges_
basins = [(edges[0], 0.0), (0.0, edges[-1])]
forecasts = {
    "stack, from two runs": dc.forecast(estimator, starts, STEPS, basins).landing,
    "local-linear kernel": dc.forecast(estimator.members_[1], starts, STEPS, basins).landing,
}
ends = {s: np.array([run.values[-1, 0] for run in report if run.arm == f"from {s:g}"]) for s in starts}
share = np.array([(end > 0).mean() for end in ends.values()])
error = np.sqrt(share * (1 - share) / [len(end) for end in ends.values()])
position = float(np.median(np.concatenate(list(ends.values()))[np.concatenate(list(ends.values())) > 0]))
forecasts["truth"] = pd.DataFrame(
    {"start": starts, "basin": "basin 1", "position": position, "probability": share}
).assign(low=share - 1.645 * error, high=share + 1.645 * error)
for name, table in forecasts.items():
    right = table.query("basin == 'basin 1'")["probability"]
    print(f"{name:22}", "  ".join(f"{p:.2f}" for p in right))

figure, axes = pictures.figure(1, 2, (11, 4.2), width_ratios=[1, 1.35])
ax = axes[0, 0]
for start, seeds in ((-0.2, 30), (0.4, 30)):
    for run in [run for run in report if run.arm == f"from {start:g}"][:seeds]:
        colour = pictures.GREEN if run.values[-1, 0] > 0 else pictures.VERMILION
        ax.plot(run.steps, run.values[:, 0], color=colour, linewidth=0.5, alpha=0.6)
for run in given:
    ax.plot(run.steps, run.values[:, 0], color=pictures.INK, linewidth=1.6)
ax.axhline(0, color=pictures.GREY, linewidth=0.7, linestyle=(0, (4, 3)))
ax.set(xlabel="step", ylabel="a, the weight of the head", xlim=(0, STEPS))
pictures.titled(ax, "Two kinds of minima", "30 real runs each from a = -0.2 and 0.4; black: the two given runs")
ax = axes[0, 1]
dc.plot_landing(forecasts, ax=ax)
ax.legend(frameon=False, fontsize=8, loc="lower right")
ax.set(xlabel="start of a; the other weights are random", ylabel="probability that a ends above 0")
pictures.titled(
    ax, "Where it lands", "forecast from two runs, and shares of 100 real runs from each start, 90 % intervals"
)
pictures.save(figure, "study_minimum.png")
