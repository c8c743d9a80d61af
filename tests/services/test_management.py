"""Models of a running server are listed, loaded, changed and removed over REST and gRPC."""

import shutil
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from kitfox.data import codec_of
from kitfox.interfaces.runtime.management import (
    ListModelsRequest,
    ListModelsResponse,
    ModelDescription,
    ModelIdRequest,
)
from kitfox.services.model_mesh import model_mesh_methods
from tests.services.managed import MANAGE, ManagedServer, config_of, managed
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedServer]:
    with managed(tmp_path_factory.mktemp("managed")) as running:
        yield running


def listed(server: ManagedServer, query: str = "") -> list[str]:
    answer = server.http("GET", f"{MANAGE}?{query}")
    assert answer.status == 200, answer.body
    return [model["model_id"] for model in answer.json["models"]]


def test_models_are_listed_a_page_at_a_time(server: ManagedServer) -> None:
    for name in ("page-a", "page-b", "page-c"):
        server.write(name, "Hi")
    assert listed(server, "filter=page-") == ["page-a", "page-b", "page-c"]
    assert listed(server, "filter=*-b") == ["page-b"]
    assert listed(server, "filter=page-&state=ready") == []
    server.greeting("page-b")
    assert listed(server, "filter=page-&state=ready") == ["page-b"]
    assert listed(server, "filter=page-&state=available") == ["page-a", "page-c"]
    answer = server.http("GET", f"{MANAGE}?filter=page-&page_size=2").json
    assert [model["model_id"] for model in answer["models"]] == ["page-a", "page-b"]
    token = answer["next_page_token"]
    answer = server.http("GET", f"{MANAGE}?filter=page-&page_size=2&page_token={token}").json
    assert [model["model_id"] for model in answer["models"]] == ["page-c"]
    assert answer["next_page_token"] is None
    assert server.http("GET", f"{MANAGE}?state=asleep").status == 400
    assert server.http("GET", f"{MANAGE}?page_size=0").status == 200
    assert server.http("GET", f"{MANAGE}?page_size=1001").status == 400


def test_all_versions_are_listed_when_asked_for(server: ManagedServer) -> None:
    for model in ("wolf@1", "wolf@2", "wolf@3", "wolf-cub", "wolf.cub@1"):
        assert server.deploy(model, "Hi").status == 200
    names = ["wolf", "wolf-cub", "wolf.cub"]
    assert listed(server, "filter=wolf") == names
    assert listed(server, "filter=wolf&all=false") == names
    everything = ["wolf", "wolf@2", "wolf@3", "wolf-cub", "wolf.cub"]
    assert listed(server, "filter=wolf&all=true") == everything
    assert listed(server, "filter=wolf@&all=true") == ["wolf@2", "wolf@3"]
    for size in (1, 2, 3):
        found: list[str] = []
        token: str | None = ""
        while token is not None:
            query = f"filter=wolf&all=true&page_size={size}&page_token={token}"
            answer = server.http("GET", f"{MANAGE}?{query}").json
            found += [model["model_id"] for model in answer["models"]]
            token = answer["next_page_token"]
        assert found == everything
    assert server.manage("promote", name="wolf", version="3").status == 200
    assert listed(server, "filter=wolf@&all=true") == ["wolf@1", "wolf@2"]
    assert server.greeting("wolf@2") == "Hi"
    assert listed(server, "filter=wolf@&state=ready") == ["wolf@2"]


