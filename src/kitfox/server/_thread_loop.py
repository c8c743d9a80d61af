"""The event loop inside Envoy, which quick calls do without.

pyvoy brings each request to the event loop by a thread of its own, which gives
`call_soon_threadsafe` what starts the application, and later each piece of a body that was asked
for. The loop below has both done at once, in pyvoy's thread. There the application may begin a
`QuickCall`; else it yields once, and goes on here, on the event loop.

pyvoy's thread has all requests to hand over, and must not be kept.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from kitfox.server.asgi import Message, Receive

if TYPE_CHECKING:
    import uvloop

__all__ = ["Bringer", "HandsOver", "handing_over", "install"]

_MODULE = "_pyvoy.asgi"
_BEGINS, _BRINGS = "AppExecutor", "RecvFutureExecutor"


class Bringer(Protocol):
    """What is told a piece of a body, in whatever thread has it."""

    def set_result(self, message: Message, /) -> None:
        """Takes it. Raises nothing."""


class HandsOver(Protocol):
    """The event loop, for an application that pyvoy's thread has called."""

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> object:
        """See asyncio."""

    def create_task(self, coro: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """See asyncio."""

    def ask(self, receive: Receive, bringer: Bringer) -> bool:
        """Asks for a piece of the body, in pyvoy's thread; false if there is none."""

    def receiver(self, receive: Receive) -> Receive:
        """The same `receive` for the event loop."""


_handing: "HandsOver | None" = None


def handing_over() -> HandsOver | None:
    """The event loop, if an application is being called in pyvoy's thread; to be asked first."""
    return _handing


def install() -> None:
    """Has the next event loop that uvloop makes be the one described here, and no other."""
    import uvloop

    original = uvloop.new_event_loop

    def make() -> "uvloop.Loop":
        uvloop.new_event_loop = original
        return _loop_class()()

    uvloop.new_event_loop = make


class _Receive:
    """An application's `receive` on the event loop: what it gives is settled by pyvoy's thread."""

    __slots__ = ("_loop", "_receive")

    def __init__(self, loop: Any, receive: Receive) -> None:
        self._loop = loop
        self._receive = receive

    def __call__(self) -> Awaitable[Message]:
        loop = self._loop
        loop.receives = True
        try:
            return self._receive()
        finally:
            loop.receives = False


class _Received(asyncio.Future[Any]):
    """A future of the event loop that pyvoy's thread may settle."""

    def set_result(self, result: Any) -> None:
        loop: Any = self.get_loop()
        if loop.thread == get_ident():
            self._settle(result)
        else:
            loop.call_soon_threadsafe(self._settle, result)

    def _settle(self, result: Any) -> None:
        if not self.done():  # else nobody waits for it any more
            super().set_result(result)


class _Begun:
    """What pyvoy gets for a task: one that is made on the event loop, or none at all."""

    __slots__ = ("_callback", "_coroutine", "_error", "_loop")

    def __init__(self, loop: Any, coroutine: Coroutine[Any, Any, Any] | None) -> None:
        self._loop = loop
        self._coroutine = coroutine
        self._callback: Callable[[Any], object] | None = None
        self._error: BaseException | None = None

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Has a function called if the application fails. Called once."""
        self._callback = callback
        if self._error is not None:
            callback(self)

    def result(self) -> None:
        """Raises what the application failed with."""
        if self._error is not None:
            raise self._error

    def go_on(self) -> None:
        """Makes the task. On the event loop."""
        coroutine, self._coroutine = self._coroutine, None
        self._loop.create_task(coroutine).add_done_callback(self._end)

    def fail(self, error: BaseException) -> None:
        """The application has failed."""
        self._error = error
        if self._callback is not None:
            self._callback(self)

    def _end(self, task: "asyncio.Task[Any]") -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self.fail(error)


def _loop_class() -> "type[uvloop.Loop]":
    import uvloop

    class ThreadLoop(uvloop.Loop):
        """See this file's text."""

        def __init__(self) -> None:
            self.thread = get_ident()
            self.receives = False
            self.at_first_request: Callable[[], object] | None = None
            """Called once, in pyvoy's thread."""
            self._pyvoys_thread = 0
            self._bringer: Bringer | None = None
            self._kinds: dict[type, bool] = {}
            self._nothing = _Begun(self, None)

        def call_soon_threadsafe(  # type: ignore[override]
            self, callback: Callable[..., object], *args: Any, context: Any = None
        ) -> Any:
            kind = type(callback)
            is_pyvoys = self._kinds.get(kind)
            if is_pyvoys is None:
                named = kind.__module__ == _MODULE and kind.__name__ in (_BEGINS, _BRINGS)
                is_pyvoys = self._kinds[kind] = named
            if not is_pyvoys:
                return super().call_soon_threadsafe(callback, *args, context=context)
            self._pyvoys_thread = get_ident()
            try:
                if self.at_first_request is not None:
                    first, self.at_first_request = self.at_first_request, None
                    first()
                return callback()
            except BaseException:  # noqa: BLE001 -- an error there would end all handing over
                trouble = {"message": "A request was not handed over", "exception": sys.exception()}
                super().call_soon_threadsafe(self.call_exception_handler, trouble)
            finally:
                self._pyvoys_thread = 0
            return None

        def ask(self, receive: Receive, bringer: Bringer) -> bool:
            self._bringer = bringer
            receive()
            if self._bringer is None:
                return True
            self._bringer = None
            return False

        def receiver(self, receive: Receive) -> Receive:
            return _Receive(self, receive)

        def create_future(self) -> Any:
            if self._bringer is not None and self._pyvoys_thread == get_ident():
                bringer, self._bringer = self._bringer, None
                return bringer
            return _Received(loop=self) if self.receives else super().create_future()

        def create_task(self, coro: Any, **options: Any) -> Any:
            global _handing
            if self._pyvoys_thread != get_ident():
                return super().create_task(coro, **options)
            _handing = self
            try:
                coro.send(None)
            except StopIteration:
                return self._nothing
            except BaseException as err:  # noqa: BLE001 -- pyvoy asks for it
                begun = _Begun(self, None)
                begun.fail(err)
                return begun
            finally:
                _handing = None
            begun = _Begun(self, coro)
            self.call_soon_threadsafe(begun.go_on)
            return begun

    return ThreadLoop
