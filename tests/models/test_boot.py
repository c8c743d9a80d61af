"""What is loaded when a server starts, and whether the start waits for it."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.waiting import wait_for

PROJECT = Path(__file__).with_name("queues_project")
MANAGE = "/api/v1/management/models"


@pytest.fixture
def make(tmp_path: Path, make_server: Callable[..., Server]) -> Callable[..., Server]:
    """Makes a server of two models, of which one, `late`, is not loaded before its gate opens."""

    def made(**settings: bool) -> Server:
        project = tmp_path / "project" / "caikit_template"
        ignore = shutil.ignore_patterns("__pycache__", "mortal", "batched", "quick", "apart")
        shutil.copytree(PROJECT, project, ignore=ignore)
        shutil.copytree(project / "models" / "stuck", project / "models" / "late")
        (project / "models" / "late" / "closed").touch()
        named = {f"RUNTIME_{name.upper()}": str(value).lower() for name, value in settings.items()}
        return make_server(**named)

    return made


def open_gate(server: Server) -> None:
    (server.project / "models" / "late" / "closed").unlink()


def state(server: Server, model: str) -> Any:
    return server.http("GET", f"{MANAGE}/show?model_id={model}").json["state"]


def say(server: Server, model: str) -> int:
    body = {"model_id": model, "inputs": "hello"}
    return server.http("POST", "/api/v1/task/say", body).status


def test_a_start_waits_for_the_models_that_are_there(make: Callable[..., Server]) -> None:
    server = make(wait_for_initial_model_loads=True)
    process = server.launch()
    wait_for(lambda: "Loaded model stuck" in server.log, what="the other model")
    assert process.poll() is None
    with pytest.raises(OSError, match="refused"):
        server.http("GET", "/health")
    open_gate(server)
    wait_for(server.healthy, what="the server")
    assert [state(server, name) for name in ("late", "stuck")] == ["ready", "ready"]
    assert server.stop() == 0


def test_a_start_need_not_wait(make: Callable[..., Server]) -> None:
    server = make(wait_for_initial_model_loads=False).start()
    wait_for(lambda: state(server, "late") == "loading", what="the load that waits")
    wait_for(lambda: state(server, "stuck") == "ready", what="the other model")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(say, server, "late")
        assert say(server, "stuck") == 200
        assert not waiting.done()
        open_gate(server)
        assert waiting.result() == 200
    assert state(server, "late") == "ready"
    assert server.stop() == 0


def test_a_start_need_load_nothing(make: Callable[..., Server]) -> None:
    server = make(load_new_local_models=False, lazy_load_local_models=True).start()
    assert [state(server, name) for name in ("late", "stuck")] == ["available", "available"]
    assert say(server, "stuck") == 200
    assert [state(server, name) for name in ("late", "stuck")] == ["available", "ready"]
    assert server.stop() == 0
