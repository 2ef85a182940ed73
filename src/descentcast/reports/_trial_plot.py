"""A trial as two panels: outcomes of each arm, virtual and recorded, and the effects with their intervals."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from descentcast.reports._style import BLUE, GREY, INK, PALE, VERMILION, axes_or_new, bare, number
from descentcast.trials import TrialResult

MOST_ARMS, MOST_EFFECTS = 8, 10
BINS = 40
WORTH_SAYING = 0.05
COLOURS = {"better": BLUE, "worse": VERMILION, "equivalent": INK, "undecided": GREY}


def draw_trial(result: TrialResult, ax: Axes | None) -> Axes:
    """Draw on the left the outcomes of each arm, on the right every effect with its interval and verdict."""
    arms = result.arms.head(MOST_ARMS).to_dict(orient="records")
    effects = result.effects.head(MOST_EFFECTS).to_dict(orient="records")
    rows = max(len(arms), len(effects))
    ax = axes_or_new(ax, 9.5, 1.7 + 0.62 * rows)
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])
    left, right = ax.inset_axes((0.0, 0.0, 0.46, 0.94)), ax.inset_axes((0.56, 0.0, 0.44, 0.94))
    _arms(left, result, arms)
    _effects(right, result, effects)
    hidden = len(result.arms) - len(arms), len(result.effects) - len(effects)
    more = [f"{n} more {what}" for n, what in zip(hidden, ("arms", "effects"), strict=True) if n]
    ax.set_title("; ".join(more), fontsize=8, color=GREY, loc="right", pad=8)
    return ax


def _arms(panel: Axes, result: TrialResult, arms: list[dict[str, Any]]) -> None:
    bare(panel)
    panel.spines["left"].set_visible(False)
    virtual = {str(row["arm"]): result.virtual[str(row["arm"])] for row in arms}
    pooled = np.concatenate([v[np.isfinite(v)] for v in virtual.values()])
    means = np.array([[row[k] for k in ("low", "high")] for row in arms], dtype=float)
    wanted = np.concatenate([*result.real.values(), np.quantile(pooled, [0.01, 0.99]) if len(pooled) else []])
    low, high = (float(f(wanted)) for f in (np.min, np.max)) if len(wanted) else (0.0, 1.0)
    margin = 0.04 * (high - low) or 1.0
    edges = np.linspace(low - margin, high + margin, BINS + 1)
    for y, row in enumerate(arms):
        name = str(row["arm"])
        finite = virtual[name][np.isfinite(virtual[name])]
        share = np.histogram(finite, edges)[0] / max(len(finite), 1)
        height = -0.62 * share / max(share.max(), 1e-12)
        steps = y + np.append(height, height[-1:])
        panel.fill_between(edges, y, steps, step="post", color=BLUE, alpha=0.22, linewidth=0)
        real = result.real[name]
        panel.plot(real, np.full(len(real), y + 0.16), "o", color=INK, markersize=3.2, zorder=4)
        panel.plot(np.clip(means[y], edges[0], edges[-1]), [y, y], color=BLUE, linewidth=2.2, solid_capstyle="butt")
        panel.plot(row["mean"], y, "|", color=BLUE, markersize=11, markeredgewidth=2.2)
        told = f"{name}, {row['runs']} run{'' if row['runs'] == 1 else 's'}"
        told += f", {row['p_diverged']:.0%} diverge" if row["p_diverged"] > WORTH_SAYING else ""
        panel.annotate(told, (0.0, y - 0.68), xycoords=("axes fraction", "data"), fontsize=8, color=INK, va="center")
    panel.set(xlim=(edges[0], edges[-1]), ylim=(len(arms) - 0.6, -1.0), yticks=[])
    what = result.name if result.outcome == "final" else f"{result.outcome} of {result.name}"
    panel.set_xlabel(f"{what} after {result.steps} steps, {result.better} is better", fontsize=8.5, color=INK)
    key = "shaded: virtual runs   dots: recorded runs   bar: the mean"
    panel.set_title(f"{key}, {result.level:.0%} interval", fontsize=7.5, color=GREY, loc="left", pad=5)


def _effects(panel: Axes, result: TrialResult, effects: list[dict[str, Any]]) -> None:
    bare(panel)
    panel.spines["left"].set_visible(False)
    panel.axvline(0, color=GREY, linewidth=0.9, zorder=1)
    if result.rope is not None:
        panel.axvspan(-result.rope, result.rope, color=PALE, alpha=0.6, linewidth=0, zorder=0)
    ends = np.array([[row["low"], row["high"], 0.0] for row in effects], dtype=float)
    finite = ends[np.isfinite(ends)]
    span = float(np.ptp(finite)) or 1.0
    for y, row in enumerate(effects):
        label, colour = str(row["contrast"]), COLOURS[str(row["verdict"])]
        # On white, so that the line at zero does not run through words.
        white = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "fontsize": 8, "va": "center", "bbox": white}
        panel.annotate(label.replace(" - ", " \N{MINUS SIGN} "), (0.0, y - 0.36), color=INK, **place)
        if not np.isfinite(row["effect"]):
            panel.annotate("all virtual runs of an arm diverge", (0.0, y), color=GREY, **place)
            continue
        panel.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
        panel.plot(row["effect"], y, "|", color=colour, markersize=11, markeredgewidth=2.2)
        told = f"{row['verdict']}, p = {row['p_adjusted']:.2g}, worth {row['equivalent_runs']:.1f} real runs an arm"
        panel.annotate(told, (1.0, y - 0.36), color=colour, ha="right", **place)
    panel.set(ylim=(len(effects) - 0.6, -0.8), yticks=[])
    panel.set_xlim(finite.min() - 0.06 * span, finite.max() + 0.06 * span)
    region = f", equivalent within {number(result.rope)}" if result.rope else ""
    panel.set_xlabel(f"difference of means{region}", fontsize=8.5, color=INK)
    panel.set_title(f"effects, {result.level:.0%} intervals", fontsize=7.5, color=GREY, loc="left", pad=5)
