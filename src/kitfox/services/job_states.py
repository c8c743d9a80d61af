"""The states of jobs as callers see them."""

from collections.abc import Mapping

from kitfox.interfaces.common.data_model import JobStatus
from kitfox.training import JobState

__all__ = ["WIRE_STATES"]

# On the wire there is no word for a job that is being cancelled: to its callers it is over. Nor for
# one that is to end early: it runs until it has ended.
WIRE_STATES: Mapping[JobState, JobStatus] = {
    JobState.QUEUED: JobStatus.QUEUED,
    JobState.RUNNING: JobStatus.RUNNING,
    JobState.STOPPING: JobStatus.RUNNING,
    JobState.CANCELING: JobStatus.CANCELED,
    JobState.CANCELED: JobStatus.CANCELED,
    JobState.COMPLETED: JobStatus.COMPLETED,
    JobState.ERRORED: JobStatus.ERRORED,
}
"""What is said of a job in each state."""
