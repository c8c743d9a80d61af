"""The process of a replica: loads a model, runs its methods, tells the results.

    python -m kitfox.models.replicas.worker --parent PID --page DESCRIPTOR

Standard input is the socket to the server, standard error the pipe for what is printed and logged;
the descriptor is that of the page. The main thread imports and loads, then reads the socket. The
process ends when the server tells it, and at once when the server is gone.
"""

import argparse
import atexit
import contextlib
import faulthandler
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from select import POLLIN, poll
from time import monotonic
from types import FrameType
from typing import Any, NoReturn

from kitfox import logs
from kitfox.caikit import install_if_asked
from kitfox.models.batch_shape import BatchShape, batch_shapes
from kitfox.models.replicas import messages as ids
from kitfox.models.replicas.batches import BatchSettings
from kitfox.models.replicas.failures import failure_of
from kitfox.models.replicas.frames import BrokenFrame, FrameReader, pack, send_all
from kitfox.models.replicas.messages import DUMP_SIGNAL, Message
from kitfox.models.replicas.outbox import Outbox, end_at_once
from kitfox.models.replicas.output import capture
from kitfox.models.replicas.page import Notes
from kitfox.models.replicas.running import Calls
from kitfox.modules import GrpcRequestContext, ModuleBase, load_model

__all__ = ["main"]

log = logs.channel("MODELS")

_EXIT_PATIENCE = 5.0
"""How many seconds threads and exit handlers of the model may take at the end."""
_DEATH_SIGNAL = 1
"""prctl's PR_SET_PDEATHSIG."""
_LONGEST_LOOK = 0.016
_FIGURES_SECONDS = 0.25


class Terminated(BaseException):
    """Raised in the main thread by SIGTERM."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is told to end; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m kitfox.models.replicas.worker")
    parser.add_argument("--parent", required=True, type=int, help="the server's process id")
    parser.add_argument("--page", required=True, type=int, help="descriptor of the page")
    options = parser.parse_args(arguments)
    _die_with(options.parent)
    _prepare_signals()
    # Handled in C, also while something holds the interpreter lock.
    faulthandler.register(DUMP_SIGNAL, file=2, all_threads=True)
    notes = Notes(options.page)
    os.close(options.page)
    line = _take_line()
    reader = FrameReader(line)
    try:
        settings = _first(reader)
        capture(settings["log_level"])
        faulthandler.enable(2)
        batching = BatchSettings(**settings["batching"])
        loaded = _load(line, settings, batching)
        if loaded is None:
            return 1
        model, shapes = loaded
        outbox = Outbox(line)
        calls = Calls(
            model,
            threads=settings["threads"],
            limited=settings["limited"],
            shapes=shapes,
            batching=batching,
            notes=notes,
            outbox=outbox,
        )
        _serve(line, reader, calls)
    except EOFError:
        end_at_once()
    except Terminated:
        return 128 + signal.SIGTERM
    return 0


def _die_with(parent: int) -> None:
    """Has the kernel end this process when the server dies, even in the midst of C code."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it has died already
        os._exit(1)


