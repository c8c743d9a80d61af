"""Several libraries in one server, and several tasks of one model."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.managed import ManagedServer, managed

SECOND = '''
"""Shouts and counts."""
from example.data_model import HelloWorldInput, HelloWorldPrediction
from example.runtime_model import HelloWorldTask
from kitfox import ModuleBase, TaskBase, module, task

@task(required_parameters={"text_input": HelloWorldInput}, output_type=HelloWorldPrediction)
class CountTask(TaskBase):
    """Counts letters."""

@module("5c9a7c1e-96cf-4a3a-8a63-0a7ab93d5a11", "Loud", "1.0.0", tasks=[HelloWorldTask, CountTask])
class Loud(ModuleBase):
    @classmethod
    def load(cls, model_path: str) -> "Loud":
        return cls()

    @HelloWorldTask.taskmethod()
    def run(self, text_input: HelloWorldInput) -> HelloWorldPrediction:
        return HelloWorldPrediction(greeting=text_input.name.upper())

    @CountTask.taskmethod()
    def count(self, text_input: HelloWorldInput) -> HelloWorldPrediction:
        return HelloWorldPrediction(greeting=str(len(text_input.name)))
'''
# A task of the same name that takes something else.
RIVAL = '''
from kitfox import DataObjectBase, ModuleBase, TaskBase, dataobject, module, task

@dataobject(package="rival")
class Number(DataObjectBase):
    value: int

@task(required_parameters={"number": Number}, output_type=Number)
class HelloWorldTask(TaskBase):
    """Something else."""

@module("5c9a7c1e-96cf-4a3a-8a63-0a7ab93d5a12", "Rival", "1.0.0", HelloWorldTask)
class Rival(ModuleBase):
    def run(self, number: Number) -> Number:
        return number
'''
SCRIPT = """
import json, sys
from kitfox.config import parse
from kitfox.errors import KitfoxError
from kitfox.services import configured_table
sys.path[:0] = sys.argv[1:2]
found = []
for runtime in json.loads(sys.argv[2]):
    try:
        table = configured_table(parse({"runtime": runtime}, source="test").runtime)
    except KitfoxError as err:
        found.append({"error": err.message})
    else:
        found.append({"services": table.services(), "routes": sorted(table.by_route)})
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedServer]:
    folder = tmp_path_factory.mktemp("libraries")
    with managed(folder, prepare=write_libraries, RUNTIME_LIBRARY="example, second") as running:
        yield running


def write_libraries(project: Path) -> None:
    for name, text in (("second", SECOND), ("rival", RIVAL)):
        (project / name).mkdir()
        (project / name / "__init__.py").write_text(text)
    model = project / "client" / "models" / "loud"
    model.mkdir()
    (model / "config.yml").write_text("module_id: 5c9a7c1e-96cf-4a3a-8a63-0a7ab93d5a11\n")


def tables_of(project: Path, *runtimes: dict[str, Any]) -> list[Any]:
    """What is made of each of some sections `runtime`, in a process of its own."""
    command = [sys.executable, "-c", SCRIPT, str(project), json.dumps(runtimes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def call(server: ManagedServer, task: str, model: str) -> str:
    body = {"inputs": {"name": "World"}, "model_id": model}
    answer = server.http("POST", f"/api/v1/task/{task}", body)
    assert answer.status == 200, answer.body
    return str(answer.json["greeting"])


def test_a_route_of_both_serves_the_models_of_both(server: ManagedServer) -> None:
    assert call(server, "hello-world", "example") == "Hello World"
    assert call(server, "hello-world", "loud") == "WORLD"


def test_one_model_does_several_tasks(server: ManagedServer) -> None:
    assert call(server, "hello-world", "loud") == "WORLD"
    assert call(server, "count", "loud") == "5"
    assert server.show("loud").json["tasks"] == ["HelloWorldTask", "CountTask"]


def test_each_library_has_services_of_its_own(server: ManagedServer) -> None:
    request = b"\x0a\x07\x0a\x05World"
    with server.channel() as channel:
        for service in ("Example.ExampleService", "Second.SecondService"):
            for model, greeting in (("example", b"Hello World"), ("loud", b"WORLD")):
                method: Any = channel.unary_unary(
                    f"/caikit.runtime.{service}/HelloWorldTaskPredict"
                )
                answer = method(request, metadata=[("mm-model-id", model)], timeout=60)
                assert answer.endswith(greeting)


def test_the_document_tells_of_both(server: ManagedServer) -> None:
    document = server.http("GET", "/openapi.json").json
    assert document["info"]["title"] == "Example, Second"
    assert {"/api/v1/task/hello-world", "/api/v1/task/count"} <= document["paths"].keys()


def test_libraries_are_a_list_or_text_and_do_not_contradict_each_other(
    server: ManagedServer,
) -> None:
    text, listed, clash, named, jobless, odd = tables_of(
        server.project,
        {"library": "example, second"},
        {"library": ["example", "second"]},
        {"library": "example,rival"},
        {"library": "example,second", "service_generation": {"domain": "Both"}},
        {"library": "second", "service_generation": {"enable_inference_jobs": False}},
        {
            "library": "second",
            "service_generation": {"enable_inference": False, "enable_inference_jobs": True},
        },
    )
    assert text == listed
    assert "caikit.runtime.Example.ExampleTrainingService" in text["services"]
    assert "caikit.runtime.Second.SecondService" in text["services"]
    assert len(text["services"]) == len(set(text["services"]))
    assert "/api/v1/task/count/job" in text["routes"]
    assert clash["error"] == (
        "libraries example and rival both have POST /api/v1/task/hello-world, for "
        "HelloWorldTaskPredict and HelloWorldTaskPredict, which do not take the same; "
        "rename a task"
    )
    assert "runtime.library has several: example, second" in named["error"]
    assert "/api/v1/task/count" in jobless["routes"]
    assert not any("job" in name.lower() for name in jobless["routes"] + jobless["services"])
    assert "enable_inference_jobs is true and enable_inference is false" in odd["error"]
