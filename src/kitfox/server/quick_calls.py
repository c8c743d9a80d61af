"""Calls that go from Envoy to the model's thread, and from there back to the client.

An event loop costs such a call two wake-ups of a thread more than its work does, which is most of
what a caller of a quick model waits for. So the common case does without: a small request, for a
model that is loaded and runs in a thread, whose answer is small and went well. All else is the
endpoint's coroutine to do, on the event loop: from the beginning, or, once the model has run, from
there on. See `express` for how they come here.
"""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from kitfox import logs
from kitfox.errors import Cancelled, Unavailable
from kitfox.models import Waiter
from kitfox.server.asgi import Receive, Scope, Send
from kitfox.server.calls import Call, Calls
from kitfox.server.reply import SENT, Reply, ReplyForm
from kitfox.services.methods import Context, Finished, FinishingHandler

if TYPE_CHECKING:
    from kitfox.server._express import Held
    from kitfox.server.express import Express

__all__ = ["QuickCall", "QuickEndpoint", "QuickWay"]

log = logs.channel("SERVER")


class QuickEndpoint(Protocol):
    """An endpoint that can begin calls in any thread."""

    def begin(self, scope: Scope, held: "Held", express: "Express") -> bool:
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


class QuickCall(Call, Waiter):
    """One call, which is also what waits for its result.

    Args:
        way: What its endpoint's calls share.
        scope: The request's.
        held: The request.
        express: What brought it.
        context: What is known of it.
        known: What else the endpoint knows of it.
    """

    def __init__(
        self,
        way: QuickWay,
        scope: Scope,
        held: "Held",
        express: "Express",
        *,
        context: Context,
        known: Any,
    ) -> None:
        self.context = context
        self.known = known
        self.scope = scope
        self.held = held
        self.started = time.perf_counter()
        self._calls = way.calls
        self._way = way
        self._express = express
        # Until the call is over: they keep each other.
        self._reply: Reply[Any] | None = Reply(way.form, held.answer, self, known, self.started)
        # Taken out by whoever ends the quick part: a list gives each of its items to one thread.
        self._claims = [True]
        self._error: BaseException | None = None
        self._result: Any = None

    def begin(self) -> bool:
        """Has the model run; false if the call is for the coroutine to do, from the beginning."""
        way, body, calls = self._way, self.held.body, self._calls
        if calls.are_full or not body or len(body) > way.most:
            self._reply = None
            return False
        assert self._reply is not None  # noqa: S101 -- for the type checker: it has just been made
        finish = self._reply.finish
        self._task = self
        self.context.callbacks = (self._stop,)
        begun = False
        try:
            calls.add(self, self._express.loop)
            begun = way.handler.begin(way.read(body, self.context), self.context, self, finish)
        except Exception as err:  # noqa: BLE001 -- the coroutine will find it too, and tell of it
            log.debug("A call goes on on the event loop: %s", err)
        if not begun and self._claim():
            self._end()
            self.leave()
            self._reply = None
            return False
        if not self._claims:
            self._release()  # it was over before it was known what it has
        return True

    def answer(self, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """What is left to do, on the event loop."""
        return self._way.answer(self.scope, receive, send, self)

    # -- told by others

    def bring(self, result: Any) -> None:
        """Takes what became of the model's result, in the model's thread."""
        if self._claim():
            self._end()
            if result is SENT:
                self._reply = None
            else:
                self._resume(result, None)

    def set_exception(self, error: BaseException) -> None:
        """Takes what the model raised."""
        if self._claim():
            self._end()
            self._resume(None, error)

    def cancel(self) -> None:
        """Answers with the reason for which nobody waits any more."""
        if self._claim():
            self._end()
            reason = self.context.reason or Unavailable("the model is being unloaded")
            self._resume(None, reason)

    def cancelled(self) -> bool:
        """Whether the model need not run any more: at once, not only when somebody has looked."""
        return not self._claims or self.held.gone

    done = cancelled

    def look(self) -> None:
        """Asks whether the client is gone."""
        if self._claims and self.held.gone:
            self.context.cancel(Cancelled("the client went away"))

    # -- asked by the coroutine

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

    # -- its end

    def _claim(self) -> bool:
        try:
            return self._claims.pop()
        except IndexError:
            return False

    def _end(self) -> None:
        self._task = None
        self.context.callbacks = ()
        self._release()

    def _release(self) -> None:
        model, self.model = self.model, None
        if model is not None:
            model.release(self.context)

    def _resume(self, result: Any, error: BaseException | None) -> None:
        reply, self._reply = self._reply, None
        if reply is not None and not reply.claim():
            return  # the model's thread is sending the answer, and has left
        # It keeps its place until the coroutine has one.
        self._result, self._error = result, error
        self._express.go_on(self)
