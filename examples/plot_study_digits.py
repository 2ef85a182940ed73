"""The final validation loss of forty trainings, from two of them: an MLP and a small CNN on scikit-learn's digits.

Two runs are watched to the end. The kernel of their validation loss, in logarithms, says where a run ends that starts
from other initial weights; forty such runs, whose seeds nothing else has seen, say how it was.

Run it with `python examples/plot_study_digits.py`; it reads recorded runs and writes `out/study_digits.png`. With
`--generate` it trains the networks anew, two minutes of one core.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import descentcast as dc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `benchmarks` is a folder of the repository

from benchmarks.suite import studies_data as data
from benchmarks.suite import studies_pictures as pictures

STEPS, BATCH, EVERY = 600, 32, 10

digits = load_digits()
shuffled = np.random.default_rng(0).permutation(len(digits.data))
inputs = torch.as_tensor(digits.data[shuffled] / 16, dtype=torch.float32)
targets = torch.as_tensor(digits.target[shuffled])
train_set, validation_set = slice(0, 1200), slice(1200, None)


def mlp() -> nn.Module:
    """Return a network with one hidden layer of 32 units."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def cnn() -> nn.Module:
    """Return two convolutions and a linear layer."""
    block = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    block += [nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *block, nn.Flatten(), nn.Linear(64, 10))


def train(case: data.Case, make, optimizer_of) -> dc.Trajectory:
    """Train one network; its validation loss and accuracy are recorded every tenth step."""
    torch.manual_seed(case.seed)
    model = make()
    optimizer = optimizer_of(model.parameters())

    def validation(_) -> torch.Tensor:
        scores, wanted = model(inputs[validation_set]), targets[validation_set]
        right = (scores.argmax(dim=1) == wanted).float().mean()
        return torch.stack([nn.functional.cross_entropy(scores, wanted), right])

    watched = [dc.recording.Call("validation", validation, columns=2)]
    with dc.record(optimizer, model, watched, every=EVERY, run=case.run) as recorder:
        for _ in range(STEPS):
            chosen = torch.randint(train_set.stop, (BATCH,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[chosen]), targets[chosen]).backward()
            optimizer.step()
    return recorder.trajectory()


if "--generate" in sys.argv:
    data.generate("digits_mlp", lambda case: train(case, mlp, lambda p: torch.optim.SGD(p, lr=0.1)))
    data.generate("digits_cnn", lambda case: train(case, cnn, lambda p: torch.optim.Adam(p, lr=2e-3)))

figure, axes = pictures.figure(1, 2, (10, 4.2))
for ax, study, title in zip(axes[0], ("digits_mlp", "digits_cnn"), ("MLP, SGD", "CNN, Adam"), strict=True):
    given = data.runs(study, "given", ["validation:0"])[:2]
    report = data.runs(study, "report", ["validation:0"])

    plain = dc.InContextKernel("descent-small"), dc.LocalLinearKernel(), dc.KernelDensityKernel()
    members = [dc.RecalibratedKernel(member) for member in plain]
    estimator = dc.TransformedKernel(dc.StackedKernel(members), "log").fit(given)
    start = np.mean([run.values[0, 0] for run in report])
    result = dc.forecast(estimator, [start], steps=STEPS // EVERY)

    quantiles = result.quantiles([0.05, 0.25, 0.5, 0.75, 0.95])[0]
    finals = np.array([run.values[-1, 0] for run in report])
    low, _, middle, _, high = quantiles[-1]
    inside = int(((finals >= low) & (finals <= high)).sum())
    real = np.median(finals)
    print(f"{title}: forecast {middle:.3f} ({low:.3f} to {high:.3f}); real median {real:.3f}, {inside} runs inside")

    for run in report:
        ax.plot(run.steps, run.values[:, 0], color=pictures.GREY, linewidth=0.5, alpha=0.5, zorder=2)
    for run in given:
        ax.plot(run.steps, run.values[:, 0], color=pictures.ORANGE, linewidth=1.2, zorder=4)
    pictures.fan(ax, given[0].steps, quantiles)
    pictures.end_law(ax, result.edges, result.density[0, -1], finals, log=True)
    ax.set(yscale="log", xlim=(0, STEPS), ylim=(0.08, 2.8), xlabel="step", ylabel="validation loss")
    ax.set_yticks([0.1, 0.2, 0.5, 1, 2])
    ax.set_yticks([], minor=True)
    ax.yaxis.set_major_formatter("{x:g}")
    pictures.titled(ax, title, f"90 % band at the end holds {inside} of {len(finals)} real runs")
axes[0, 0].text(320, 1.6, "forecast from two runs", color=pictures.BLUE, fontsize=8)
axes[0, 0].text(320, 1.3, "the two runs", color=pictures.ORANGE, fontsize=8)
axes[0, 0].text(320, 1.05, "forty runs that came after", color=pictures.GREY, fontsize=8)
pictures.save(figure, "study_digits.png")
