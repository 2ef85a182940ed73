"""Readers of recorded runs, one file a format; each turns a source into the records of its runs."""

from descentcast.trajectories.readers._records import Record, Series, shown, well_formed
from descentcast.trajectories.readers._sources import Source, sources_in

__all__ = ["Record", "Series", "Source", "shown", "sources_in", "well_formed"]
