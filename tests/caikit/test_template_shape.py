"""Scripts in the shape of caikit's public template start a server, infer and train, unchanged."""

import inspect
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from shutil import copytree

import grpc
import pytest

from tests.caikit.conftest import GOLDEN, Run, RunScript, clean_environment
from tests.conftest import Server
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

START = """
    import os
    import sys
    import alog
    import caikit

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.join(here, "library"))
    caikit.configure(os.path.join(here, "config.yml"))
    import example
    caikit.configure(config_dict={"runtime": {"library": "example", "use_abortable_threads": True}})

    if __name__ == "__main__":
        from caikit.runtime.__main__ import main
        main()
"""

INFER = """
    import os
    import sys
    import alog
    import caikit
    import grpc
    from caikit.runtime.service_factory import ServicePackageFactory

    log = alog.use_channel("INFER")
    alog.configure("info", formatter="pretty")
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.join(here, "library"))
    caikit.configure(os.path.join(here, "config.yml"))
    import example
    from example.data_model.hello_world import HelloWorldInput

    inference_service = ServicePackageFactory().get_service_package(
        ServicePackageFactory.ServiceType.INFERENCE,
    )
    with grpc.insecure_channel(f"localhost:{sys.argv[1]}") as channel:
        client_stub = inference_service.stub_class(channel)
        request = inference_service.messages.HelloWorldTaskRequest(
            text_input=HelloWorldInput(name="World").to_proto()
        )
        response = client_stub.HelloWorldTaskPredict(
            request, metadata=[("mm-model-id", "hello_world")], timeout=20
        )
    print("RESPONSE:", response)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example library with its models, and the scripts beside it."""
    folder = tmp_path / "project"
    copytree(GOLDEN / "example", folder)
    for name, text in (("start_runtime.py", START), ("infer_model.py", INFER)):
        (folder / name).write_text(inspect.cleandoc(text), encoding="utf-8")
    return folder


@pytest.fixture
def recorder() -> Iterator[tuple[int, list[tuple[str, dict[str, str], bytes]]]]:
    """The port of a gRPC server that greets whoever calls, and the calls that it got."""
    calls: list[tuple[str, dict[str, str], bytes]] = []

    class Recorder(grpc.GenericRpcHandler):
        def service(
            self, details: grpc.HandlerCallDetails
        ) -> "grpc.RpcMethodHandler[bytes, bytes]":
            metadata = {str(key): str(value) for key, value in details.invocation_metadata}

            def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
                calls.append((details.method, metadata, request))
                return b"\x0a\x0bHello World"

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Recorder()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port, calls
    server.stop(None).wait()


def test_the_client_calls_as_caikits_does(
    project: Path, run_caikit: Run, recorder: tuple[int, list[tuple[str, dict[str, str], bytes]]]
) -> None:
    port, calls = recorder
    done = run_caikit("infer_model.py", str(port), cwd=project)
    assert 'RESPONSE: greeting: "Hello World"' in done.stdout, done.stderr
    ((method, metadata, request),) = calls
    assert method == "/caikit.runtime.Example.ExampleService/HelloWorldTaskPredict"
    assert metadata["mm-model-id"] == "hello_world"
    assert request == b"\x0a\x07\x0a\x05World"


JOB_RPCS = [
    "HelloWorldTaskCancelPredictionJob",
    "HelloWorldTaskGetPredictionJobResult",
    "HelloWorldTaskGetPredictionJobStatus",
    "HelloWorldTaskStartPredictionJob",
]


def test_requests_are_found_by_task_and_module(run_script: RunScript) -> None:
    found = run_script(
        """
        import sys
        sys.path.insert(0, "library")
        import example
        from caikit.runtime import get_inference_request, get_train_params, get_train_request
        from caikit.runtime.service_factory import ServicePackageFactory
        from example.modules import HelloWorldModule, HelloWorldTask

        request = get_inference_request(HelloWorldTask)
        assert request is get_inference_request(HelloWorldModule)
        kinds = ServicePackageFactory.ServiceType
        packages = [ServicePackageFactory.get_service_package(kind) for kind in kinds]
        message = packages[0].messages.HelloWorldTaskRequest
        assert message().DESCRIPTOR is request.get_proto_class().DESCRIPTOR
        print(request.full_name, request.fields)
        print(get_train_request(HelloWorldModule).fields)
        print(get_train_params(HelloWorldModule).fields)
        for package in packages:
            assert package.descriptor.full_name == package.service
            names = [method.name for method in package.descriptor.methods]
            print(package.service.rpartition(".")[2], *names)
        for call in (
            lambda: get_inference_request(HelloWorldTask, output_streaming=True),
            lambda: get_train_request(type("Other", (HelloWorldModule,), {"tasks": []})),
        ):
            try:
                call()
            except ValueError as err:
                print("ValueError", err)
        """,
        cwd=GOLDEN / "example",
    )
    lines = found.splitlines()
    assert lines[:9] == [
        "caikit.runtime.Example.HelloWorldTaskRequest ('text_input',)",
        "('model_name', 'output_path', 'parameters')",
        "('training_data',)",
        "ExampleService HelloWorldTaskPredict",
        "ExampleTrainingService HelloWorldTaskHelloWorldModuleTrain",
        "TrainingManagement GetTrainingStatus CancelTraining",
        "InfoService GetRuntimeInfo GetModelsInfo",
        "ModelManagement DeployModel UndeployModel",
        f"ExampleJobService {' '.join(JOB_RPCS)}",
    ]
    assert [line.split()[0] for line in lines[9:]] == ["ValueError", "ValueError"]


