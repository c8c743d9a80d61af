"""What is known of a call beside its arguments, and whether its caller still waits.

The server makes one `RequestContext` for each call and hands it from room to room: who asks, by
when, and the one token of cancellation. A module's method gets it as the parameter that
`taskmethod(context_arg=...)` names.
"""

import base64
import binascii
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from kitfox.errors import Code, KitfoxError

__all__ = ["GrpcRequestContext", "Metadata", "RequestContext"]


class Metadata(Mapping[str, str]):
    """gRPC metadata or HTTP headers: text by name, whichever case the name is asked for in.

    The values of a name that is there more than once are joined by commas. Binary metadata (names
    that end in `-bin`) is base64 text, as it travels.

    Args:
        pairs: Names and values as they came.
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        values: dict[str, str] = {}
        for key, value in pairs:
            name, text = key.decode("latin-1").lower(), value.decode("latin-1")
            values[name] = f"{values[name]}, {text}" if name in values else text
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class RequestContext:
    """One call, as the model and the server see it.

    Args:
        model_id: The model that the caller named; empty when none.
        request_id: Identifies the call in logs and errors; one is made when none came with it.
        metadata: gRPC metadata or HTTP headers, by name or as the pairs that came.
        deadline: When the caller gives up, in seconds of `time.monotonic`; None is never.

    Example:
        >>> @SplitTask.taskmethod(output_streaming=True, context_arg="context")
        ... def split(self, text: str, context: RequestContext | None = None) -> Iterable[Part]:
        ...     for part in slowly(text):
        ...         if context and context.cancelled:
        ...             return
        ...         yield part
    """

    __slots__ = (
        "__weakref__",
        "_id",
        "_metadata",
        "callbacks",
        "deadline",
        "model_id",
        "reason",
    )

    def __init__(
        self,
        *,
        model_id: str = "",
        request_id: str = "",
        metadata: Mapping[str, str] | Iterable[tuple[bytes, bytes]] = (),
        deadline: float | None = None,
    ) -> None:
        self.model_id = model_id
        self.deadline = deadline
        self.reason: KitfoxError | None = None
        """Why the call was cancelled; None as long as somebody waits for its answer."""
        self._id = request_id
        self._metadata = metadata
        self.callbacks: tuple[Callable[[], object], ...] = ()
        """The server's: what is called in the event loop when the call is cancelled."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The call's gRPC metadata or HTTP headers."""
        found = self._metadata
        if not isinstance(found, Mapping):
            # Read only when somebody looks: most methods do not.
            found = self._metadata = Metadata(found)
        return found

    @property
    def request_id(self) -> str:
        """Identifies the call: what the caller sent as `x-request-id`, or 32 hexadecimal digits."""
        if not self._id:
            self._id = f"{random.getrandbits(128):032x}"
        return self._id

    @property
    def headers(self) -> Mapping[str, str]:
        """The same as `metadata`, under the name that HTTP gives it."""
        return self.metadata

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more: the client is gone or its time is up.

        A method that works for long looks at it from time to time and returns early. It may be
        read from any thread.
        """
        return self.reason is not None

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, at least 0; None when the caller set none."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - time.monotonic())

    def is_active(self) -> bool:
        """Whether the caller still waits; the opposite of `cancelled`."""
        return self.reason is None

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """`metadata` as pairs, as gRPC's own servicer context gives it: `-bin` values are bytes."""
        found: list[tuple[str, str | bytes]] = []
        for name, text in self.metadata.items():
            if name.endswith("-bin"):
                found += [(name, _unpacked(item)) for item in text.split(",")]
            else:
                found.append((name, text))
        return tuple(found)

    # -- the server's side

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Has a function called in the event loop when the call is cancelled, or at once."""
        if self.reason is not None:
            callback()
        else:
            self.callbacks = (*self.callbacks, callback)

    def cancel(self, reason: KitfoxError) -> None:
        """Marks the call as one that nobody waits for. Only the first reason counts."""
        if self.reason is not None:
            return
        self.reason = reason
        callbacks, self.callbacks = self.callbacks, ()
        for callback in callbacks:
            callback()


def _unpacked(text: str) -> bytes:
    """The bytes of binary metadata."""
    text = text.strip()
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:  # a client's mistake: what it sent
        return text.encode("latin-1")


_STATUS = "raise kitfox.errors.KitfoxError(message, code=...)"
_INSTEAD = {
    "set_code": _STATUS,
    "set_details": _STATUS,
    "set_trailing_metadata": "an answer has no metadata of its model's",
    "send_initial_metadata": "an answer has no metadata of its model's",
    "peer": "a model does not learn from where it is called",
}
"""What methods of gRPC's context would be for, and how that is done here."""


class GrpcRequestContext(RequestContext):
    """The context of a call that came over gRPC.

    To modules that ask `isinstance(context, grpc.ServicerContext)` it is one.
    """

    __slots__ = ()

    def abort(self, code: Any, details: str) -> NoReturn:
        """Ends the call with a status.

        Args:
            code: A `grpc.StatusCode`.
            details: What the caller is told.
        """
        raise KitfoxError(details, code=Code(code.value[0]))

    def __getattr__(self, name: str) -> NoReturn:
        hint = f": {_INSTEAD[name]}" if name in _INSTEAD else ""
        raise AttributeError(f"the context of a call has no {name!r}{hint}")

    @classmethod
    def introduce(cls) -> None:
        """Makes it a `grpc.ServicerContext`, if anything here has imported grpcio."""
        grpc = sys.modules.get("grpc")
        if grpc is not None:
            grpc.ServicerContext.register(cls)
