"""Names of services, RPCs and routes are those that caikit's clients know."""

import pytest

from kitfox.services import names
from kitfox.services.names import Names


@pytest.mark.parametrize(
    ("library", "domain"),
    [
        ("example", "Example"),
        ("caikit_text_kit", "TextKit"),
        ("caikit_nlp", "Nlp"),
        ("trainlab", "Trainlab"),
    ],
)
def test_the_domain_is_derived_from_the_library(library: str, domain: str) -> None:
    found = Names.of(library)
    assert found.domain == domain
    assert found.package == f"caikit.runtime.{domain}"
    assert found.inference_service == f"caikit.runtime.{domain}.{domain}Service"
    assert found.training_service == f"caikit.runtime.{domain}.{domain}TrainingService"


def test_domain_and_package_can_be_given() -> None:
    found = Names.of("example", domain="Other", package="my.pkg")
    assert found.inference_service == "my.pkg.OtherService"


@pytest.mark.parametrize(
    ("task", "streaming", "rpc", "request_message", "route"),
    [
        (
            "HelloWorldTask",
            (False, False),
            "HelloWorldTaskPredict",
            "HelloWorldTaskRequest",
            "hello-world",
        ),
        ("VATTask", (False, False), "VATTaskPredict", "VATTaskRequest", "v-a-t"),
        (
            "EmbeddingTasks",
            (False, False),
            "EmbeddingTasksPredict",
            "EmbeddingTasksRequest",
            "embedding-tasks",
        ),
        (
            "Balance_SheetTask",
            (False, False),
            "BalanceSheetTaskPredict",
            "BalanceSheetTaskRequest",
            "balance-sheet",
        ),
        (
            "SplitTask",
            (False, True),
            "ServerStreamingSplitTaskPredict",
            "ServerStreamingSplitTaskRequest",
            "server-streaming-split",
        ),
        (
            "SplitTask",
            (True, False),
            "ClientStreamingSplitTaskPredict",
            "ClientStreamingSplitTaskRequest",
            "client-streaming-split",
        ),
        (
            "SplitTask",
            (True, True),
            "BidiStreamingSplitTaskPredict",
            "BidiStreamingSplitTaskRequest",
            "bidi-streaming-split",
        ),
    ],
)
def test_a_task_names_its_rpc_request_and_route(
    task: str, streaming: tuple[bool, bool], rpc: str, request_message: str, route: str
) -> None:
    found = names.rpc_name(task, input_streaming=streaming[0], output_streaming=streaming[1])
    assert found == rpc
    assert names.request_name(found) == request_message
    assert names.route_segment(found) == route


def test_a_module_names_its_training_rpc() -> None:
    found = names.training_rpc_name("HelloWorldTask", "HelloWorldModule")
    assert found == "HelloWorldTaskHelloWorldModuleTrain"
