"""The ASGI application: finds the method that a request addresses and lets gRPC or REST answer.

`app` is what the data plane imports. It is empty until the lifespan's start-up, which reads the
configuration from the environment (`runtime.py` puts everything together) and reports to the
supervisor whether that worked.
"""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

from kitfox.config import Server
from kitfox.errors import KitfoxError
from kitfox.models import harmless
from kitfox.server import _status
from kitfox.server._code_pages import give_back_code, loaded_code
from kitfox.server._refusals import excess
from kitfox.server.answers import HeadersTooLarge, send_detail, send_failure, send_text
from kitfox.server.asgi import (
    BY_NAME,
    HeaderDict,
    Receive,
    Scope,
    Send,
    header,
    request_id_of,
)
from kitfox.server.cors import CrossOrigin
from kitfox.server.endpoints import Endpoints
from kitfox.server.express import Express, is_there
from kitfox.server.failure import as_kitfox_error
from kitfox.server.grpc import GrpcMethod, is_grpc
from kitfox.server.grpc_status import refuse, unimplemented
from kitfox.server.grpc_web import grpc_web, is_grpc_web
from kitfox.server.quick_calls import QuickEndpoint
from kitfox.server.rest import RestMethod
from kitfox.server.runtime import Runtime, start_runtime
from kitfox.server.unmatched import answer_unmatched, without_body
from kitfox.services.methods import Context

__all__ = ["Application", "app"]

_COLLECT_AFTER = 10_000


