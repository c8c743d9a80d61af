"""Calls that go from the thread that brings them to the model's, and from there to the client.

An event loop costs such a call two wake-ups of a thread more than its work does, which is most of
what a caller of a quick model waits for. So the common case does without: a request in one small
piece, for a model that is loaded and runs in a thread, whose answer is small and went well. All
else is the endpoint's coroutine to do, on the event loop: from the beginning, with what was
received; or, once the model has run, from there on.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from kitfox import logs
from kitfox.errors import Unavailable
from kitfox.models import Waiter
from kitfox.server._thread_loop import HandsOver
from kitfox.server.asgi import Message, Receive, Scope, Send
from kitfox.server.calls import Call, Calls
from kitfox.server.reply import SENT, Reply, ReplyForm
from kitfox.services.methods import Context, Finished, FinishingHandler

__all__ = ["QuickCall", "QuickEndpoint", "QuickWay"]

log = logs.channel("SERVER")


class QuickEndpoint(Protocol):
    """An endpoint that can begin calls in any thread."""

    def begin(self, scope: Scope, receive: Receive, send: Send, loop: HandsOver) -> bool:
        """Begins a call, if it may be a quick one."""


class _Answer(Protocol):
    def __call__(
        self, scope: Scope, receive: Receive, send: Send, resumed: "QuickCall | None" = None, /
    ) -> Coroutine[Any, Any, None]:
        """Answers a request, or what is left to do of one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuickWay:
    """What the quick calls of an endpoint share."""

    answer: _Answer
    """The endpoint's coroutine."""
    read: Callable[[bytes, Context], dict[str, Any]]
    """Makes the fields of a body, and completes what is known of the call."""
    most: int
    """The most bytes of a body."""
    handler: FinishingHandler
    """What does the work."""
    form: ReplyForm[Any]
    """How they are answered."""
    calls: Calls
    """Keeps the calls in flight."""
    body_seconds: float
    """The time for a body to come in."""


class QuickCall(Call, Waiter):
    """One call, which is also what waits for its body and for its result.

    Args:
        way: What its endpoint's calls share.
        scope: The request's.
        receive: Its.
        send: Its; see `takes_any_thread`.
        loop: The event loop.
        context: What is known of it.
        known: What else the endpoint knows of it.
        size: The bytes of the body, where they have been announced.
    """

    def __init__(
        self,
        way: QuickWay,
        scope: Scope,
        receive: Receive,
        send: Send,
        loop: HandsOver,
        *,
        context: Context,
        known: Any,
        size: int = 0,
    ) -> None:
        self.context = context
        self.known = known
        self.started = time.perf_counter()
        self._calls = way.calls
        self._way = way
        # Until the call is over: they keep each other.
        self._reply: Reply[Any] | None = Reply(way.form, send, self, known, self.started)
        self._scope = scope
        self._asks = receive
        self._send = send
        self._loop = loop
        self._size = size
        # Taken out by whoever ends the quick part: a list gives each of its items to one thread.
        self._claims = [True]
        self._error: BaseException | None = None
        self._result: Any = None

    def begin(self) -> bool:
        """Asks for the body, in pyvoy's thread; false if this call is for the coroutine to do."""
        calls = self._calls
        if calls.are_full:
            self._reply = None
            return False
        self.body_seconds = self._way.body_seconds
        self._task = self
        self.context.callbacks = (self._stop,)
        calls.add(self, self._loop)
        if self._loop.ask(self._asks, self):
            return True
        self._claims.clear()
        self._leave()
        self._reply = None
        return False

    # -- told by others

    def set_result(self, message: Message) -> None:
        """Takes the request's first piece."""
        if not self._claims:
            return  # it was cancelled before
        try:
            body = message.get("body")
            # Of HTTP/1.1 the end is told later, by a piece that is empty.
            if body and (not message.get("more_body") or len(body) == self._size):
                self.receive = self._loop.receiver(self._asks)
                if self._work(body):
                    if not self._claims:
                        self._release()  # it was over before it was known what it has
                    return
        except Exception as err:  # noqa: BLE001 -- the coroutine will find it too, and tell of it
            log.debug("A call goes on on the event loop: %s", err)
        if self._claim():
            self._leave()
            self._reply = None
            self._spawn(_Again(message, self._loop.receiver(self._asks)), None)

    def bring(self, result: Any) -> None:
        """Takes what became of the model's result, in the model's thread."""
        if self._claim():
            self._leave()
            if result is SENT:
                self._reply = None
            else:
                self._resume(result, None)

    def set_exception(self, error: BaseException) -> None:
        """Takes what the model raised."""
        if self._claim():
            self._leave()
            self._resume(None, error)

    def cancel(self) -> None:
        """Answers with the reason for which nobody waits any more."""
        if self._claim():
            self._leave()
            reason = self.context.reason or Unavailable("the model is being unloaded")
            self._resume(None, reason)

    def cancelled(self) -> bool:
        """Whether the model need not run any more."""
        return not self._claims

    done = cancelled

    # -- asked by the coroutine

    def take_reply(self) -> "Reply[Any] | None":
        """What may have answered already."""
        reply, self._reply = self._reply, None
        return reply

    def outcome(self) -> Any:
        """What the model's result became, as `FinishingHandler.finished` would have given it.

        Raises:
            KitfoxError: The call was cancelled, or the result is none.
            Exception: What the model raised.
        """
        if self._error is not None:
            raise self._error
        if isinstance(self._result, Finished):
            return self._result
        return self._way.handler.checked(self._result, self.context)

    def _work(self, body: bytes) -> bool:
        """Has the model run; false if that is for the coroutine to do. May raise."""
        way, reply = self._way, self._reply
        if len(body) > way.most or reply is None:
            return False
        fields = way.read(body, self.context)
        return way.handler.begin(fields, self.context, self, reply.finish)

    # -- its end

    def _claim(self) -> bool:
        try:
            return self._claims.pop()
        except IndexError:
            return False

    def _leave(self) -> None:
        self._task = None
        self.leave()
        self.receive = None
        self.context.callbacks = ()
        if self._probe is not None:
            self._loop.call_soon_threadsafe(self._probe.cancel)
        self._release()

    def _release(self) -> None:
        model, self.model = self.model, None
        if model is not None:
            model.release(self.context)

    def _resume(self, result: Any, error: BaseException | None) -> None:
        self._result, self._error = result, error
        self._spawn(self._loop.receiver(self._asks), self)

    def _spawn(self, receive: Receive, resumed: "QuickCall | None") -> None:
        coroutine = self._way.answer(self._scope, receive, self._send, resumed)
        try:
            self._loop.call_soon_threadsafe(_start, self._loop, coroutine)
        except RuntimeError:  # the event loop is closed: nobody is answered any more
            coroutine.close()


def _start(loop: HandsOver, coroutine: Coroutine[Any, Any, None]) -> None:
    loop.create_task(coroutine).add_done_callback(_note_end)


def _note_end(task: "asyncio.Task[None]") -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        # What goes wrong with a call has been answered: this is an answer that could not be sent.
        log.debug("The client was gone before the answer: %s", error)


class _Again:
    """A `receive` that begins with what has been received."""

    def __init__(self, message: Message, receive: Receive) -> None:
        self._message: Message | None = message
        self._receive = receive

    async def __call__(self) -> Message:
        message, self._message = self._message, None
        return await self._receive() if message is None else message
