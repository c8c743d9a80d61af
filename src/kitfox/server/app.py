"""The ASGI application: finds the method that a request addresses and lets gRPC or REST answer.

`app` is what the data plane imports. It is empty until the lifespan's start-up, which reads the
configuration from the environment (`runtime.py` puts everything together) and reports to the
supervisor whether that worked.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from kitfox.server import _status
from kitfox.server.asgi import Receive, Scope, Send, header
from kitfox.server.grpc import is_grpc, unimplemented
from kitfox.server.rest import send_detail, send_text
from kitfox.server.runtime import start_runtime

__all__ = ["Application", "app"]

Endpoint: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Application:
    """Answers requests from a method table's endpoints.

    Args:
        rpcs: Endpoints by gRPC path.
        routes: Endpoints by REST path and verb.
        is_ready: Whether to report good health.
    """

    def __init__(
        self,
        *,
        rpcs: dict[str, Endpoint] | None = None,
        routes: dict[str, dict[str, Endpoint]] | None = None,
        is_ready: Callable[[], bool] = lambda: False,
    ) -> None:
        self._rpcs = rpcs or {}
        self._routes = routes or {}
        self._is_ready = is_ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = scope["path"]
        endpoint = self._rpcs.get(path)
        if endpoint is not None and scope["method"] == "POST":
            await endpoint(scope, receive, send)
            return
        verbs = self._routes.get(path)
        if verbs is not None:
            endpoint = verbs.get(scope["method"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
            else:
                await send_detail(send, 405, "Method Not Allowed", allow=", ".join(sorted(verbs)))
        elif path == "/health":
            await self._health(scope, send)
        elif is_grpc(header(scope["headers"], b"content-type")):
            await unimplemented(send, path)
        else:
            await send_detail(send, 404, "Not Found")

    async def _health(self, scope: Scope, send: Send) -> None:
        if scope["method"] != "GET":
            await send_detail(send, 405, "Method Not Allowed", allow="GET")
        elif self._is_ready():
            await send_text(send, 200, "OK")
        else:
            await send_text(send, 503, "NOT READY")

    async def _live(self, receive: Receive, send: Send) -> None:
        """Starts the runtime, keeps it while the server runs, closes it."""
        await receive()
        try:
            runtime = await start_runtime()
        except Exception as err:  # noqa: BLE001 -- whatever it was, the supervisor must know
            _status.report_failed(str(err) or type(err).__name__)
            await send({"type": "lifespan.startup.failed", "message": str(err)})
            return
        self._rpcs = runtime.rpcs
        self._routes = runtime.routes
        self._is_ready = lambda: runtime.ready
        _status.on_drain(runtime.drain)
        _status.report_ready(runtime.details)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await runtime.close()
        await send({"type": "lifespan.shutdown.complete"})


app = Application()
