"""Whether the addresses that a server wants are free, asked before anything is started."""

import errno
import socket
from pathlib import Path

from kitfox.errors import FailedPrecondition
from kitfox.server.envoy import Listener

__all__ = ["check_free"]


def check_free(listener: Listener) -> None:
    """Raises `FailedPrecondition` with one sentence if the listener's address cannot be had."""
    if listener.is_unix:
        _check_unix(listener)
    elif listener.port:
        _check_tcp(listener)


def _check_tcp(listener: Listener) -> None:
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As Envoy does it: closed connections that the kernel still remembers are no hindrance.
        # Without SO_REUSEPORT, so that a server which uses that is seen as well.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listener.address, listener.port))
        except OSError as error:
            raise FailedPrecondition(_sentence(listener, error)) from error


def _check_unix(listener: Listener) -> None:
    # Envoy would take the path from a server that lives; what a dead one left behind it may take.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(listener.address)
        except OSError:
            return
    raise FailedPrecondition(f"{_subject(listener)} is taken: another process answers on it")


def _sentence(listener: Listener, error: OSError) -> str:
    subject = _subject(listener)
    if error.errno == errno.EADDRINUSE:
        holder = _holder(listener.port)
        by = f" by {holder}" if holder else ""
        return f"{subject} is taken{by}; stop that process or choose another port"
    if error.errno == errno.EACCES:
        return f"{subject} may not be opened by this user; choose a port above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{subject}: this machine has no address {listener.address}"
    return f"{subject} cannot be opened: {error.strerror or error}"


def _subject(listener: Listener) -> str:
    what = f"Socket {listener.address}" if listener.is_unix else f"Port {listener.port}"
    return f"{what} ({listener.setting or listener.name})"


def _holder(port: int) -> str:
    """The process that listens on a port, as far as `/proc` shows it."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _inodes(table, port)}
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            handles = (process / "fd").iterdir()
            if any(str(handle.readlink()) in inodes for handle in handles):
                name = (process / "comm").read_text().strip()
                return f"process {process.name} ({name})"
        except OSError:
            # It ended meanwhile, or belongs to somebody else.
            continue
    return ""


def _inodes(table: str, port: int) -> list[str]:
    # https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    listening = "0A"
    try:
        lines = Path("/proc/net", table).read_text().splitlines()[1:]
    except OSError:
        return []
    rows = (line.split() for line in lines)
    return [
        row[9] for row in rows if row[3] == listening and int(row[1].rpartition(":")[2], 16) == port
    ]
