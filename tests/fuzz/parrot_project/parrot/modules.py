from collections.abc import AsyncIterator, Iterable
from typing import Any

from kitfox import DataStream, ModuleBase, RequestContext, TaskBase, module, task
from kitfox.data import JsonDict
from kitfox.interfaces.common.data_model import File

from .data_model import Branch, Document, Leaf, Mood


@task(
    unary_parameters={"branch": Branch},
    streaming_parameters={"branches": Iterable[Branch]},
    unary_output_type=Branch,
    streaming_output_type=Iterable[Branch],
)
class RepeatTask(TaskBase):
    """Says what it hears."""


@task(unary_parameters={"words": list[str], "file": File}, unary_output_type=Document)
class FileTask(TaskBase):
    """Gives a file back."""


def repeat(branch: Branch | None) -> Branch:
    """The branch, or an empty one where a message had none."""
    nothing: dict[str, Any] = {}
    return Branch(**nothing) if branch is None else branch


def look_at(context: RequestContext | None) -> None:
    """Reads all that the caller said beside its request."""
    assert context is not None
    assert context.request_id
    assert dict(context.metadata) is not None
    context.time_remaining()


@module("bbbbbbbb-0000-4000-8000-000000000001", "Plain", "1.0.0", tasks=[RepeatTask, FileTask])
class PlainParrot(ModuleBase):
    @classmethod
    def load(cls, model_path: str) -> "PlainParrot":
        return cls()

    @classmethod
    def train(
        cls, data: DataStream[Leaf], rounds: int = 1, names: list[str] | None = None
    ) -> "PlainParrot":
        return cls()

    def save(self, model_path: str) -> None:
        raise NotImplementedError

    @RepeatTask.taskmethod(context_arg="context")
    def one(
        self,
        branch: Branch,
        times: int = 1,
        mood: Mood = Mood.CALM,
        table: dict[str, int] | None = None,
        anything: JsonDict | None = None,
        either: int | str | Leaf | None = None,
        context: RequestContext | None = None,
    ) -> Branch:
        look_at(context)
        return branch

    @RepeatTask.taskmethod(output_streaming=True)
    def many(self, branch: Branch, times: int = 3) -> Iterable[Branch]:
        for _ in range(max(0, min(times, 5))):
            yield branch

    @RepeatTask.taskmethod(input_streaming=True)
    def gather(self, branches: DataStream[Branch], mood: Mood = Mood.CALM) -> Branch:
        found = [repeat(branch) for branch in branches]
        return found[-1] if found else repeat(None)

    @RepeatTask.taskmethod(input_streaming=True, output_streaming=True)
    def answer(self, branches: DataStream[Branch]) -> Iterable[Branch]:
        for branch in branches:
            yield repeat(branch)

    @FileTask.taskmethod()
    def file(self, words: list[str], file: File, raw: bytes = b"") -> Document:
        return Document(file.data or raw, file.filename or "", file.type or "".join(words))


@module("bbbbbbbb-0000-4000-8000-000000000002", "Asynchronous", "1.0.0", tasks=[RepeatTask])
class AsynchronousParrot(ModuleBase):
    @classmethod
    def load(cls, model_path: str) -> "AsynchronousParrot":
        return cls()

    @RepeatTask.taskmethod(context_arg="context")
    async def one(self, branch: Branch, context: RequestContext | None = None) -> Branch:
        look_at(context)
        return branch

    @RepeatTask.taskmethod(output_streaming=True)
    async def many(self, branch: Branch, times: int = 3) -> AsyncIterator[Branch]:
        for _ in range(max(0, min(times, 5))):
            yield branch

    @RepeatTask.taskmethod(input_streaming=True)
    async def gather(self, branches: DataStream[Branch]) -> Branch:
        found = [repeat(branch) async for branch in branches]
        return found[-1] if found else repeat(None)

    @RepeatTask.taskmethod(input_streaming=True, output_streaming=True)
    async def answer(self, branches: DataStream[Branch]) -> AsyncIterator[Branch]:
        async for branch in branches:
            yield repeat(branch)