def test_a_model_is_loaded_shown_and_unloaded(server: ManagedServer) -> None:
    server.write("shown", "Hi")
    before = server.show("shown").json
    assert (before["state"], before["calls"]) == ("available", None)
    assert before["module_name"] == "HelloWorldModule"
    loaded = server.manage("load", model_id="shown").json
    assert loaded["state"] == "ready"
    assert loaded["tasks"] == ["HelloWorldTask"]
    assert loaded["size"] == len(config_of("Hi"))
    assert loaded["path"].endswith("/models/shown")
    assert loaded["in_flight"] == loaded["queue_length"] == 0
    assert loaded["load_seconds"] > 0
    assert loaded["loaded_at"]
    assert server.greeting("shown") == "Hi"
    assert server.show("shown").json["calls"] == 1
    assert server.manage("unload", model_id="shown").json["state"] == "available"
    assert server.manage("unload", model_id="shown").status == 200
    assert server.greeting("shown") == "Hi"  # loaded again by the request


def test_a_model_that_does_not_load_says_why(server: ManagedServer) -> None:
    server.write("broken", "Hi", warm_up=[{"text_input": {"name": ""}}])
    assert server.ask("broken").status == 500
    shown = server.show("broken").json
    assert shown["state"] == "failed"
    assert "warm_up[0]: text_input.name: expected a name to greet" in shown["last_error"]
    assert any("ValueError" in line for line in shown["log"])
    (server.models / "hollow").mkdir()
    shown = server.show("hollow").json
    assert shown["state"] == "incomplete"
    assert "config.yml" in shown["last_error"]


def test_a_model_in_its_own_process_is_warmed_up_there(server: ManagedServer) -> None:
    for name, word in (("apart", "World"), ("apart-broken", "")):
        warm_up = [{"text_input": {"name": word}}]
        server.write(name, "Hi", execution={"mode": "process"}, warm_up=warm_up)
    assert server.greeting("apart") == "Hi"
    assert server.show("apart").json["calls"] == 1
    assert "warm_up[0]: text_input.name: exp" in server.ask("apart-broken").json["details"]


def test_other_files_are_loaded_when_told(server: ManagedServer) -> None:
    server.write("renewed", "Old")
    assert server.greeting("renewed") == "Old"
    (server.models / "renewed" / "config.yml").write_text(config_of("New"))
    assert server.manage("reload", model_id="renewed").json["state"] == "ready"
    assert server.greeting("renewed") == "New"


def test_versions_are_promoted_and_rolled_back(server: ManagedServer) -> None:
    for version, greeting in (("1", "One"), ("2", "Two"), ("3", "Three")):
        assert server.deploy(f"fox@{version}", greeting).status == 200
    assert server.greeting("fox") == "One"
    assert server.greeting("fox@3") == "Three"
    promoted = server.manage("promote", name="fox", version="2").json
    assert (promoted["version"], promoted["versions"]) == ("2", ["1", "2", "3"])
    assert server.greeting("fox") == "Two"
    assert server.manage("roll-back", name="fox").json["version"] == "1"
    assert server.greeting("fox") == "One"
    assert server.manage("promote", name="fox", version="9").status == 404
    assert server.undeploy("fox").status == 200
    assert server.state("fox@3") == ""
    assert server.ask("fox@3").status == server.ask("fox").status == 404


def test_a_version_that_does_not_load_is_not_promoted(server: ManagedServer) -> None:
    server.deploy("hen@1", "One")
    server.deploy("hen@2", "Two", warm_up=[{"text_input": {"name": ""}}])
    assert server.greeting("hen") == "One"
    answer = server.manage("promote", name="hen", version="2")
    assert answer.status == 500
    assert "warm_up[0]" in answer.json["details"]
    shown = server.show("hen").json
    assert (shown["version"], shown["state"]) == ("1", "ready")
    assert "warm_up[0]" in shown["last_error"]
    assert server.greeting("hen") == "One"


