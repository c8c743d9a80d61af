"""What the kernel knows about a worker: is it there, is it still the same, what has it started.

Linux only: everything is read from /proc.
"""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

__all__ = ["JOB_VARIABLE", "is_running", "kill_group", "peak_memory", "relatives", "start_token"]

JOB_VARIABLE = "KITFOX_JOB"
"""The environment variable by which a job's processes are known, whatever session they are in."""

_PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stat:
    """The fields of /proc/<pid>/stat that matter here."""

    state: str
    session: int
    start_ticks: str


def _stat(pid: int) -> _Stat | None:
    """The process as the kernel describes it; None if there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, which may hold anything.
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(state=fields[0], session=int(fields[3]), start_ticks=fields[19])


def start_token(pid: int) -> str:
    """When a process started, as text that no later process of the same number will have.

    Empty if there is no such process, or only its exit status is left.
    """
    stat = _stat(pid)
    if stat is None or stat.state in "ZX":
        return ""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{stat.start_ticks}@{boot}"


def is_running(pid: int, token: str) -> bool:
    """Whether the process that `start_token` described is still there."""
    return bool(token) and start_token(pid) == token


def relatives(pid: int, token: str, job_id: str) -> list[int]:
    """The living processes that belong to a job: of its worker's session, or carrying its variable.

    The variable finds those that left the session, as a daemon does. The session counts unless the
    worker's number has gone to another process, which happens only when the session is empty.

    Args:
        pid: The worker.
        token: Its start, as `start_token` gave it.
        job_id: The job.
    """
    session = pid if start_token(pid) in ("", token) else None
    marker = f"{JOB_VARIABLE}={job_id}".encode()
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
