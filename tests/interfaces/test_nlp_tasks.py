"""The text tasks take and give what caikit's do."""

import json
import re
from collections.abc import Iterable
from typing import Any, List, get_args  # noqa: UP035 # as older modules write it

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto

from kitfox.data import DataObjectBase, DataStream, JsonDict, make_dataobject
from kitfox.interfaces.nlp import tasks
from kitfox.interfaces.nlp.data_model import (
    ChunkerTokenizationStreamResult,
    RerankResult,
    TokenizationResults,
)
from kitfox.modules import ModuleBase, TaskBase, module
from tests.interfaces.conftest import GOLDEN, file_of

KINDS = {
    "": (False, False),
    "ServerStreaming": (False, True),
    "ClientStreaming": (True, False),
    "BidiStreaming": (True, True),
}
RPCS = {
    rpc["method"]: rpc
    for rpc in json.loads((GOLDEN / "services.json").read_text())[
        "caikit.runtime.Textkit.TextkitService"
    ]
}


def _parameters(task: type[TaskBase], streaming: bool) -> DescriptorProto:
    """The message that a task's required parameters make."""
    annotations = {
        name: get_args(annotation)[0] if streaming else annotation
        for name, annotation in task.get_required_parameters(streaming).items()
    }
    kind = "Streaming" if streaming else "Unary"
    cls = make_dataobject(
        name=f"{kind}{task.__name__}", annotations=annotations, package="tests.interfaces"
    )
    message: DescriptorProto = file_of(cls).message_type[0]
    return message


@pytest.mark.parametrize("name", sorted(RPCS))
def test_a_task_has_the_parameters_and_the_output_of_its_rpc(
    name: str, recorded_messages: dict[str, DescriptorProto]
) -> None:
    rpc = RPCS[name]
    found = re.fullmatch(r"((?:Server|Client|Bidi)Streaming)?(\w+)Predict", name)
    assert found
    task: type[TaskBase] = getattr(tasks, found[2])
    input_streaming, output_streaming = KINDS[found[1] or ""]
    assert (rpc["client_streaming"], rpc["server_streaming"]) == (input_streaming, output_streaming)

    output: Any = task.get_output_type(output_streaming)
    if output_streaming:
        (output,) = get_args(output)
    assert output.full_name == rpc["output"]

    request = {field.name: field for field in recorded_messages[rpc["input"]].field}
    for field in _parameters(task, input_streaming).field:
        recorded = request.pop(field.name)
        assert (field.type, field.label, field.type_name) == (
            recorded.type,
            recorded.label,
            recorded.type_name,
        )
    optional = {item.HasField("oneof_index") for item in request.values() if item.label != 3}
    assert optional <= {True}  # all else has a default in the module that was recorded


@pytest.mark.parametrize(
    ("task", "parameters", "output"),
    [
        (tasks.RerankTasks, {"documents": list[JsonDict], "queries": list[str]}, "RerankResults"),
        (
            tasks.SentenceSimilarityTasks,
            {"source_sentences": list[str], "sentences": list[str]},
            "SentenceSimilarityResults",
        ),
        (
            tasks.ClassificationWithTextGenerationTask,
            {"text": str},
            "ClassifiedGeneratedTextResult",
        ),
        (tasks.ChunkerTokenizationTask, {"text": str}, "TokenizationResults"),
    ],
)
def test_the_unary_kind_of_tasks_that_are_not_recorded(
    task: type[TaskBase], parameters: dict[str, Any], output: str
) -> None:
    assert task.get_required_parameters(False) == parameters
    assert task.get_output_type(False).__name__ == output


def test_a_module_may_do_several_text_tasks() -> None:
    @module(
        "6d2c1f5e-7a0b-4c1d-9d64-0f6f4f1f2f10",
        "TextModule",
        "1.0.0",
        tasks=[tasks.RerankTask, tasks.ChunkerTokenizationTask],
    )
    class TextModule(ModuleBase):
        @tasks.RerankTask.taskmethod()
        def rerank(
            self,
            documents: List[JsonDict],  # noqa: UP006 # as older modules write it
            query: str,
            top_n: int | None = None,
        ) -> RerankResult:
            raise NotImplementedError

        @tasks.ChunkerTokenizationTask.taskmethod()
        def chunk(self, text: str) -> TokenizationResults:
            raise NotImplementedError

        @tasks.ChunkerTokenizationTask.taskmethod(input_streaming=True, output_streaming=True)
        def chunk_stream(
            self, text_stream: DataStream[str], input_index_stream: DataStream[int]
        ) -> Iterable[ChunkerTokenizationStreamResult]:
            raise NotImplementedError

    assert [task.__name__ for task in TextModule.tasks] == ["RerankTask", "ChunkerTokenizationTask"]


def test_every_task_is_described() -> None:
    for name in tasks.__all__:
        task = getattr(tasks, name)
        assert task.__doc__
        assert issubclass(task.get_output_type(False), DataObjectBase)
