"""What the code of a model raises, as an event loop can carry it to who waits."""

from concurrent.futures import CancelledError as GivenUp

__all__ = ["harmless"]


def harmless(error: BaseException) -> Exception:
    """An exception that reaches who waits for a model's code, and nobody else.

    An exit or a `KeyboardInterrupt` would end the event loop, and the server with it; other
    exceptions that are no `Exception` pass by all who would answer the caller; to be cancelled
    would look like the caller's wish; and a `StopIteration` no future takes.
    """
    if isinstance(error, SystemExit):
        made = RuntimeError(f"the module called sys.exit({error.code!r})")
    elif isinstance(error, Exception) and not isinstance(error, StopIteration | GivenUp):
        return error
    else:
        made = RuntimeError(f"the module raised {error!r}")
    made.__cause__ = error
    return made
