"""The server's side of one replica: starts the process, speaks with it, sees it end."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor as Threads
from typing import Any, TypeAlias

from kitfox import logs
from kitfox.errors import KitfoxError
from kitfox.models.failures import too_slow
from kitfox.models.replicas import messages as ids
from kitfox.models.replicas.deaths import Death, LoadFailed, has_ended, kill_group, oom_kills
from kitfox.models.replicas.failures import Failure, error_of
from kitfox.models.replicas.frames import (
    BrokenFrame,
    Chunks,
    FrameReader,
    pack,
    pack_together,
    send_some,
    views,
)
from kitfox.models.replicas.messages import DUMP_SIGNAL, Message
from kitfox.models.replicas.output import LogPipe, Tail
from kitfox.models.replicas.page import Notes, Running, make_page
from kitfox.models.replicas.plan import Plan

__all__ = ["ReplicaProcess"]

log = logs.channel("MODELS")

_SOCKET_BUFFER = 1024 * 1024
_POLL_SECONDS = 0.05
_EOF_PATIENCE = 1.0
_LATER_SECONDS = 0.001
_KEPT_FRAMES = 64


_Launched: TypeAlias = "tuple[subprocess.Popen[bytes], socket.socket, int, Notes]"
"""A process, the socket to it, the pipe with its output, and its page."""


class ReplicaProcess:
    """One process from its start to its end; to be used from the event loop.

    Args:
        plan: What is to be started.
        index: Which of the replicas it is.
        loop: The event loop.
        launcher: A thread that lives longer than the process; when the thread that started it
            ends, the kernel takes its parent for dead.
        tail: Keeps the last lines of its output.
        on_messages: Told what comes, after it has loaded the model.
        on_death: Told when it has ended, after all that it said.
        prepare: What is to be done when it has loaded the model, before it is taken for ready.
        load_seconds: How long loading and preparing may take; 0: as long as they like.
    """

    def __init__(
        self,
        plan: Plan,
        index: int,
        *,
        loop: asyncio.AbstractEventLoop,
        launcher: Threads,
        tail: Tail,
        on_messages: "Callable[[ReplicaProcess, list[Message]], None]",
        on_death: "Callable[[ReplicaProcess, Death], None]",
        prepare: "Callable[[ReplicaProcess], Awaitable[None]] | None" = None,
        load_seconds: float = 0.0,
    ) -> None:
        self.index = index
        self.on_messages = on_messages
        self.pid = 0
        self.module_id = ""
        self.public_info: dict[str, Any] = {}
        self._plan = plan
        self._loop = loop
        self._launcher = launcher
        self._tail = tail
        self._on_death = on_death
        self._prepare = prepare
        self._load_seconds = load_seconds
        self._waiting: list[Message] = []
        self._unsent: deque[memoryview] = deque()
        # What the replica cannot read in one piece, it asks for again in single messages.
        self._sent: deque[tuple[int, list[Message]]] = deque(maxlen=_KEPT_FRAMES)
        self._frames = 0
        self._flushing = False
        self._later: asyncio.TimerHandle | None = None
        self._reason, self._culprit = "", 0
        self._oom_kills = oom_kills()
        self._came_up: asyncio.Future[None] = loop.create_future()
        # Nobody may be left who waits for it.
        self._came_up.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._ended: asyncio.Future[Death] = loop.create_future()

    # -- its life

    async def start(self) -> None:
        """Starts it; returns when it has loaded the model and is prepared.

        Raises:
            LoadFailed: It has ended instead, or something in it has failed.
            ValueError, TypeError, FileNotFoundError: The model's `load` raised it; the cause is
                a `LoadFailed`.
            Unavailable: It took too long, and was killed.
        """
        limit = asyncio.timeout(self._load_seconds or None)
        try:
            async with limit:
                await self._load()
                await self._be_prepared()
        except TimeoutError:
            if not limit.expired():
                raise
            error = too_slow(self._load_seconds)
            self._give_up(error.message)
            raise error from None

    async def _be_prepared(self) -> None:
        if self._prepare is not None:
            try:
                await self._prepare(self)
            except Exception as err:
                self._give_up(f"it is not fit to serve: {err}")
                raise

    def _give_up(self, reason: str) -> None:
        log.error(
            "Replica %d of model %s is given up: %s",
            *(self.index, self._plan.model, reason),
            extra={"log_code": "<KFX20150E>"},
        )
        self.kill(reason)

    async def _load(self) -> None:
        launch = self._loop.run_in_executor(self._launcher, self._launch)
        try:
            launched = await asyncio.shield(launch)
        except asyncio.CancelledError:
            launch.add_done_callback(_abandon)
            raise
        self._process, self._line, output, self._page = launched
        self.pid = self._process.pid
        self._pipe = LogPipe(
            output, loop=self._loop, model=self._plan.model, replica=self.index, tail=self._tail
        )
        self._reader = FrameReader(self._line)
        self._loop.add_reader(self._line.fileno(), self._read)
        self._watch_end()
        self.send((ids.OPEN, self._settings()))
        await asyncio.shield(self._came_up)

    async def wait(self) -> str:
        """Waits for its end; tells how it ended."""
        return str(await asyncio.shield(self._ended))

    def kill(self, reason: str = "", *, culprit: int = 0) -> None:
        """Ends it, and what it has started, without warning.

        Args:
            reason: Why, for the calls that it takes along.
            culprit: The call for which it is killed.
        """
        if self.pid and not self._ended.done():
            self._reason, self._culprit = reason or self._reason, culprit or self._culprit
            kill_group(self.pid, signal.SIGKILL)

    def dump(self) -> None:
        """Has it write into its output where its threads are."""
        if self.pid and not self._ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, DUMP_SIGNAL)

    def stop(self) -> None:
        """Tells it to end by itself."""
        if self.pid and not self._ended.done():
            self.send((ids.STOP,))
            self._flush()

    def terminate(self) -> None:
        """Tells it more strongly."""
        if self.pid and not self._ended.done():
            kill_group(self.pid, signal.SIGTERM)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._ended.done()

    def running(self) -> list[Running]:
        """What it is in the middle of."""
        return self._page.running() if self.pid and not self._ended.done() else []

    def _launch(self) -> "_Launched":
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        page = make_page()
        try:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
            process = subprocess.Popen(
                [
                    *(self._plan.python or sys.executable, "-P"),
                    *("-m", "kitfox.models.replicas.worker"),
                    *("--parent", str(os.getpid()), "--page", str(page)),
                ],
                stdin=theirs.fileno(),
                stdout=writing,
                stderr=writing,
                pass_fds=(page,),
                env=self._plan.environment(self.index),
                start_new_session=True,
            )
            notes = Notes(page)
        except BaseException:
            ours.close()
            os.close(reading)
            raise
        finally:
            theirs.close()
            os.close(writing)
            os.close(page)
        ours.setblocking(False)
        return process, ours, reading, notes

    def _settings(self) -> dict[str, Any]:
        plan = self._plan
        return {
            "path": str(plan.path),
            "threads": plan.threads,
            "limited": plan.limited,
            "batching": plan.batching.as_dict(),
            "libraries": plan.libraries,
            "other_libraries": plan.other_libraries,
            "python_path": plan.python_path,
            "log_level": plan.log_level,
        }

    # -- its end

    def _watch_end(self) -> None:
        try:
            self._pidfd: int | None = os.pidfd_open(self.pid)
        except (OSError, AttributeError):  # a kernel without
            self._pidfd = None
            self._look_for_end()
            return
        self._loop.add_reader(self._pidfd, self._take_end)

    def _look_for_end(self) -> None:
        if has_ended(self.pid):
            self._take_end()
        else:
            self._loop.call_later(_POLL_SECONDS, self._look_for_end)

    def _take_end(self) -> None:
        """It has ended: reads the last of what it said, and gives everything back."""
        if self._ended.done():
            return
        self._read_rest()
        death = Death(
            status=self._reap(),
            reason=self._reason,
            culprit=self._culprit,
            running=tuple(self._page.running()),
            begun=self._page.begun,
            out_of_memory=self._out_of_memory(),
        )
        self._let_go()
        self._ended.set_result(death)
        if not self._came_up.done():
            message = f"replica {self.index} of model {self._plan.model} did not start: {death}"
            self._came_up.set_exception(LoadFailed(message, self._tail.lines))
        self._on_death(self, death)

    def _read_rest(self) -> None:
        with contextlib.suppress(BlockingIOError, EOFError, OSError):
            while True:
                self._handle(self._reader.read())

    def _reap(self) -> int | None:
        """Ends what is left of its group while its number is still taken; gives its status."""
        kill_group(self.pid, signal.SIGKILL)
        try:
            return self._process.wait()
        except ChildProcessError:
            return None

    def _out_of_memory(self) -> bool | None:
        now = oom_kills()
        return None if now is None or self._oom_kills is None else now > self._oom_kills

    def _let_go(self) -> None:
        """Closes what was open."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.remove_reader(self._line.fileno())
            self._loop.remove_writer(self._line.fileno())
            if self._pidfd is not None:
                self._loop.remove_reader(self._pidfd)
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        self._line.close()
        self._pipe.close()
        self._page.close()
        self._unsent.clear()
        self._waiting.clear()
        self._sent.clear()

    def end_now(self, patience: float) -> None:
        """Ends it without the event loop, which may be closed: asks, waits, kills, reaps.

        Args:
            patience: Seconds that it may take to end by itself.
        """
        if not self.pid or self._ended.done():
            return
        kill_group(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while not has_ended(self.pid) and time.monotonic() < deadline:
            time.sleep(0.005)
        kill_group(self.pid, signal.SIGKILL)
        self._reap()
        self._let_go()
        if not self._loop.is_closed():
            self._ended.set_result(Death(status=self._process.returncode))
            if not self._came_up.done():
                self._came_up.cancel()

    # -- what is said

    def send(self, message: Message) -> None:
        """Sends a message, together with all others of this turn of the event loop."""
        self._waiting.append(message)
        self.flush_soon()

    def post(self, message: Message) -> None:
        """Takes a message that is sent with the next flush."""
        self._waiting.append(message)

    def flush_soon(self) -> None:
        """Sends what waits in this turn of the event loop."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def flush_later(self) -> None:
        """Sends what waits in a millisecond, if it was not sent before."""
        if self._later is None and not self._flushing:
            self._later = self._loop.call_later(_LATER_SECONDS, self._flush)

    @property
    def unsent(self) -> int:
        """How many messages wait."""
        return len(self._waiting)

    def _flush(self) -> None:
        self._flushing = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        batch, self._waiting = self._waiting, []
        if not batch or self._ended.done():
            return
        chunks = pack_together(batch)
        if chunks is None:
            for message in batch:
                self._send_one(message)
            return
        self._sent.append((self._frames, batch))
        self._put(chunks)

    def _send_one(self, message: Message) -> None:
        number = message[1] if len(message) > 1 and isinstance(message[1], int) else 0
        try:
            chunks = pack([message], call=number)
        except Exception as err:  # noqa: BLE001 -- objects of any class
            error = TypeError(f"the arguments cannot be sent to a replica: {err}")
            failure: Failure = {"kind": "other", "name": "TypeError", "message": str(error)}
            self.on_messages(self, [(ids.ERROR, number, failure)])
            return
        self._put(chunks)

    def _put(self, chunks: Chunks) -> None:
        self._frames += 1
        idle = not self._unsent
        self._unsent.extend(views(chunks))
        if idle:
            self._send_unsent()

    def _send_unsent(self) -> None:
        try:
            send_some(self._line, self._unsent)
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(self._line.fileno(), self._send_more)
        except OSError:
            self._unsent.clear()  # it is about to be found dead

    def _send_more(self) -> None:
        self._loop.remove_writer(self._line.fileno())
        self._send_unsent()

    def _read(self) -> None:
        try:
            found = self._reader.read()
        except (BlockingIOError, InterruptedError):
            return
        except (EOFError, OSError):
            # It closed the socket, or is dead; if it goes on, nothing can be done with it.
            self._loop.remove_reader(self._line.fileno())
            self._loop.call_later(_EOF_PATIENCE, self.kill, "it closed its line to the server")
            return
        self._handle(found)

    def _handle(self, found: list[Message | BrokenFrame]) -> None:
        messages: list[Message] = []
        for message in found:
            if isinstance(message, BrokenFrame):
                self._take_broken(message, messages)
            elif message[0] == ids.READY:
                _, self.module_id, self.public_info = message
                self._came_up.set_result(None)
            elif message[0] == ids.FAILED:
                self._take_failed(message[1])
            elif message[0] == ids.BROKEN:
                self._repeat(message[1])
            else:
                messages.append(message)
        if messages:
            self.on_messages(self, messages)

    def _take_failed(self, failure: Failure) -> None:
        error = error_of(failure)
        self._pipe.read_now()
        told = LoadFailed(
            f"replica {self.index} of model {self._plan.model} did not load it: {error}",
            self._tail.lines,
        )
        told.__cause__ = error.__cause__
        if isinstance(error, ValueError | TypeError | FileNotFoundError | KitfoxError):
            error.__cause__ = told
        else:
            error = told
        self._came_up.set_exception(error)

    def _take_broken(self, broken: BrokenFrame, messages: list[Message]) -> None:
        """A frame that cannot be read here: of several messages, they are asked for one by one."""
        if not broken.call:
            self.send((ids.AGAIN, broken.frame))
            return
        failure = {
            "kind": "other",
            "name": type(broken.error).__name__,
            "message": f"the result cannot be read outside its replica: {broken.error}",
        }
        messages.append((ids.ERROR, broken.call, failure))

    def _repeat(self, frame: int) -> None:
        for number, batch in self._sent:
            if number == frame:
                for message in batch:
                    self._send_one(message)
                return
        self.kill("it could not read calls that are no longer kept")


def _abandon(launch: "asyncio.Future[_Launched]") -> None:
    """Ends a process that nobody wants any more."""
    if launch.cancelled() or launch.exception() is not None:
        return
    process, line, output, page = launch.result()
    kill_group(process.pid, signal.SIGKILL)
    process.wait()
    line.close()
    os.close(output)
    page.close()