def test_a_deployed_model_is_loaded_at_once(server: ManagedServer) -> None:
    assert server.deploy("quick", "Hi").json["loaded"] is False
    wait_for(lambda: server.state("quick") == "ready", what="the load")
    assert server.deploy("quick", "Hi").status == 409
    assert server.undeploy("quick").json == {"model_id": "quick"}
    assert not (server.models / "quick").exists()
    assert server.undeploy("quick").status == 404


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/passwd", "a/b", "a%00b", "x" * 300])
def test_names_that_are_none_are_refused(server: ManagedServer, name: str) -> None:
    assert server.show(name).status == 400
    assert server.undeploy(name).status == 400
    plain = name.replace("%00", "\0")
    for action in ("load", "unload", "reload"):
        assert server.manage(action, model_id=plain).status == 400
    assert server.manage("promote", name=plain, version="1").status == 400
    assert server.manage("promote", name="example", version=plain).status == 400
    assert server.manage("roll-back", name=plain).status == 400
    assert server.deploy(plain, "Hi").status == 400
    assert server.ask(plain).status == 400


@pytest.mark.parametrize("action", ["load", "unload", "reload"])
def test_an_unknown_model_is_not_found(server: ManagedServer, action: str) -> None:
    assert server.manage(action, model_id="nope").status == 404
    assert server.show("nope").status == 404


def test_a_model_of_this_process_has_nothing_in_quarantine(server: ManagedServer) -> None:
    server.greeting("example")
    answer = server.http("GET", f"{MANAGE}/quarantine?model_id=example")
    assert answer.json == {"requests": []}
    assert server.manage("quarantine/clear", model_id="example").json == {"cleared": 0}
    assert server.http("GET", f"{MANAGE}/quarantine?model_id=nope").status == 404


def test_grpc_says_the_same(server: ManagedServer) -> None:
    server.write("wired", "Hi")

    def call(name: str, request: Any, response: Any) -> Any:
        with server.channel() as channel:
            method: Any = channel.unary_unary(
                f"/kitfox.models.Models/{name}",
                request_serializer=lambda message: message.to_proto().SerializeToString(),
                response_deserializer=response.get_proto_class().FromString,
            )
            return method(request, timeout=60)

    shown = call("Load", ModelIdRequest(model_id="wired"), ModelDescription)
    assert (shown.state, list(shown.tasks)) == ("ready", ["HelloWorldTask"])
    request: Any = ListModelsRequest
    found = call("List", request(filter="wired"), ListModelsResponse)
    assert [model.model_id for model in found.models] == ["wired"]
    with pytest.raises(grpc.RpcError) as caught:
        call("Show", ModelIdRequest(model_id="nope"), ModelDescription)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("place", ["/etc", "../..", "client/models", "", "client/models/../x"])
def test_a_model_mesh_reaches_nothing_outside_the_models_folder(
    server: ManagedServer, place: str
) -> None:
    messages = {method.name: method for method in model_mesh_methods()}
    with server.channel() as channel:
        for name in ("loadModel", "predictModelSize"):
            request: Any = messages[name].request
            call: Any = channel.unary_unary(messages[name].path)
            data = codec_of(request).encode(request(modelId="mesh", modelPath=place))
            with pytest.raises(grpc.RpcError) as caught:
                call(data, timeout=60)
            error: Any = caught.value
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_what_is_removed_by_hand_is_no_longer_listed(server: ManagedServer) -> None:
    server.write("fleeting", "Hi")
    assert listed(server, "filter=fleeting") == ["fleeting"]
    shutil.rmtree(server.models / "fleeting")
    assert listed(server, "filter=fleeting") == []


def test_with_a_model_the_failures_of_its_versions_are_forgotten(server: ManagedServer) -> None:
    server.deploy("owl@1", "One")
    server.deploy("owl@2", "Two", warm_up=[{"text_input": {"name": ""}}])
    assert server.ask("owl@2").status == 500
    assert server.state("owl@2") == "failed"
    assert listed(server, "filter=owl&state=failed") == ["owl@2"]
    assert server.undeploy("owl").status == 200
    assert listed(server, "filter=owl") == []
    assert server.state("owl@2") == ""
    server.deploy("owl@2", "Two")
    assert server.state("owl@2") == "available"
    assert server.greeting("owl@2") == "Two"
