"""Observed runs: what was recorded, and the readers that bring it in."""

from descentcast.trajectories._read import list_runs, read
from descentcast.trajectories._trajectories import Trajectories, Trajectory

__all__ = ["Trajectories", "Trajectory", "list_runs", "read"]
