"""What a failed call tells the client, and what it tells the log."""

import asyncio
import sys

from kitfox import logs
from kitfox.data import DataObjectBase
from kitfox.errors import Cancelled, Code, Internal, InvalidArgument, KitfoxError
from kitfox.services.methods import Context, Encode

__all__ = ["WRITING_ERRORS", "as_kitfox_error", "serialize", "unwritable"]

WRITING_ERRORS = (TypeError, ValueError, AttributeError)
"""What writing a result raises that does not fit its class."""

log = logs.channel("SERVER")

# The server's fault: worth a record with the full trace.
_OURS = {Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS}


def as_kitfox_error(err: BaseException, context: Context, name: str) -> KitfoxError:
    """The failure as the client sees it; the log gets what the client must not see.

    `ValueError` and `TypeError` are how module code says that its input is wrong, so their text
    goes to the caller. Every other unexpected exception is one neutral sentence outside.
    """
    failure = _failure_of(err, context, name)
    _forget_frames(err)
    if context.reason is not None:
        _forget_frames(context.reason)
    return failure


def serialize(encode: Encode, result: DataObjectBase, name: str) -> bytes:
    """The bytes of a result.

    Args:
        encode: Writes it.
        result: What a method has returned.
        name: The method's, for the log.

    Raises:
        Internal: The result does not fit its class; the log says where.
    """
    try:
        return encode(result)
    except WRITING_ERRORS as err:
        raise unwritable(result, err, name) from err


def unwritable(result: DataObjectBase, err: Exception, name: str) -> Internal:
    """What a client is told of a result that does not fit its class; the log says where."""
    log.error(
        "%s: the result does not fit %s: %s",
        name,
        type(result).__name__,
        err,
        extra={"log_code": "<KFX30020E>"},
    )
    return Internal("Could not serialize response")


def _forget_frames(err: BaseException | None) -> None:
    """Lets go of the frames that an exception passed, and of all that they hold.

    A context that knows why it was cancelled, and the frames that know the context, would keep
    each other, with the results that were never sent, until the next garbage collection.
    """
    seen = set()
    while err is not None and id(err) not in seen:
        seen.add(id(err))
        err.__traceback__ = None
        cause = err.__cause__ or err.__context__
        err.__cause__ = err.__context__ = None
        err = cause


def _failure_of(err: BaseException, context: Context, name: str) -> KitfoxError:
    if isinstance(err, asyncio.CancelledError):
        return Cancelled("the call was cancelled")
    if isinstance(err, KitfoxError):
        if err.code is Code.OK:
            # A failure all the same: only its code says something else.
            err = KitfoxError(err.message, code=Code.UNKNOWN)
        if err.code in _OURS:
            _record(err, context, name)
        return err
    if (status := _grpc_status(err)) is not None:
        return status
    if isinstance(err, ValueError | TypeError):
        log.info(
            "%s refused its input: %s",
            name,
            err,
            exc_info=err if log.isEnabledFor(10) else None,
            extra={"log_code": "<KFX30011I>", "request_id": context.request_id},
        )
        return InvalidArgument(str(err) or type(err).__name__)
    _record(err, context, name)
    return Internal(
        f"{name} failed; the server's log has the details of request {context.request_id}"
    )


def _grpc_status(err: BaseException) -> KitfoxError | None:
    """The status of a gRPC call that a module made and that failed; it becomes the answer's."""
    # Without grpcio there can be no such error; it is not imported for the question.
    grpc = sys.modules.get("grpc")
    if grpc is None or not isinstance(err, grpc.RpcError) or not hasattr(err, "code"):
        return None
    return KitfoxError(str(err.details() or ""), code=Code(err.code().value[0]))


def _record(err: BaseException, context: Context, name: str) -> None:
    log.error(
        "%s failed for model %r: %s",
        name,
        context.model_id,
        err,
        exc_info=err,
        extra={"log_code": "<KFX30010E>", "request_id": context.request_id},
    )
