"""How a worker process is started and watched: the joint between the scheduler and the system."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kitfox.training import job_log, processes
from kitfox.training.jobs import Job, Library

__all__ = [
    "STORE_VARIABLE",
    "AdoptedWorker",
    "Exit",
    "Launcher",
    "SubprocessLauncher",
    "WorkerHandle",
    "clean_environment",
    "make_launcher",
    "open_pidfd",
]

STORE_VARIABLE = "KITFOX_JOB_STORE"
"""The environment variable that tells a worker the URL of its store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exit:
    """How a worker ended."""

    status: int | None
    """What it exited with, or minus the number of the signal that ended it; None if nobody knows,
    as for a worker that was another server's child."""

    def __str__(self) -> str:
        if self.status is None:
            return "worker ended without a word while another server, or none, was watching"
        if self.status >= 0:
            return f"worker exited with status {self.status}"
        try:
            name = signal.Signals(-self.status).name
        except ValueError:  # a real-time signal
            name = "no name"
        return f"worker was killed by signal {-self.status} ({name})"


# What an embedding process needs to find its Python, and the mark of a job that started a server.
_NOT_FOR_WORKERS = frozenset({"LD_PRELOAD", "PYTHONHOME", processes.JOB_VARIABLE})


class WorkerHandle(Protocol):
    """A worker that was started."""

    pid: int
    """The process, which leads a session and a process group of the same number."""
    start: str
    """When it started, as `processes.start_token` tells it."""

    def fileno(self) -> int | None:
        """What becomes readable when the worker ends; None if it must be asked again and again."""
        ...

    def poll(self) -> Exit | None:
        """How it ended, after killing what is left of its process group; None while it runs."""
        ...

    def close(self) -> None:
        """Stops watching; the worker goes on."""
        ...


class Launcher(Protocol):
    """Starts workers."""

    def prepare(self) -> None:
        """Makes ready what workers to come will need; called once, when a scheduler starts."""
        ...

    def launch(self, job: Job) -> WorkerHandle:
        """Starts a worker for the job's present attempt, in a session of its own."""
        ...

    def close(self) -> None:
        """Ends what is kept ready for workers to come; running ones go on."""
        ...


def make_launcher(
    *,
    warm: bool,
    store_url: str,
    libraries: Sequence[Library],
    python: str = "",
    environ: Mapping[str, str] | None = None,
) -> Launcher:
    """How a server starts workers.

    Args:
        warm: Whether a process with the libraries imported is kept, from which they come.
        store_url: How the worker opens the job store.
        libraries: What is imported beforehand.
        python: The interpreter; `sys.executable` unless given.
        environ: Variables for the workers, added to the server's own.
    """
    if not warm:
        return SubprocessLauncher(store_url=store_url, python=python, environ=environ)
    from kitfox.training.warm_launcher import WarmLauncher  # here: it builds on this file

    return WarmLauncher(store_url=store_url, libraries=libraries, python=python, environ=environ)


class SubprocessLauncher:
    """Starts a new Python for every job.

    Args:
        store_url: How the worker opens the job store.
        python: The interpreter; `sys.executable` unless given.
        environ: Variables for the workers, added to the server's own.
    """

    def __init__(
        self, *, store_url: str, python: str = "", environ: Mapping[str, str] | None = None
    ) -> None:
        self._store_url = store_url
        self._python = python or sys.executable
        self._environ = dict(environ or {})

    def prepare(self) -> None:
        """Nothing is kept ready."""

    def launch(self, job: Job) -> WorkerHandle:
        """Starts the worker; its output goes to the job's log from the first byte on."""
        log = job_log.open_log(job.log_path)
        try:
            process = subprocess.Popen(
                [
                    *(self._python, "-P", "-m", "kitfox.training.worker"),
                    *("--job", job.id, "--attempt", str(job.attempt)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(self._environ)
                # Not among the arguments, which everybody may read: the URL may hold a password.
                | {
                    STORE_VARIABLE: self._store_url,
                    processes.JOB_VARIABLE: processes.job_mark(self._store_url, job.id),
                },
                start_new_session=True,
            )
        finally:
            os.close(log)
        return ChildWorker(process)

    def close(self) -> None:
        """Nothing is kept ready."""


class ChildWorker:
    """A worker that is this process's child."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.pid = process.pid
        self.start = processes.start_token(process.pid)
        self._process = process
        self._pidfd = open_pidfd(process.pid)

    def fileno(self) -> int | None:
        """Readable at the worker's end."""
        return self._pidfd

    def poll(self) -> Exit | None:
        """Looks at the worker, and reaps it if it has ended."""
        try:
            # Without reaping: as long as its number is taken, so is that of its group.
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            # Somebody else in this process reaps children, so the status is lost.
            self._process.returncode = 0
            return Exit(status=None)
        if ended is None:
            return None
        processes.kill_group(self.pid, signal.SIGKILL)
        return Exit(status=self._process.wait())

    def close(self) -> None:
        """Stops watching."""
        # Popen warns when it is dropped while its process runs, which is what is wanted here.
        if self._process.returncode is None:
            self._process.returncode = 0
        _close(self._pidfd)
        self._pidfd = None


class AdoptedWorker:
    """A worker that an earlier server started.

    How it ends is known all the same if it is there when it is adopted, and the kernel is of 2025.
    """

    def __init__(self, pid: int, start: str) -> None:
        self.pid = pid
        self.start = start
        self._pidfd = open_pidfd(pid)
        # Asked after the descriptor is there, so that it is not a later process of that number.
        self._is_it = processes.is_same(pid, start)

    def fileno(self) -> int | None:
        """Readable at the worker's end."""
        return self._pidfd

    def poll(self) -> Exit | None:
        """Looks whether the process is there and still the same."""
        if processes.is_running(self.pid, self.start):
            return None
        if not self._is_it:
            return Exit(status=None)
        return Exit(status=processes.exit_status(self.pid, self.start, self._pidfd))

    def close(self) -> None:
        """Stops watching."""
        _close(self._pidfd)
        self._pidfd = None


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment for a worker: the server's, without what is meant for that process alone."""
    return {
        name: value
        for name, value in (os.environ | dict(extra)).items()
        if name not in _NOT_FOR_WORKERS or name in extra
    }


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where there is none."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):  # no such process, or a kernel without
        return None


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        with contextlib.suppress(OSError):
            os.close(descriptor)
