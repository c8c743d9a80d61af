"""Trainings without a server: the same rows by the same handlers, in this process.

The job store is opened here. What has to be run is run here as well, as long as a command waits for
it; workers have processes of their own and go on when the command ends. Where another process runs
the store already, it is told, and does it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kitfox.config import Config
from kitfox.data import DataObjectBase, codec_of
from kitfox.data.schema import schema_of
from kitfox.errors import NotFound
from kitfox.models import ModelManager, open_store
from kitfox.services import Context, Method, MethodTable, Purpose
from kitfox.services.auto_promotion import AutoPromotion
from kitfox.services.handlers import TrainingHandler, TrainingManagement
from kitfox.services.methods import Handler, StreamHandler
from kitfox.services.training_download import TrainingDownload
from kitfox.services.training_events import TrainingEvents
from kitfox.services.training_management import TrainingRecords
from kitfox.services.trainings import TrainingService, open_trainings
from kitfox.training.attendance import Attendance
from kitfox.training.opening import open_shared_retention

__all__ = ["LocalTrainings"]

Result = TypeVar("Result")

_PERIOD = 0.1
"""Seconds between looks at a training that is followed."""
_PROMOTION_SECONDS = 60.0
"""For how long models may be promoted before a command ends."""


class LocalTrainings:
    """Performs rows of the method table that are about trainings.

    Args:
        config: Names the job store, the models folder and the library.
        table: The rows.
    """

    def __init__(self, config: Config, table: MethodTable) -> None:
        self.table = table
        # A warm process would be ready when the one worker that is needed has begun.
        cold = msgspec.structs.replace(config.training, warm=False)
        self._config = msgspec.structs.replace(config, training=cold)
        self._loop = asyncio.new_event_loop()

    def call(self, method: Method, fields: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        """Performs a row with one answer."""
        self._look_for_store(method)
        request = codec_of(method.request).decode_json(json.dumps(fields))
        found = self._run(self._handler(method)(_set_fields(request), Context(metadata=headers)))
        return json.loads(codec_of(method.response).encode_json(found))

    def events(self, method: Method, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Performs a row with a stream of answers."""
        encode = codec_of(method.response).encode_json
        for answer in self._stream(method, fields, encode):
            event: dict[str, Any] = json.loads(answer)
            yield event

    def parts(self, method: Method, fields: Mapping[str, Any]) -> Iterator[bytes]:
        """Performs a row that answers with a file."""
        return self._stream(method, fields, lambda part: bytes(getattr(part, "data", b"")))

    @contextmanager
    def attend(self) -> Iterator[bool]:
        """Runs the store's trainings meanwhile; False: another process does."""
        retention = open_shared_retention(
            self._trainings.store, self._config.training, self._models.store.root
        )
        attendance = Attendance(self._trainings.scheduler, retention=retention)
        try:
            is_here = attendance.start()
            yield is_here
            if is_here:
                self._run(self._promote())
        finally:
            attendance.stop()

    def close(self) -> None:
        """Lets go of the store."""
        self._loop.run_until_complete(_end_tasks())
        self._loop.close()
        if "_trainings" in vars(self):
            self._trainings.store.close()

    @cached_property
    def _trainings(self) -> TrainingService:
        return open_trainings(self._config)

    @cached_property
    def _models(self) -> ModelManager:
        """No model is loaded here; they are looked for."""
        return ModelManager(
            store=open_store(self._config, find_elsewhere=self._trainings.model_path),
        )

    @cached_property
    def _follow(self) -> StreamHandler:
        return TrainingEvents(self._trainings, period=_PERIOD).follow

    async def _promote(self) -> None:
        """Makes those models current that are to become so, in the models folder."""
        promotion = AutoPromotion(self._trainings, self._models)
        task = asyncio.create_task(promotion.run())
        await promotion.settle(_PROMOTION_SECONDS)
        task.cancel()

    def _handler(self, method: Method) -> Handler:
        if method.module is not None:
            return TrainingHandler(method.module, self._trainings, self._models.store)
        if method.purpose is Purpose.TRAINING_CANCEL:
            return TrainingManagement(self._trainings, self._models).cancel
        return TrainingRecords(self._trainings, self._models).handler(method.purpose)

    def _stream(
        self, method: Method, fields: Mapping[str, Any], encode: Callable[[DataObjectBase], bytes]
    ) -> Iterator[bytes]:
        self._look_for_store(method)
        request = codec_of(method.request).decode_json(json.dumps(fields))
        handler: StreamHandler = (
            TrainingDownload(self._trainings)
            if method.purpose is Purpose.TRAINING_DOWNLOAD
            else self._follow
        )
        answers = handler(
            _single(), Context(), decode=lambda message: _set_fields(request), encode=encode
        )
        try:
            while True:
                batch = self._run(anext(answers, None))
                if batch is None:
                    return
                yield from batch
        finally:
            self._run(answers.aclose())

    def _run(self, work: Awaitable[Result]) -> Result:
        """What something comes to; Ctrl-C ends it, and is told when it has ended."""
        task = self._loop.create_task(_awaited(work))
        try:
            return self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            task.cancel()
            # One that was itself interrupted has ended, and asyncio would wait for it for ever.
            if not _is_interrupted(task):
                with suppress(asyncio.CancelledError):
                    self._loop.run_until_complete(task)
            raise

    def _look_for_store(self, method: Method) -> None:
        """Raises `NotFound` if there is no store, unless it is to be made."""
        url = self._config.store_url
        path = url.removeprefix("sqlite:///")
        if method.module is None and path != url and not Path(path).exists():
            raise NotFound(f"there is no job store at {path}: no training has been started there")


def _is_interrupted(task: "asyncio.Task[Any]") -> bool:
    """Whether Ctrl-C came in the middle of a step of a task."""
    return task.done() and not task.cancelled() and isinstance(task.exception(), KeyboardInterrupt)


async def _end_tasks() -> None:
    """Ends what goes on in the background of the event loop, and its threads."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()


async def _single() -> AsyncIterator[bytes]:
    """The one request of a call that sends no stream."""
    yield b""


async def _awaited(work: Awaitable[Result]) -> Result:
    return await work


def _set_fields(message: DataObjectBase) -> dict[str, Any]:
    """The fields of a request that hold something."""
    schema = schema_of(type(message))
    names = [field.name for field in schema.fields] if schema is not None else []
    values = {name: getattr(message, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
