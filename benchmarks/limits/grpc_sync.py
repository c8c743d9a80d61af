"""grpcio by itself, synchronous; its argument is PORT."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import messages as m


def many(request: Any, context: Any) -> Iterator[Any]:
    """A stream."""
    for number in range(m.MESSAGES):
        yield m.Greeting(greeting=f"Hello {request.text} {number}")


def unary(function: Any, request: Any, answer: Any) -> Any:
    """A handler."""
    return grpc.unary_unary_rpc_method_handler(
        lambda message, context: function(message), request.FromString, answer.SerializeToString
    )


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


server = grpc.server(ThreadPoolExecutor(10))
server.add_generic_rpc_handlers([Handlers()])
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
