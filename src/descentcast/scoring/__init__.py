"""Scores of forecasts and distances between laws, on probabilities of the cells of a grid.

Everywhere the last axis runs over cells, and leading axes broadcast. A law is taken as piecewise constant: the mass of
a cell is spread evenly over it. Where a law has two entries more than the grid has cells, the first and last are the
mass below and above the grid, and stand for one more cell on each side, as wide as the outermost.
"""

from descentcast.scoring._calibration import calibration, central_interval, coverage, pit, quantiles
from descentcast.scoring._distances import bhattacharyya, hellinger, total_variation, wasserstein1
from descentcast.scoring._recalibration import RecalibrationMap, recalibrate
from descentcast.scoring._scores import crps, log_score, prequential_log_score

__all__ = [
    "RecalibrationMap",
    "bhattacharyya",
    "calibration",
    "central_interval",
    "coverage",
    "crps",
    "hellinger",
    "log_score",
    "pit",
    "prequential_log_score",
    "quantiles",
    "recalibrate",
    "total_variation",
    "wasserstein1",
]
