"""Every bad input gets an answer that names what was wrong and what was expected."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.acceptance.test_walk import finished
from tests.conftest import Server
from tests.waiting import wait_for

PREDICT = "/caikit.runtime.Example.ExampleService/HelloWorldTaskPredict"
TASK = "/api/v1/task/hello-world"
TRAIN = "/api/v1/HelloWorldTaskHelloWorldModuleTrain"
WORLD = b"\x0a\x07\x0a\x05World"


def rpc(
    server: Server, method: str, message: bytes, model: str | None = "example"
) -> tuple[grpc.StatusCode, str]:
    """The status and message of a call."""
    metadata = () if model is None else (("mm-model-id", model),)
    with server.channel() as channel:
        try:
            # Without serializers: bytes go out as they are, which the stubs do not know.
            call: Any = channel.unary_unary(method)
            call(message, metadata=metadata, timeout=60)
        except grpc.RpcError as err:
            return err.code(), err.details() or ""
    return grpc.StatusCode.OK, ""


@pytest.mark.parametrize(
    ("message", "model", "code", "words"),
    [
        (WORLD, "nope", "NOT_FOUND", "'nope' not found.*known models: .*example"),
        (WORLD, None, "INVALID_ARGUMENT", "Missing required model ID"),
        (WORLD, "", "INVALID_ARGUMENT", "Missing required model ID"),
        (WORLD, "../example", "INVALID_ARGUMENT", r"model id '\.\./example'.*plain name"),
        (WORLD, "a" * 300, "INVALID_ARGUMENT", "at most 255"),
        (b"", "example", "INVALID_ARGUMENT", "missing: expected text_input .HelloWorldInput"),
        (b"\x0a\x00", "example", "INVALID_ARGUMENT", "text_input.name.*expected a name"),
        (b"\xff\xff\xff\xff", "example", "INVALID_ARGUMENT", "HelloWorldTaskRequest"),
        (b"\x0a\x04\x0a\x02\xff\xfe", "example", "INVALID_ARGUMENT", "HelloWorldTaskRequest"),
        (WORLD[:-1], "example", "INVALID_ARGUMENT", "HelloWorldTaskRequest"),
    ],
)
def test_grpc_refusals(
    server: Server, message: bytes, model: str | None, code: str, words: str
) -> None:
    status, details = rpc(server, PREDICT, message, model)
    assert status.name == code
    assert re.search(words, details), details


def test_an_unknown_method_is_unimplemented(server: Server) -> None:
    status, details = rpc(server, "/caikit.runtime.Example.ExampleService/Nope", WORLD)
    assert status is grpc.StatusCode.UNIMPLEMENTED
    assert "ExampleService/Nope" in details


def test_a_message_past_the_limit_names_limit_and_setting(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(SERVER_MAX_MESSAGE_SIZE="2048").start()
    status, details = rpc(server, PREDICT, b"x" * 5000)
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "2048" in details
    assert "server.max_message_size" in details
    answer = server.http("POST", TASK, b"x" * 5000)
    assert answer.status == 413
    assert "server.max_message_size" in answer.json["details"]


GOOD: dict[str, Any] = {"model_id": "example", "inputs": {"name": "World"}}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({**GOOD, "model_id": "nope"}, 404, "'nope' not found.*known models: .*example"),
        ({"inputs": {"name": "World"}}, 400, "Please provide model_id in payload"),
        ({**GOOD, "model_id": ""}, 400, "Missing required model ID"),
        ({"model_id": "example"}, 400, "missing: expected text_input .HelloWorldInput"),
        ({"model_id": "example", "inputs": {}}, 400, "text_input.name.*expected a name"),
        ({**GOOD, "inputs": {"name": 3}}, 422, r"inputs\.name.*"),
        ({**GOOD, "inputs": "World"}, 422, "inputs"),
        ({**GOOD, "inputs": {"name": "World", "nope": 1}}, 422, r"inputs\.nope"),
        ({**GOOD, "nope": 1}, 422, "nope"),
        ({**GOOD, "parameters": {}}, 422, "parameters"),
        ({**GOOD, "model_id": 3}, 422, "model_id"),
        ([], 422, "object"),
        (b"{nope", 422, "JSON"),
        (b"", 422, "JSON"),
        (b'{"model_id": "example", "inputs": {"name": "\xff"}}', 422, ""),
    ],
)
def test_rest_refusals(server: Server, body: Any, status: int, words: str) -> None:
    answer = server.http("POST", TASK, body)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["code"] == status
    assert re.fullmatch("[0-9a-f]{32}", answer.json["id"])
    assert re.search(words, answer.json["details"]), answer.json


def test_a_wrong_method_path_or_content_type(server: Server) -> None:
    answer = server.http("GET", TASK)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert server.http("GET", "/nope").status == 404
    answer = server.http("POST", TASK, b"hi", {"content-type": "text/plain"})
    assert answer.status == 415
    assert answer.json["detail"] == "Unsupported media type: text/plain."
    assert "application/json" in answer.headers["accept"]


def training(server: Server, source: Any, name: str = "bad") -> tuple[str, str]:
    """How a training on a source ends: state and reason."""
    body = {"model_name": name, "parameters": {"training_data": {"data_stream": source}}}
    answer = server.http("POST", TRAIN, body)
    assert answer.status == 200, answer.body
    training_id = answer.json["training_id"]
    state = finished(server, training_id)
    status = server.http("GET", f"/management/trainings?training_id={training_id}").json
    assert status["completion_timestamp"]
    return state, " ".join(status["reasons"])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("column.csv", "text,lable\nA,B\n", r"column\.csv.*label.*text, ?'?lable"),
        ("rows.csv", "text,label\n", "at least one row"),
        ("empty.csv", "", r"empty\.csv"),
        ("line.jsonl", '{"text": "A", "label": "B"}\n{nope\n', r"line\.jsonl.*2"),
        ("type.jsonl", '{"text": "A", "label": 3}\n', r"type\.jsonl.*label"),
        ("kind.bin", "x", r"\.bin"),
    ],
)
def test_bad_training_data_ends_the_job_with_a_sentence_that_says_which(
    server: Server, tmp_path: Path, name: str, text: str, words: str
) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    state, reason = training(server, {"filename": str(file)})
    assert state == "ERRORED"
    assert re.search(words, reason), reason


def test_an_unreadable_training_file_is_named(server: Server, tmp_path: Path) -> None:
    state, reason = training(server, {"filename": str(tmp_path / "absent.csv")})
    assert state == "ERRORED"
    assert "absent.csv" in reason
    state, reason = training(server, {"filename": str(tmp_path)})
    assert state == "ERRORED"
    assert str(tmp_path) in reason


def test_a_training_without_data_is_an_error_that_names_the_parameter(server: Server) -> None:
    answer = server.http("POST", TRAIN, {"model_name": "none"})
    training_id = answer.json["training_id"]
    assert finished(server, training_id) == "ERRORED"
    status = server.http("GET", f"/management/trainings?training_id={training_id}").json
    assert "training_data" in status["reasons"][0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model_name": "x", "parameters": {"nope": 1}}, r"parameters\.nope"),
        ({"model_name": 3}, "model_name"),
        ({"nope": 1}, "nope"),
    ],
)
def test_a_training_request_that_does_not_fit_is_refused(
    server: Server, body: Any, words: str
) -> None:
    answer = server.http("POST", TRAIN, body)
    assert answer.status == 422
    assert re.search(words, answer.json["details"]), answer.json


def test_a_model_name_that_leaves_the_folder_is_refused(server: Server) -> None:
    body = {"model_name": "../../x", "parameters": {}}
    answer = server.http("POST", TRAIN, body)
    assert answer.status == 400
    assert "../../x" in answer.json["details"]


def test_an_unknown_training_id_is_named(server: Server) -> None:
    answer = server.http("GET", "/management/trainings?training_id=nope")
    assert answer.status == 404
    assert answer.json["details"] == "Unknown training_id: nope"
    answer = server.http("GET", "/management/trainings")
    assert answer.status == 422
    assert answer.json["additional_info"][0]["loc"] == ["query", "training_id"]


def test_broken_models_are_named_and_the_others_served(
    make_server: Callable[..., Server],
) -> None:
    server = make_server()
    models = server.project / "client" / "models"
    (models / "empty").mkdir()
    for name, text in (
        ("stranger", "module_id: 0000-unknown\n"),
        ("garbled", "module_id: [\n"),
        ("nameless", "name: x\n"),
    ):
        (models / name).mkdir()
        (models / name / "config.yml").write_text(text)
    server.start()
    assert server.http("POST", TASK, GOOD).json == {"greeting": "Hello World"}

    def is_told(name: str, words: str) -> bool:
        log = [json.loads(line) for line in server.log.splitlines()]
        errors = [line["message"] for line in log if line["level"] == "error"]
        return any(f"Model {name} " in text and words in text for text in errors)

    listing = server.kitfox("models").stdout
    for name, words in (
        ("empty", "config.yml"),
        ("stranger", "0000-unknown"),
        ("garbled", "config.yml"),
        ("nameless", "module_id"),
    ):
        # A start does not wait for all loads.
        wait_for(partial(is_told, name, words), what=f"the line of {name}")
        assert re.search(rf"{name} +incomplete .*{words}", listing), listing
        answer = server.http("POST", TASK, {**GOOD, "model_id": name})
        assert answer.status == (500 if name in ("garbled", "nameless") else 404)
        assert name in answer.json["details"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("runtime: {libary: example}", "unknown key 'runtime.libary'; did you mean"),
        ("runtime: {library: nothing_here}", "no Python package 'nothing_here'"),
        ("runtime: {}", "runtime.library is not set"),
        ("runtime: {library: example, grpc: {port: high}}", "runtime.grpc.port"),
        ("runtime: [", "not valid YAML"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_sentence_and_status_1(
    make_server: Callable[..., Server], text: str, words: str
) -> None:
    server = make_server()
    server.config.write_text(text)
    process = server.launch()
    assert process.wait(30) == 1
    assert words in server.log
    assert "Traceback" not in server.log


def test_a_port_that_is_taken_is_one_sentence_and_status_1(
    server: Server, make_server: Callable[..., Server]
) -> None:
    second = make_server(RUNTIME_HTTP_PORT=str(server.http_port))
    process = second.launch()
    assert process.wait(30) == 1
    assert str(server.http_port) in second.log
    assert "runtime.http.port" in second.log
    assert "Traceback" not in second.log


def test_a_metrics_port_that_is_taken_is_one_sentence_and_status_1(
    server: Server, make_server: Callable[..., Server]
) -> None:
    second = make_server(RUNTIME_METRICS_PORT=str(server.metrics_port))
    process = second.launch()
    assert process.wait(30) == 1
    assert "runtime.metrics.port" in second.log
    assert "Traceback" not in second.log


def test_a_library_that_does_not_import_is_shown_with_its_error(
    make_server: Callable[..., Server],
) -> None:
    server = make_server()
    (server.project / "example" / "__init__.py").write_text("import not_installed_at_all\n")
    process = server.launch()
    assert process.wait(30) == 1
    assert "not_installed_at_all" in server.log


@pytest.mark.slow
def test_the_command_line_reports_errors_in_one_sentence(server: Server) -> None:
    done = server.kitfox("infer", "nope", '{"name": "World"}')
    assert done.returncode == 1
    assert re.search(r"^kitfox: .*'nope' not found", done.stderr)
    done = server.kitfox("infer", "example", "{nope")
    assert done.returncode == 2
    assert "not valid JSON" in done.stderr
    done = server.kitfox("jobs", "show", "nope")
    assert done.returncode == 1
    assert "Unknown training_id: nope" in done.stderr
    done = server.kitfox("infer", "example", "{}", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "no server answers at http://127.0.0.1:9" in done.stderr


@pytest.mark.slow
def test_killed_between_accepting_and_finishing_the_id_still_answers(
    make_server: Callable[..., Server],
) -> None:
    first = make_server()
    module = first.project / "example" / "runtime_model" / "hello_world.py"
    text = module.read_text(encoding="utf-8")
    slow = "import time; time.sleep(2)\n        greetings = {row"
    module.write_text(text.replace("greetings = {row", slow), encoding="utf-8")
    first.start()
    source = {"data": [{"text": "Ann", "label": "Hi"}]}
    ids = []
    for _ in range(3):  # two run, one waits
        body = {"model_name": "x", "parameters": {"training_data": {"data_stream": source}}}
        ids.append(first.http("POST", TRAIN, body).json["training_id"])
    first.kill()
    second = make_server().start()
    for training_id in ids:
        assert finished(second, training_id) == "COMPLETED", second.log
        body = {"model_id": training_id, "inputs": {"name": "Ann"}}
        assert second.http("POST", TASK, body).json == {"greeting": "Hi Ann"}
