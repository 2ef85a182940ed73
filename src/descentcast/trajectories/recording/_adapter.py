"""What the callbacks of other libraries have in common."""

from collections.abc import Sequence
from typing import Protocol

from descentcast.errors import ArgumentError
from descentcast.trajectories._trajectories import Trajectories, Trajectory


class Recording(Protocol):
    """What keeps the rows: a recorder or a session."""

    def trajectory(self, columns: Sequence[str] | None = None, /) -> Trajectory:
        """Return what was recorded so far."""
        ...

    def close(self, last_row: bool = True, /) -> None:
        """End the recording."""
        ...


class Adapter:
    """A callback that starts a recording with the training and ends it with it."""

    recording: Recording | None = None

    def trajectory(self, columns: Sequence[str] | None = None) -> Trajectory:
        """Return what was recorded so far; see `Recorder.trajectory`."""
        if self.recording is None:
            raise ArgumentError("nothing was recorded: no training has started with this callback")
        return self.recording.trajectory(columns)

    def trajectories(self, columns: Sequence[str] | None = None) -> Trajectories:
        """Return what was recorded so far as the only one of several runs."""
        return Trajectories((self.trajectory(columns),))

    def _end(self, last_row: bool = True) -> None:
        if self.recording is not None:
            self.recording.close(last_row)
