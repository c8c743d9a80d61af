"""The addresses that a server wants: whether they are free, and how their sockets are set up."""

import errno
import socket
from pathlib import Path

from kitfox.errors import FailedPrecondition
from kitfox.server.options import Listener, Options

__all__ = ["bind", "check_free", "keepalive", "unavailable"]


def keepalive(options: Options) -> list[tuple[int, int, int]]:
    """The options of a TCP socket that find clients which vanished: level, name, value.

    Set on a listening socket, they hold for each connection that it accepts.
    """
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
    values = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, seconds in (
        (idle, options.ping_seconds),
        (getattr(socket, "TCP_KEEPINTVL", None), options.ping_timeout_seconds / _PROBES),
    ):
        if name is not None:
            values.append((socket.IPPROTO_TCP, name, max(1, round(seconds))))
    if (probes := getattr(socket, "TCP_KEEPCNT", None)) is not None:
        values.append((socket.IPPROTO_TCP, probes, _PROBES))
    return values


_PROBES = 3
"""How many of the kernel's questions in a row may go unanswered."""


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
            probe.bind(_place(listener))
        except OSError as error:
            raise unavailable(listener, error) from error


def _place(listener: Listener) -> tuple[bytes, int]:
    # As bytes: for text Python loads its tables of international names, which are 0.4 MB.
    return listener.address.encode(), listener.port


def _check_unix(listener: Listener) -> None:
    # Envoy would take the path from a server that lives; what a dead one left behind it may take.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(listener.address)
        except OSError:
            return
    raise FailedPrecondition(f"{_subject(listener)} is taken: another process answers on it")


def bind(listener: Listener, options: Options) -> socket.socket:
    """A socket that has the address, and does not listen yet.

    Raises:
        FailedPrecondition: The address cannot be had.
    """
    if listener.is_unix:
        path = Path(listener.address)
        path.unlink(missing_ok=True)
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        found.bind(listener.address)
        path.chmod(0o660)
        return found
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.address == "::":
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        for level, name, value in keepalive(options):
            found.setsockopt(level, name, value)
        found.bind(_place(listener))
    except OSError as error:
        found.close()
        raise unavailable(listener, error) from error
    return found


def unavailable(listener: Listener, error: OSError) -> FailedPrecondition:
    """The error of the operating system as a sentence with the setting in it."""
    subject = _subject(listener)
    if error.errno == errno.EADDRINUSE:
        holder = _holder(listener.port)
        by = f" by {holder}" if holder else ""
        sentence = f"{subject} is taken{by}; stop that process or choose another port"
    elif error.errno == errno.EACCES:
        sentence = f"{subject} may not be opened by this user; choose a port above 1023"
    elif error.errno == errno.EADDRNOTAVAIL:
        sentence = f"{subject}: this machine has no address {listener.address}"
    else:
        sentence = f"{subject} cannot be opened: {error.strerror or error}"
    return FailedPrecondition(sentence)


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
