"""A forecast as small panels on one scale, one a start: where runs are at each step, and where they land."""

from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from descentcast.forecasts import Forecast, Marginal
from descentcast.reports._style import BLUE, GREY, INK, axes_or_new, bare, number

BANDS = (0.5, 0.9)
SHADES = ("#7FB7D9", "#D1E4F0")
MOST_PANELS = 24


def draw_forecast(result: Forecast, ax: Axes | None) -> Axes:
    """Draw the median and the smallest regions that hold 50 % and 90 % of runs, with basins and landings."""
    coordinates = len(result.marginals)
    most = max(MOST_PANELS // coordinates, 1)
    chosen = np.arange(len(result.starts))
    if len(chosen) > most:
        chosen = np.linspace(0, len(chosen) - 1, most).round().astype(int)
    count = len(chosen) * coordinates
    wide = len(chosen) if coordinates > 1 else min(count, int(np.ceil(np.sqrt(1.6 * count))))
    high = int(np.ceil(count / wide))

    ax = axes_or_new(ax, max(2.3 * wide + 0.6, 5.0), max(1.9 * high + 0.6, 3.0))
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])
    shown = f"{len(chosen)} of {len(result.starts)} starts: " if len(chosen) < len(result.starts) else ""
    title = f"{shown}median; densest 50 % and 90 % of runs; right: landing"
    ax.set_title(title, fontsize=8.5, color=GREY, loc="left", pad=10)

    rows = [list(m.landing()) for m in result.marginals]
    for k, (d, i) in enumerate(product(range(coordinates), chosen.tolist())):
        m, per_start = result.marginals[d], len(rows[d]) // len(result.starts)
        row, column = divmod(k, wide)
        panel = ax.inset_axes((column / wide, 1 - (row + 0.86) / high, 0.8 / wide, 0.76 / high))
        _fan(panel, m, i)
        _landing(panel, rows[d][i * per_start : (i + 1) * per_start])
        panel.tick_params(labelleft=column == 0, labelbottom=k + wide >= count)
        panel.set_ylabel(m.kernel.name if column == 0 else "", fontsize=9)
        panel.set_xlabel("step" if k + wide >= count else "", fontsize=9)
    return ax


def _fan(panel: Axes, m: Marginal, i: int) -> None:
    edges, steps = m.kernel.edges, np.arange(m.steps + 1)
    bare(panel)
    panel.contourf(steps, m.kernel.centres, _depth(m, i).T, levels=(-1.0, *BANDS), colors=SHADES)
    # A median that runs off the grid is drawn to its end.
    panel.plot(steps, np.clip(m.quantiles(np.array([0.5]))[i, :, 0], edges[0], edges[-1]), color=BLUE, linewidth=1.3)
    panel.plot(0, m.starts[i], "o", color=INK, markersize=3.5, clip_on=False, zorder=5)
    panel.set(xlim=(0, m.steps), ylim=_scale(m))
    panel.set_title(f"from {number(m.starts[i])}", fontsize=8, color=INK, loc="left", pad=3)


def _depth(m: Marginal, i: int) -> np.ndarray:
    """Mass of the cells that are denser than each cell, of runs on the grid, shape (steps + 1, n).

    Regions of highest density, unlike bands between quantiles, do not fill the gap between two basins (Hyndman 1996).
    """
    share = m.density[i] / np.maximum(m.density[i].sum(axis=1, keepdims=True), np.finfo(float).tiny)
    order = np.argsort(-share / m.kernel.widths, axis=1)
    ranked = np.take_along_axis(share, order, axis=1)
    depth = np.empty_like(share)
    np.put_along_axis(depth, order, ranked.cumsum(axis=1) - ranked / 2, axis=1)
    return np.where(share > 0, depth, 1.0)


def _scale(m: Marginal) -> tuple[float, float]:
    """The part of the grid that 98 % of runs, the basins and the starts need."""
    bands = m.quantiles(np.array([0.01, 0.99]))
    wanted = np.concatenate([bands[np.isfinite(bands)], m.starts, m.basins.position])
    margin = 0.06 * np.ptp(wanted)
    edges = m.kernel.edges
    return float(max(wanted.min() - margin, edges[0])), float(min(wanted.max() + margin, edges[-1]))


def _landing(panel: Axes, rows: list[dict[str, Any]]) -> None:
    """Write the probability of each basin at its height, and above the panel what lands in none."""
    low, high = panel.get_ylim()
    for row in rows:
        if np.isfinite(row["position"]):
            panel.axhline(row["position"], color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
            place = (1.02, (row["position"] - low) / (high - low))
            text = f"{row['probability']:.0%}"
            panel.annotate(text, place, xycoords="axes fraction", fontsize=7.5, color=INK, va="center")
    lost = [
        f"{r['basin']} {r['probability']:.0%}" for r in rows if np.isnan(r["position"]) and r["probability"] > 0.005
    ]
    panel.text(1.0, 1.03, ", ".join(lost), transform=panel.transAxes, fontsize=7, color=GREY, ha="right")
