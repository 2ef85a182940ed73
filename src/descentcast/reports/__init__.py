"""Results on paper and screen: plots, tables, files, and the demonstration."""

from descentcast.reports._demo import INTRODUCTION as DEMO_INTRODUCTION
from descentcast.reports._demo import Demo, run_demo
from descentcast.reports._doctor import examine
from descentcast.reports._files import SavedResult, read_result, save_result, writable
from descentcast.reports._landing import plot_landing
from descentcast.reports._plot import plot
from descentcast.reports._report import report
from descentcast.reports._terminal import show_progress, show_table

__all__ = [
    "DEMO_INTRODUCTION",
    "Demo",
    "SavedResult",
    "examine",
    "plot",
    "plot_landing",
    "read_result",
    "report",
    "run_demo",
    "save_result",
    "show_progress",
    "show_table",
    "writable",
]
