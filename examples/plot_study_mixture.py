"""Which cluster? A mixture of three Gaussians, fitted to the petals of the irises by minibatch SGD.

The log-likelihood has several optima: a component may end on the short petals of setosa, on those of versicolor or on
those of virginica, and two may share one. Four runs are recorded, in which the first component starts from four
lengths; forecasts are for eight others. The other two components start anywhere, and what they do is not recorded.

Run it with `python examples/plot_study_mixture.py`; it reads recorded runs and writes `out/study_mixture.png`. With
`--generate` it fits the mixtures anew, two minutes of one core.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_iris
from torch import nn

import descentcast as dc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `benchmarks` is a folder of the repository

from benchmarks.suite import studies_data as data
from benchmarks.suite import studies_pictures as pictures

STEPS, BATCH, STEP_SIZE, SPREAD = 80, 8, 0.1, 0.5

petals = torch.as_tensor(load_iris().data[:, 2], dtype=torch.float32)  # length in cm


class Mixture(nn.Module):
    """Three Gaussians of equal weight and spread; their means are learned."""

    def __init__(self, first: float) -> None:
        super().__init__()
        means = petals[torch.randint(len(petals), (3,))]
        means[0] = first
        self.means = nn.Parameter(means)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the negative log-likelihood of x (B,), up to a constant."""
        return -torch.logsumexp(-0.5 * ((x[:, None] - self.means) / SPREAD) ** 2, dim=1).mean()


def train(case: data.Case) -> dc.Trajectory:
    """Fit one mixture; the first mean is recorded at every step, of report runs at every tenth."""
    torch.manual_seed(1000 * case.seed + round(100 * case.value))
    model = Mixture(case.value)
    optimizer = torch.optim.SGD(model.parameters(), lr=STEP_SIZE)
    every = 10 if case.role == "report" else 1
    with dc.record(optimizer, model, ["means[0]"], every=every, run=case.run) as recorder:
        for _ in range(STEPS):
            optimizer.zero_grad()
            model(petals[torch.randint(len(petals), (BATCH,))]).backward()
            optimizer.step()
    return recorder.trajectory()


if "--generate" in sys.argv:
    data.generate("mixture", train)

SPECIES = ("setosa", "versicolor", "virginica")
COLOURS = (pictures.GREEN, pictures.ORANGE, pictures.PURPLE)
BORDERS = (2.861, 4.906)  # half way between the mean petal lengths of the species

given = data.runs("mixture", "given", ["means[0]"])[:4]
report = data.runs("mixture", "report", ["means[0]"])
starts = data.seeds("mixture")["report_starts"]

grid = np.linspace(0.5, 7.6, 143)
plain = dc.InContextKernel("descent-small"), dc.LocalLinearKernel(), dc.KernelDensityKernel()
members = [dc.RecalibratedKernel(member) for member in plain]
estimator = dc.StackedKernel(members).fit(given, grid)
basins = list(zip((grid[0], *BORDERS), (*BORDERS, grid[-1]), strict=True))
landing = dc.forecast(estimator, starts, STEPS, basins).landing
landing = landing.pivot(index="start", columns="basin", values="probability")
forecast = landing.reindex(columns=[f"basin {i}" for i in range(3)]).fillna(0.0).to_numpy()
ends = [[run.values[-1, 0] for run in report if run.arm == f"from {s:g}"] for s in starts]
truth = np.array([np.bincount(np.searchsorted(BORDERS, end), minlength=3) / len(end) for end in ends])
distance = 0.5 * (np.abs(forecast - truth).sum(axis=1) + 1 - forecast.sum(axis=1))
print("total variation by start:", "  ".join(f"{d:.2f}" for d in distance))

figure, axes = pictures.figure(1, 2, (11, 4.2), width_ratios=[1, 1.35])
ax = axes[0, 0]
for (low, high), colour in zip(basins, COLOURS, strict=True):
    ax.axhspan(low, high, color=colour, alpha=0.12, linewidth=0)
for run in report[::13]:
    ax.plot(run.steps, run.values[:, 0], color=pictures.GREY, linewidth=0.5, alpha=0.7)
for run in given:
    ax.plot(run.steps, run.values[:, 0], color=pictures.INK, linewidth=1.5)
strip = ax.inset_axes((1.01, 0, 0.13, 1), sharey=ax)
strip.hist(petals.numpy(), bins=np.arange(1, 7.1, 0.25), orientation="horizontal", color=pictures.GREY)
strip.set_axis_off()
ax.set(xlabel="step", ylabel="mean of the first component, cm", xlim=(0, STEPS), ylim=(0.8, 7.2))
pictures.titled(ax, "Three clusters to end in", "black: the four given runs; right: the petals of the irises")

ax = axes[0, 1]
places = np.arange(len(starts))
for side, shares, name in ((-0.2, forecast, "forecast"), (0.2, truth, "real")):
    bottom = np.zeros(len(starts))
    for share, colour, species in zip(shares.T, COLOURS, SPECIES, strict=True):
        style = {"color": colour} if side > 0 else {"facecolor": "white", "edgecolor": colour, "hatch": "////"}
        ax.bar(places + side, share, 0.34, bottom=bottom, label=f"{species}, {name}", linewidth=0.8, **style)
        bottom += share
ax.set_xticks(places, [f"{s:g}" for s in starts])
ax.set(xlabel="start of the first mean, cm; the other two start anywhere", ylabel="where it ends", ylim=(0, 1))
ax.legend(frameon=False, fontsize=7.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
reached = np.unique(np.searchsorted(BORDERS, [run.values[-1, 0] for run in given]))
missed = [species for i, species in enumerate(SPECIES) if i not in reached]
note = f"no given run ended on {missed[0]}: a forecast cannot know of it" if missed else ""
pictures.titled(ax, "Forecast, and 100 real runs from each start", note)
pictures.save(figure, "study_mixture.png")
