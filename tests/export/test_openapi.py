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
from kitfox.services import BodyStyle, MethodTable, Names, build_table

SHAPE = "exportlab.data_model.Shape"


@pytest.fixture(scope="module")
def document(table: MethodTable) -> dict[str, Any]:
    return openapi_document(table, info=library_info("exportlab", version="1.2.3"))


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


def parameters_of(document: dict[str, Any], body: dict[str, Any]) -> Any:
    """The parameters of a task, which may be left out or `null`."""
    reference, null = body["properties"]["parameters"]["anyOf"]
    assert null == {"type": "null"}
    return resolve(document, reference["$ref"])


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
    assert sketch["description"].startswith("Draws a shape.\n\nWith care.\n\n")
    send = at(document, "paths", "/api/v1/task/send", "post")
    assert (send["summary"], send["tags"]) == ("Sends", ["mail"])
    assert send["responses"]["402"] == {"description": "No stamp."}
    assert "200" in send["responses"]


def test_a_task_names_the_modules_whose_models_do_it(document: dict[str, Any]) -> None:
    sketch = at(document, "paths", "/api/v1/task/sketch", "post")
    assert sketch["description"].endswith("\n\nDone by models of:\n\n- `Sketcher` 1.2.3: Draws.")


def test_parameters_have_the_texts_and_defaults_of_methods(document: dict[str, Any]) -> None:
    schema = body(document, "/api/v1/task/sketch")
    assert schema["properties"]["inputs"]["description"] == "What is drawn."
    options = parameters_of(document, schema)["properties"]
    assert (options["scale"]["description"], options["scale"]["default"]) == ("How large.", 1.0)
    assert options["colour"]["default"] == "BLUE"
    assert "default" not in options["lists"]
    train = at(body(document, "/api/v1/SketchTaskSketcherTrain") | document, "properties")
    parameters = at(train | document, "parameters", "properties")
    assert parameters["samples"]["description"] == "Shapes to learn."
    rounds = parameters["rounds"]
    assert rounds["anyOf"] == [{"type": "integer", "format": "int64"}, {"type": "null"}]
    assert (rounds["default"], rounds["description"]) == (3, "How often.")
    operation = at(document, "paths", "/api/v1/SketchTaskSketcherTrain", "post")
    assert operation["description"] == "Learns shapes."


