"""Models: the store on disk, loading, and running them."""

from kitfox.models.executor import Executor, ThreadExecutor
from kitfox.models.manager import LoadedModel, ModelManager
from kitfox.models.store import ModelEntry, ModelStore, check_model_id

__all__ = [
    "Executor",
    "LoadedModel",
    "ModelEntry",
    "ModelManager",
    "ModelStore",
    "ThreadExecutor",
    "check_model_id",
]
