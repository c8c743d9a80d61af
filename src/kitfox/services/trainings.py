"""The training service of a server, put together from the configuration.

The server asks for it here: it knows the service's door and nothing else of training.
"""

from pathlib import Path
from types import ModuleType

from kitfox.config import Config
from kitfox.services.library import import_library
from kitfox.training import JobStore, Library, Scheduler, TrainingService
from kitfox.training.launchers import make_launcher
from kitfox.training.worker_settings import WorkerSettings

__all__ = ["TrainingService", "open_trainings"]


def open_trainings(config: Config) -> TrainingService:
    """Opens the job store; the scheduler is not started yet.

    Raises:
        KitfoxError: The store cannot be used, or the library cannot be imported.
    """
    store = JobStore(config.store_url)
    libraries = [
        Library(package=library.__name__, path=_import_folder(library))
        for library in map(import_library, config.runtime.libraries or [""])
    ]
    scheduler = Scheduler(
        store=store,
        max_concurrent=config.training.max_concurrent,
        queue_limit=config.training.queue_limit,
        cancel_grace=config.training.cancel_seconds,
        stop_grace=config.training.stop_seconds,
        lease=config.training.lease_seconds,
        launcher=make_launcher(
            warm=config.training.warm,
            store_url=store.url,
            libraries=libraries,
            environ=WorkerSettings(
                checkpoints=config.training.checkpoints, digest_bytes=config.training.digest_limit
            ).environ(),
        ),
    )
    return TrainingService(
        store=store,
        scheduler=scheduler,
        output_dir=config.runtime.training.output_dir,
        save_with_id=config.runtime.training.save_with_id,
        libraries=libraries,
        data_base_dir=config.data_streams.file_source_base or "",
    )


def _import_folder(library: ModuleType) -> str:
    """The entry of `sys.path` from which a package comes."""
    return str(Path(library.__file__ or "").absolute().parents[1]) if library.__file__ else ""
