"""Answers that are sent by the thread that made the result.

Envoy takes an answer from any thread, and at once. So a small answer goes out where it was made;
that the call is over the event loop may learn when it has time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from kitfox import logs
from kitfox.data import DataObjectBase
from kitfox.server.asgi import Message, Send
from kitfox.server.calls import Call
from kitfox.services.methods import Finished

__all__ = ["SENT", "Deliver", "Reply", "ReplyForm", "deliver_with", "takes_any_thread"]

T = TypeVar("T")

log = logs.channel("SERVER")

SENT = Finished(None)
"""What becomes of a result whose answer has been sent."""

_PAUSE_SECONDS = 0.001

Messages: TypeAlias = tuple[Message, ...]
"""All ASGI messages of an answer."""
Deliver: TypeAlias = Callable[[Messages], object]
"""What sends them, in any thread."""


def takes_any_thread(send: Send) -> bool:
    """Whether ASGI's `send` may be called in any thread, and does its work when it is called."""
    return type(send).__module__ == "_pyvoy.asgi"


def deliver_with(send: Send) -> Deliver:
    """Sends an answer message by message; see `takes_any_thread`."""

    def deliver(messages: Messages) -> None:
        for message in messages:
            send(message)

    return deliver


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplyForm(Generic[T]):
    """How the calls of one endpoint are answered, for each of which it knows something."""

    encode: Callable[[DataObjectBase], bytes]
    """Makes the payload of a result."""
    most: int
    """The most bytes of a payload that goes out this way."""
    messages: Callable[[T, bytes], Messages]
    """Makes what is to be sent, of what is known of the call and a payload."""
    count: Callable[[T, float], object]
    """Counts a call that went well, with when it began."""


class Reply(Generic[T]):
    """The answer to one call: the result, from a thread, or a failure, from the event loop.

    Whoever has it first sends it, and counts the call.

    Args:
        form: How such calls are answered.
        deliver: Sends it.
        call: The call.
        known: What else is known of it.
        started: When it began, of `time.perf_counter`.
    """

    __slots__ = ("_call", "_claims", "_deliver", "_form", "_known", "_over", "_started")

    def __init__(
        self, form: ReplyForm[T], deliver: Deliver, call: Call, known: T, started: float
    ) -> None:
        self._form = form
        self._deliver = deliver
        self._call = call
        self._known = known
        self._started = started
        # Taken out by whoever is first: a list gives each of its items to one thread.
        self._claims = [True]
        self._over = False

    def finish(self, result: Any) -> Any:
        """Sends a result; in the thread that made it.

        Returns:
            `SENT`; the payload in a `Finished`, if it goes another way; or the result, if it is
            none or cannot be written, which the event loop will find too and tell of.
        """
        if not isinstance(result, DataObjectBase) or result.supports_file_operations:
            return result
        form, known = self._form, self._known
        try:
            payload = form.encode(result)
        except BaseException:  # noqa: BLE001 -- found again, and told of, where failures are
            return result
        if len(payload) > form.most or not self.claim():
            return Finished(payload)
        try:
            # First: who has an answer may look at the figures, and may call again.
            form.count(known, self._started)
            self._call.leave()
            self._deliver(form.messages(known, payload))
        except Exception as err:  # noqa: BLE001 -- the engine has an exception of its own for this
            log.debug("The client was gone before the answer: %s", err)
        finally:
            self._over = True
        return SENT

    def claim(self) -> bool:
        """Whether the caller is the one that sends the answer."""
        try:
            return self._claims.pop()
        except IndexError:
            return False

    async def over(self) -> None:
        """Waits until the answer, which the other one has claimed, has been sent."""
        # Rare and short; an event would cost each call.
        while not self._over:  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE_SECONDS)