SERVE = """
    import json, os, sys
    import kitfox.server

    def serve(*files, overrides=None):
        import subprocess
        script = "import json, kitfox.toolkit.settings as s; print(json.dumps(s.get_config()))"
        child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        print(json.dumps({
            "files": files,
            "overrides": overrides,
            "environ": {k: os.environ.get(k) for k in ("KITFOX_CAIKIT", "CONFIG_FILES")},
            "child": json.loads(child.stdout),
        }))
        return int(os.environ["STATUS"])

    kitfox.server.serve = serve
    exec(open("start_runtime.py").read())
"""


@pytest.mark.parametrize("status", [0, 3])
def test_main_hands_the_settings_to_the_server(project: Path, run_caikit: Run, status: int) -> None:
    (project / "stub.py").write_text(inspect.cleandoc(SERVE))
    (project / "last.yml").write_text("log: {level: debug4}\nmy_section: {x: 1}\n")
    done = run_caikit(
        "stub.py", cwd=project, STATUS=str(status), CONFIG_FILES="last.yml", RUNTIME_GRPC_PORT="1"
    )
    assert done.returncode == status, done.stderr
    assert '"message":"The server has no use for the setting my_section"' in done.stdout
    found = json.loads(next(line for line in done.stdout.splitlines() if '"files"' in line))
    assert found["files"] == []
    assert found["environ"] == {"KITFOX_CAIKIT": "1", "CONFIG_FILES": None}
    runtime = found["overrides"]["runtime"]
    assert (runtime["library"], runtime["local_models_dir"]) == ("example", "models")
    assert runtime["grpc"]["port"] == 1
    # Between them may be what the development environment adds.
    assert runtime["python_path"][0] == str(project)
    assert runtime["python_path"][-1] == str(project / "library")
    assert not any("lib-dynload" in path for path in runtime["python_path"])
    assert runtime["use_abortable_threads"] is True
    assert found["overrides"]["log"]["level"] == "debug"
    assert found["child"]["my_section"] == {"x": 1}
    assert found["child"]["runtime"]["use_abortable_threads"] is True


@pytest.mark.parametrize(
    "command", [["start_runtime.py"], ["-m", "caikit.runtime"]], ids=["script", "module"]
)
def test_the_server_starts_answers_and_stops(
    project: Path, run_caikit: Run, command: list[str]
) -> None:
    server = Server(project)  # for its free ports
    environ = clean_environment(
        RUNTIME_GRPC_PORT=str(server.grpc_port),
        RUNTIME_HTTP_PORT=str(server.http_port),
        RUNTIME_LIBRARY="example",
        SERVER_ADDRESS="127.0.0.1",
        CONFIG_FILES="config.yml",
        PYTHONPATH=str(project / "library"),
    )
    with (project / "server.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kitfox.caikit", *command],
            cwd=project,
            env=environ,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: process.poll() is not None or server.healthy(), what="the server's start")
        assert process.poll() is None, server.log
        done = run_caikit("infer_model.py", str(server.grpc_port), cwd=project)
        assert 'RESPONSE: greeting: "Hello World"' in done.stdout, done.stderr + server.log
        _train(server)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, server.log


def _train(server: Server) -> None:
    """Trains a model in a worker process, which imports the library too."""
    body = {
        "model_name": "trained",
        "parameters": {"training_data": {"data_stream": {"data": [{"text": "a", "label": "b"}]}}},
    }
    started = server.http("POST", "/api/v1/HelloWorldTaskHelloWorldModuleTrain", body).json
    query = f"/management/trainings?training_id={started['training_id']}"

    def state() -> str:
        return str(server.http("GET", query).json["state"])

    wait_for(lambda: state() in ("COMPLETED", "ERRORED"), what="the training's end")
    assert state() == "COMPLETED", server.log
