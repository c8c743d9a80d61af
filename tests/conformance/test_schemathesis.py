"""schemathesis sends what the served document allows, and what it does not, to a running server."""

import copy
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server

FORM = "multipart/form-data"
# A model may refuse what fits the schema, name what is not there, or have too much to do.
CONFIGURATION = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "404", "409", "429"]
"""
# It knows nothing of this media type.
HOOKS = """
import json, schemathesis


@schemathesis.serializer("application/x-ndjson")
def write_line(context, value):
    return json.dumps(value).encode() + b"\\n"


@schemathesis.serializer("application/zip")
def write_archive(context, value):
    return value if isinstance(value, bytes) else str(value).encode()
"""
ANSWERS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# Not `negative_data_rejection`: callers may send more than the document names, such as the numbers
# of enums and Unix seconds for times. Not `unsupported_method`: Envoy refuses verbs that it does
# not know, such as QUERY, before the server sees them.
REQUESTS = ("positive_data_acceptance", "use_after_free", "ensure_resource_availability")
FEW, MANY = 5, 50
"""How many examples there are of an operation in each phase."""
_LONGEST = 1500
"""Seconds that going through many of them may take."""
THOROUGH = "examples,coverage,fuzzing,stateful"


@pytest.fixture(scope="module")
def schemathesis() -> str:
    """The program; it lives in an environment of its own."""
    found = os.environ.get("SCHEMATHESIS")
    if not found:
        pytest.skip("no SCHEMATHESIS: `make conformance` installs it and names the program")
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Each operation, as an entry of a dictionary."""
    for verbs in document["paths"].values():
        for verb in list(verbs):
            yield verbs, verb


def without_forms(document: dict[str, Any]) -> dict[str, Any]:
    """The same without bodies that are forms."""
    document = copy.deepcopy(document)
    for verbs, verb in operations(document):
        verbs[verb].get("requestBody", {}).get("content", {}).pop(FORM, None)
    return document


def of_forms(document: dict[str, Any]) -> dict[str, Any]:
    """The same with nothing but bodies that are forms."""
    document = copy.deepcopy(document)
    for verbs, verb in operations(document):
        content = verbs[verb].get("requestBody", {}).get("content", {})
        if FORM in content:
            verbs[verb]["requestBody"]["content"] = {FORM: content[FORM]}
            verbs[verb]["responses"]["200"].pop("links", None)
        else:
            del verbs[verb]
    return document


def run(
    program: str,
    place: Path,
    server: Server,
    document: dict[str, Any],
    *,
    checks: tuple[str, ...],
    phases: str,
    examples: int = FEW,
) -> None:
    (place / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    (place / "schemathesis.toml").write_text(CONFIGURATION, encoding="utf-8")
    (place / "media_types.py").write_text(HOOKS, encoding="utf-8")
    done = subprocess.run(
        [
            *(program, "--config-file", "schemathesis.toml", "run", "openapi.json"),
            *("--url", server.url, "--checks", ",".join(checks), "--phases", phases),
            *("--seed", "1", "--max-examples", str(examples)),
            *("--request-timeout", "30", "--no-color", "--continue-on-failure"),
        ],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place), "SCHEMATHESIS_HOOKS": "media_types"},
        capture_output=True,
        text=True,
        timeout=100 if examples == FEW else _LONGEST,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.healthy()


def test_the_server_answers_as_its_document_says(
    garden: Server, schemathesis: str, tmp_path: Path
) -> None:
    document = without_forms(garden.http("GET", "/openapi.json").json)
    # Going through everything takes its time, and both engines serve the same code.
    phases = THOROUGH if "Envoy" in garden.log else "examples,fuzzing"
    checks = (*ANSWERS, *REQUESTS)
    run(schemathesis, tmp_path, garden, document, checks=checks, phases=phases)


@pytest.mark.parametrize("garden", ["envoy"], indirect=True)
def test_the_server_answers_forms_as_its_document_says(
    garden: Server, schemathesis: str, tmp_path: Path
) -> None:
    """What two parts of a form say of one field cannot be described, so that is not checked."""
    document = of_forms(garden.http("GET", "/openapi.json").json)
    run(schemathesis, tmp_path, garden, document, checks=ANSWERS, phases="examples,fuzzing")


@pytest.mark.long
@pytest.mark.timeout(2 * _LONGEST)
def test_the_server_answers_many_requests_as_its_document_says(
    garden: Server, schemathesis: str, tmp_path: Path
) -> None:
    document = garden.http("GET", "/openapi.json").json
    plain, forms = tmp_path / "plain", tmp_path / "forms"
    plain.mkdir()
    forms.mkdir()
    run(
        schemathesis,
        plain,
        garden,
        without_forms(document),
        checks=(*ANSWERS, *REQUESTS),
        phases=THOROUGH,
        examples=MANY,
    )
    run(
        schemathesis,
        forms,
        garden,
        of_forms(document),
        checks=ANSWERS,
        phases="examples,coverage,fuzzing",
        examples=MANY,
    )
