"""Kitfox serves and trains AI models.

An author writes typed data objects, a task and a module:

    from kitfox import DataObjectBase, ModuleBase, TaskBase, dataobject, module, task

The names are looked up when they are first used: a process that needs none of them, such as the
server's supervisor, pays for none.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kitfox.data import DataObjectBase, DataStream, dataobject
    from kitfox.modules import (
        ModuleBase,
        ModuleConfig,
        ModuleLoader,
        ModuleSaver,
        RequestContext,
        TaskBase,
        TrainingContext,
        load_model,
        module,
        task,
    )
    from kitfox.training.api import TrainingHandle, train

__all__ = [
    "DataObjectBase",
    "DataStream",
    "ModuleBase",
    "ModuleConfig",
    "ModuleLoader",
    "ModuleSaver",
    "RequestContext",
    "TaskBase",
    "TrainingContext",
    "TrainingHandle",
    "__version__",
    "dataobject",
    "load_model",
    "module",
    "task",
    "train",
]

__version__ = "0.1.0"

_ROOMS = {
    **dict.fromkeys(("DataObjectBase", "DataStream", "dataobject"), "kitfox.data"),
    **dict.fromkeys(("TrainingHandle", "train"), "kitfox.training.api"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = importlib.import_module(_ROOMS.get(name, "kitfox.modules"))
    value = globals()[name] = getattr(room, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
