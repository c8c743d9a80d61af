"""Servers on both engines, and what clients of other makes need to call them."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.conformance.browser import Browser, Pages
from tests.conformance.library_server import ENGINES, running
from tests.conformance.node import Node
from tests.conftest import ROOT, Server

GARDEN = ROOT / "tests" / "conformance" / "garden_project"
SHAPES = ROOT / "tests" / "server" / "shapes_project"
MESSAGE_LIMIT = 1 << 20
"""What the servers of `shapes` accept at most, in bytes."""

CONFIGURATION = """
server:
    max_message_size: {limit}
    cors:
        allow_origins: ["{origin}"]
runtime:
    library: shapes
    python_path: [".."]
    local_models_dir: ../models
    training:
        output_dir: ../training_output
"""


@pytest.fixture(scope="session")
def pages() -> Iterator[Pages]:
    """The web pages that may call the servers of `shapes`."""
    with Pages().served() as running:
        yield running


@pytest.fixture(scope="session", params=ENGINES)
def shapes(
    request: pytest.FixtureRequest, pages: Pages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A running server of a library that has a method of every call shape."""
    project = tmp_path_factory.mktemp(request.param) / "shapes_project"
    shutil.copytree(SHAPES, project, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "server" / "config.yml").write_text(
        CONFIGURATION.format(limit=MESSAGE_LIMIT, origin=pages.origin), encoding="utf-8"
    )
    with running(Server(project, {"SERVER_ENGINE": request.param})) as server:
        yield server


@pytest.fixture(scope="session", params=ENGINES)
def garden(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A running server of a library that has much to describe, and no way to keep it busy."""
    project = tmp_path_factory.mktemp(request.param) / GARDEN.name
    shutil.copytree(GARDEN, project, ignore=shutil.ignore_patterns("__pycache__"))
    with running(Server(project, {"SERVER_ENGINE": request.param})) as server:
        yield server


@pytest.fixture(scope="session")
def protos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interface of `shapes` as .proto files."""
    folder = tmp_path_factory.mktemp("protos")
    subprocess.run(
        [
            *(sys.executable, "-m", "kitfox.cli", "export", "protos", str(folder)),
            *("--per-package", "--config", str(SHAPES / "server" / "config.yml")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="session")
def generated(protos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """What protoc makes of them for Python: messages and stubs."""
    folder = tmp_path_factory.mktemp("generated")
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}"),
            *(f"--python_out={folder}", f"--grpc_python_out={folder}"),
            *map(str, protos.iterdir()),
        ],
        check=True,
    )
    sys.path.insert(0, str(folder))
    names = ["caikit_runtime_Shapes_pb2", "caikit_runtime_Shapes_pb2_grpc", "shapes_pb2"]
    modules: list[ModuleType] = [importlib.import_module(name) for name in names]
    yield SimpleNamespace(
        **{key: value for item in modules for key, value in vars(item).items() if key[0] != "_"}
    )
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def caikit_python() -> Path:
    """The interpreter of an environment that has caikit 0.29.0."""
    found = os.environ.get("CAIKIT_PYTHON")
    if not found:
        pytest.skip("no CAIKIT_PYTHON: `make conformance` makes the environment and names it")
    return Path(found)


@pytest.fixture(scope="session")
def node(protos: Path, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Node with the clients of `node/package.json`, and code generated for them."""
    modules = os.environ.get("NODE_PATH")
    if not modules:
        pytest.skip("no NODE_PATH: `make conformance` installs the packages and names the folder")
    return Node(modules=Path(modules), protos=protos, place=tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="session")
def browser(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A running Chromium without a window."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium: `make conformance` installs it")
    with Browser.started(node, program, tmp_path_factory.mktemp("browser")) as running:
        yield running
