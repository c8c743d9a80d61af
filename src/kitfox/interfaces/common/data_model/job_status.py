"""The states of trainings and of inference jobs."""

import enum

from kitfox.data import dataobject

__all__ = ["JobStatus"]


@dataobject(package="caikit_data_model.common")
class JobStatus(enum.Enum):
    """The states of a job as they stand on the wire."""

    QUEUED = 1
    RUNNING = 2
    COMPLETED = 3
    CANCELED = 4
    ERRORED = 5

    @property
    def is_terminal(self) -> bool:
        """Whether a job stays in this state for ever."""
        return self in (JobStatus.COMPLETED, JobStatus.CANCELED, JobStatus.ERRORED)
