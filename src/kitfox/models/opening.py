"""From a model on disk to one that can be called: the one place that chooses its execution."""

import asyncio
from concurrent.futures import Executor as Loaders
from dataclasses import dataclass
from pathlib import Path

from kitfox.config import ModelExecution
from kitfox.models.execution import Execution, InThreads
from kitfox.models.executor import ThreadExecutor
from kitfox.modules import ModuleBase, load_model

__all__ = ["OpenedModel", "open_model"]

_MOST_THREADS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedModel:
    """A model that has been loaded."""

    module: type[ModuleBase]
    """The class that it is made of."""
    execution: Execution
    """What runs it; whoever asked for it closes it."""


async def open_model(
    name: str,
    path: Path,
    *,
    settings: ModelExecution,
    loop: asyncio.AbstractEventLoop,
    loaders: Loaders | None = None,
    most_threads: int = _MOST_THREADS,
) -> OpenedModel:
    """Loads a model to where it is to run.

    Args:
        name: Its id, for logs and thread names.
        path: Its folder or archive.
        settings: How it is to be run; see `ExecutionSettings.of`.
        loop: The event loop that will call it.
        loaders: The threads in which models of this process are loaded.
        most_threads: The most threads of a model whose `threads` are chosen by measurement.

    Raises:
        Exception: Whatever the module's `load` raises.
    """
    if settings.mode == "process":
        from kitfox.models.replicas import InProcesses

        replicas = await InProcesses.open(name, path, settings=settings, loop=loop)
        return OpenedModel(module=replicas.module, execution=replicas)
    model = await loop.run_in_executor(loaders, load_model, path)
    executor = ThreadExecutor(threads=settings.threads or most_threads, loop=loop, name=name)
    return OpenedModel(module=type(model), execution=InThreads(model, executor))
