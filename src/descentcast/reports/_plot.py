"""One public function for the picture of any result."""

from functools import singledispatch
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from descentcast.errors import ArgumentError
from descentcast.forecasts import Basins, Calibration, Forecast
from descentcast.kernels import MarkovTest, ObservableChoice, TransitionKernel
from descentcast.reports._diagnostics import draw_calibration, draw_markov_test, draw_observables
from descentcast.reports._fan import draw_forecast
from descentcast.reports._heat import draw_kernel
from descentcast.reports._style import BLUE, GREY, INK, PALE, SKY, axes_or_new, bare, number
from descentcast.reports._trial_plot import draw_trial
from descentcast.trials import TrialResult


@singledispatch
def plot(result: Any, ax: Axes | None = None) -> Axes:
    """Draw a result.

    A `Forecast` becomes fan charts, a panel a start (24 at most, evenly chosen): by step the median and the smallest
    regions that hold 50 % and 90 % of the runs on the grid, with the basins and the probability of landing in each. A
    `TransitionKernel` becomes a heat map of next against present state, with what each row rests on. `Basins` become
    the effective potential with every basin marked. A `TrialResult` becomes the outcomes of each arm, virtual and
    recorded, beside the effects with their intervals. A `MarkovTest`, an `ObservableChoice` and a `Calibration` become
    what a departure costs, what observables tell and remember, and measured against nominal coverage.

    Args:
        result: A forecast, a kernel, a trial, basins, a test, a choice of observables or a calibration.
        ax: Axes to draw into. By default those of a new figure, reached as `ax.figure`, that pyplot does not know of:
            nothing has to be closed.

    Returns:
        The axes.

    Raises:
        ArgumentError: There is no picture of such a result.

    Examples:
        >>> from descentcast.forecasts import minima
        >>> kernel = TransitionKernel([0, 1, 2], [[0.9, 0.1], [0.2, 0.8]], np.zeros((2, 2)))
        >>> plot(minima(kernel)).get_xlabel()
        'x'
    """
    raise ArgumentError(
        f"result is a {type(result).__name__}, must be a Forecast, a TransitionKernel, a TrialResult, Basins, a "
        "MarkovTest, an ObservableChoice or a Calibration"
    )


plot.register(Forecast, lambda result, ax=None: draw_forecast(result, ax))
plot.register(TransitionKernel, lambda result, ax=None: draw_kernel(result, ax))
plot.register(MarkovTest, lambda result, ax=None: draw_markov_test(result, ax))
plot.register(ObservableChoice, lambda result, ax=None: draw_observables(result, ax))
plot.register(Calibration, lambda result, ax=None: draw_calibration(result, ax))
plot.register(TrialResult, lambda result, ax=None: draw_trial(result, ax))


@plot.register
def _(result: Basins, ax: Axes | None = None) -> Axes:
    ax = axes_or_new(ax, 6, 3.4)
    bare(ax)
    ax.plot(result.centres, result.potential, color=INK, linewidth=1.4)
    top = float(max(result.potential.max(), 1e-9))
    for i, basin in enumerate(result):
        ax.axvspan(
            basin.lower, basin.upper, color=(SKY if basin.seen else PALE), alpha=0.30 if i % 2 else 0.15, linewidth=0
        )
        level = float(np.interp(basin.position, result.centres, result.potential))
        ax.plot(basin.position, level, "o", color=BLUE if basin.seen else GREY, markersize=5, zorder=4)
        note = f"basin {i}\n{number(basin.position)}" + ("" if basin.seen else "\nno run has been there")
        ax.annotate(note, (basin.position, 1.02 * top), fontsize=7.5, ha="center", va="bottom", color=INK)
    ax.set(xlabel=result.name, ylabel="effective potential", ylim=(-0.05 * top, 1.28 * top))
    ax.set_xlim(result.centres[0], result.centres[-1])
    return ax
