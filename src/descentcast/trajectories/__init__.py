"""Observed runs: what was recorded, the readers that bring it in, and the recording of live training (lazy)."""

from descentcast.trajectories import recording
from descentcast.trajectories._read import list_runs, read
from descentcast.trajectories._trajectories import Trajectories, Trajectory

__all__ = ["Trajectories", "Trajectory", "list_runs", "read", "recording"]
