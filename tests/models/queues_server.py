"""A server of `queues_project` with settings of a test, and calls of one line."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # it has no types
from grpc_status import rpc_status  # type: ignore[import-untyped] # as above

from tests.conftest import Answer, Server

__all__ = ["MANAGE", "PLAIN", "QueuesServer", "queues_server"]

PROJECT = Path(__file__).with_name("queues_project")
MANAGE = "/api/v1/management/models"
PLAIN = "70000000-0000-4000-8000-000000000011"
"""The module that answers call by call."""


class QueuesServer(Server):
    """A server of the library."""

    @property
    def models(self) -> Path:
        return self.project / "models"

    def add(self, model: str, *, size: int = 0, **files: str) -> Path:
        """Puts a model into the models folder, whole."""
        return write_model(self.models, model, size=size, **files)

    def say(self, model: str, text: str = "hello") -> Answer:
        return self.http("POST", "/api/v1/task/say", {"model_id": model, "inputs": text})

    def say_wrong(self, model: str) -> "tuple[grpc.StatusCode, str, float | None]":
        """How a call over gRPC fails: code, details, and in how many seconds to come again."""
        with self.channel() as channel:
            method: Any = channel.unary_unary("/caikit.runtime.Queues.QueuesService/SayTaskPredict")
            try:
                method(b"\x0a\x01x", metadata=[("mm-model-id", model)], timeout=60)
            except grpc.RpcError as error:
                failed: Any = error
        status = rpc_status.from_call(failed)
        retry = error_details_pb2.RetryInfo()
        told = status is not None and status.details[0].Unpack(retry)
        seconds = retry.retry_delay.ToMilliseconds() / 1000 if told else None
        return failed.code(), failed.details(), seconds

    def show(self, model: str) -> Answer:
        return self.http("GET", f"{MANAGE}/show?model_id={model}")

    def listed(self, query: str = "") -> list[str]:
        answer = self.http("GET", f"{MANAGE}?{query}")
        assert answer.status == 200, answer.body
        return [model["model_id"] for model in answer.json["models"]]

    def manage(self, action: str, model: str) -> Answer:
        return self.http("POST", f"{MANAGE}/{action}", {"model_id": model})


def write_model(root: Path, name: str, *, size: int = 0, **files: str) -> Path:
    """A model's folder, complete before it is in its place."""
    partial = root / f".{name}.partial"
    partial.mkdir(parents=True)
    (partial / "config.yml").write_text(yaml.safe_dump({"module_id": PLAIN}))
    if size:
        (partial / "weights.bin").write_bytes(b"w" * size)
    for file, text in files.items():
        (partial / file).write_text(text)
    return partial.rename(root / name)


@contextmanager
def queues_server(
    folder: Path, runtime: dict[str, Any] | None = None, **models: Any
) -> Iterator[QueuesServer]:
    """A running server; it must end in good order.

    Args:
        folder: Where the project is copied to.
        runtime: What its configuration says beside, in the part `runtime`.
        models: In the part `models`.
    """
    project = folder / PROJECT.name
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    server = QueuesServer(project)
    config = yaml.safe_load(server.config.read_text())
    config["runtime"] |= {"lazy_load_local_models": True, "metrics": {"enabled": False}}
    config["runtime"] |= runtime or {}
    config["models"] |= models
    server.config.write_text(yaml.safe_dump(config))
    try:
        server.start()
        yield server
        assert server.stop() == 0, server.log
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
