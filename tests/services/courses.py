"""The library of courses, its server, and how to call it."""

import json
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from kitfox.data import DataObjectBase
from tests.conftest import Answer, Server
from tests.waiting import wait_for

__all__ = ["MANAGE", "CoursesServer", "Hold", "courses"]

PROJECT = Path(__file__).with_name("courses_project")
MANAGE = "/api/v1/management/trainings"
TRAIN = "/api/v1/ReciteTaskPupilTrain"
SERVICE = "/kitfox.trainings.Trainings"
Message = TypeVar("Message", bound=DataObjectBase)


class CoursesServer(Server):
    """A server of the library, with one-line calls."""

    # -- over REST

    def train(
        self,
        *lines: str,
        name: str = "",
        headers: dict[str, str] | None = None,
        **parameters: Any,
    ) -> Answer:
        data = {"data_stream": {"data": [{"text": line} for line in lines]}}
        body = {"model_name": name, "parameters": {"lines": data, **parameters}}
        return self.http("POST", TRAIN, body, headers)

    def begin(self, *lines: str, **options: Any) -> str:
        """Starts a training and gives its id."""
        answer = self.train(*lines, **options)
        assert answer.status == 200, answer.body
        return str(answer.json["training_id"])

    def manage(self, action: str, **fields: Any) -> Answer:
        return self.http("POST", f"{MANAGE}/{action}", fields)

    def managed(self, action: str, **fields: Any) -> Any:
        answer = self.manage(action, **fields)
        assert answer.status == 200, answer.body
        return answer.json

    def show(self, training_id: str) -> Any:
        answer = self.http("GET", f"{MANAGE}/show?training_id={training_id}")
        assert answer.status == 200, answer.body
        return answer.json

    def cancel(self, training_id: str) -> None:
        answer = self.http("DELETE", f"/management/trainings?training_id={training_id}")
        assert answer.status == 200, answer.body

    def reaches(self, training_id: str, *states: str) -> Any:
        """What is known of a training when it is in one of these states."""

        def found() -> Any:
            shown = self.show(training_id)
            return shown if shown["state"] in states else None

        return wait_for(found, what=f"training {training_id} in {states}")

    def ended(self, training_id: str, state: str = "COMPLETED") -> Any:
        """What is known of a training at its end, which must be this one."""
        shown = self.reaches(training_id, "COMPLETED", "ERRORED", "CANCELED")
        assert shown["state"] == state, shown
        return shown

    def listed(self, query: str = "") -> list[str]:
        answer = self.http("GET", f"{MANAGE}?{query}")
        assert answer.status == 200, answer.body
        return [training["training_id"] for training in answer.json["trainings"]]

    def recite(self, model: str) -> Answer:
        body = {"inputs": {"text": ""}, "model_id": model}
        return self.http("POST", "/api/v1/task/recite", body)

    def recited(self, model: str) -> str:
        answer = self.recite(model)
        assert answer.status == 200, answer.body
        return str(answer.json["text"])

    def events(self, training_id: str, query: str = "") -> Iterator[dict[str, Any]]:
        """The events of a training as they come; an `error` event is the last of them."""
        url = f"{self.url}{MANAGE}/follow?training_id={training_id}{query}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    # -- over gRPC

    def call(self, name: str, request: DataObjectBase, response: type[Message]) -> Message:
        """One call of a method without streams."""
        with self.channel() as channel:
            method: Any = channel.unary_unary(f"{SERVICE}/{name}")
            answer: bytes = method(request.to_binary_buffer(), timeout=60)
        return response.from_binary_buffer(answer)

    def stream(
        self, name: str, request: DataObjectBase, response: type[Message]
    ) -> Iterator[Message]:
        """The answers of a method with a stream of them."""
        with self.channel() as channel:
            method: Any = channel.unary_stream(f"{SERVICE}/{name}")
            for answer in method(request.to_binary_buffer(), timeout=60):
                yield response.from_binary_buffer(answer)


class Hold:
    """A folder in which a training waits after its first step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def begun(self, times: int = 1) -> None:
        begun = self.folder / "begun"
        wait_for(lambda: begun.exists() and len(begun.read_text()) >= times, what="the first step")

    def release(self) -> None:
        (self.folder / "go").touch()

    def __str__(self) -> str:
        return str(self.folder)


@contextmanager
def courses(folder: Path, **environment: str) -> Iterator[CoursesServer]:
    """A running server of a copy of the library; it must end in good order."""
    project = folder / PROJECT.name
    if not project.exists():
        shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    server = CoursesServer(project, {"RUNTIME_METRICS_ENABLED": "false", **environment})
    try:
        yield server.start()  # type: ignore[misc]  # it returns itself
        assert server.stop() == 0, server.log
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
