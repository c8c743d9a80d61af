"""How replicas end, and what the kernel knows about it."""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from kitfox.errors import Code, KitfoxError
from kitfox.models.replicas.page import Running

__all__ = ["Death", "LoadFailed", "has_ended", "kill_group", "oom_kills"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """How a replica ended."""

    status: int | None
    """What it exited with, or minus the number of the signal; None if nobody knows."""
    reason: str = ""
    """Why it was killed, if that was done here."""
    culprit: int = 0
    """The call for which it was killed; 0 if it was not."""
    running: tuple[Running, ...] = ()
    """What it was in the middle of."""
    begun: frozenset[int] = frozenset()
    """The numbers of the ordinary calls that it began last."""
    out_of_memory: bool | None = None
    """Whether the kernel has killed something for lack of memory; None if it does not tell."""

    def __str__(self) -> str:
        if self.reason:
            return self.reason
        if self.status is None:
            return "it ended, and its exit status is lost"
        if self.status >= 0:
            return f"it exited with status {self.status}"
        try:
            name = signal.Signals(-self.status).name
        except ValueError:  # a real-time signal
            name = f"signal {-self.status}"
        return f"it was killed by {name}{self._for_memory}"

    @property
    def _for_memory(self) -> str:
        """Whether that was for lack of memory, as far as it is known."""
        if self.status != -signal.SIGKILL or self.out_of_memory is False:
            return ""
        return ", for lack of memory" if self.out_of_memory else ", perhaps for lack of memory"

    @property
    def asked(self) -> bool:
        """Whether somebody asked it to end: that says nothing about its calls."""
        return self.status in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, 143)

    @property
    def from_outside(self) -> bool:
        """Whether somebody else seems to have killed it."""
        return self.status == -signal.SIGKILL and not self.reason and self.out_of_memory is False


class LoadFailed(KitfoxError):
    """A replica did not come up.

    Args:
        message: What happened.
        log_tail: The last lines of its output.
    """

    code = Code.INTERNAL

    def __init__(self, message: str, log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        # For the log: clients get the message.
        self.log_tail = log_tail


def has_ended(pid: int) -> bool:
    """Whether a child has ended; it is not reaped, so its number stays taken."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def kill_group(pid: int, number: signal.Signals) -> None:
    """Signals every process of the group that a process leads; nothing if there is none left."""
    # PermissionError: a member has changed its user; the others have got the signal.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def oom_kills() -> int | None:
    """How many processes the kernel has killed for lack of memory since it was started."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return None
