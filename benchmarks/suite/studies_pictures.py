"""What the pictures of the real studies share: one palette, bare axes, bands of a forecast, the law at its end."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito (2008), Color Universal Design: forecasts are blue, what was given orange, what really came ink.
BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
INK, GREY, PALE = "#222222", "#777777", "#DDDDDD"
BANDS = ((0.05, 0.95, "#D6E6F2"), (0.25, 0.75, "#8FBFDF"))


def figure(rows: int, columns: int, size: tuple[float, float], **options: object) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes, (rows, columns), without the frame that carries no scale."""
    made = Figure(figsize=size, dpi=160, layout=ConstrainedLayoutEngine(wspace=0.06, hspace=0.04))
    axes = made.subplots(rows, columns, squeeze=False, **options)  # pyright: ignore[reportArgumentType]
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(GREY)
        ax.tick_params(colors=INK, labelsize=8, width=0.7)
    return made, axes


def titled(ax: Axes, title: str, note: str = "") -> None:
    """Put a sentence above the axes and a smaller one below it."""
    ax.set_title(f"{title}\n", fontsize=10, color=INK, loc="left", fontweight="bold")
    ax.text(0, 1.025, note, transform=ax.transAxes, fontsize=8, color=GREY)


def fan(ax: Axes, steps: Sequence[float] | np.ndarray, quantiles: np.ndarray) -> None:
    """Draw the bands that hold 90 % and 50 %, and the median; quantiles of shape (steps, 5) at 5, 25, 50, 75, 95 %."""
    for outer, (_, _, colour) in enumerate(BANDS):
        ax.fill_between(steps, quantiles[:, outer], quantiles[:, 4 - outer], color=colour, linewidth=0, zorder=1)
    ax.plot(steps, quantiles[:, 2], color=BLUE, linewidth=1.6, zorder=5)


def end_law(ax: Axes, edges: np.ndarray, masses: np.ndarray, observed: np.ndarray, log: bool) -> None:
    """Draw in a strip right of the axes the law at the end, and the ends that came, on the scale of the axes."""
    strip = ax.inset_axes((1.02, 0, 0.16, 1), sharey=ax)
    widths = np.diff(np.log(edges) if log else edges)
    height = masses / widths
    strip.stairs(height / height.max(), edges, orientation="horizontal", fill=True, color=BANDS[1][2])
    place = 1.15 + 0.25 * np.random.default_rng(0).random(len(observed))
    strip.plot(place, observed, ".", color=INK, markersize=3, alpha=0.7, markeredgewidth=0)
    strip.set_xlim(0, 1.45)
    strip.set_axis_off()


def save(made: Figure, name: str) -> Path:
    """Write the picture to `out/` and return where."""
    path = Path("out") / name
    path.parent.mkdir(exist_ok=True)
    made.savefig(path)
    return path
