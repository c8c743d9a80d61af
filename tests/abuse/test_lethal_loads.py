"""A model that ends the server when it is loaded does not take the others along for good."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT, Server
from tests.waiting import wait_for

PROJECT = ROOT / "tests" / "models" / "queues_project"


def test_a_server_starts_without_the_model_that_ends_it(
    tmp_path: Path, make_server: Callable[..., Server]
) -> None:
    project = tmp_path / "project" / "caikit_template"
    shutil.copytree(
        PROJECT, project, ignore=shutil.ignore_patterns("__pycache__", "mortal", "apart")
    )
    lethal = project / "models" / "lethal"
    shutil.copytree(project / "models" / "stuck", lethal)
    (lethal / "lethal").touch()
    server = make_server(RUNTIME_LAZY_LOAD_POLL_PERIOD_SECONDS="0.2")
    for _ in range(2):
        assert server.launch().wait(60) == 1, server.log
    assert "Loaded model stuck" in server.log  # the second time the others came first
    server.start()
    assert say(server, "stuck") == (200, "hello")
    shown = server.http("GET", "/api/v1/management/models/show?model_id=lethal").json
    assert shown["state"] == "failed"
    assert shown["last_error"].startswith("the server ended each time that it was loaded")
    (lethal / "lethal").unlink()
    wait_for(lambda: say(server, "lethal") == (200, "hello"), what="the mended model")
    assert server.stop() == 0


def say(server: Server, model: str) -> tuple[int, str]:
    body = {"model_id": model, "inputs": "hello"}
    answer = server.http("POST", "/api/v1/task/say", body)
    return answer.status, answer.json.get("text") or answer.json["details"]
