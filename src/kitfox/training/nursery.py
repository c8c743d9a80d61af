"""The process from which warm workers come: it has imported the libraries and waits for jobs.

    python -m kitfox.training.nursery        (its standard input is a socket of the launcher)

If importing has left it with one thread, it forks a worker for each job. If not (numerical
libraries start theirs), a fork might leave locks held for ever, so it becomes the worker of one job
itself, and the launcher starts another nursery. It ends when the launcher's end of the socket
closes, or when there has been no job for a while; workers go on.

Messages are JSON, one a line:

    to it      {"libraries": [{"package": ..., "path": ...}, ...]}
    from it    {"ready": true, "forks": true}
    to it      {"store": url, "job": id, "attempt": n, "log": path}
    from it    {"started": pid}
    from it    {"ended": pid, "status": status}
"""

import gc
import importlib.metadata
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from kitfox.training import job_log, processes, worker
from kitfox.training.environment import imported_packages
from kitfox.training.jobs import Library
from kitfox.training.launchers import open_pidfd

__all__ = ["main"]

_WITHOUT_PIDFD = 0.05
_IDLE = 600.0
"""Seconds without a job after which the memory is given back."""


class _Line:
    """The socket to the launcher, line by line."""

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=descriptor)
        self._rest = b""

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the launcher is gone."""
        while b"\n" not in self._rest:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def send(self, **message: object) -> None:
        """Tells the launcher, if it is there."""
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except ConnectionError:
            return


class _Nursery:
    """Forks workers and tells how they end."""

    def __init__(self, line: _Line, *, forks: bool) -> None:
        self._line = line
        self._forks = forks
        self._children: dict[int, int | None] = {}

    def serve(self) -> int:
        """Waits for jobs; gives the exit status of this process, or of the worker it has become."""
        while True:
            something = self._wait()
            self._reap()
            if not something and not self._children:
                return 0
            if not self._readable():
                continue
            job = self._line.receive()
            if job is None:
                return 0
            if not self._forks:
                self._line.send(started=os.getpid())
                return self._become(job)
            if self._fork() == 0:
                return self._become(job)

    def _wait(self) -> bool:
        """Sleeps until there is a message or a child has ended; False: nothing for a long time."""
        poller = select.poll()
        poller.register(self._line.socket, select.POLLIN)
        for descriptor in self._children.values():
            if descriptor is not None:
                poller.register(descriptor, select.POLLIN)
        pause = _WITHOUT_PIDFD if None in self._children.values() else _IDLE
        return bool(poller.poll(pause * 1000))

    def _readable(self) -> bool:
        poller = select.poll()
        poller.register(self._line.socket, select.POLLIN)
        return bool(poller.poll(0))

    def _reap(self) -> None:
        for pid, descriptor in list(self._children.items()):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            processes.kill_group(pid, signal.SIGKILL)  # while its number is still taken
            _, status = os.waitpid(pid, 0)
            del self._children[pid]
            if descriptor is not None:
                os.close(descriptor)
            self._line.send(ended=pid, status=os.waitstatus_to_exitcode(status))

    def _fork(self) -> int:
        """Forks; in the child, which leads a session of its own, gives 0."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os.setsid()
            os.close(writing)  # lets the parent go on: whoever learns the pid can signal the group
            for descriptor in self._children.values():
                if descriptor is not None:
                    os.close(descriptor)
            return 0
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        self._children[pid] = open_pidfd(pid)
        self._line.send(started=pid)
        return pid

    def _become(self, job: dict[str, Any]) -> int:
        """Performs the job in this process."""
        self._line.socket.close()
        nothing = os.open(os.devnull, os.O_RDONLY)
        if nothing != 0:
            os.dup2(nothing, 0)
            os.close(nothing)
        job_log.redirect(job["log"])
        os.environ[processes.JOB_VARIABLE] = processes.job_mark(job["store"], job["job"])
        numpy = sys.modules.get("numpy")
        if numpy is not None:  # else all workers would draw the same random numbers
            numpy.random.seed()
        worker.prepare_process()
        return worker.work(job["store"], job["job"], job["attempt"])


def main() -> int:
    """Imports, then serves until the launcher is gone; gives the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    line = _Line(os.dup(0))
    first = line.receive()
    if first is None:
        return 0
    worker.import_libraries([Library(**library) for library in first["libraries"]])
    importlib.metadata.version("kitfox")  # every model that is saved notes a version: 20 ms
    imported_packages()  # remembers what it had to look for
    gc.collect()
    gc.freeze()  # so that workers share these pages until they write to them
    forks = len(list(Path("/proc/self/task").iterdir())) == 1
    line.send(ready=True, forks=forks)
    return _Nursery(line, forks=forks).serve()


if __name__ == "__main__":
    worker.leave(main())