def test_fields_have_the_texts_of_their_classes(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Point"]["description"] == "A place."
    point = schemas["Point"]["properties"]
    assert (point["x"]["description"], point["y"]["description"]) == (
        "To the right.",
        "Upwards,\nnot down.",
    )
    assert schemas["Shape"]["properties"]["weight"]["description"] == "In kilograms."


def test_an_example_is_made_from_types_and_defaults(document: dict[str, Any]) -> None:
    content = at(document, "paths", "/api/v1/task/pair", "post", "requestBody", "content")
    assert content["application/json"]["example"] == {
        "model_id": "model",
        "inputs": {"left": "left", "right": "SGVsbG8="},
        "parameters": {"count": 1},
    }
    content = at(document, "paths", "/api/v1/task/sketch", "post", "requestBody", "content")
    example = content["application/json"]["example"]
    assert example["parameters"] == {"scale": 1.0, "either": 1, "colour": "BLUE"}
    assert example["inputs"]["weight"] == 1.5
    assert "parts" not in example["inputs"]  # shapes in the shape


def test_an_author_gives_examples(document: dict[str, Any]) -> None:
    content = at(document, "paths", "/api/v1/task/send", "post", "requestBody", "content")
    assert content["application/json"]["examples"] == {
        "example 1": {"value": {"model_id": "model", "inputs": "SGVsbG8="}},
        "example 2": {"value": {"model_id": "small", "inputs": ""}},
    }


def test_examples_name_the_models_that_can_do_it(table: MethodTable) -> None:
    from kitfox.modules import ModuleBase, module_registry

    models: dict[str, type[ModuleBase]] = {
        "sketches": module_registry()["0a0b0c0d"],
        "others": ModuleBase,
    }
    document = openapi_document(table, info=library_info("exportlab"), models=models)
    schema = body(document, "/api/v1/task/sketch")
    assert schema["properties"]["model_id"]["examples"] == ["sketches"]
    content = at(document, "paths", "/api/v1/task/sketch", "post", "requestBody", "content")
    assert content["application/json"]["example"]["model_id"] == "sketches"


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    checked = 0
    for verbs in document["paths"].values():
        for operation in verbs.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                examples = [item["value"] for item in content.get("examples", {}).values()]
                examples += [content["example"]] if "example" in content else []
                validator = jsonschema.Draft202012Validator({**document, **content["schema"]})
                for example in examples:
                    validator.validate(example)
                    checked += 1
    assert checked >= len(document["paths"]) // 2


def test_a_single_required_parameter_is_the_inputs(document: dict[str, Any]) -> None:
    schema = body(document, "/api/v1/task/sketch")
    assert schema["title"] == "caikit.http.SketchTask.SketchTaskRequestHttpRequest"
    assert schema["properties"]["inputs"]["$ref"] == "#/components/schemas/Shape"
    assert schema["required"] == ["inputs", "model_id"]
    assert schema["additionalProperties"] is False
    options = parameters_of(document, schema)
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


def test_a_stream_answers_with_events(document: dict[str, Any]) -> None:
    path = "/api/v1/task/server-streaming-sketch"
    content = at(document, "paths", path, "post", "responses", "200", "content")
    assert list(content) == ["text/event-stream", "application/x-ndjson"]
    line = content["application/x-ndjson"]["schema"]
    assert line == {"$ref": "#/components/schemas/Point-Output"}
    message, error = (
        item["properties"] for item in content["text/event-stream"]["schema"]["oneOf"]
    )
    assert (message["event"], message["data"]["contentSchema"]) == ({"const": "message"}, line)
    assert error["event"] == {"const": "error"}
    assert error["data"]["contentSchema"] == {"$ref": "#/components/schemas/HTTPError"}


def test_a_stream_of_requests_is_a_body_of_lines(document: dict[str, Any]) -> None:
    operation = at(document, "paths", "/api/v1/task/bidi-streaming-sketch", "post")
    content = operation["requestBody"]["content"]
    assert list(content) == ["application/x-ndjson"]
    line = at(document | content, "application/x-ndjson", "schema")
    assert line["properties"]["inputs"] == {"$ref": "#/components/schemas/Point"}
    # Named by the first line, or by the query.
    assert "model_id" in line["properties"]
    assert line["required"] == ["inputs"]
    (parameter,) = operation["parameters"]
    assert (parameter["name"], parameter["in"]) == ("model_id", "query")
    assert parameter["required"] is False


def test_query_parameters_are_required_unless_they_are_lists(document: dict[str, Any]) -> None:
    (status,) = at(document, "paths", "/management/trainings", "get", "parameters")
    assert (status["name"], status["in"], status["required"]) == ("training_id", "query", True)
    (models,) = at(document, "paths", "/info/models", "get", "parameters")
    assert (models["name"], models["required"]) == ("model_ids", False)
    assert models["schema"]["items"] == {"type": "string"}
    assert "parameters" not in at(document, "paths", "/info/version", "get")


def test_a_query_may_leave_out_what_is_optional_and_has_nothing_for_null() -> None:
    table = build_table("exportlab", names=Names.of("exportlab"), protocols=True)
    document = openapi_document(table, info=library_info("exportlab"))
    listing = at(document, "paths", "/api/v1/management/models", "get", "parameters")
    size = next(item for item in listing if item["name"] == "page_size")
    assert size["required"] is False
    assert size["schema"]["type"] == "integer"
    assert "null" not in json.dumps(listing)


def test_what_starts_something_links_to_what_asks_for_it(document: dict[str, Any]) -> None:
    start = at(document, "paths", "/api/v1/task/pair/job", "post", "responses", "200", "links")
    assert {name: link["operationId"] for name, link in start.items()} == {
        "status": "PairTaskGetPredictionJobStatus",
        "result": "PairTaskGetPredictionJobResult",
        "cancel": "PairTaskCancelPredictionJob",
    }
    assert start["status"]["parameters"] == {"prediction_id": "$response.body#/prediction_id"}
    train = at(document, "paths", "/api/v1/SketchTaskSketcherTrain", "post", "responses", "200")
    assert {name: link["operationId"] for name, link in train["links"].items()} == {
        "status": "GetTrainingStatus",
        "cancel": "CancelTraining",
    }
    pair = at(document, "paths", "/api/v1/task/pair", "post", "responses", "200")
    assert "links" not in pair


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
        # The first of two: a form is refused in a shorter way.
        schema = (
            at(document, *schema["anyOf"][0]["$ref"][2:].split("/")) if code == "422" else schema
        )
        assert set(schema["properties"]) == properties


def test_a_class_has_a_component_for_requests_and_one_for_answers(
    document: dict[str, Any],
) -> None:
    schemas = document["components"]["schemas"]
    assert {"Point", "Point-Output", "Shape", "Shape-Output"} <= set(schemas)
    assert "TrainingStatusResponse" in schemas  # an answer only
    assert "TrainingStatusResponse-Output" not in schemas
    assert schemas["Shape"]["properties"]["points"] == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/Point"},
        "title": "Points",
    }


def test_an_answer_has_every_field_but_those_of_unions(document: dict[str, Any]) -> None:
    shape = document["components"]["schemas"]["Shape-Output"]
    assert {"type": "null"} in shape["properties"]["points"]["anyOf"]
    assert set(shape["properties"]) - set(shape["required"]) == {
        *("outline_point", "outline_str_sequence", "outline_int_sequence", "named"),
    }


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
