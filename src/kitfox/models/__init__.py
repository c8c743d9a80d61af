"""Models: the store on disk, loading, and running them."""

from kitfox.models.cores import library_environment
from kitfox.models.execution import Execution, InThreads, Submit, SubmitFor
from kitfox.models.executor import Executor, Finish, ThreadExecutor, Waiter, make_call
from kitfox.models.failures import LoadFailure
from kitfox.models.identity import files_at
from kitfox.models.incoming import IncomingModel, UploadTooLarge
from kitfox.models.inspection import ModelEntry
from kitfox.models.item_streams import Item, ItemStreams
from kitfox.models.loaded import LoadedModel
from kitfox.models.loading import ModelLoader, ModelOpener
from kitfox.models.manager import ModelManager
from kitfox.models.on_loop import OnLoop
from kitfox.models.opening import OpenedModel, open_model
from kitfox.models.placement import keep_quick_calls_on
from kitfox.models.raised import harmless
from kitfox.models.reference import ModelReference, check_model_id
from kitfox.models.settings import ExecutionSettings, read_model_config
from kitfox.models.store import ModelStore, ModelVersion
from kitfox.models.store_opening import open_store
from kitfox.models.stream_places import StreamPlaces
from kitfox.models.streams import RequestFeed, RequestStream, collect, generate, split
from kitfox.models.versions import Promotion
from kitfox.models.watch import Changes, StoreWatch

__all__ = [
    "Changes",
    "Execution",
    "ExecutionSettings",
    "Executor",
    "Finish",
    "InThreads",
    "IncomingModel",
    "Item",
    "ItemStreams",
    "LoadFailure",
    "LoadedModel",
    "ModelEntry",
    "ModelLoader",
    "ModelManager",
    "ModelOpener",
    "ModelReference",
    "ModelStore",
    "ModelVersion",
    "OnLoop",
    "OpenedModel",
    "Promotion",
    "RequestFeed",
    "RequestStream",
    "StoreWatch",
    "StreamPlaces",
    "Submit",
    "SubmitFor",
    "ThreadExecutor",
    "UploadTooLarge",
    "Waiter",
    "check_model_id",
    "collect",
    "files_at",
    "generate",
    "harmless",
    "keep_quick_calls_on",
    "library_environment",
    "make_call",
    "open_model",
    "open_store",
    "read_model_config",
    "split",
]
