"""Hierarchy-PDF: from digit probabilities to densities over the state grid."""

from descentcast.densities._context import Context, Points, lay_out, most_values
from descentcast.densities._densities import Densities, next_densities
from descentcast.densities._digit_tree import read_densities, read_views
from descentcast.densities._grids import RULES, WEIGHTS, floored_logs, log_pool, pool, regrid, within
from descentcast.densities._joint import draw_next, log_masses, read_joint
from descentcast.densities._pooling import candidates
from descentcast.densities._store import clear_store, store_info, stored_densities

__all__ = [
    "RULES",
    "WEIGHTS",
    "Context",
    "Densities",
    "Points",
    "candidates",
    "clear_store",
    "draw_next",
    "floored_logs",
    "lay_out",
    "log_masses",
    "log_pool",
    "most_values",
    "next_densities",
    "pool",
    "read_densities",
    "read_joint",
    "read_views",
    "regrid",
    "store_info",
    "stored_densities",
    "within",
]
