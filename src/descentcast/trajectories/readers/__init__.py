"""Readers of recorded runs, one file a format; each turns a source into the records of its runs."""

from descentcast.trajectories.readers._records import Record, Series, no_column, shown, well_formed
from descentcast.trajectories.readers._sources import Source, is_address, source_at, sources_in

__all__ = [
    "Record",
    "Series",
    "Source",
    "is_address",
    "no_column",
    "shown",
    "source_at",
    "sources_in",
    "well_formed",
]