def _prepare_signals() -> None:
    """Makes signals what a model expects; in the process that embeds the server they may differ."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the server's terminal
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _take_line() -> socket.socket:
    """The socket, moved to where nobody takes it for standard input."""
    line = socket.socket(fileno=os.dup(0))
    line.setblocking(True)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return line


def _first(reader: FrameReader) -> dict[str, Any]:
    """The settings, which are the first message."""
    while not (found := reader.read()):
        pass
    first = found[0]
    if isinstance(first, BrokenFrame):
        raise first.error
    settings: dict[str, Any] = first[1]
    return settings


def _load(
    line: socket.socket, settings: dict[str, Any], batching: BatchSettings
) -> tuple[ModuleBase, dict[str, BatchShape]] | None:
    """Imports, loads and tells the server; None when that does not succeed."""
    try:
        sys.path[:] = settings["python_path"]
        _import(settings)
        model = load_model(settings["path"])
        shapes = {} if batching.max_size == 1 else batch_shapes(model, batching.weight)
        GrpcRequestContext.introduce()
        info = dict(model.public_model_info)
        chunks = pack([(ids.READY, type(model).MODULE_ID, info)])
    except Terminated:
        raise
    except BaseException as err:  # the edge: whatever the author's code raises, SystemExit too
        log.error("The model does not load", exc_info=err, extra={"log_code": "<KFX20120E>"})
        send_all(line, pack([(ids.FAILED, failure_of(err))]))
        return None
    send_all(line, chunks)
    return model, shapes


def _import(settings: dict[str, Any]) -> None:
    """Imports the libraries, which registers their modules."""
    install_if_asked()
    for name in settings["libraries"]:
        importlib.import_module(name)
    for name in settings["other_libraries"]:
        # Modules that the model may contain; those that it does contain are missed by `load`.
        try:
            importlib.import_module(name)
        except Exception:  # an author's code; the server has imported it, so this is strange
            log.warning("Package %s cannot be imported in a replica", name, exc_info=True)


def _serve(line: socket.socket, reader: FrameReader, calls: Calls) -> None:
    """Reads messages until it is told to end."""
    watch = poll()
    watch.register(line, POLLIN)
    look = 0.0
    told = monotonic()
    calls.tell_figures()
    while True:
        runners, outbox = calls.runners, calls.outbox
        if runners.backlog or not outbox.is_empty:
            # A finished result must not wait for the call behind it, nor a call for one thread.
            look = min(max(2 * look, 0.001), _LONGEST_LOOK)
            if not watch.poll(look * 1000):
                outbox.flush()
                runners.wake()
                continue
        else:
            look = 0.0
            busy = calls.busy
            # Asked in this order: what ends after it was asked for is told of the next time.
            if not watch.poll(_FIGURES_SECONDS * 1000) and (calls.tell_figures() or busy):
                continue
        if monotonic() - told > _FIGURES_SECONDS:
            told = monotonic()
            calls.tell_figures()
        ordinary: list[Message] = []
        for message in reader.read():
            if isinstance(message, BrokenFrame):
                _refuse(message, calls)
            elif message[0] == ids.CALL:
                ordinary.append(message)
            elif message[0] == ids.STOP:
                return
            elif calls.may_join(message):
                ordinary.append(message[:6])  # what it has in common with a CALL
            else:
                if ordinary:  # first things first: it may be a call that is cancelled
                    calls.begin(ordinary)
                    ordinary = []
                _handle(message, calls)
        if ordinary:
            calls.begin(ordinary)


def _handle(message: Message, calls: Calls) -> None:
    match message[0]:
        case ids.STREAM:
            try:
                calls.open_stream(message)
            except Exception as err:  # noqa: BLE001 -- the call fails, the replica goes on
                calls.outbox.add_soon((ids.ERROR, message[1], failure_of(err)))
        case ids.CREDIT:
            calls.credit(message[1], message[2])
        case ids.FEED:
            calls.feed(message[1], message[2])
        case ids.FEED_END:
            calls.end_feed(message[1], message[2])
        case ids.CANCEL:
            calls.cancel(message[1], message[2])
        case ids.RETURN:
            if calls.withdraw(message[1]):
                calls.outbox.add_soon((ids.RETURNED, message[1]))
        case ids.AGAIN:
            calls.outbox.repeat(message[1])


def _refuse(broken: BrokenFrame, calls: Calls) -> None:
    """A frame that cannot be read: of several messages, they are sent again one by one."""
    if broken.call:
        failure = failure_of(broken.error) | {"kind": "other", "name": type(broken.error).__name__}
        calls.outbox.add_soon((ids.ERROR, broken.call, failure))
    else:
        calls.outbox.add_soon((ids.BROKEN, broken.frame))


def _leave(status: int) -> NoReturn:
    """Ends as Python does, but not for longer than a while.

    Threads of the model that are in the middle of something are not waited for.
    """
    timer = threading.Timer(_EXIT_PATIENCE, os._exit, (status,))
    timer.daemon = True
    timer.start()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _leave(main())
