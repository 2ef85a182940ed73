"""The pictures of docs/paper.md, from results that are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from benchmarks.paper.rows import PICTURES
from benchmarks.paper.series import expected_of_counting
from matplotlib.colors import PowerNorm, to_rgb
from matplotlib.figure import Figure
from PIL import Image

import descentcast as dc
from descentcast.reports._style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION, bare

DPI = 100
COLOURS = 128
START_COLOURS = (BLUE, ORANGE)
TICKS = (-2, -1, 0, 1, 2, 3)
MINIMUM_COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
# Where real runs agree so far, there is one right minimum.
CERTAIN = 0.8
# By the names of `benchmarks/suite/models.py`: label, colour, marker.
MODEL_STYLES = {
    "smollm2-frozen": ("SmolLM2-135M, frozen", BLUE, "o"),
    "gemma3-frozen": ("Gemma-3-270M, frozen", ORANGE, "s"),
    "adapter": ("SmolLM2-135M + adapter", PURPLE, "D"),
    "descent-small": ("descent-small", GREEN, "^"),
    "counting": ("counting", GREY, "."),
}
LEVELS = {"local-linear": (0, (5, 2)), "AR(1)": (0, (1, 1.5)), "true kernel, same cells": "-"}


def saved(figure: Figure, name: str) -> Path:
    """Write a figure to `docs/paper/`, in few colours: a third of the bytes, and no difference that an eye sees."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    path, drawn = PICTURES / f"{name}.png", BytesIO()
    figure.savefig(drawn, dpi=DPI)
    Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def new(width: float, height: float) -> Figure:
    """Return an empty figure."""
    return Figure(figsize=(width, height), layout="constrained")


