"""What is known of a call beside its arguments, as a module's method sees it."""

from collections.abc import Mapping
from typing import Protocol

__all__ = ["RuntimeServerContextType"]


class RuntimeServerContextType(Protocol):
    """The type of the parameter that `taskmethod(context_arg=...)` names; a `RequestContext`.

    It is the same for gRPC and REST. The parameter has a default, so that the method can be called
    from Python as well:

        def run(self, text: str, context: RuntimeServerContextType | None = None) -> Answer: ...
    """

    model_id: str
    """The model that the caller named."""

    @property
    def request_id(self) -> str:
        """Identifies the call in logs and errors."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The call's gRPC metadata or HTTP headers, by name."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up; None when it does not say."""
