"""From values to digits and back, exactly."""

from descentcast.encoding._view import View, draw_views

__all__ = ["View", "draw_views"]
