"""What the kernel knows about a worker: is it there, is it still the same, what has it started.

Linux only: everything is read from /proc.
"""

import contextlib
import fcntl
import os
import signal
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "JOB_VARIABLE",
    "exit_status",
    "is_running",
    "is_same",
    "job_mark",
    "kill_group",
    "peak_memory",
    "processor_ticks",
    "relatives",
    "start_token",
]

JOB_VARIABLE = "KITFOX_JOB"
"""The environment variable by which a job's processes are known, whatever session they are in."""

_PROC = Path("/proc")


def job_mark(store_url: str, job_id: str) -> str:
    """The value of that variable: two stores of a machine may have jobs with the same id.

    Args:
        store_url: The job's store. It may hold a password, and every child could read it.
        job_id: The job.
    """
    return f"{job_id} {zlib.crc32(store_url.encode()):08x}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stat:
    """The fields of /proc/<pid>/stat that matter here."""

    state: str
    session: int
    start_ticks: str
    processor_ticks: int
    wait_status: int


# <linux/pidfd.h>: `struct pidfd_info` of 64 bytes, whose last four are the wait status.
_PIDFD_INFO_SIZE = 64
_PIDFD_GET_INFO = 3 << 30 | _PIDFD_INFO_SIZE << 16 | 0xFF << 8 | 11
_PIDFD_INFO_EXIT = 1 << 3


def _stat(pid: int) -> _Stat | None:
    """The process as the kernel describes it; None if there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, which may hold anything.
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(
        state=fields[0],
        session=int(fields[3]),
        start_ticks=fields[19],
        processor_ticks=int(fields[11]) + int(fields[12]),
        wait_status=int(fields[49]),
    )


def start_token(pid: int) -> str:
    """When a process started, as text that no later process of the same number will have.

    Empty if there is no such process, or only its exit status is left.
    """
    stat = _stat(pid)
    return "" if stat is None or stat.state in "ZX" else _token(stat)


def _token(stat: _Stat) -> str:
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{stat.start_ticks}@{boot}"


def is_same(pid: int, token: str) -> bool:
    """Whether the process that `start_token` described is there, or its exit status still is."""
    stat = _stat(pid)
    return stat is not None and _token(stat) == token


def exit_status(pid: int, token: str, pidfd: int | None) -> int | None:
    """What a process that is nobody's child here exited with; None if the kernel does not tell.

    Until its parent has fetched the status it lies in /proc; afterwards a kernel from 6.15 on
    keeps it for those who hold a descriptor of the process.

    Args:
        pid: The process, which has ended.
        token: Its start, as `start_token` gave it.
        pidfd: A descriptor of it.
    """
    stat = _stat(pid)
    if stat is not None and stat.state in "ZX" and _token(stat) == token:
        return os.waitstatus_to_exitcode(stat.wait_status)
    if pidfd is None:
        return None
    info = bytearray(struct.pack("Q", _PIDFD_INFO_EXIT).ljust(_PIDFD_INFO_SIZE, b"\0"))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:  # an older kernel
        return None
    (found,) = struct.unpack_from("Q", info)
    (wait_status,) = struct.unpack_from("i", info, _PIDFD_INFO_SIZE - 4)
    return os.waitstatus_to_exitcode(wait_status) if found & _PIDFD_INFO_EXIT else None


def processor_ticks(pid: int) -> int:
    """How much time on a processor a process has had; 0 if there is none."""
    stat = _stat(pid)
    return 0 if stat is None else stat.processor_ticks


def is_running(pid: int, token: str) -> bool:
    """Whether the process that `start_token` described is still there."""
    return bool(token) and start_token(pid) == token


def relatives(pid: int, token: str, mark: str) -> list[int]:
    """The living processes that belong to a job: of its worker's session, or carrying its variable.

    The variable finds those that left the session, as a daemon does. The session counts unless the
    worker's number has gone to another process, which happens only when the session is empty.

    Args:
        pid: The worker.
        token: Its start, as `start_token` gave it.
        mark: The job, as `job_mark` gives it.
    """
    session = pid if start_token(pid) in ("", token) else None
    marker = f"{JOB_VARIABLE}={mark}".encode()
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        stat = _stat(int(entry.name))
        if stat is None or stat.state in "ZX":
            continue
        if stat.session == session or marker in _environment(entry):
            found.append(int(entry.name))
    return found


def _environment(entry: Path) -> list[bytes]:
    """The environment that a process was started with; empty for a stranger's."""
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def kill_group(pid: int, number: signal.Signals) -> None:
    """Signals every process of the group that `pid` leads; nothing if there is none left."""
    # PermissionError: a member has changed its user; the others have got the signal.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def peak_memory() -> int | None:
    """The most memory that this process has held, in bytes.

    Not getrusage: its figure is inherited from the process that started this one.
    """
    for line in (_PROC / "self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
