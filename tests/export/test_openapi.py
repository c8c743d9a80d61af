"""The OpenAPI document: valid, complete, and of one mind with the server about bodies."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from kitfox.data import DataObjectBase, codec_of
from kitfox.errors import ValidationError
from kitfox.export import library_info, openapi_document
from kitfox.services import BodyStyle, MethodTable

SHAPE = "exportlab.data_model.Shape"


@pytest.fixture(scope="module")
def document(table: MethodTable) -> dict[str, Any]:
    return openapi_document(table, info=library_info("exportlab", version="1.2.3"), multipart=True)


def at(document: dict[str, Any], *path: str) -> Any:
    """What stands at a path, with references followed."""
    found: Any = document
    for part in path:
        found = found[part]
        while "$ref" in found:
            found = resolve(document, found["$ref"])
    return found


def resolve(document: dict[str, Any], reference: str) -> Any:
    assert reference.startswith("#/"), reference
    found: Any = document
    for part in reference[2:].split("/"):
        found = found[part]
    return found


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def body(document: dict[str, Any], path: str, kind: str = "application/json") -> Any:
    return at(document, "paths", path, "post", "requestBody", "content", kind, "schema")


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(json.loads(json.dumps(document)))


def test_every_reference_leads_somewhere_and_every_component_is_used(
    document: dict[str, Any],
) -> None:
    used = set(references(document))
    for reference in used:
        resolve(document, reference)
    assert used == {
        f"#/components/{kind}/{name}"
        for kind, items in document["components"].items()
        for name in items
    }


def test_it_is_headed_by_the_library(document: dict[str, Any]) -> None:
    assert document["info"] == {
        "title": "Exportlab",
        "description": "A library with every kind of field, and methods of every kind but client "
        "streams.",
        "version": "1.2.3",
    }


def test_it_has_the_visible_routes_of_the_table_and_health(
    table: MethodTable, document: dict[str, Any]
) -> None:
    routes = {
        (method.route.path, method.route.verb.lower())
        for method in table
        if method.route is not None and "/task/hidden" not in method.route.path
    }
    found = {(path, verb) for path, verbs in document["paths"].items() for verb in verbs}
    assert found == routes | {("/health", "get")}


def test_operations_are_named_after_their_rpcs_and_no_two_alike(document: dict[str, Any]) -> None:
    names = [item["operationId"] for verbs in document["paths"].values() for item in verbs.values()]
    assert "SketchTaskPredict" in names
    assert len(set(names)) == len(names)


def test_a_task_is_described_by_its_docstring_and_its_metadata(document: dict[str, Any]) -> None:
    sketch = at(document, "paths", "/api/v1/task/sketch", "post")
    assert sketch["summary"] == "Draws a shape."
    assert sketch["description"] == "Draws a shape.\n\nWith care."
    send = at(document, "paths", "/api/v1/task/send", "post")
    assert (send["summary"], send["tags"]) == ("Sends", ["mail"])


def test_a_single_required_parameter_is_the_inputs(document: dict[str, Any]) -> None:
    schema = body(document, "/api/v1/task/sketch")
    assert schema["title"] == "caikit.http.SketchTask.SketchTaskRequestHttpRequest"
    assert schema["properties"]["inputs"] == {"$ref": "#/components/schemas/Shape"}
    assert schema["required"] == ["inputs", "model_id"]
    assert schema["additionalProperties"] is False
    options = at(schema | document, "properties", "parameters")
    assert set(options["properties"]) == {"scale", "either", "lists", "colour"}
    assert "required" not in options


def test_several_required_parameters_are_an_object(document: dict[str, Any]) -> None:
    schema = body(document, "/api/v1/task/pair")
    inputs = at(schema | document, "properties", "inputs")
    assert inputs["title"] == "caikit.http.PairTask.PairTaskRequestInputs"
    assert inputs["required"] == ["left", "right"]
    assert schema["required"] == ["inputs", "parameters", "model_id"]


def test_a_method_without_other_parameters_has_no_property_for_them(
    document: dict[str, Any],
) -> None:
    assert set(body(document, "/api/v1/task/send")["properties"]) == {"inputs", "model_id"}


def test_a_form_has_bytes_and_files_as_parts_of_their_own(document: dict[str, Any]) -> None:
    kind = "multipart/form-data"
    binary = {"type": "string", "format": "binary"}
    sketch = body(document, "/api/v1/task/sketch", kind)["properties"]
    assert sketch["inputs.scalars.raw"] == binary
    assert sketch["inputs.raws"] == {"type": "array", "items": binary}
    assert body(document, "/api/v1/task/send", kind)["properties"]["inputs"] == binary
    deploy = body(document, "/management/models", kind)["properties"]
    assert deploy["model_files"] == {"type": "array", "items": binary}


def test_a_server_can_offer_json_only(table: MethodTable) -> None:
    document = openapi_document(table, info=library_info("exportlab"))
    assert "multipart/form-data" not in json.dumps(document)


def test_a_stream_answers_with_events(document: dict[str, Any]) -> None:
    path = "/api/v1/task/server-streaming-sketch"
    content = at(document, "paths", path, "post", "responses", "200", "content")
    assert list(content) == ["text/event-stream"]
    assert at(document | content, "text/event-stream", "schema")["title"].endswith(".Point")


def test_query_parameters_are_required_unless_they_are_lists(document: dict[str, Any]) -> None:
    (status,) = at(document, "paths", "/management/trainings", "get", "parameters")
    assert (status["name"], status["in"], status["required"]) == ("training_id", "query", True)
    (models,) = at(document, "paths", "/info/models", "get", "parameters")
    assert (models["name"], models["required"]) == ("model_ids", False)
    assert models["schema"]["items"] == {"type": "string"}
    assert "parameters" not in at(document, "paths", "/info/version", "get")


def test_errors_have_bodies(document: dict[str, Any]) -> None:
    responses = at(document, "paths", "/api/v1/task/sketch", "post", "responses")
    assert {"400", "404", "415", "422", "429", "500", "503"} < set(responses)
    for code, properties in (
        ("404", {"details", "code", "id"}),
        ("415", {"detail"}),
        ("422", {"details", "additional_info", "code", "id"}),
    ):
        schema = at(document, "paths", "/api/v1/task/sketch", "post", "responses", code)
        schema = at(document | schema["content"], "application/json", "schema")
        assert set(schema["properties"]) == properties


def test_a_class_with_one_form_has_one_component(document: dict[str, Any]) -> None:
    names = set(document["components"]["schemas"])
    assert {"Point", "Shape", "Shape-Output", "Scalars", "Scalars-Output"} <= names
    assert "Point-Output" not in names
    assert "TrainingStatusResponse" in names  # an answer only


def test_classes_of_one_simple_name_are_told_apart(table: MethodTable) -> None:
    """The document has a `ValidationError` of its own; and packages may share a name."""
    from kitfox.data import make_dataobject
    from kitfox.services import Method, Purpose, Route

    one, two, three = (
        make_dataobject(name=name, annotations={"text": str}, package=f"twins.{package}")
        for package, name in (("a", "Twin"), ("b", "Twin"), ("c", "ValidationError"))
    )
    rows = [
        Method(
            service="twins.Service",
            name=f"Do{index}",
            request=request,
            response=response,
            purpose=Purpose.TRAINING,
            route=Route(verb="POST", path=f"/{index}", style=BodyStyle.MESSAGE),
        )
        for index, (request, response) in enumerate([(one, two), (two, three)])
    ]
    document = openapi_document(
        MethodTable(rows), info={"title": "Twins", "description": "", "version": ""}
    )
    validate(json.loads(json.dumps(document)))
    schemas = document["components"]["schemas"]
    assert schemas["Twin"]["title"] == "twins.a.Twin"
    assert schemas["twins.b.Twin"]["title"] == "twins.b.Twin"
    assert schemas["twins.c.ValidationError"]["title"] == "twins.c.ValidationError"


BODIES: list[tuple[str, Any, bool]] = [
    ("a union by its value", {"outline": {"x": 1, "y": 2}}, True),
    ("a union with a list", {"outline": ["a"]}, True),
    ("a union with a list of others", {"outline": [1, 2]}, True),
    ("a union with the wrong value", {"outline": True}, False),
    ("a union by its member", {"outline_point": {"x": 1, "y": 2}}, False),
    ("an enum by name", {"colour": "RED"}, True),
    ("an enum by another name", {"colour": "CRIMSON"}, True),
    ("an enum by an unknown name", {"colour": "GREEN"}, False),
    ("null where there is Optional", {"note": None, "tags": None, "colour": None}, True),
    ("null where there is not", {"points": None}, False),
    ("maps", {"labels": {"a": "b"}, "places": {"-3": {"x": 1}}}, True),
    ("a map with a wrong key", {"places": {"a": {"x": 1}}}, False),
    ("the class in itself", {"parts": [{"parts": [{}]}]}, True),
    ("an unknown field", {"parts": [{"sides": 3}]}, False),
    ("any JSON", {"scalars": {"anything": {"a": [1, None, {"b": []}]}}}, True),
    ("JSON that is no object", {"scalars": {"anything": [1]}}, False),
    ("base64", {"raws": ["AAE="]}, True),
    ("a natural number", {"scalars": {"small_natural": 4_294_967_295}}, True),
    ("a number out of range", {"scalars": {"small_natural": -1}}, False),
    ("a number too large", {"scalars": {"large_natural": 2**64}}, False),
    ("a fraction for a whole number", {"scalars": {"whole": 1.5}}, False),
    ("a time", {"scalars": {"when": "2026-01-02T03:04:05Z"}}, True),
]


@pytest.mark.parametrize(
    ("value", "accepted"), [item[1:] for item in BODIES], ids=[item[0] for item in BODIES]
)
def test_schema_and_server_agree_on_a_request(
    document: dict[str, Any], value: Any, *, accepted: bool
) -> None:
    validator = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Shape", **document})
    codec = codec_of(DataObjectBase.get_class_for_name(SHAPE))
    assert validator.is_valid(value) is accepted
    if accepted:
        codec.decode_json(json.dumps(value))
    else:
        with pytest.raises(ValidationError):
            codec.decode_json(json.dumps(value))
