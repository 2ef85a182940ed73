"""From values to digits and back, exactly; transforms of a coordinate."""

from descentcast.encoding._coordinates import Identity, Log, Logit, Transform, transform
from descentcast.encoding._view import View, draw_views

__all__ = ["Identity", "Log", "Logit", "Transform", "View", "draw_views", "transform"]
