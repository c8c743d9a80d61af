"""grpc.aio by itself on uvloop, the work on the event loop; its argument is PORT."""

import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import messages as m
import uvloop


async def many(request: Any, context: Any) -> AsyncIterator[Any]:
    """A stream."""
    for number in range(m.MESSAGES):
        yield m.Greeting(greeting=f"Hello {request.text} {number}")


def unary(function: Any, request: Any, answer: Any) -> Any:
    """A handler."""

    async def call(message: Any, context: Any) -> Any:
        return function(message)

    return grpc.unary_unary_rpc_method_handler(call, request.FromString, answer.SerializeToString)


class Handlers(grpc.GenericRpcHandler):
    """All methods."""

    methods = {  # noqa: RUF012
        m.HELLO: unary(m.hello, m.HelloWorldTaskRequest, m.Greeting),
        f"{m.SAMPLES}/EchoTaskPredict": unary(lambda text: m.Text(text=text.text), m.Text, m.Text),
        f"{m.SAMPLES}/PathTaskPredict": unary(m.copied, m.PathTaskRequest, m.Path),
        f"{m.SAMPLES}/ServerStreamingGreetTaskPredict": grpc.unary_stream_rpc_method_handler(
            many, m.Text.FromString, m.Greeting.SerializeToString
        ),
    }

    def service(self, details: Any) -> Any:
        """Finds a method."""
        return self.methods.get(details.method)


async def main() -> None:
    """Serves until killed."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Handlers()])
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    await server.wait_for_termination()


uvloop.run(main())
