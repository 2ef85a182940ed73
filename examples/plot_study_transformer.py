"""Loss curves of a small character transformer under warm-up and cosine decay, across seeds.

A transformer of two layers reads the text of Python's own language reference (`pydoc_data`, PSF licence). The schedule
makes the chain of its validation loss inhomogeneous: the same loss moves on otherwise under another learning rate.

Run it with `python examples/plot_study_transformer.py`; it reads recorded runs and writes `out/study_transformer.png`.
With `--generate` it trains the transformers anew, three minutes of one core.
"""

import math
import sys
from dataclasses import replace
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import torch
from torch import nn

import descentcast as dc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `benchmarks` is a folder of the repository

from benchmarks.suite import studies_data as data
from benchmarks.suite import studies_pictures as pictures
from benchmarks.suite.studies_work import in_logs

STEPS, WARM_UP, BATCH, EVERY = 400, 40, 16, 8
LENGTH, WIDTH, HEADS, LAYERS = 32, 32, 4, 2
PEAK = 1e-2


class Transformer(nn.Module):
    """A decoder of characters."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.symbols, self.places = nn.Embedding(characters, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(LAYERS)
        )
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, characters)
        self.register_buffer("mask", torch.triu(torch.full((LENGTH, LENGTH), -torch.inf), 1))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return scores of the next character, (B, T, characters), for ids (B, T)."""
        hidden = self.symbols(ids) + self.places.weight
        for layer in self.layers:
            hidden = layer(hidden, src_mask=self.mask, is_causal=True)
        return self.head(self.norm(hidden))


def learning_rate(step: int) -> float:
    """Return the share of the peak learning rate at a step."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return 0.05 + 0.475 * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP)))


def text() -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return training and validation text as ids, and the number of characters."""
    whole = "\n".join(topics[name] for name in sorted(topics))
    whole = "".join(c for c in whole if c == "\n" or 32 <= ord(c) < 127)
    ids = {c: i for i, c in enumerate(sorted(set(whole)))}
    coded = torch.tensor([ids[c] for c in whole])
    cut = int(0.9 * len(coded))
    return coded[:cut], coded[cut:], len(ids)


def excerpts(ids: torch.Tensor, count: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Return random excerpts of LENGTH + 1 characters."""
    first = torch.randint(len(ids) - LENGTH - 1, (count, 1), generator=generator)
    return ids[first + torch.arange(LENGTH + 1)]


def train(case: data.Case, training: torch.Tensor, held_out: torch.Tensor, characters: int) -> dc.Trajectory:
    """Train one transformer; validation loss and learning rate are recorded every eighth step."""
    torch.manual_seed(case.seed)
    model = Transformer(characters)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())

    watched = [dc.recording.Call("val_loss", lambda _: loss(held_out))]
    with dc.record(optimizer, model, watched, every=EVERY, run=case.run) as recorder:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss(excerpts(training, BATCH)).backward()
            optimizer.step()
            schedule.step()
    return recorder.trajectory(["val_loss", "step_size"])


if "--generate" in sys.argv:
    training, rest, characters = text()
    held_out = excerpts(rest, 64, torch.Generator().manual_seed(0))
    data.generate("transformer", lambda case: train(case, training, held_out, characters))

given = data.runs("transformer", "given", ["val_loss", "step_size"])[:2]
report = data.runs("transformer", "report", ["val_loss", "step_size"])

logs = dc.Trajectories(tuple(in_logs(run) for run in given))
finals = np.array([run.values[-1, 0] for run in report])
start = float(np.log(np.mean([run.values[0, 0] for run in report])))
loss_alone = dc.Trajectories(tuple(replace(run, values=run.values[:, :1], names=("val_loss",)) for run in logs))
# A kernel for each phase: warm-up and the high part, and the cosine cut where it has fallen by half.
by_phase = dc.phased(logs, how="each")
chosen = dc.phased(logs)
print(f"CRPS of the end of a run by the other: {chosen.scores}; so dc.phased takes {chosen.how!r}")
# `kernel_`: the resampled kernels, which would give intervals of landings, take a minute here.
kernels = {
    "One kernel for the whole run": dc.LocalLinearKernel().fit(loss_alone),
    "A kernel for each phase": by_phase,
}

figure, axes = pictures.figure(2, 2, (10, 5), height_ratios=[5, 1], sharex=True)
for column, (title, fit) in enumerate(kernels.items()):
    ax, below = axes[:, column]
    result = dc.forecast(fit.kernel_, [start], steps=STEPS // EVERY)
    quantiles = np.exp(result.quantiles([0.05, 0.25, 0.5, 0.75, 0.95])[0])
    inside = int(((finals >= quantiles[-1, 0]) & (finals <= quantiles[-1, 4])).sum())
    print(f"{title}: final loss {quantiles[-1, 2]:.3f} ({quantiles[-1, 0]:.3f} to {quantiles[-1, 4]:.3f})", end="; ")
    print(f"real median {np.median(finals):.3f}, {inside} of {len(finals)} inside")
    for run in report:
        ax.plot(run.steps, run.values[:, 0], color=pictures.GREY, linewidth=0.5, alpha=0.6, zorder=2)
    for run in given:
        ax.plot(run.steps, run.values[:, 0], color=pictures.ORANGE, linewidth=1.2, zorder=4)
    pictures.fan(ax, given[0].steps, quantiles)
    pictures.end_law(ax, np.exp(result.edges), result.density[0, -1], finals, log=True)
    ax.set(yscale="log", xlim=(0, STEPS), ylim=(1.95, 4.0), ylabel="validation loss, nats a character")
    ax.set_yticks([2, 2.5, 3, 4])
    ax.set_yticks([], minor=True)
    ax.yaxis.set_major_formatter("{x:g}")
    pictures.titled(ax, title, f"90 % band at the end holds {inside} of {len(finals)} real runs")
    below.plot(given[0].steps, given[0].values[:, 1], color=pictures.INK, linewidth=1)
    below.set(xlabel="step", ylabel="learning\nrate", ylim=(0, 1.1 * PEAK), yticks=[0, PEAK])
for begin in by_phase.phases.begins[1:]:
    axes[1, 1].axvline(EVERY * begin, color=pictures.BLUE, linewidth=0.7)
axes[0, 0].text(150, 3.5, "forecast from two runs", color=pictures.BLUE, fontsize=8)
axes[0, 0].text(150, 3.25, "the two runs", color=pictures.ORANGE, fontsize=8)
axes[0, 0].text(150, 3.02, f"{len(report)} runs that came after", color=pictures.GREY, fontsize=8)
pictures.save(figure, "study_transformer.png")
