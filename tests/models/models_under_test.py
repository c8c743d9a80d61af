"""Small models and how to open them for a test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kitfox.config import ModelExecution
from kitfox.data import DataObjectBase, dataobject
from kitfox.models import Execution, open_model
from kitfox.models.watchdog import Watchdog
from kitfox.modules import ModuleBase, RequestContext, TaskBase, default_registry, module, task
from tests.waiting import wait_for

__all__ = ["Answer", "EchoTask", "ShoutTask", "call", "opened", "until"]


@dataobject(package="execution_test")
class Answer(DataObjectBase):
    """What a model made of a text, and of which text."""

    text: str
    extra: str = ""


@task(required_parameters={"text": str}, output_type=Answer)
class EchoTask(TaskBase):
    """Answers with the text."""


@task(required_parameters={"text": str}, output_type=Answer)
class ShoutTask(TaskBase):
    """Answers loudly."""


@asynccontextmanager
async def opened(
    cls: type[ModuleBase],
    *,
    most_threads: int = 100,
    watchdog: Watchdog | None = None,
    tasks: Sequence[type[TaskBase]] = (EchoTask,),
    **settings: Any,
) -> AsyncIterator[Execution]:
    """A model of a class, run as the settings say; closed at the end."""
    loop = asyncio.get_running_loop()
    with default_registry().preserved():
        made = module("5b5a5e8a-0c5c-4d55-9a3c-6b2f6f0e0b12", "Test", "1.0.0", tasks=[*tasks])(cls)
    model = await open_model(
        "test",
        Path("nowhere"),
        settings=ModelExecution(**settings),
        loop=loop,
        most_threads=most_threads,
        watchdog=watchdog,
        load=lambda _: made(),
    )
    try:
        yield model.execution
    finally:
        await asyncio.to_thread(model.execution.close)


def call(
    execution: Execution, text: str, method: str = "run", **arguments: Any
) -> "asyncio.Future[Any]":
    """Starts a call of the model's `run`, or of another method."""
    context = RequestContext(request_id=f"id-{text}")
    return execution.unary(method)({"text": text, **arguments}, context)


async def until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Waits for a condition without stopping the event loop."""
    return await asyncio.to_thread(wait_for, condition, what=what)


async def texts(futures: Sequence["asyncio.Future[Any]"]) -> list[str]:
    """The texts of the answers."""
    return [answer.text for answer in await asyncio.gather(*futures)]
