"""Models: the store on disk, loading, and running them."""

from kitfox.models.execution import Execution, InThreads, Submit
from kitfox.models.executor import Executor, ThreadExecutor
from kitfox.models.inspection import ModelEntry
from kitfox.models.manager import LoadedModel, ModelManager
from kitfox.models.opening import open_store
from kitfox.models.reference import ModelReference, check_model_id
from kitfox.models.store import ModelStore, ModelVersion
from kitfox.models.streams import RequestFeed, RequestStream, collect, generate, split
from kitfox.models.versions import Promotion
from kitfox.models.watch import Changes, StoreWatch

__all__ = [
    "Changes",
    "Execution",
    "Executor",
    "InThreads",
    "LoadedModel",
    "ModelEntry",
    "ModelManager",
    "ModelReference",
    "ModelStore",
    "ModelVersion",
    "Promotion",
    "RequestFeed",
    "RequestStream",
    "StoreWatch",
    "Submit",
    "ThreadExecutor",
    "check_model_id",
    "collect",
    "generate",
    "open_store",
    "split",
]
