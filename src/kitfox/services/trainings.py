"""The training service of a server, put together from the configuration.

The server asks for it here: it knows the service's door and nothing else of training.
"""

import asyncio
from pathlib import Path

from kitfox.config import Config
from kitfox.services.auto_promotion import AutoPromotion
from kitfox.services.library import import_library
from kitfox.services.training_events import TrainingEvents
from kitfox.training import Job, JobStore, TrainingService
from kitfox.training.opening import library_of, open_scheduler

__all__ = ["TrainingService", "open_trainings", "tell_ends"]


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
        retries=config.training.retries,
        promote=config.training.auto_promote,
        promotable=not _trains_in_place(config),
    )


def tell_ends(
    trainings: TrainingService, events: TrainingEvents, promotions: AutoPromotion
) -> None:
    """Has the end of each training told to those who wait for it.

    To be called in the event loop, before the scheduler is started.
    """
    loop = asyncio.get_running_loop()

    def told(job: Job) -> None:
        loop.call_soon_threadsafe(events.look)
        if job.promotion == "wanted":
            loop.call_soon_threadsafe(promotions.look)

    trainings.scheduler.on_end = told


def _trains_in_place(config: Config) -> bool:
    """Whether a model is the current one of its name as soon as it is trained."""
    settings = config.runtime
    folders = (Path(settings.training.output_dir), Path(settings.local_models_dir))
    return not settings.training.save_with_id and folders[0].absolute() == folders[1].absolute()