def convex_kernels(kernels: Mapping[str, Mapping[str, tuple[dc.TransitionKernel, ...]]], true: str) -> Figure:
    """Draw estimated beside true kernels: a row a problem, and a column for each coordinate and estimator.

    Args:
        kernels: By problem and estimator, the kernels of both coordinates.
        true: The name of the true kernels among the estimators.
    """
    names = list(next(iter(kernels.values())))
    figure = new(2.1 * 2 * len(names) + 0.9, 2.25 * len(kernels) + 0.6)
    axes = figure.subplots(len(kernels), 2 * len(names), squeeze=False)
    image = None
    for i, (title, estimated) in enumerate(kernels.items()):
        for j, ax in enumerate(axes[i]):
            k, name = divmod(j, len(names))
            kernel, truth = estimated[names[name]][k], estimated[true][k]
            # All panels in units of the true kernel's usual peak; the square root shows tails too.
            peak = float(np.median((truth.matrix / truth.widths).max(axis=1)))
            image = ax.pcolormesh(
                kernel.edges,
                kernel.edges,
                (kernel.matrix / kernel.widths).T / peak,
                cmap="Blues",
                norm=PowerNorm(0.5, vmin=0, vmax=1.2),
                rasterized=True,
            )
            ends = kernel.edges[[0, -1]]
            ax.plot(ends, ends, color=ORANGE, linewidth=0.8, linestyle=(0, (4, 3)))
            ax.set_aspect("equal")
            bare(ax)
            ax.set(xticks=TICKS, yticks=TICKS)
            ax.set(xlim=ends, ylim=ends)  # afterwards: ticks widen what is shown
            if i == 0:
                ax.set_title(f"$w_{k}$: {names[name]}", fontsize=9, color=INK)
            if i == len(kernels) - 1:
                ax.set_xlabel(f"$w_{k}$ now", fontsize=9)
            if j % len(names) == 0:
                ax.set_ylabel(f"{title}\n" * (j == 0) + f"$w_{k}$ after a step", fontsize=9)
    if image is not None:
        bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.01, ticks=[0, 0.1, 0.4, 0.8, 1.2])
        bar.set_label("density / usual peak of the truth", fontsize=8)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def convex_forecasts(
    forecasts: Mapping[str, Mapping[str, dc.Forecast]], runs: Mapping[str, np.ndarray], shown: Sequence[str]
) -> Figure:
    """Draw medians and 90 % bands from two unseen starts: a row an estimator, a column a problem and coordinate.

    Args:
        forecasts: By problem and estimator.
        runs: By problem, real runs, shape (starts, runs, steps + 1, 2).
        shown: The estimators.
    """
    figure = new(11.5, 2.1 * len(shown) + 0.7)
    axes = figure.subplots(len(shown), 2 * len(runs), squeeze=False, sharex=True, sharey="col")
    for i, name in enumerate(shown):
        for j, ax in enumerate(axes[i]):
            title, k = list(runs)[j // 2], j % 2
            forecast, real = forecasts[title][name], runs[title]
            bands, steps = forecast.quantiles((0.05, 0.5, 0.95))[k], np.arange(real.shape[2])
            bare(ax)
            for start, colour in enumerate(START_COLOURS):
                low, middle, high = np.clip(bands[start].T, *forecast.edges[k][[0, -1]])
                ax.fill_between(steps, low, high, color=colour, alpha=0.25, linewidth=0)
                ax.plot(steps, middle, color=colour, linewidth=2)
                true = np.quantile(real[start, :, :, k], (0.05, 0.5, 0.95), axis=0)
                ax.plot(steps, true[1], color=INK, linewidth=1)
                ax.plot(steps, true[[0, 2]].T, color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
            if i == 0:
                ax.set_title(f"{title}, $w_{k}$", fontsize=10, color=INK)
            if i == len(shown) - 1:
                ax.set_xlabel("SGD step", fontsize=9)
        axes[i, 0].set_ylabel(name, fontsize=9)
    ax = axes[0, 0]
    ax.plot([], [], color=BLUE, linewidth=2, label="forecast: median")
    ax.fill_between([], [], color=BLUE, alpha=0.25, label="forecast: 5 to 95 %")
    ax.plot([], [], color=INK, linewidth=1, label="5,000 real runs: median")
    ax.plot([], [], color=INK, linewidth=0.8, linestyle=(0, (3, 2)), label="5,000 real runs: 5 and 95 %")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


@dataclass(frozen=True, eq=False)
class Landings:
    """Where runs from a square grid of starts land.

    Attributes:
        runs: Recorded runs, shape (R, T, 2).
        box: (low, high) of the grid of starts.
        coordinates: Names of the two coordinates.
        truth: Share of real runs by minimum, shape (side^2, minima).
        predicted: By estimator, probabilities of the same shape.
    """

    runs: np.ndarray
    box: tuple[float, float]
    coordinates: tuple[str, str]
    truth: np.ndarray
    predicted: Mapping[str, np.ndarray]


def landings(pictures: Mapping[str, Landings], shown: Sequence[str]) -> Figure:
    """Draw the likeliest minimum of every start, the paler the less certain; crosses where a prediction is wrong."""
    figure = new(3.3 * (1 + len(shown)) + 0.4, 3.5 * len(pictures) + 0.5)
    axes = figure.subplots(len(pictures), 1 + len(shown), squeeze=False)
    for i, (title, about) in enumerate(pictures.items()):
        side = round(len(about.truth) ** 0.5)
        line = np.linspace(*about.box, side)
        half = (line[1] - line[0]) / 2
        right = about.truth.argmax(axis=1)
        for ax, name in zip(axes[i], ("true", *shown), strict=True):
            law = about.truth if name == "true" else about.predicted[name]
            best = law.argmax(axis=1)
            # From white where all minima are as likely to the full colour where one is certain.
            sure = np.clip((law.max(axis=1) - 1 / law.shape[1]) / (1 - 1 / law.shape[1]), 0, 1)
            full = np.array([to_rgb(MINIMUM_COLOURS[m]) for m in best])
            image = 1 - sure[:, None] * (1 - full)
            low, high = about.box[0] - half, about.box[1] + half
            ax.imshow(
                image.reshape(side, side, 3).swapaxes(0, 1),
                origin="lower",
                extent=(low, high, low, high),
                interpolation="nearest",
            )
            if name == "true":
                ax.plot(*about.runs.transpose(2, 1, 0), color=INK, linewidth=0.6, alpha=0.8)
                ax.plot(*about.runs[:, 0].T, "o", color=INK, markersize=3)
                ax.set_ylabel(f"{title}\n{about.coordinates[1]} at the start", fontsize=9)
            else:
                wrong = np.flatnonzero((best != right) & (about.truth.max(axis=1) >= CERTAIN))
                ax.plot(line[wrong // side], line[wrong % side], "x", color=INK, markersize=5, markeredgewidth=1.1)
                certain = about.truth.max(axis=1) >= CERTAIN
                share = (best == right)[certain].mean()
                ax.annotate(
                    f"right: {share:.0%} of {certain.sum()} certain starts",
                    (0.5, -0.24),
                    xycoords="axes fraction",
                    ha="center",
                    fontsize=8,
                    color=INK,
                )
            bare(ax)
            ax.set(xlim=(low, high), ylim=(low, high))
            ax.set_xlabel(f"{about.coordinates[0]} at the start", fontsize=9)
            if i == 0:
                ax.set_title("400 real runs a start" if name == "true" else name, fontsize=10, color=INK)
    return figure


def scaling(table: pd.DataFrame, laws: pd.DataFrame, published: Mapping[str, float], counting: Mapping[str, int]):
    """Draw distance against context length, a panel a family, with the fitted laws.

    Args:
        table: model, family, seed, length, distance.
        laws: model, family, exponent, low, high, coefficient.
        published: Exponents with LLaMA-2, by family.
        counting: Number of states of the families that have them.
    """
    families = list(dict.fromkeys(laws["family"]))
    columns = 4
    figure = new(11.5, 3.0 * -(-len(families) // columns) + 0.5)
    axes = figure.subplots(-(-len(families) // columns), columns, squeeze=False, sharex=True, sharey=True).ravel()
    for ax, family in zip(axes, families, strict=False):
        bare(ax)
        ax.set(xscale="log", yscale="log", title=family)
        ax.title.set(fontsize=10, color=INK)
        told = 0
        for name, (_, colour, marker) in MODEL_STYLES.items():
            rows = table[(table["model"] == name) & (table["family"] == family)]
            if not len(rows):
                continue
            place = rows.groupby("length")["distance"].agg(["mean", "sem"])
            ax.errorbar(
                place.index, place["mean"], place["sem"].fillna(0), fmt=marker, color=colour, markersize=4, linewidth=1
            )
            law = laws[(laws["model"] == name) & (laws["family"] == family)].iloc[0]
            ends = np.array([place.index.min(), place.index.max()])
            ax.plot(ends, law["coefficient"] * ends ** law["exponent"], color=colour, linewidth=1.2)
            if name != "counting":
                ax.annotate(
                    f"{signed(law['exponent'])}  [{signed(law['low'])}, {signed(law['high'])}]",
                    (0.03, 0.13 - 0.085 * told),
                    xycoords="axes fraction",
                    va="bottom",
                    fontsize=8,
                    color=colour,
                )
                told += 1
        n = np.array([10.0, 1000.0])
        ax.plot(n, expected(counting.get(family), n), color=INK, linewidth=1, linestyle=(0, (1, 1.5)))
        if family in published:
            ax.plot(n, 0.4 * (n / 10) ** published[family], color=GREY, linewidth=1.2, linestyle=(0, (5, 3)))
    axes[0].set_ylim(2e-4, 3)
    for ax in axes[-columns:]:
        ax.set_xlabel("values in context", fontsize=9)
    for ax in axes[::columns]:
        ax.set_ylabel("Bhattacharyya distance", fontsize=9)
    present = set(table["model"])
    for name, (label, colour, marker) in MODEL_STYLES.items():
        if name in present:
            axes[0].plot([], [], marker, color=colour, markersize=5, label=label)
    axes[0].plot([], [], color=INK, linestyle=(0, (1, 1.5)), label="theory: p unknowns cost p / (8n)")
    axes[0].plot(
        [], [], color=GREY, linestyle=(0, (5, 3)), label="slope published for LLaMA-2 (its height is arbitrary)"
    )
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def expected(states: int | None, length: np.ndarray) -> np.ndarray:
    """Return what the best estimator of known form expects: counting of states, or a law with two unknowns, 1 / (4n).

    Maximum likelihood of p parameters is off by `p / (8 n)`: drift and scale of a Brownian motion, mean and scale of a
    Gaussian, rate and noise of the logistic map.
    """
    return 2 / (8 * length) if states is None else expected_of_counting(states, length)


def spectral_gaps(table: pd.DataFrame, first: int, last: int) -> Figure:
    """Draw the mean distance at late contexts against the spectral gap."""
    figure = new(6.6, 4.2)
    ax = figure.add_subplot()
    bare(ax)
    ax.set(xscale="log", yscale="log")
    for name, (label, colour, marker) in MODEL_STYLES.items():
        rows = table[table["model"] == name]
        if len(rows):
            place = rows.groupby("gap")["distance"].agg(["mean", "sem"])
            ax.errorbar(
                place.index,
                place["mean"],
                place["sem"].fillna(0),
                fmt=f"{marker}-",
                color=colour,
                markersize=5,
                linewidth=1.3,
                label=label,
            )
    gaps = np.sort(table["gap"].unique())
    middle = (first + last) / 2
    ax.plot(
        gaps,
        np.full(len(gaps), expected_of_counting(2, middle)),
        color=INK,
        linestyle=(0, (1, 1.5)),
        label="theory of counting",
    )
    ax.set_xticks(gaps, [f"{g:g}" for g in gaps])
    ax.minorticks_off()
    ax.set_xlabel("spectral gap of the two-state chain (slow mixing on the left)", fontsize=9)
    ax.set_ylabel(f"Bhattacharyya distance, {first} to {last} values in context", fontsize=9)
    ax.legend(frameon=False, fontsize=8, loc="best")
    return figure


def ladder(table: pd.DataFrame) -> Figure:
    """Draw distance against processor seconds, a panel a problem; classical estimators as levels."""
    problems = list(dict.fromkeys(table["problem"]))
    figure = new(3.6 * len(problems), 3.9)
    axes = figure.subplots(1, len(problems), squeeze=False, sharex=True, sharey=True)[0]
    for ax, problem in zip(axes, problems, strict=True):
        bare(ax)
        ax.set(xscale="log", yscale="log")
        ax.set_title(problem.replace("_", " "), fontsize=10, color=INK)
        ax.set_xlabel("processor seconds to read 300 values in 4 views", fontsize=8.5)
        here = table[table["problem"] == problem]
        for name, (label, colour, marker) in MODEL_STYLES.items():
            rows = here[here["model"] == name]
            if len(rows):
                ax.errorbar(
                    rows["seconds"].mean(),
                    rows["distance"].mean(),
                    rows["distance"].sem() if len(rows) > 1 else 0,
                    fmt=marker,
                    color=colour,
                    markersize=7,
                    label=label if ax is axes[0] else None,
                )
        for estimator, dash in LEVELS.items():
            level = here[here["estimator"] == estimator]["distance"].mean()
            if np.isfinite(level):
                ax.axhline(level, color=INK, linewidth=1, linestyle=dash, label=estimator if ax is axes[0] else None)
    axes[0].set_ylabel("Bhattacharyya distance, one step ahead", fontsize=9)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    return figure


def signed(x: float) -> str:
    """Return a number of two decimals with a true minus sign."""
    return f"{x:.2f}".replace("-", "\N{MINUS SIGN}") if np.isfinite(x) else "?"
