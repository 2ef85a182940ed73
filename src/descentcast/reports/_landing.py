"""Landings that several methods predict, beside where runs really landed."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.reports._style import BLUE, GREEN, INK, ORANGE, PALE, PURPLE, VERMILION, axes_or_new, bare, number

STYLES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PURPLE, "D"), (VERMILION, "v"))


def plot_landing(
    landing_frames: Mapping[str, pd.DataFrame], ax: Axes | None = None, basin: str | None = None, truth: str = "truth"
) -> Axes:
    """Draw the probability of landing in one basin by start, for several methods.

    Starts stand evenly spaced in their order, so that those crowded at a separatrix stay apart. The truth is a black
    bar across the place of its start; the first method, the one to be judged, has the strongest colour; others are
    hollow. Vertical lines run from `low` to `high` where a method has them.

    Args:
        landing_frames: `Forecast.landing` tables by the name of the method, in the order of the legend, all of the
            same basins. A table without a row for a basin gives it no probability.
        ax: Axes to draw into, by default those of a new figure.
        basin: The basin, by default the rightmost one of any table.
        truth: The name of the table that holds the truth, if there is one.

    Returns:
        The axes.

    Raises:
        ArgumentError: No table, a column that is missing, no such basin.

    Examples:
        >>> table = pd.DataFrame({"start": [0.1, 0.2], "basin": "basin 0", "position": 0.0, "probability": [0.4, 0.7]})
        >>> plot_landing({"method": table}).get_ylabel()
        'probability of landing in basin 0 (at 0)'
    """
    if not landing_frames:
        raise ArgumentError("landing_frames is empty, must hold at least one landing table")
    for name, frame in landing_frames.items():
        missing = {"start", "basin", "position", "probability"} - set(frame.columns)
        if missing:
            raise ArgumentError(f"landing_frames[{name!r}] lacks {', '.join(sorted(missing))}")
        if frame.duplicated(["start", "basin"]).any():
            raise ArgumentError(
                f"landing_frames[{name!r}] has a start twice, must be of one coordinate and each start once"
            )
    pooled = pd.concat(list(landing_frames.values()), ignore_index=True)
    placed = pooled[np.isfinite(pooled["position"].to_numpy(dtype=float))]
    positions = dict(zip(placed["basin"].tolist(), placed["position"].tolist(), strict=True))
    known = sorted(positions, key=positions.__getitem__)
    label = _checks.one_of("basin", known[-1] if basin is None and known else str(basin), known)
    starts = sorted(pooled["start"].unique().tolist())
    place = {start: i for i, start in enumerate(starts)}

    ax = axes_or_new(ax, max(0.75 * len(starts) + 1.5, 5), 3.8)
    bare(ax)
    ax.set_axisbelow(True)
    ax.grid(axis="y", color=PALE, linewidth=0.6)
    methods = [name for name in landing_frames if name != truth]
    width = 0.6 / max(len(methods), 1)
    for k, name in enumerate(methods + [truth] * (truth in landing_frames)):
        rows = _of(landing_frames[name], label, starts)
        x = np.array([place[s] for s in rows.index], dtype=float)
        y, low, high = rows[["probability", "low", "high"]].to_numpy(dtype=float).T
        if name == truth:
            ax.hlines(y, x - 0.4, x + 0.4, color=INK, linewidth=2, label=name, zorder=2)
            ax.bar(x, high - low, 0.8, bottom=low, color=INK, alpha=0.18, linewidth=0, zorder=1)
            continue
        colour, marker = STYLES[k % len(STYLES)]
        x = x + (k - (len(methods) - 1) / 2) * width
        ax.vlines(x, low, high, color=colour, linewidth=1.4, alpha=0.8, zorder=3)
        ax.plot(
            x,
            y,
            marker,
            color=colour,
            markerfacecolor=colour if k == 0 else "white",
            markersize=6 if k == 0 else 5,
            label=name,
            zorder=4,
            clip_on=False,
        )
    ax.set_xlabel("start", fontsize=9)
    ax.set_ylabel(f"probability of landing in {label} (at {number(positions[label])})", fontsize=9)
    ax.set_ylim(0, 1)
    ax.set_xlim(-0.6, len(starts) - 0.4)
    ax.set_xticks(range(len(starts)), [number(start) for start in starts])
    ax.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return ax


def _of(frame: pd.DataFrame, basin: str, starts: list[float]) -> pd.DataFrame:
    """Probability, low and high of one basin by start: 0 where a start has rows but none of this basin."""
    rows = frame.loc[frame["basin"] == basin].set_index("start")
    rows = rows.reindex(index=[s for s in starts if s in set(frame["start"])], columns=["probability", "low", "high"])
    return rows.fillna({"probability": 0.0})
