"""Pictures of what was examined before a forecast is trusted: Markov tests, choices of observables, calibration."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from descentcast.forecasts import Calibration
from descentcast.kernels import MarkovTest, ObservableChoice
from descentcast.reports._style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    VERMILION,
    axes_or_new,
    bare,
    number,
)

LINES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PURPLE, "D"), (VERMILION, "v"))
# Observables that are shown of a long ranking, best first.
MOST_OBSERVABLES = 12
TOLERATED = 0.01  # nats a step of memory


def draw_markov_test(result: MarkovTest, ax: Axes | None) -> Axes:
    """Draw for each question what a departure costs, beside the least that would have been noticed."""
    table: Any = result.table
    rows: list[dict[str, Any]] = table.to_dict("records")
    ax = axes_or_new(ax, 6.4, 0.42 * len(rows) + 1.5)
    bare(ax)
    ax.axvline(0, color=GREY, linewidth=0.8)
    reach = max(max(abs(r["effect"]), r["detectable"]) for r in rows)
    for i, row in enumerate(rows):
        ax.plot([0, row["detectable"]], [i, i], color=PALE, linewidth=9, solid_capstyle="butt", zorder=1)
        colour = VERMILION if row["departs"] else BLUE
        ax.plot(row["effect"], i, "o", color=colour, markersize=7, zorder=3, clip_on=False)
        ax.text(1.3 * reach, i, f"p {row['p_adjusted']:.2g}", fontsize=8, va="center", color=colour)
    names = [r["question"] + (f", lag {int(r['lag'])}" if r["question"] == "k-step forecast" else "") for r in rows]
    ax.set_yticks(range(len(rows)), names)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlim=(min(min(r["effect"] for r in rows), 0) - 0.05 * reach, 1.25 * reach))
    ax.set_xlabel("cost of the departure, nats a step (grey: too small to be noticed)", fontsize=9)
    verdict = "nothing speaks against one Markov kernel" if result.markov else "no one Markov kernel has made the runs"
    ax.set_title(f"{result.name}: {verdict}", fontsize=9, color=INK, loc="left")
    return ax


def draw_observables(result: ObservableChoice, ax: Axes | None) -> Axes:
    """Draw for each observable, best first, what its present value tells of the next, and what memory is left."""
    table: Any = result.table.head(MOST_OBSERVABLES)
    rows: list[dict[str, Any]] = table.to_dict("records")
    ax = axes_or_new(ax, 6.4, 0.36 * len(rows) + 1.6)
    bare(ax)
    at = np.arange(len(rows))
    gain, memory, error = (np.array([r[k] for r in rows]) for k in ("gain", "memory", "memory_error"))
    colours = [BLUE if r["markov"] else PALE for r in rows]
    ax.barh(at, gain, 0.55, color=colours, zorder=2)
    ax.errorbar(memory, at, xerr=2 * error, fmt="D", color=ORANGE, markersize=4.5, linewidth=1.3, zorder=4)
    ax.axvline(TOLERATED, color=ORANGE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=3)
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_yticks(at, [_named(r) for r in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("nats a step", fontsize=9)
    handles = [
        ax.barh([0], [0], color=BLUE, label="the present value tells"),
        ax.barh([0], [0], color=PALE, label="the same, not Markov"),
        ax.plot([], [], "D", color=ORANGE, markersize=4.5, label="the value before it adds (2 standard errors)")[0],
    ]
    ax.legend(handles=handles, frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(-0.25, 1.0), ncols=3)
    return ax


def draw_calibration(result: Calibration, ax: Axes | None) -> Axes:
    """Draw measured against nominal coverage of held-out forecasts, two standard errors to either side."""
    ax = axes_or_new(ax, 4.6, 4.2)
    bare(ax)
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    everything: Any = result.table
    told: Any = result.verdicts
    verdicts: list[dict[str, Any]] = told.to_dict("records")
    several = len({v["coordinate"] for v in verdicts}) > 1
    for k, row in enumerate(verdicts):
        here = (everything["coordinate"] == row["coordinate"]) & (everything["lag"] == row["lag"])
        table = everything[here].sort_values("level")
        colour, marker = LINES[k % len(LINES)]
        ahead = f"{row['lag']} step" + ("s" if row["lag"] > 1 else "")
        # A little beside each other, so that error bars of several lags stay apart.
        level = table["level"].to_numpy() + 0.018 * (k - (len(verdicts) - 1) / 2)
        label = (f"{row['coordinate']}, " if several else "") + f"{ahead}: {row['verdict']}"
        error = 2 * np.nan_to_num(table["standard_error"].to_numpy())
        low, high = error.clip(max=table["coverage"]), error.clip(max=1 - table["coverage"])
        ax.errorbar(
            level, table["coverage"], yerr=[low, high], fmt=marker, color=colour, markersize=5.5, linewidth=1.3,
            markerfacecolor=colour if k == 0 else "white", label=label, zorder=3, clip_on=False,
        )  # fmt: skip
    levels = sorted(everything["level"].unique().tolist())
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=levels, xticklabels=[number(100 * v) + " %" for v in levels])
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    ax.set_aspect("equal")
    ax.set_xlabel("nominal coverage", fontsize=9)
    ax.set_ylabel("held-out values within", fontsize=9)
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    return ax


def _named(row: dict[str, Any]) -> str:
    shape = "" if row["transform"] == "identity" else f"{row['transform']} "
    stride = "" if row["stride"] == 1 else f", every {row['stride']}"
    return f"{shape}{row['coordinate']}{stride}"
