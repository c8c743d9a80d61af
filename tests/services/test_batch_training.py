"""`processproto.Process/Run`: a training that a batch system starts and waits for."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kitfox.services.batch_training import process_methods
from tests.services.courses import CoursesServer, Hold, courses
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

PUPIL = "71000000-0000-4000-8000-000000000001"
(RUN,) = process_methods()
REQUEST: Any = RUN.request.get_proto_class()
RESPONSE: Any = RUN.response.get_proto_class()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoursesServer]:
    with courses(tmp_path_factory.mktemp("courses")) as running:
        yield running


def run(
    server: CoursesServer, *, module: str = PUPIL, request: Any = None, **fields: Any
) -> tuple[str, str]:
    """The two ids of the answer, as the stock client gets it."""
    asked = {"train_module": module, "training_params": json.dumps(request or {})}
    message = REQUEST(request_dict=asked, **fields)
    with server.channel() as channel:
        call: Any = channel.unary_unary(
            RUN.path,
            request_serializer=REQUEST.SerializeToString,
            response_deserializer=RESPONSE.FromString,
        )
        answer = call(message, timeout=100)
    return answer.trainingID, answer.customTrainingID


def refused(server: CoursesServer, **options: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        run(server, **options)
    error: Any = caught.value
    return error.code(), error.details()


def lines(*texts: str) -> dict[str, Any]:
    return {"lines": {"jsondata": {"data": [{"text": text} for text in texts]}}}


def test_the_answer_comes_when_the_model_is_there(server: CoursesServer) -> None:
    request = {"model_name": "batch", "parameters": {**lines("one", "two"), "steps": 3}}
    assert run(server, request=request, trainingID="given-1") == ("given-1", "")
    shown = server.show("given-1")
    assert (shown["state"], shown["model_name"]) == ("COMPLETED", "batch")
    assert shown["parameters"]["steps"] == 3
    assert server.recited("given-1") == server.recited("batch@given-1") == "one|two"


def test_an_id_of_the_callers_own_goes_before(server: CoursesServer) -> None:
    request = {"parameters": lines("one")}
    both = {"trainingID": "theirs", "customTrainingID": "my-own"}
    assert run(server, request=request, **both) == ("theirs", "my-own")
    assert server.recited("my-own") == "one"
    assert server.recite("theirs").status == 404
    code, details = refused(server, request=request, **both)
    assert (code, "my-own" in details) == (grpc.StatusCode.ALREADY_EXISTS, True)
    made, custom = run(server, request=request)
    assert custom == ""
    assert server.recited(made) == "one"


def test_files_are_looked_for_in_the_folder_first(server: CoursesServer, tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text('{"text": "of the folder"}\n')
    (server.project / "elsewhere.jsonl").write_text('{"text": "of the project"}\n')
    found = []
    for name, source in enumerate(
        [
            {"file": {"filename": "lines.jsonl"}},
            {"list_of_files": {"files": ["lines.jsonl", str(server.project / "elsewhere.jsonl")]}},
            {"file": {"filename": str(server.project / "elsewhere.jsonl")}},
            {"directory": {"dirname": ".", "extension": "jsonl"}},
        ]
    ):
        run(
            server,
            request={"parameters": {"lines": source}},
            trainingID=f"files-{name}",
            training_input_dir=str(tmp_path),
        )
        found.append(server.recited(f"files-{name}"))
    both = "of the folder|of the project"
    assert found == ["of the folder", both, "of the project", "of the folder"]


def test_what_goes_wrong_is_told_by_its_kind(server: CoursesServer) -> None:
    code, details = refused(server, module="nope")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "'nope' is no module that can be trained here" in details
    code, details = refused(server, request={"parameters": {"steps": "many"}})
    assert (code, "steps" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    code, details = refused(server, request={"parameters": {**lines("one"), "end": "fail"}})
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith(
        "Exception raised during training. This may be a problem with your input: could not learn"
    )
    code, details = refused(server, request={"parameters": {**lines("one"), "end": "memory"}})
    assert (code, details) == (
        grpc.StatusCode.INTERNAL,
        "OOM error during training: MemoryError",
    )
    code, details = refused(server, request={"parameters": {**lines("one"), "end": "die"}})
    assert code is grpc.StatusCode.INTERNAL
    assert details.startswith("Unhandled exception during training: worker exited with status 9")
    code, _ = refused(server, request={"parameters": lines("one")}, trainingID="../up")
    assert code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_training_that_is_cancelled_has_an_answer(server: CoursesServer, tmp_path: Path) -> None:
    hold = Hold(tmp_path / "hold")
    answers: list[tuple[grpc.StatusCode, str]] = []
    request = {"parameters": {**lines("one"), "hold": str(hold)}}
    calling = threading.Thread(
        target=lambda: answers.append(refused(server, request=request, trainingID="held"))
    )
    calling.start()
    hold.begun()
    assert answers == []
    server.cancel("held")
    calling.join()
    assert answers == [(grpc.StatusCode.CANCELLED, "Training held was cancelled")]


def test_who_goes_away_lets_the_training_go_on(server: CoursesServer, tmp_path: Path) -> None:
    hold = Hold(tmp_path / "hold")
    request = {"parameters": {**lines("one"), "hold": str(hold)}}
    asked = {"train_module": PUPIL, "training_params": json.dumps(request)}
    with server.channel() as channel:
        method: Any = channel.unary_unary(RUN.path, REQUEST.SerializeToString, RESPONSE.FromString)
        call = method.future(REQUEST(request_dict=asked, trainingID="left"), timeout=100)
        hold.begun()
        call.cancel()
        wait_for(call.done, what="the end of the call")
    hold.release()
    server.ended("left")
