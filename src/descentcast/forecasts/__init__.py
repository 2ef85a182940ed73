"""Forecasts from a kernel: where runs land, when, with what spread."""

from descentcast.forecasts._basins import Basin, Basins, minima
from descentcast.forecasts._calibration import Calibration, calibration
from descentcast.forecasts._extend import Extension, extend
from descentcast.forecasts._forecast import forecast
from descentcast.forecasts._marginal import Marginal
from descentcast.forecasts._particles import ParticleForecast, forecast_particles
from descentcast.forecasts._result import Forecast
from descentcast.forecasts._scaling import ScalingLaw, scaling_law
from descentcast.forecasts._settings import SettingsForecast, forecast_settings
from descentcast.forecasts._stop import StopAdvice, stop_now

__all__ = [
    "Basin",
    "Basins",
    "Calibration",
    "Extension",
    "Forecast",
    "Marginal",
    "ParticleForecast",
    "ScalingLaw",
    "SettingsForecast",
    "StopAdvice",
    "calibration",
    "extend",
    "forecast",
    "forecast_particles",
    "forecast_settings",
    "minima",
    "scaling_law",
    "stop_now",
]
