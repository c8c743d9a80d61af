"""The requests that a model wants to have answered before others may send theirs.

    # config.yml of the model
    warm_up:
      - {text_input: {name: World}}
      - {task: SummaryTask, request: {text: "A long story"}}

An entry is a request of the module's first task, in the JSON of its fields; or it names the task,
or the RPC, and has the request below `request`. It goes the way that requests go, through the
codecs of both protocols, but to the model that nobody else can see yet.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from kitfox.data import codec_of
from kitfox.errors import Internal, InvalidArgument
from kitfox.models import LoadedModel, read_model_config
from kitfox.modules import ModuleBase
from kitfox.services.inference import InferenceHandler, StreamingInferenceHandler
from kitfox.services.methods import Context, Method, Purpose

__all__ = ["WarmUp"]

_KEY = "warm_up"


class WarmUp:
    """Sends a model its first requests.

    Args:
        methods: The rows of the method table.
    """

    def __init__(self, methods: Iterable[Method]) -> None:
        self._methods = [item for item in methods if item.purpose is Purpose.INFERENCE]

    async def __call__(self, model: LoadedModel) -> None:
        """Has the model answer what its `config.yml` lists below `warm_up`.

        Raises:
            Internal: It is no list, or a request in it cannot be used or is not answered.
        """
        config = await asyncio.to_thread(read_model_config, model.path)
        requests = config.get(_KEY)
        if requests is None:
            return
        if not isinstance(requests, list):
            raise Internal(
                f"config.yml: {_KEY}: expected a list of requests, got {type(requests).__name__}"
            )
        for number, request in enumerate(requests):
            try:
                await self._send(model, request)
            except Exception as err:
                raise Internal(f"{_KEY}[{number}]: {str(err) or type(err).__name__}") from err
        model.operations.clear()

    async def _send(self, model: LoadedModel, request: Any) -> None:
        if not isinstance(request, Mapping):
            raise InvalidArgument(f"expected the fields of a request, got {type(request).__name__}")
        task = request.get("task")
        if task is not None and set(request) == {"task", "request"}:
            request = request["request"]
        else:
            task = None
        method = self._method(model.module, task)
        codec, encode = codec_of(method.request), codec_of(method.response).encode
        data = codec.encode(codec.decode_json(json.dumps(request, default=str).encode()))
        context = Context(model_id=model.name)
        only: Any = _Only(model)
        if not method.is_streaming:
            encode(await InferenceHandler(method, only)(codec.decode_fields(data), context))
            return
        handler = StreamingInferenceHandler(method, only)
        answers = handler(_single(data), context, decode=codec.decode_fields, encode=encode)
        async for _ in answers:
            pass

    def _method(self, module: type[ModuleBase], task: str | None) -> Method:
        """The first method of the module's first task, without streams if there is one."""
        bases = set(module.__mro__)
        offered = [row for row in self._methods if bases & row.signatures.keys()]
        if task is not None:
            found = [row for row in offered if task in (row.name, row.task and row.task.__name__)]
        else:
            first = module.tasks[0] if module.tasks else None
            found = [row for row in offered if row.task is first] or offered
        if not found:
            known = ", ".join(sorted({row.task.__name__ for row in offered if row.task})) or "none"
            raise InvalidArgument(f"task {task!r}: {module.__name__} has: {known}")
        return min(found, key=lambda row: (row.input_streaming, row.output_streaming))


class _Only:
    """The one model there is, for handlers.

    Args:
        model: Not offered to anybody yet.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    @property
    def loaded(self) -> Mapping[str, LoadedModel]:
        """None is found by its id: the model is not offered under one."""
        return {}

    def peek(self, model_id: str) -> LoadedModel:
        """The model."""
        return self._model


async def _single(data: bytes) -> AsyncIterator[bytes]:
    yield data
