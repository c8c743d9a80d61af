"""Models: the store on disk, loading, and running them."""

from kitfox.models.execution import Execution, InThreads, Submit
from kitfox.models.executor import Executor, ThreadExecutor
from kitfox.models.manager import LoadedModel, ModelManager
from kitfox.models.opening import OpenedModel, open_model
from kitfox.models.settings import ExecutionSettings
from kitfox.models.store import ModelEntry, ModelStore, check_model_id
from kitfox.models.streams import RequestFeed, RequestStream, collect, generate, split

__all__ = [
    "Execution",
    "ExecutionSettings",
    "Executor",
    "InThreads",
    "LoadedModel",
    "ModelEntry",
    "ModelManager",
    "ModelStore",
    "OpenedModel",
    "RequestFeed",
    "RequestStream",
    "Submit",
    "ThreadExecutor",
    "check_model_id",
    "collect",
    "generate",
    "open_model",
    "split",
]
