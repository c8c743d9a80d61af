"""Training jobs: durable records, a scheduler, a worker process for each job.

store = JobStore("sqlite:///training_output/jobs.sqlite3")
scheduler = Scheduler(store=store, max_concurrent=2)
scheduler.start()
service = TrainingService(store=store, scheduler=scheduler, output_dir="training_output",
                          libraries=[Library(package="sample_lib", path="/srv/app")])
job = service.start(SampleModule, {"batch_size": 4}, "my model")
service.get(job.id).state

Predictions are jobs of the same store; `kitfox.training.runner` runs them in the server's process
(imported by it alone: asyncio costs every worker what it costs).
"""

from kitfox.training.jobs import (
    DataRecord,
    IllegalMove,
    Job,
    JobFilter,
    JobKind,
    JobOptions,
    JobPage,
    JobState,
    Library,
    Order,
    Progress,
    RetentionRules,
)
from kitfox.training.launchers import Launcher, SubprocessLauncher, WorkerHandle
from kitfox.training.progress import TrainingContext, training_context
from kitfox.training.scheduler import Scheduler
from kitfox.training.service import TrainingService
from kitfox.training.store import JobStore
from kitfox.training.warm_launcher import WarmLauncher

__all__ = [
    "DataRecord",
    "IllegalMove",
    "Job",
    "JobFilter",
    "JobKind",
    "JobOptions",
    "JobPage",
    "JobState",
    "JobStore",
    "Launcher",
    "Library",
    "Order",
    "Progress",
    "RetentionRules",
    "Scheduler",
    "SubprocessLauncher",
    "TrainingContext",
    "TrainingService",
    "WarmLauncher",
    "WorkerHandle",
    "training_context",
]
