"""A step size that nobody ran: final loss and divergence over a grid of step sizes, from runs at one.

Plain SGD moves by `-step * gradient`, so its kernel at another step size follows from the one that was seen. Two
problems: linear regression on the diabetes data, watched along the direction of largest curvature, where this is nearly
exact; and a network on digits, watched by its validation loss, where it is not.

Run it with `python examples/plot_study_step_size.py`; it reads recorded runs and writes `out/study_step_size.png`. With
`--generate` it trains anew, three minutes of one core.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.preprocessing import scale
from torch import nn

import descentcast as dc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `benchmarks` is a folder of the repository

from benchmarks.suite import studies_data as data
from benchmarks.suite import studies_laws as laws
from benchmarks.suite import studies_pictures as pictures
from benchmarks.suite.studies_work import beyond, moved, worse

LINEAR_STEPS, LINEAR_BATCH = 100, 32
DIGIT_STEPS, DIGIT_BATCH, DIGIT_EVERY = 300, 32, 5

diabetes = load_diabetes(scaled=False)
patients = torch.as_tensor(scale(diabetes.data), dtype=torch.float32)
progression = torch.as_tensor(scale(diabetes.target), dtype=torch.float32)
steepest = torch.linalg.eigh(patients.T @ patients / len(patients))[1][:, -1]
best = torch.linalg.lstsq(patients, progression[:, None]).solution[:, 0]

digits = load_digits()
shuffled = np.random.default_rng(0).permutation(len(digits.data))
images = torch.as_tensor(digits.data[shuffled] / 16, dtype=torch.float32)
labels = torch.as_tensor(digits.target[shuffled])


def train_linear(case: data.Case) -> dc.Trajectory:
    """Fit one linear regression; recorded are the error of its weights along the steepest direction, and the loss."""
    torch.manual_seed(case.seed)
    model = nn.Linear(10, 1, bias=False)
    nn.init.normal_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=case.value)

    def error(_) -> torch.Tensor:
        return (model.weight[0] - best) @ steepest

    def loss(chosen: torch.Tensor | slice) -> torch.Tensor:
        return (0.5 * (model(patients[chosen])[:, 0] - progression[chosen]) ** 2).mean()

    watched = [dc.recording.Call("error", error), dc.recording.Call("full_loss", lambda _: loss(slice(None)))]
    with dc.record(optimizer, model, watched, run=case.run) as recorder:
        for _ in range(LINEAR_STEPS):
            optimizer.zero_grad()
            loss(torch.randint(len(patients), (LINEAR_BATCH,))).backward()
            optimizer.step()
    return recorder.trajectory()


def train_digits(case: data.Case) -> dc.Trajectory:
    """Train one network on digits; its validation loss is recorded every fifth step."""
    torch.manual_seed(case.seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=case.value)
    watched = [
        dc.recording.Call("val_loss", lambda _: nn.functional.cross_entropy(model(images[1200:]), labels[1200:]))
    ]
    with dc.record(optimizer, model, watched, every=DIGIT_EVERY, run=case.run) as recorder:
        for _ in range(DIGIT_STEPS):
            chosen = torch.randint(1200, (DIGIT_BATCH,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    return recorder.trajectory()


if "--generate" in sys.argv:
    data.generate("step_size_linear", train_linear)
    data.generate("step_size", train_digits)

LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]
LINEAR = "step_size_linear"
STUDIES = {LINEAR: ("error", (-4.0, 4.0)), "step_size": ("val_loss", (np.log(0.05), np.log(10.0)))}
TITLES = {
    LINEAR: "Linear regression, along its steepest direction",
    "step_size": "A network on digits, by its validation loss",
}
plain = dc.InContextKernel("descent-small"), dc.LocalLinearKernel(), dc.KernelDensityKernel()
members = [dc.RecalibratedKernel(member) for member in plain]

figure, axes = pictures.figure(2, 2, (10, 5.6), height_ratios=[2.4, 1], sharex="col")
for column, (study, (name, (low, high))) in enumerate(STUDIES.items()):
    linear, fixed = study == LINEAR, data.seeds(study)
    given = dc.Trajectories(tuple(moved(run, linear) for run in data.runs(study, "given", [name])[:2]))
    report = [moved(run, linear) for run in data.runs(study, "report", [name])]
    edges = np.linspace(low, high, 201)
    kernels = {"stack": dc.StackedKernel(members).fit(given, edges).kernel_}
    if linear:  # x' = a + b x + noise fitted to everything: right for a linear problem, and for no other.
        kernels["one line"] = dc.AutoregressiveKernel().fit(given, edges).kernel_

    sizes = np.array(sorted([fixed["given_step"], *fixed["report_steps"]]))
    at = np.geomspace(1e-3, high, 400) if linear else np.linspace(low, high, 400)
    chance: dict[str, list[float]] = {kernel: [] for kernel in [*kernels, "real runs"]}
    bands, dots = [], []
    for size in sizes:
        runs = [run for run in report if run.arm == f"step {size:g}"]
        starts = np.array([run.values[0, 0] for run in runs])
        ends = np.array([run.values[-1, 0] if run.diverged is None else np.inf for run in runs])
        for kernel, fitted in kernels.items():
            there = dc.rescale(fitted, step=size / fixed["given_step"])
            law = laws.of_forecast(dc.forecast(there, starts, steps=len(given[0]) - 1), log=False)
            chance[kernel].append(float(beyond(law, starts, linear).mean()))
            if kernel == "stack":
                below = law.below(at) - law.below(-at) if linear else law.below(at)
                bands.append(np.interp(LEVELS, below.mean(axis=0), at))
        chance["real runs"].append(float(worse(ends, starts, linear).mean()))
        dots.append(np.clip(np.abs(ends) if linear else ends, at[0], at[-1]))

    top, bottom = axes[:, column]
    shown = np.asarray if linear else np.exp
    pictures.fan(top, sizes, shown(np.array(bands)))
    jitter = np.exp(0.04 * np.random.default_rng(0).normal(size=np.shape(dots)))
    top.plot(sizes[:, None] * jitter, shown(np.array(dots)), ".", color=pictures.INK, markersize=3, alpha=0.6)
    label = "size of the final error" if linear else "final validation loss"
    top.set(xscale="log", yscale="log", ylabel=label, ylim=(2e-3, 5) if linear else (0.045, 12))
    top.set_yticks([0.1, 0.3, 1, 3, 10])
    top.set_yticks([], minor=True)
    top.yaxis.set_major_formatter("{x:g}")
    if linear:
        top.set_yticks([0.01, 0.1, 1, 4], ["0.01", "0.1", "1", "4 or\nmore"])
    pictures.titled(
        top, TITLES[study], f"forecast from two runs at step size {fixed['given_step']:g}; dots: 20 real runs each"
    )
    styles = {"stack": ("-", pictures.BLUE), "one line": ("--", pictures.GREEN), "real runs": ("o", pictures.INK)}
    for kernel, values in chance.items():
        bottom.plot(sizes, values, styles[kernel][0], color=styles[kernel][1], markersize=4, label=kernel)
        print(f"{study}, share that diverges, {kernel:10}", "  ".join(f"{v:.2f}" for v in values))
    bottom.set(xlabel="step size", ylabel="share that\ndiverges", ylim=(-0.05, 1.05))
    bottom.set_xticks(sizes, [f"{s:g}" for s in sizes], fontsize=7)
    bottom.set_xticks([], minor=True)
    for ax in (top, bottom):
        ax.axvline(fixed["given_step"], color=pictures.ORANGE, linewidth=1, zorder=0)
axes[1, 0].legend(frameon=False, fontsize=8)
pictures.save(figure, "study_step_size.png")
