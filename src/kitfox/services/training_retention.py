"""What a server keeps of trainings that have ended, beside what its rules say: what is in use."""

import os
from pathlib import Path

from kitfox.config import Training
from kitfox.models import ModelManager
from kitfox.training import Job, TrainingService
from kitfox.training.models_in_use import ModelsInUse
from kitfox.training.opening import retention_rules
from kitfox.training.retention import Retention, is_current

__all__ = ["KeptTrainings", "ModelsInUse", "Retention", "open_models_in_use", "open_retention"]


def open_retention(
    settings: Training, trainings: TrainingService, models: ModelManager
) -> Retention:
    """What removes trainings that have been kept long enough; not started yet.

    Args:
        settings: Where the rules are.
        trainings: The trainings.
        models: Of these no one loses its files.
    """
    return Retention(
        store=trainings.store,
        rules=retention_rules(settings),
        is_kept=KeptTrainings(trainings, models),
    )


def open_models_in_use(trainings: TrainingService, models: ModelManager) -> ModelsInUse:
    """What keeps other servers of the store from removing what this one has loaded."""
    in_use = ModelsInUse(store=trainings.store, models=lambda: _in_use(models))
    models.on_change(in_use.changed)
    return in_use


def _in_use(models: ModelManager) -> frozenset[str]:
    """The folders of the models that are loaded, and the names of those that are being loaded."""
    loaded = [str(model.path) for model in list(models.loaded.values())]
    return frozenset(loaded) | models.loading


class KeptTrainings:
    """Knows which trainings stay, whatever the rules say; asked from a thread.

    Args:
        trainings: The trainings; a model that is being downloaded stays.
        models: The models; what is loaded or is the current version of its name stays.
    """

    def __init__(self, trainings: TrainingService, models: ModelManager) -> None:
        self._trainings = trainings
        self._models = models
        self._host = os.uname().nodename

    def __call__(self, job: Job) -> bool:
        """Whether a training stays."""
        return (
            self._is_of_others(job)
            or self._trainings.is_read(job.id)
            or self._is_loaded(job)
            or is_current(job, self._models.store.root)
        )

    def _is_of_others(self, job: Job) -> bool:
        """Whether only another server can know what is in use."""
        return self._trainings.store.database.shared and job.worker_host not in ("", self._host)

    def _is_loaded(self, job: Job) -> bool:
        names = (str(Path(job.output_path)), job.id, f"{job.model_name}@{job.id}")
        return not _in_use(self._models).isdisjoint(names)
