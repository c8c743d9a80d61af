"""The walk of a new user: start, infer, train, infer with what was trained, stop."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

import tests.conftest as support
from tests.conftest import Server
from tests.waiting import wait_for

LOG_KEYS = {
    "channel",
    "exception",
    "level",
    "log_code",
    "message",
    "num_indent",
    "thread_id",
    "timestamp",
}


def train(server: Server, *arguments: str) -> str:
    """Runs the training script and gives the training id when the training is completed."""
    script = str(server.project / "client" / "train_model.py")
    done = server.run(script, "--address", server.address, *arguments)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(
        r'RESPONSE: training_id: "([0-9a-f-]{36})"\nmodel_name: "example"\n', done.stdout
    )
    assert found, done.stdout
    assert finished(server, found[1]) == "COMPLETED"
    return found[1]


def finished(server: Server, training_id: str) -> str:
    """The state in which a training ended."""

    def state() -> str:
        answer = server.http("GET", f"/management/trainings?training_id={training_id}").json
        return str(answer["state"]) if answer["state"] not in ("QUEUED", "RUNNING") else ""

    return str(wait_for(state, what="the end of the training"))


def infer(server: Server, *arguments: str) -> str:
    script = str(server.project / "client" / "infer_model.py")
    done = server.run(script, "--address", server.address, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_inference_script_prints_the_promised_line(server: Server) -> None:
    assert infer(server) == 'RESPONSE: greeting: "Hello World"\n'


def test_a_trained_model_answers_by_its_training_id_and_greets_as_it_learned(
    server: Server,
) -> None:
    training_id = train(server)
    assert infer(server, "--name", "Marie", "--model", training_id) == (
        'RESPONSE: greeting: "Bonjour Marie"\n'
    )
    assert infer(server, "--name", "Yuki", "--model", training_id) == (
        'RESPONSE: greeting: "こんにちは Yuki"\n'
    )
    assert infer(server, "--model", training_id) == 'RESPONSE: greeting: "Hello World"\n'
    # The model that was there before still answers as before.
    assert infer(server, "--name", "Marie") == 'RESPONSE: greeting: "Hello Marie"\n'


def test_every_log_line_is_json_with_the_known_keys(server: Server) -> None:
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert lines
    for line in lines:
        assert line.keys() - {"request_id"} == LOG_KEYS, line
    messages = [line["message"] for line in lines]
    assert "Constructed inference service for library: example, version: unknown" in messages
    assert "Constructed train service for library: example, version: unknown" in messages


def test_a_route_and_an_rpc_can_be_copied_from_the_log_and_called(server: Server) -> None:
    messages = [json.loads(line)["message"] for line in server.log.splitlines()]
    routes = [text.split() for text in messages if text.startswith("Available route ")]
    verb, url = next(item[2:] for item in routes if "/task/" in item[3])
    path = url.partition(str(server.http_port))[2]
    body = {"model_id": "example", "inputs": {"name": "World"}}
    assert server.http(verb, path, body).json == {"greeting": "Hello World"}
    rpcs = [text.split()[-1] for text in messages if text.startswith("Available RPC ")]
    with server.channel() as channel:
        for rpc in rpcs:
            call: Any = channel.unary_unary(rpc)
            with pytest.raises(grpc.RpcError) as caught:
                call(b"\xff", timeout=10)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("port", ["grpc_port", "http_port"])
def test_both_ports_answer_both_protocols(server: Server, port: str) -> None:
    both = Server(server.project)
    both.grpc_port = both.http_port = getattr(server, port)
    assert infer(both) == 'RESPONSE: greeting: "Hello World"\n'
    body = {"model_id": "example", "inputs": {"name": "World"}}
    answer = both.http("POST", "/api/v1/task/hello-world", body)
    assert answer.json == {"greeting": "Hello World"}
    assert both.http("GET", "/health").body == b"OK"


def test_metrics_count_the_calls(server: Server) -> None:
    infer(server)
    metrics = Server(server.project)
    metrics.http_port = server.metrics_port
    text = metrics.http("GET", "/metrics").body.decode()
    found = re.search(
        r'predict_rpc_count_total\{code="OK",grpc_request="HelloWorldTaskPredict",'
        r'model_id="example"\} ([0-9.]+)',
        text,
    )
    assert found
    assert float(found[1]) >= 1
    assert "total_loaded_models " in text


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_older_start_script_works_and_a_stop_is_clean(
    make_server: Callable[..., Server], how: signal.Signals
) -> None:
    server = make_server()
    server.script = "client/start_runtime.py"
    server.start()
    assert infer(server) == 'RESPONSE: greeting: "Hello World"\n'
    assert server.stop(how) == 0
    with pytest.raises(OSError, match="refused"):
        server.http("GET", "/health")


def test_a_stop_lets_what_is_in_flight_finish(make_server: Callable[..., Server]) -> None:
    server = make_server()
    module = server.project / "example" / "runtime_model" / "hello_world.py"
    text = module.read_text(encoding="utf-8")
    begun = server.project / "begun"
    slow = (
        f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(1.5)\n"
        "        greeting = self.greetings.get("
    )
    module.write_text(text.replace("greeting = self.greetings.get(", slow), encoding="utf-8")
    server.start()
    body = {"model_id": "example", "inputs": {"name": "World"}}
    answers: list[support.Answer] = []
    call = threading.Thread(
        target=lambda: answers.append(server.http("POST", "/api/v1/task/hello-world", body))
    )
    before = server.log.count("\n")
    call.start()
    wait_for(begun.exists, what="the call")
    assert server.stop() == 0
    call.join(30)
    assert [answer.json for answer in answers] == [{"greeting": "Hello World"}]
    assert server.log.count("\n") >= before


def test_stubs_generated_by_protoc_get_the_same_answers(server: Server, tmp_path: Path) -> None:
    """A client that knows nothing of us but the interface files that caikit wrote."""
    protos = support.ROOT / "tests" / "golden" / "example" / "proto"
    # protoc makes a folder of each dot in a file's name: generated imports need plain names.
    sources = tmp_path / "protos"
    sources.mkdir()
    names = {item.name: item.stem.replace(".", "_") + ".proto" for item in protos.iterdir()}
    for name, plain in names.items():
        text = (protos / name).read_text()
        for other, renamed in names.items():
            text = text.replace(f'import "{other}";', f'import "{renamed}";')
        (sources / plain).write_text(text)
    generated = tmp_path / "generated"
    generated.mkdir()
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{sources}"),
            *(f"--python_out={generated}", f"--grpc_python_out={generated}"),
            *map(str, sources.iterdir()),
        ],
        check=True,
    )
    client = tmp_path / "client.py"
    client.write_text(
        f"""
