"""From values to digits and back, exactly; transforms of a coordinate; principal components of several."""

from descentcast.encoding._coordinates import Identity, Log, Logit, Transform, transform
from descentcast.encoding._joint_view import JointView, draw_joint_views
from descentcast.encoding._principal import PrincipalComponents
from descentcast.encoding._view import View, draw_views

__all__ = [
    "Identity",
    "JointView",
    "Log",
    "Logit",
    "PrincipalComponents",
    "Transform",
    "View",
    "draw_joint_views",
    "draw_views",
    "transform",
]
