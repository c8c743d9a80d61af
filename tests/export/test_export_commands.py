"""The commands of `kitfox export`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.conftest import copy_template

MAIN = """
import sys
from kitfox.cli.export_commands import export
from kitfox.errors import KitfoxError
try:
    export()
except KitfoxError as err:
    sys.exit(f"kitfox: {err.message}")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the template."""
    folder = tmp_path_factory.mktemp("project") / "caikit_template"
    copy_template(folder)
    return folder


def run(*arguments: str, project: Path | None = None) -> "subprocess.CompletedProcess[str]":
    config = ["--config", str(project / "server" / "config.yml")] if project else []
    command = [sys.executable, "-c", MAIN, *arguments, *config]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_protos(project: Path, tmp_path: Path) -> None:
    done = run("protos", str(tmp_path / "out"), project=project)
    assert done.returncode == 0, done.stderr
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"exampleservice.proto", "example.data_model.helloworldinput.proto"} < names
    assert done.stdout == f"{len(names)} files in {tmp_path / 'out'}\n"


def test_protos_per_package(project: Path, tmp_path: Path) -> None:
    done = run("protos", str(tmp_path), "--per-package", project=project)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "example_data_model.proto").exists()


def test_descriptors(project: Path, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "descriptors.binpb"
    done = run("descriptors", str(target), project=project)
    assert done.returncode == 0, done.stderr
    files = FileDescriptorSet.FromString(target.read_bytes())
    assert "exampleservice.proto" in [file.name for file in files.file]


def test_openapi(project: Path, tmp_path: Path) -> None:
    done = run("openapi", str(tmp_path / "openapi.json"), project=project)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "openapi.json").read_text())
    assert document["info"]["title"] == "Example"
    assert "/api/v1/task/hello-world" in document["paths"]
    printed = run("openapi", "-", project=project)
    assert json.loads(printed.stdout) == document


@pytest.mark.slow
def test_check_of_a_version_that_breaks_callers(project: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old.binpb", tmp_path / "new.binpb"
    assert run("descriptors", str(old), project=project).returncode == 0
    source = project / "example" / "data_model" / "hello_world.py"
    text = source.read_text()
    source.write_text(text.replace("    name: str", "    name: str\n    title: str"))
    assert run("descriptors", str(new), project=project).returncode == 0
    source.write_text(text)

    done = run("check", str(old), str(new))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "fine: message example.data_model.HelloWorldInput, field title: added\n"
        "nothing breaks callers of the old version\n"
    )
    done = run("check", str(new), str(old))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        "break: message example.data_model.HelloWorldInput, field title: removed; it is dropped "
        "over gRPC and refused over REST, and answers lack it\n"
    )


def test_check_of_what_is_no_set_of_descriptors(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("hello")
    done = run("check", str(other), str(other))
    assert done.returncode == 1
    assert f"{other} is no set of descriptors" in done.stderr
    done = run("check", str(tmp_path / "none"), str(other))
    assert f"cannot read {tmp_path / 'none'}: No such file or directory" in done.stderr
