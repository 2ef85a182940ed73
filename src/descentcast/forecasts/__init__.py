"""Forecasts from a kernel: where runs land, when, with what spread."""

from descentcast.forecasts._basins import Basin, Basins, minima
from descentcast.forecasts._forecast import Forecast, forecast

__all__ = ["Basin", "Basins", "Forecast", "forecast", "minima"]
