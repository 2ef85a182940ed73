"""What all plots share: colours that the colour-blind can tell apart, and axes outside pyplot's global state."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito (2008), Color Universal Design.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#222222", "#777777", "#D9D9D9"
SOURCE_COLOURS = {
    "visited": BLUE,
    "probed": SKY,
    "completed": ORANGE,
    "extrapolated": VERMILION,
    "exact": INK,
    "simulated": GREY,
    "estimated": GREEN,
}


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """Return `ax`, or the axes of a new figure of `width` by `height` inches that no global state holds on to."""
    return Figure(figsize=(width, height), dpi=150, layout="constrained").add_subplot() if ax is None else ax


def bare(ax: Axes) -> None:
    """Leave the two spines that carry a scale."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(colors=INK, labelsize=8)


def number(x: float) -> str:
    """Return a number as the axes write it: three digits, a true minus sign."""
    return f"{x:.3g}".replace("-", "\N{MINUS SIGN}")
