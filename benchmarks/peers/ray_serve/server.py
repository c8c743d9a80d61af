"""Ray Serve, over HTTP and gRPC; its arguments are SUITE, HTTP_PORT, GRPC_PORT.

Batches of up to 32 within 10 ms for the model, a replica for each processor.
"""

import signal
import sys
from pathlib import Path
from typing import Any

import grpc
import ray
from google.protobuf.wrappers_pb2 import StringValue
from ray import serve
from ray.serve.config import HTTPOptions, gRPCOptions
from starlette.requests import Request
from starlette.responses import StreamingResponse

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent)]
import tasks


def add_to_server(servicer: Any, server: Any) -> None:
    """What generated code does: one method, a text in, a text out."""
    handlers = {
        "Hello": grpc.unary_unary_rpc_method_handler(
            servicer.Hello, StringValue.FromString, StringValue.SerializeToString
        )
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Ray", handlers)])


@serve.deployment(max_ongoing_requests=100)
class Hello:
    """Greets."""

    async def __call__(self, request: Request) -> dict[str, str]:
        """The work."""
        return {"greeting": tasks.hello((await request.json())["name"])}

    def Hello(self, message: StringValue) -> StringValue:  # noqa: N802 - the method's name
        """The work, over gRPC."""
        return StringValue(value=tasks.hello(message.value))


@serve.deployment(max_ongoing_requests=100)
class Stream:
    """Greets many times."""

    async def __call__(self, request: Request) -> StreamingResponse:
        """The work."""
        name = (await request.json())["name"]
        parts = (f'data: {{"greeting": "{text}"}}\n\n' for text in tasks.greetings(name))
        return StreamingResponse(parts, media_type="text/event-stream")


@serve.deployment(max_ongoing_requests=100)
class Echo:
    """Gives back what comes."""

    async def __call__(self, request: Request) -> Any:
        """The work."""
        return await request.json()


@serve.deployment(num_replicas=tasks.workers(), max_ongoing_requests=100)
class Embedding:
    """Embeds sentences."""

    def __init__(self) -> None:
        self.embedder = tasks.embedder()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.01)
    async def embed(self, sentences: list[str]) -> list[Any]:
        """A batch."""
        return [{"values": row.tolist()} for row in self.embedder.embed(sentences)]

    async def __call__(self, request: Request) -> Any:
        """The work."""
        return await self.embed((await request.json())["text"])


if __name__ == "__main__":
    suite, http_port, grpc_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ray.init(
        include_dashboard=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": f"{HERE}:{HERE.parent}"}},
    )
    serve.start(
        http_options=HTTPOptions(host="127.0.0.1", port=http_port),
        grpc_options=gRPCOptions(port=grpc_port, grpc_servicer_functions=["server.add_to_server"]),
    )
    deployments = {"hello": Hello, "stream": Stream, "echo": Echo, "embedding": Embedding}
    serve.run(deployments[suite].options(ray_actor_options={"num_cpus": 0.1}).bind(), name="bench")
    signal.pause()
