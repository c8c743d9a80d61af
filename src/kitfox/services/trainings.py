"""The training service of a server, put together from the configuration.

The server asks for it here: it knows the service's door and nothing else of training.
"""

from kitfox.config import Config
from kitfox.services.library import import_library
from kitfox.training import JobStore, TrainingService
from kitfox.training.opening import library_of, open_scheduler

__all__ = ["TrainingService", "open_trainings"]


def open_trainings(config: Config) -> TrainingService:
    """Opens the job store; the scheduler is not started yet.

    Raises:
        KitfoxError: The store cannot be used, or the library cannot be imported.
    """
    store = JobStore(config.store_url)
    libraries = [library_of(import_library(name)) for name in config.runtime.libraries or [""]]
    scheduler = open_scheduler(store, config.training, libraries)
    return TrainingService(
        store=store,
        scheduler=scheduler,
        output_dir=config.runtime.training.output_dir,
        save_with_id=config.runtime.training.save_with_id,
        libraries=libraries,
        data_base_dir=config.data_streams.file_source_base or "",
    )
