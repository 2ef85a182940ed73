"""Forecasts from a kernel: where runs land, when, with what spread."""

from descentcast.forecasts._basins import Basin, Basins, minima
from descentcast.forecasts._calibration import Calibration, calibration
from descentcast.forecasts._forecast import forecast
from descentcast.forecasts._marginal import Marginal
from descentcast.forecasts._result import Forecast

__all__ = ["Basin", "Basins", "Calibration", "Forecast", "Marginal", "calibration", "forecast", "minima"]
