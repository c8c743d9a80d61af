"""A server of the template whose models are managed, with one-line calls."""

import base64
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import TEMPLATE, Answer, Server, copy_template

__all__ = ["MANAGE", "ManagedServer", "config_of", "managed"]

MANAGE = "/api/v1/management/models"
MODULE = "00110203-0405-0607-0809-0a0b02dd0e0f"


def config_of(greeting: str, **values: Any) -> str:
    """The `config.yml` of a model that greets the world in its own way."""
    return yaml.safe_dump({"module_id": MODULE, "greetings": {"World": greeting}, **values})


class ManagedServer(Server):
    """A server of the template."""

    @property
    def models(self) -> Path:
        return self.project / "client" / "models"

    def ask(self, model: str) -> Answer:
        body = {"inputs": {"name": "World"}, "model_id": model}
        return self.http("POST", "/api/v1/task/hello-world", body)

    def greeting(self, model: str) -> str:
        answer = self.ask(model)
        assert answer.status == 200, answer.body
        return str(answer.json["greeting"]).removesuffix(" World")

    def deploy(self, model: str, greeting: str, **values: Any) -> Answer:
        text = config_of(greeting, **values).encode()
        file = {"filename": "config.yml", "data": base64.b64encode(text).decode()}
        body = {"model_id": model, "model_files": [file]}
        return self.http("POST", "/management/models", body)

    def undeploy(self, model: str) -> Answer:
        return self.http("DELETE", f"/management/models?model_id={model}")

    def show(self, model: str) -> Answer:
        return self.http("GET", f"{MANAGE}/show?model_id={model}")

    def state(self, model: str) -> str:
        answer = self.show(model)
        return str(answer.json["state"]) if answer.status == 200 else ""

    def manage(self, action: str, **fields: Any) -> Answer:
        return self.http("POST", f"{MANAGE}/{action}", fields)

    def write(self, model: str, greeting: str, **values: Any) -> None:
        """Puts a model into the folder, whole."""
        partial = self.models / f".{model}.{threading.get_ident()}.partial"
        partial.mkdir()
        (partial / "config.yml").write_text(config_of(greeting, **values))
        partial.rename(self.models / model)


@contextmanager
def managed(
    folder: Path, prepare: Callable[[Path], None] = lambda project: None, **environment: str
) -> Iterator[ManagedServer]:
    """A running server of a copy of the template; it must end in good order.

    Args:
        folder: Where the copy is made.
        prepare: Called with the copy before the server is started.
        environment: Of the server.
    """
    project = folder / TEMPLATE.name
    if not project.exists():
        copy_template(project)
        prepare(project)
    server = ManagedServer(project, {"RUNTIME_METRICS_ENABLED": "false", **environment})
    try:
        yield server.start()  # type: ignore[misc]  # it returns itself
        assert server.stop() == 0, server.log
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()


LONG = float(os.environ.get("KITFOX_MODELS_SECONDS", "3"))
"""Seconds that what takes a while is given: 3 in `make test`, 60 in its long form."""
