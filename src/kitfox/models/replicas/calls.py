"""Calls of a model in replicas, as the server sees them."""

import asyncio
from collections.abc import Callable
from typing import Any

from kitfox.models.replicas.failures import Failure, error_of
from kitfox.models.replicas.messages import CALL, Message
from kitfox.modules import GrpcRequestContext, RequestContext

__all__ = ["Call", "told_context"]


class Call:
    """One call without streams: from the moment that it is submitted until its future is done."""

    __slots__ = (
        "arguments",
        "context",
        "context_arg",
        "digest",
        "future",
        "losses",
        "method",
        "number",
        "on_cancel",
        "since",
    )

    def __init__(
        self,
        method: str,
        arguments: dict[str, Any],
        context: RequestContext | None,
        context_arg: str | None,
        future: "asyncio.Future[Any]",
    ) -> None:
        self.method = method
        self.arguments = arguments
        self.context = context
        self.context_arg = context_arg
        self.future = future
        self.number = 0
        """Its number at the replica that has it; 0 when none has."""
        self.losses = 0
        """How many replicas died while they ran it."""
        self.since = 0.0
        """Since when it waits for a replica to have room; 0 when it did not."""
        self.digest: str | None = None
        """Identifies what is asked for; None as long as nobody wanted to know."""
        self.on_cancel: Callable[[Call], None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it."""
        return self.future.done()

    @property
    def begins_at_once(self) -> bool:
        """Whether it counts as begun when a replica has got it."""
        return False

    @property
    def is_lasting(self) -> bool:
        """Whether it lasts as long as its caller likes, mostly without anything to do."""
        return False

    @property
    def may_repeat(self) -> bool:
        """Whether it can be sent to another replica."""
        return True

    def message(self) -> Message:
        """What a replica is sent."""
        context = self.context
        request_id = context.request_id if context is not None else ""
        told = None
        if self.context_arg is not None:
            told = told_context(context, self.context_arg)
        return (CALL, self.number, self.method, self.arguments, request_id, told)

    def succeed(self, result: Any) -> None:
        """Hands over the result."""
        if not self.future.done():
            self.future.set_result(result)
        self.context = self.on_cancel = None

    def fail(self, error: Exception) -> None:
        """Hands over why there is none."""
        if not self.future.done():
            if isinstance(error, StopIteration):
                # A future refuses it: it would end the awaiting coroutine.
                error = RuntimeError(f"the model raised {error!r}")
            self.future.set_exception(error)
        self.context = self.on_cancel = None

    def take(self, message: Message) -> bool:
        """Takes what a replica says of it beside RESULT; tells whether it is over."""
        failure: Failure = message[2]
        self.fail(error_of(failure))
        return True

    def cancel(self) -> None:
        """Called when its caller waits no more."""
        if self.on_cancel is not None:
            self.on_cancel(self)


def told_context(
    context: RequestContext | None, name: str
) -> tuple[tuple[bool, str, float | None, tuple[tuple[bytes, bytes], ...]], str]:
    """A context as it travels, and the parameter that gets it."""
    if context is None:
        return (False, "", None, ()), name
    metadata = tuple(
        (key.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for key, value in context.metadata.items()
    )
    is_grpc = isinstance(context, GrpcRequestContext)
    return (is_grpc, context.model_id, context.deadline, metadata), name