class Application:
    """Answers requests from a method table's endpoints.

    Args:
        endpoints: What answers.
        is_ready: Whether to report good health.
        cross_origin: The permissions for web pages of other origins, if any have one.
        takes_held: Whether Envoy holds requests for it; see `express`.
    """

    def __init__(
        self,
        *,
        endpoints: Endpoints | None = None,
        is_ready: Callable[[], bool] = lambda: False,
        cross_origin: CrossOrigin | None = None,
        takes_held: bool = False,
    ) -> None:
        self._rpcs = endpoints.rpcs if endpoints else {}
        self._routes = endpoints.routes if endpoints else {}
        self._is_ready = is_ready
        self._cross_origin = cross_origin
        self._takes_held = takes_held
        self._express: Express | None = None
        self._follow(Server())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            await self._answer(scope, receive, send)
        except (SystemExit, KeyboardInterrupt) as err:
            # The code of a data object may raise them, and they would end the event loop.
            context = Context(request_id=request_id_of(scope).decode())
            failure = as_kitfox_error(harmless(err), context, scope["path"])
            await _refuse(scope, send, failure, context.request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._express is not None:
            call = self._express.that_goes_on(scope)
            if call is not None:
                await call.answer(receive, send)
                return
        if self._cross_origin is not None:
            if await self._cross_origin.answer_preflight(scope, send):
                return
            send = self._cross_origin.wrap(scope, send)
        if scope["method"] == "HEAD":
            # Not every engine takes care of it, and a client would read on in the body.
            send = without_body(send)
        path, headers = scope["path"], scope["headers"]
        size = self._read_headers(scope)
        if size > self._header_size or len(headers) > self._header_count:
            text = excess(path, headers, self._header_size, self._header_count)
            await _refuse(scope, send, HeadersTooLarge(text), request_id_of(scope).decode())
            return
        endpoint = self._rpcs.get(path)
        if endpoint is not None:
            if scope["method"] == "POST":
                await endpoint(scope, receive, send)
            else:
                await answer_unmatched(scope, receive, send, {path: {"POST": endpoint}})
            return
        verbs = self._routes.get(path)
        if verbs is not None:
            endpoint = verbs.get(scope["method"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
            else:
                await answer_unmatched(scope, receive, send, self._routes)
        elif path == "/health":
            await self._health(scope, send)
        elif path == self._live_path:
            await send_text(send, 200, "OK", request_id=request_id_of(scope))
        elif is_grpc(content_type := header(headers, b"content-type")):
            await unimplemented(scope, send)
        elif is_grpc_web(content_type):
            await grpc_web(_unimplemented, scope, receive, send)
        else:
            await answer_unmatched(scope, receive, send, self._routes)

    def _quick_endpoints(self) -> dict[str, QuickEndpoint]:
        """The endpoints that can begin calls in any thread, by the path of a `POST`."""
        if self._cross_origin is not None:
            return {}  # whoever asks from elsewhere is looked at first
        posts = {path: verbs["POST"] for path, verbs in self._routes.items() if "POST" in verbs}
        return {
            path: found
            for path, found in {**posts, **self._rpcs}.items()
            if isinstance(found, (GrpcMethod, RestMethod)) and found.quick is not None
        }

    def _read_headers(self, scope: Scope) -> int:
        """Goes through a request's headers, so that each is found by its name; gives their size."""
        found: HeaderDict = {}
        size = len(scope["path"])
        for name, value in scope["headers"]:
            found[name] = value
            size += len(name) + len(value)
        scope[BY_NAME] = found
        return size

    def _follow(self, settings: Server) -> None:
        self._header_size, self._header_count = settings.max_header_size, settings.max_headers
        self._live_path = settings.live_path

    async def _health(self, scope: Scope, send: Send) -> None:
        request_id = request_id_of(scope)
        if scope["method"] != "GET":
            await send_detail(send, 405, "Method Not Allowed", allow="GET", request_id=request_id)
        elif self._is_ready():
            await send_text(send, 200, "OK", request_id=request_id)
        else:
            await send_text(send, 503, "NOT READY", request_id=request_id)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Starts the runtime, keeps it while the server runs, closes it."""
        await receive()
        asyncio.get_running_loop().set_exception_handler(_note)
        code = loaded_code()  # before threads load models, and libraries with them
        try:
            runtime = await start_runtime()
        except Exception as err:  # noqa: BLE001 -- whatever it was, the supervisor must know
            _status.report_failed(str(err) or type(err).__name__)
            await send({"type": "lifespan.startup.failed", "message": str(err)})
            return
        self._rpcs = runtime.endpoints.rpcs
        self._routes = runtime.endpoints.routes
        self._is_ready = lambda: runtime.ready
        self._cross_origin = runtime.cross_origin
        self._follow(runtime.settings)
        _status.on_drain(runtime.drain)
        _status.report_ready(runtime.details)
        _spare_the_collector()
        give_back_code(code)
        self._start_express(runtime)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._express is not None:
            await self._express.close()
        await runtime.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _start_express(self, runtime: Runtime) -> None:
        endpoints = self._quick_endpoints()
        if self._takes_held and endpoints and is_there():
            self._express = Express(endpoints, runtime.settings, runtime.at_first_request)
            self._express.start()


def _spare_the_collector() -> None:
    """Has the garbage collector look less often, and not at what stays.

    What answers calls leaves no cycles behind, but with some dozens of calls in flight the default
    limit of 700 new objects is passed all the time, and libraries are a million objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])


async def _refuse(scope: Scope, send: Send, failure: KitfoxError, request_id: str) -> None:
    if header(scope["headers"], b"content-type").startswith(b"application/grpc"):
        await refuse(scope, send, failure.code, failure.message)
    else:
        await send_failure(send, failure, request_id)


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the event loop does with a failure that nobody waits for."""
    handle = repr(context.get("handle"))
    if isinstance(context.get("exception"), asyncio.InvalidStateError) and any(
        name in handle for name in ("_pyvoy", "Future.set_exception", "Future.set_result")
    ):
        # pyvoy ends a `receive` or a `send` that a cancelled call no longer waits for.
        return
    loop.default_exception_handler(context)


async def _unimplemented(scope: Scope, receive: Receive, send: Send) -> None:
    await unimplemented(scope, send)


app = Application()
