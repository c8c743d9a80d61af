"""The thread that begins quick calls, and the way back for those that turn out to be none.

Envoy's filter (`_express.c`) holds small requests of certain paths and queues them. This thread
takes them and has their endpoints begin them; what an endpoint does not begin goes on to pyvoy and
the event loop as if it had never been held. So does a call of which the model's part is done, but
whose answer is not a small one that went well: it is known again there by a header.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from kitfox import logs
from kitfox.config import Server
from kitfox.server.asgi import BY_NAME, Message, Scope, header
from kitfox.server.conversions import QUICK
from kitfox.server.quick_calls import QuickCall, QuickEndpoint

if TYPE_CHECKING:
    from kitfox.server._express import Held

__all__ = ["NOT_QUICK", "Express", "is_there"]

NOT_QUICK = frozenset({b"request-timeout", b"grpc-timeout", b"content-encoding", b"grpc-encoding"})
"""Headers of requests that are for the event loop: it keeps the time, and threads unpack."""

_MARK = b"kitfox-goes-on"
_PATIENCE_SECONDS = 10.0

log = logs.channel("SERVER")


def is_there() -> bool:
    """Whether Envoy's filter is there; it needs a C compiler when Kitfox is installed."""
    try:
        from kitfox.server import _express  # noqa: F401
    except ImportError:
        return False
    return True


class Express:
    """Begins calls of endpoints. Made and used on the event loop, where not said otherwise.

    Args:
        endpoints: What begins calls, by the path of a `POST`.
        settings: Where the limits are.
        at_first_request: Called in the thread, before the first of them.
    """

    def __init__(
        self,
        endpoints: Mapping[str, QuickEndpoint],
        settings: Server,
        at_first_request: Callable[[], object] | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._endpoints = endpoints
        self._header_size, self._header_count = settings.max_header_size, settings.max_headers
        self._at_first_request = at_first_request
        self._going_on: dict[bytes, QuickCall] = {}
        self._thread = Thread(target=self._run, name="kitfox-express", daemon=True)

    def start(self) -> None:
        """Has requests held."""
        from kitfox.server import _express

        paths = [path.encode("latin-1") for path in self._endpoints if path.isascii()]
        _express.hold(paths, list(NOT_QUICK), QUICK)
        self._thread.start()

    async def close(self) -> None:
        """Has no more requests held."""
        from kitfox.server import _express

        _express.close()
        await asyncio.to_thread(self._thread.join)

    def go_on(self, call: QuickCall) -> None:
        """Has the rest of a call done on the event loop. In any thread."""
        try:
            self.loop.call_soon_threadsafe(self._give_back, call)
        except RuntimeError:  # the event loop is closed: nobody is answered any more
            log.debug("A call was not over when the server was")

    def that_goes_on(self, scope: Scope) -> QuickCall | None:
        """The call of which a request is the rest, if it is one."""
        if not self._going_on:
            return None
        return self._going_on.pop(header(scope["headers"], _MARK), None)

    def _run(self) -> None:
        from kitfox.server import _express

        try:
            while (taken := _express.take()) is not None:
                if self._at_first_request is not None and taken:
                    first, self._at_first_request = self._at_first_request, None
                    first()
                for held in taken:
                    self._begin_or_give_back(held)
                # Not kept while there is nothing to do.
                taken = held = None  # type: ignore[assignment]
        except BaseException:  # nobody else would tell
            log.exception("Quick calls go the usual way from now on")
        finally:
            # Else requests would be held for ever.
            _express.close()

    def _begin_or_give_back(self, held: "Held") -> None:
        begun = False
        try:
            begun = self._begin(held)
        except BaseException:  # the others are still to be answered
            log.exception("A request was not begun")
        if not begun:
            with suppress(RuntimeError):  # it may have been answered before it went wrong
                held.give_back()

    def _begin(self, held: "Held") -> bool:
        headers = held.headers
        if len(headers) > self._header_count or held.size > self._header_size:
            return False
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": held.path,
            "query_string": b"",
            "headers": headers,
            BY_NAME: held.by_name,
        }
        return self._endpoints[held.path].begin(scope, held, self)

    def _give_back(self, call: QuickCall) -> None:
        if call.held.gone:
            self._answer_nobody(call)
            return
        # Nobody else can know it, so no client's header is one.
        mark = os.urandom(16).hex().encode()
        self._going_on[mark] = call
        call.held.give_back(_MARK, mark)
        self.loop.call_later(_PATIENCE_SECONDS, self._look_after, mark, False)

    def _look_after(self, mark: bytes, was_gone: bool) -> None:
        """Sees to a call that nobody has come back with: its client may be gone meanwhile."""
        call = self._going_on.get(mark)
        if call is None:
            return
        # Twice: it may have come back, to an event loop that has stood still.
        if not was_gone:
            self.loop.call_later(_PATIENCE_SECONDS, self._look_after, mark, call.held.gone)
            return
        del self._going_on[mark]
        self._answer_nobody(call)

    def _answer_nobody(self, call: QuickCall) -> None:
        """Has the end of a call noted and counted."""
        self.loop.create_task(call.answer(_gone, _to_nobody)).add_done_callback(_note_end)


async def _gone() -> Message:
    return {"type": "http.disconnect"}


async def _to_nobody(message: Message) -> None:
    raise OSError("the client is gone")


def _note_end(task: "asyncio.Task[None]") -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        # What went wrong with the call has been noted: this is an answer that could not be sent.
        log.debug("The client was gone before the answer: %s", error)
