"""A transition kernel as a heat map, with what each of its rows rests on."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.patches import Patch

from descentcast.kernels import TransitionKernel
from descentcast.reports._style import GREY, INK, ORANGE, SOURCE_COLOURS, VERMILION, axes_or_new, bare


def draw_kernel(kernel: TransitionKernel, ax: Axes | None) -> Axes:
    """Draw the density of the next state against the present one; below it a strip of the evidence of each row."""
    ax = axes_or_new(ax, 5.4, 4.9)
    edges = kernel.edges
    density = kernel.matrix / kernel.widths
    # The square root of the density: tails of a hundredth of the peak stay visible.
    norm = PowerNorm(0.5, vmin=0, vmax=float(np.quantile(density.max(axis=1), 0.95)))
    image = ax.pcolormesh(edges, edges, density.T, cmap="Blues", norm=norm, rasterized=True)
    ax.plot(edges[[0, -1]], edges[[0, -1]], color=ORANGE, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.set_aspect("equal")
    bare(ax)
    ax.set(ylabel=f"{kernel.name} after a step", ylim=(edges[0], edges[-1]), xlim=(edges[0], edges[-1]))
    figure = ax.get_figure()
    if figure is not None:
        bar = figure.colorbar(image, ax=ax, shrink=0.75, pad=0.02, aspect=28)
        bar.set_label("density", fontsize=8)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    _evidence(ax, kernel)
    return ax


def _evidence(ax: Axes, kernel: TransitionKernel) -> None:
    strip = ax.inset_axes((0, -0.035, 1, 0.025), sharex=ax)
    sources = list(dict.fromkeys(kernel.evidence.source.tolist()))
    colours = np.array([SOURCE_COLOURS.get(source, GREY) for source in kernel.evidence.source.tolist()])
    strip.bar(kernel.centres, 1, kernel.widths, color=colours.tolist())
    seen = kernel.evidence.visits > 0
    strip.plot(kernel.centres[seen], np.full(seen.sum(), 1.25), "|", color=INK, markersize=3, clip_on=False)
    strip.set(ylim=(0, 1), yticks=[], xlabel=f"{kernel.name} now")
    strip.spines[:].set_visible(False)
    strip.tick_params(labelsize=8, colors=INK)
    ax.tick_params(labelbottom=False, bottom=False)
    handles = [Patch(color=SOURCE_COLOURS.get(source, GREY), label=source) for source in sources]
    leaving = kernel.overflow.sum(axis=1)
    if (leaving > 0.01).any():
        handles.append(Patch(color=VERMILION, alpha=0.4, label="leaves the grid"))
        span = kernel.edges[-1] - kernel.edges[0]  # a bar of a tenth of the axis: every time
        for side, base, sign in ((0, kernel.edges[0], 1), (1, kernel.edges[-1], -1)):
            ax.bar(
                kernel.centres,
                sign * kernel.overflow[:, side] * span * 0.1,
                kernel.widths,
                bottom=base,
                color=VERMILION,
                alpha=0.4,
                linewidth=0,
            )
    # On top, where it neither covers the label below nor runs out of the figure.
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=4,
        frameon=False,
        fontsize=7.5,
        handlelength=1.1,
        columnspacing=1.2,
        title="rows rest on (ticks: visited cells)",
        title_fontsize=7.5,
        alignment="left",
    )
