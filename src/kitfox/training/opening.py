"""What runs a job store, put together from the configuration: for servers, commands and scripts."""

import functools
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from kitfox import config
from kitfox.training.jobs import Library
from kitfox.training.launchers import make_launcher
from kitfox.training.retention import Retention, RetentionRules, is_current
from kitfox.training.scheduler import Scheduler
from kitfox.training.store import JobStore
from kitfox.training.worker_settings import WorkerSettings

__all__ = ["library_of", "open_scheduler", "open_shared_retention", "retention_rules"]


def open_scheduler(
    store: JobStore, settings: config.Training, libraries: Sequence[Library]
) -> Scheduler:
    """The scheduler of a store, not started yet.

    Args:
        store: The jobs.
        settings: How they are run.
        libraries: What warm workers have imported.
    """
    worker = WorkerSettings(checkpoints=settings.checkpoints, digest_bytes=settings.digest_limit)
    return Scheduler(
        store=store,
        max_concurrent=settings.max_concurrent,
        queue_limit=settings.queue_limit,
        cancel_grace=settings.cancel_seconds,
        stop_grace=settings.stop_seconds,
        lease=settings.lease_seconds,
        launcher=make_launcher(
            warm=settings.warm,
            store_url=store.url,
            libraries=libraries,
            environ=worker.environ(),
        ),
    )


def retention_rules(settings: config.Training) -> RetentionRules:
    """How much is kept of trainings that have ended."""
    rules = settings.retention
    return RetentionRules(
        seconds=rules.seconds,
        count=rules.count,
        bytes=rules.bytes_limit,
        failed_seconds=rules.failed_seconds,
    )


def open_shared_retention(
    store: JobStore, settings: config.Training, models_dir: Path
) -> Retention | None:
    """What a command or a script removes while it runs the store; not started yet.

    None for a store that several may run: only a server can know which models are in use there.

    Args:
        store: The jobs.
        settings: Where the rules are.
        models_dir: The models folder; what is current there stays.
    """
    if store.database.shared:
        return None
    return Retention(
        store=store,
        rules=retention_rules(settings),
        is_kept=functools.partial(is_current, models_dir=models_dir),
        shared=True,
    )


def library_of(package: ModuleType) -> Library:
    """How a worker imports what is imported here: a package, a folder of files, or one file."""
    if package.__file__ is not None:
        path = Path(package.__file__).absolute()
        root = path.parents[1] if path.stem == "__init__" else path.parent
    else:  # a folder without __init__.py
        root = Path(next(iter(package.__path__))).absolute().parent
    return Library(package=package.__name__, path=str(root))
