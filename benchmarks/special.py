"""What is measured in ways of its own: the bare embedding model, and very many model folders."""

import functools
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.answers import WrongAnswer
from benchmarks.bodies import as_json
from benchmarks.contestants import Contestant, Place, python_of
from benchmarks.kitfox_servers import example, template_project, variables

if TYPE_CHECKING:
    from benchmarks.measurement import Figures, Options

__all__ = ["SPECIAL"]

HERE = Path(__file__).resolve().parent
WAYS = (
    "one by one",
    "parallel with one thread each",
    "parallel with their own threads",
    "sorted batches of 8",
    "parallel sorted batches of 8",
    "padded batches of 32",
)
TRIES = 20
LONGER = 3.0
"""As many times as long as other loads, as the servers of the model are loaded."""


def bare_model(way: str, models: int, place: Place, options: "Options") -> "dict[str, Figures]":
    """The embedding model, or several of it in turns, without a server, run in one way."""
    command = [
        str(python_of(place.environments, "embedding")),
        str(HERE / "embedding" / "bare.py"),
        str(place.environments / "embedding" / "model"),
        *("--seconds", str(options.seconds * LONGER), "--rounds", "1", "--json", "--only", way),
        *("--models", str(models)),
    ]
    name = "embedding.rest-32" if models == 1 else "four.rest-32"
    return {name: {"rate": _json(command)[way]}}


def _json(command: list[str], **environment: str) -> dict[str, float]:
    import os

    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    if done.returncode:
        raise WrongAnswer(f"it ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def model_folders(many: bool, place: Place, options: "Options") -> "dict[str, Figures]":
    """A server with one model folder or with very many, none of them loaded before it is named."""
    from benchmarks.measurement import session

    names = _make_folders(place, options.models if many else 1)
    launch = example(place)
    target = replace(launch.targets["rest"], path="/health", method="GET", expect=b"")
    environment = {**launch.environment, "RUNTIME_LOAD_NEW_LOCAL_MODELS": "false"}
    launch = replace(launch, environment=environment, targets={"rest": target})
    with session(launch, place.folder, target) as running:
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
        times = [_first_call(connection, name) for name in names[:TRIES]]
        connection.close()
    return {
        "models.start": {"seconds": running.seconds},
        "models.first-call": {"milliseconds": statistics.median(times) * 1000},
    }


def _make_folders(place: Place, count: int) -> list[str]:
    """Copies of the example's model folder; they are there from the first round on."""
    models = template_project(place.folder) / "client" / "models"
    names = [f"model-{number:05}" for number in range(count)]
    if not (models / names[-1]).exists():
        for name in names:
            shutil.copytree(models / "example", models / name)
        shutil.rmtree(models / "example")
    return names


def _first_call(connection: http.client.HTTPConnection, name: str) -> float:
    body = as_json({"model_id": name, "inputs": {"name": "World"}})
    begin = time.perf_counter()
    headers = {"content-type": "application/json"}
    connection.request("POST", "/api/v1/task/hello-world", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    seconds = time.perf_counter() - begin
    if b"Hello World" not in content:
        raise WrongAnswer(f"model {name}: {answer.status} {content[:300]!r}")
    return seconds


_LOAD = """
import json, statistics, sys, time
sys.path.insert(0, sys.argv[1])
import example
from kitfox import load_model
times = []
for name in sys.argv[2:]:
    begin = time.perf_counter()
    load_model(name)
    times.append(time.perf_counter() - begin)
print(json.dumps({"seconds": statistics.median(times)}))
"""


def direct_load(place: Place, options: "Options") -> "dict[str, Figures]":
    """The same models loaded by a bare Python."""
    project = template_project(place.folder)
    names = _make_folders(place, min(TRIES, options.models))
    paths = [str(project / "client" / "models" / name) for name in names]
    source = variables(0, 0, 0)["PYTHONPATH"]
    found = _json([sys.executable, "-c", _LOAD, str(project), *paths], PYTHONPATH=source)
    return {"models.first-call": {"milliseconds": found["seconds"] * 1000}}


SPECIAL = (
    *(
        Contestant(
            name=f"the model: {way}",
            environment="embedding",
            packages=("onnxruntime", "tokenizers", "numpy"),
            own={
                "embedding": functools.partial(bare_model, way, 1),
                "four": functools.partial(bare_model, way, 4),
            },
        )
        for way in WAYS
    ),
    Contestant(
        name="one model folder",
        environment="",
        packages=("kitfox",),
        own={"models": functools.partial(model_folders, False)},
    ),
    Contestant(
        name="very many model folders",
        environment="",
        packages=("kitfox",),
        own={"models": functools.partial(model_folders, True)},
    ),
    Contestant(
        name="load_model by itself",
        environment="",
        packages=("kitfox",),
        own={"models": direct_load},
    ),
)
