"""The interfaces of libraries written for caikit are those that were recorded from caikit."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from openapi_spec_validator import validate

from tests.export.conftest import GOLDEN, by_name, compiled

# In a process of its own: libraries and messages of different tests have the same names.
SCRIPT = """
import sys, json
from pathlib import Path
library, folder, target = sys.argv[1], sys.argv[2], Path(sys.argv[3])
sys.path.insert(0, folder)
from kitfox.caikit import install
install()
from kitfox.export import *
from kitfox.services import Names, build_table, import_library
import_library(library)
table = build_table(library, names=Names.of(library))
write_protos(table, target / "messages")
write_protos(table, target / "packages", per_package=True)
write_descriptors(table, target / "descriptors.binpb")
document = openapi_document(table, info=library_info(library))
(target / "openapi.json").write_text(json.dumps(document))
"""

LIBRARIES = {
    "example": "example",
    "faults": "faults",
    "flows": "flows",
    "kinds_for_caikit": "kinds",
    "textkit": "caikit_textkit",
    "trainlab": "trainlab",
}
# An enum parameter, which caikit leaves out, is part of this request.
DIFFERENT = {"caikit.runtime.Kinds.describetaskrequest.proto"}

Export = Callable[[str], Path]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Exports a recorded library in every form, once; gives the folder."""
    done: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in done:
            target = done[name] = tmp_path_factory.mktemp(name)
            library = GOLDEN / name / "library"
            command = [sys.executable, "-c", SCRIPT, LIBRARIES[name], str(library), str(target)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            assert result.returncode == 0, result.stderr
        return done[name]

    return run


def recorded(name: str) -> FileDescriptorSet:
    path = GOLDEN / name.removesuffix("_for_caikit") / "descriptors.binpb"
    return FileDescriptorSet.FromString(path.read_bytes())


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_descriptors_are_the_recorded_ones(name: str, export: Export) -> None:
    data = (export(name) / "descriptors.binpb").read_bytes()
    made = by_name(FileDescriptorSet.FromString(data).file)
    # What caikit's HTTP server holds bodies in is never on a wire.
    known = {
        file: content
        for file, content in by_name(recorded(name).file).items()
        if not file.startswith("caikit.http.")
    }
    assert made.keys() == known.keys()
    assert {file for file in made if made[file] != known[file]} <= DIFFERENT


@pytest.mark.parametrize("name", LIBRARIES)
def test_protoc_makes_the_recorded_descriptors_of_the_files(name: str, export: Export) -> None:
    made = by_name(compiled((export(name) / "messages").glob("*.proto")).file)
    known = by_name(recorded(name).file)
    assert {file for file in made if made[file] != known[file]} <= DIFFERENT


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_files_of_packages_define_the_recorded_messages(name: str, export: Export) -> None:
    made = compiled((export(name) / "packages").glob("*.proto"))
    assert messages(made).keys() <= messages(recorded(name)).keys()


def messages(files: FileDescriptorSet) -> dict[str, Any]:
    return {
        f"{file.package}.{message.name}": message
        for file in by_name(files.file).values()
        for message in file.message_type
    }


def without_comments(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("//")]
    return "\n".join(lines).strip().replace(" by kitfox export protos", "")


def test_the_text_of_the_files_is_the_recorded_one(export: Export) -> None:
    files = sorted((export("example") / "messages").glob("*.proto"))
    compared = 0
    for file in files:
        known = GOLDEN / "example" / "proto" / file.name
        if known.exists():  # management of models was not written
            assert without_comments(file.read_text()) == known.read_text().strip(), file.name
            compared += 1
    assert compared == len(files) - 1


def test_the_packages_are_written_to_the_recorded_files(export: Export) -> None:
    names = {file.name for file in (export("example") / "packages").glob("*.proto")}
    known = {file.name for file in (GOLDEN / "example" / "consolidated").iterdir()}
    assert names == known | {"caikit_runtime_models.proto"}
    service = export("example") / "packages" / "caikit_runtime_training.proto"
    known_service = GOLDEN / "example" / "consolidated" / service.name
    assert without_comments(service.read_text()) == known_service.read_text().strip()


@pytest.mark.parametrize("name", ["example", "faults", "flows", "textkit"])
def test_the_document_has_the_recorded_routes_and_components(name: str, export: Export) -> None:
    made = json.loads((export(name) / "openapi.json").read_text())
    known = json.loads((GOLDEN / name / "openapi.json").read_text())
    validate(made)
    assert made["info"]["title"] == known["info"]["title"]
    assert made["info"]["description"] == known["info"]["description"]
    assert {
        (path, verb)
        for path, verbs in made["paths"].items()
        for verb, operation in verbs.items()
        # Over HTTP, caikit has no streams of requests.
        if "application/x-ndjson" not in operation.get("requestBody", {}).get("content", {})
    } == {(path, verb) for path in known["paths"] for verb in known["paths"][path]}
    schemas, recorded_schemas = made["components"]["schemas"], known["components"]["schemas"]
    assert recorded_schemas.keys() <= schemas.keys()
    ours = {"HTTPValidationError", "ValidationError"}
    for component in recorded_schemas.keys() - ours:
        assert schemas[component]["title"] == recorded_schemas[component]["title"]
        # An answer names a union by its members; the recorded document does not say so.
        if component != "Vector1D":
            properties = recorded_schemas[component].get("properties", {})
            assert schemas[component].get("properties", {}).keys() == properties.keys()


@pytest.mark.parametrize("name", ["example", "faults", "flows", "textkit"])
def test_forms_have_the_recorded_parts(name: str, export: Export) -> None:
    made = json.loads((export(name) / "openapi.json").read_text())
    known = json.loads((GOLDEN / name / "openapi.json").read_text())
    for path, verbs in known["paths"].items():
        for verb, operation in verbs.items():
            assert parts(made["paths"][path][verb]) == parts(operation), path


def parts(operation: dict[str, Any]) -> dict[str, Any] | None:
    """The names of a form's parts, and whether they are files; none where there is no form."""
    content = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    if content is None:
        return None
    return {
        name: "binary" in (part.get("format"), part.get("items", {}).get("format"))
        for name, part in content["schema"]["properties"].items()
    }
