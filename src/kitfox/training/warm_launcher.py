"""Workers without a cold start: they come from a process that has imported everything already."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kitfox import logs
from kitfox.training import processes
from kitfox.training.jobs import Job, Library
from kitfox.training.launchers import (
    ChildWorker,
    Exit,
    SubprocessLauncher,
    WorkerHandle,
    clean_environment,
    open_pidfd,
)

__all__ = ["WarmLauncher"]

log = logs.channel("TRAINING")

_ANSWER_PATIENCE = 5.0
"""For how many seconds a nursery may keep the launcher waiting."""
_FIRST_PAUSE = 1.0
"""Seconds until a third nursery is started when two have failed; twice as many for each more."""
_LONGEST_PAUSE = 60.0
"""The most that it grows to."""


class WarmLauncher:
    """Keeps a process with the libraries imported, and starts workers from it.

    It comes with the first job and goes when there has been none for a while, so a server that
    trains nothing pays nothing. A job whose libraries are others, or that comes before the process
    is ready, gets a cold start.

    Args:
        store_url: How the worker opens the job store.
        libraries: What is imported beforehand.
        python: The interpreter; `sys.executable` unless given.
        environ: Variables for the workers, added to the server's own.
    """

    def __init__(
        self,
        *,
        store_url: str,
        libraries: Sequence[Library],
        python: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._cold = SubprocessLauncher(store_url=store_url, python=python, environ=environ)
        self._store_url = store_url
        self._libraries = tuple(libraries)
        self._python = python or sys.executable
        self._environ = dict(environ or {})
        self._nursery: _NurseryProcess | None = None
        self._failures = 0
        self._not_before = 0.0

    @property
    def ready(self) -> bool:
        """Whether the next job would get a warm start."""
        return self._ready_nursery() is not None

    def prepare(self) -> None:
        """Nothing is kept ready for a server that has trained nothing yet."""

    def warm_up(self) -> None:
        """Starts the process, unless it is there or was tried a moment ago; ready in a while."""
        if self._nursery is not None or time.monotonic() < self._not_before:
            return
        self._nursery = _NurseryProcess(self._python, clean_environment(self._environ))
        self._nursery.send(libraries=[asdict(library) for library in self._libraries])

    def launch(self, job: Job) -> WorkerHandle:
        """Starts a worker from the warm process, if it is ready, else a cold one."""
        if job.libraries != self._libraries:
            return self._cold.launch(job)
        nursery = self._ready_nursery()
        if nursery is None:
            self.warm_up()
            return self._cold.launch(job)
        nursery.send(store=self._store_url, job=job.id, attempt=job.attempt, log=job.log_path)
        pid = nursery.started()
        if pid is None:
            # It has died or hangs. Whether it began the job is unknown: the store lets one worker
            # begin an attempt, so a second one does no harm.
            self._give_up_nursery()
            return self._cold.launch(job)
        self._failures = 0
        if pid == nursery.process.pid:
            self._nursery = None
            nursery.leave()
            self.warm_up()
            return ChildWorker(nursery.process)
        return ForkedWorker(pid, nursery)

    def close(self) -> None:
        """Ends the warm process; its workers go on."""
        if self._nursery is not None:
            self._nursery.end()
            self._nursery = None

    def _ready_nursery(self) -> "_NurseryProcess | None":
        if self._nursery is not None and self._nursery.process.poll() is not None:
            if self._nursery.process.returncode == 0:  # it has had nothing to do for a while
                self.close()
            else:
                log.warning(
                    "The process that warms up trainings has ended with status %s; "
                    "trainings start cold meanwhile",
                    self._nursery.process.returncode,
                )
                self._give_up_nursery()
        if self._nursery is not None and self._nursery.is_ready():
            return self._nursery
        return None

    def _give_up_nursery(self) -> None:
        """Starts another one in its place: at once, or after a pause if that has failed before."""
        self.close()
        if self._failures:
            pause = min(_FIRST_PAUSE * 2.0 ** (self._failures - 1), _LONGEST_PAUSE)
            self._not_before = time.monotonic() + pause
        self._failures += 1
        self.warm_up()


class _NurseryProcess:
    """The launcher's side of a `kitfox.training.nursery`."""

    def __init__(self, python: str, environ: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [python, "-P", "-m", "kitfox.training.nursery"],
                stdin=theirs.fileno(),
                env=dict(environ),
                start_new_session=True,
            )
        self._rest = b""
        self._is_ready = False
        self._started: list[int] = []
        self._ended: dict[int, int] = {}

    def send(self, **message: Any) -> None:
        """Tells it, if it is there."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def is_ready(self) -> bool:
        """Whether it has imported everything."""
        self._read(0)
        return self._is_ready

    def started(self) -> int | None:
        """The number of the worker that it has just started; None if it does not answer."""
        deadline = time.monotonic() + _ANSWER_PATIENCE
        while not self._started:
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                return None
        return self._started.pop()

    def exit_of(self, pid: int, *, patience: float) -> Exit | None:
        """How a worker has ended; None if that is not known yet, or never will be."""
        deadline = time.monotonic() + patience
        while pid not in self._ended:
            left = deadline - time.monotonic()
            if not self._read(max(0.0, left)) or left <= 0:
                break
        return Exit(status=self._ended.pop(pid)) if pid in self._ended else None

    def leave(self) -> None:
        """Lets go of a process that has become a worker."""
        self._socket.close()

    def end(self) -> None:
        """Ends it; its workers go on."""
        self._socket.close()
        self.process.kill()
        self.process.wait()

    def _read(self, patience: float) -> bool:
        """Takes in what has come, waiting for it so long; False when no more will come."""
        if self._socket.fileno() < 0:
            return False
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        if not poller.poll(patience * 1000):
            return True
        try:
            data = self._socket.recv(65536)
        except ConnectionError:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "ready" in message:
                self._is_ready = True
            elif "started" in message:
                self._started.append(message["started"])
            else:
                self._ended[message["ended"]] = message["status"]
        return bool(data)


class ForkedWorker:
    """A worker that a nursery forked: its child, so it is the one to tell how the worker ended."""

    def __init__(self, pid: int, nursery: _NurseryProcess) -> None:
        self.pid = pid
        self._pidfd = open_pidfd(pid)
        self.start = processes.start_token(pid)
        self._nursery = nursery

    def fileno(self) -> int | None:
        """Readable at the worker's end."""
        return self._pidfd

    def poll(self) -> Exit | None:
        """Looks whether the worker has ended."""
        known = self._nursery.exit_of(self.pid, patience=0)
        if known is not None or processes.is_running(self.pid, self.start):
            return known
        known = self._nursery.exit_of(self.pid, patience=1.0)
        # Its nursery is gone: then it is somebody else's child, like one that is adopted.
        return known or Exit(status=processes.exit_status(self.pid, self.start, self._pidfd))

    def close(self) -> None:
        """Stops watching."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