import sys, time
sys.path.insert(0, {str(generated)!r})
import grpc
from exampleservice_pb2_grpc import ExampleServiceStub
from exampletrainingservice_pb2_grpc import ExampleTrainingServiceStub
from trainingmanagement_pb2_grpc import TrainingManagementStub
from caikit_runtime_Example_helloworldtaskrequest_pb2 import HelloWorldTaskRequest
from caikit_runtime_Example_helloworldtaskhelloworldmoduletrainrequest_pb2 import (
    HelloWorldTaskHelloWorldModuleTrainRequest as TrainRequest)
from caikit_data_model_runtime_traininginforequest_pb2 import TrainingInfoRequest
channel = grpc.insecure_channel({server.address!r})
request = HelloWorldTaskRequest()
request.text_input.name = "World"
service = ExampleServiceStub(channel)
answer = service.HelloWorldTaskPredict(request, metadata=[("mm-model-id", "example")])
print("RESPONSE:", answer)
train = TrainRequest(model_name="stubs")
train.parameters.training_data.jsondata.data.add(text="Ann", label="Hi")
job = ExampleTrainingServiceStub(channel).HelloWorldTaskHelloWorldModuleTrain(train)
management = TrainingManagementStub(channel)
while True:
    status = management.GetTrainingStatus(TrainingInfoRequest(training_id=job.training_id))
    if status.state not in (1, 2):
        break
    time.sleep(0.05)
print(status.state, status.HasField("completion_timestamp"), job.model_name)
request.text_input.name = "Ann"
print(service.HelloWorldTaskPredict(request, metadata=[("mm-model-id", job.training_id)]))
"""
    )
    done = server.run(str(client))
    assert done.stdout == (
        'RESPONSE: greeting: "Hello World"\n\n3 True stubs\ngreeting: "Hi Ann"\n\n'
    ), done.stderr


@pytest.mark.slow
def test_the_command_line_does_the_same(server: Server) -> None:
    done = server.kitfox("infer", "example", '{"name": "World"}')
    assert json.loads(done.stdout) == {"greeting": "Hello World"}, done.stderr
    data = str(server.project / "client" / "train_data" / "sample_data.csv")
    done = server.kitfox("train", "HelloWorldModule", "--data", data, "--name", "cli", "--follow")
    assert done.returncode == 0, done.stderr
    training_id = re.findall(r'"training_id": "([0-9a-f-]{36})"', done.stdout)[0]
    assert "COMPLETED" in done.stdout
    done = server.kitfox("infer", training_id, '{"name": "Hans"}')
    assert json.loads(done.stdout) == {"greeting": "Guten Tag Hans"}, done.stderr
    done = server.kitfox("jobs", "list")
    assert re.search(rf"{training_id} +COMPLETED", done.stdout), done.stdout + done.stderr
    done = server.kitfox("jobs", "show", training_id)
    assert "HelloWorldModule" in done.stdout, done.stderr
    done = server.kitfox("models")
    assert re.search(r"example +ready +HelloWorldModule +0\.0\.1", done.stdout), done.stdout
