"""A PostgreSQL server for the tests: one that the environment names, or one of their own.

Their own is a new cluster in a folder of its own, reachable by a socket in that folder alone; it
ends with the tests, however they end.
"""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.waiting import wait_for

VARIABLE = "KITFOX_TEST_POSTGRESQL"
"""Names a server to test with, as `postgresql+psycopg://user@host/database`."""
_DEBIAN = Path("/usr/lib/postgresql")
"""Debian keeps the programs of each version below it, and not in PATH."""
_PR_SET_PDEATHSIG = 1


def programs() -> Path | None:
    """The folder with PostgreSQL's programs, the newest if there are several."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = [path.parent for path in _DEBIAN.glob("*/bin/initdb")]
    return max(versions, key=lambda path: float(path.parent.name), default=None)


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a server; the test is skipped if there is none and none can be made."""
    if named := os.environ.get(VARIABLE, ""):
        yield named
        return
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    folder = programs()
    if folder is None:
        pytest.skip(f"PostgreSQL is not installed (no initdb), and {VARIABLE} names no server")
    with tempfile.TemporaryDirectory(prefix="kitfox-postgresql-") as place:
        yield from _serve(folder, Path(place))


def _serve(programs: Path, place: Path) -> Iterator[str]:
    owner = _owner()
    if owner is not None:
        os.chown(place, owner, -1)
    data = place / "data"
    initdb = ["--pgdata", str(data), "--username=kitfox", "--auth=trust", "--no-sync"]
    _start(programs / "initdb", [*initdb, "--encoding=UTF8", "--locale=C"], place, owner).wait()
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(place),
        "fsync": "off",  # these tests are not about power cuts
        "max_connections": "200",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    server = _start(programs / "postgres", ["-D", str(data), *options], place, owner)
    try:
        wait_for(
            lambda: server.poll() is not None or _is_ready(data),
            what="PostgreSQL's start",
        )
        assert server.poll() is None, (place / "log").read_text()
        yield f"postgresql+psycopg://kitfox@/postgres?host={place}"
    finally:
        server.send_signal(signal.SIGQUIT)  # at once; the folder goes anyway
        server.wait()


def _is_ready(data: Path) -> bool:
    """Whether a server takes connections: it refuses them for a while after its socket is there."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) == 8 and lines[7].strip() == "ready"


def _start(
    program: Path, arguments: Sequence[str], place: Path, owner: int | None
) -> "subprocess.Popen[bytes]":
    with (place / "log").open("ab") as log:
        return subprocess.Popen(
            [str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=place,
            user=owner,
            extra_groups=None if owner is None else [],
            preexec_fn=_end_with_parent(),
        )


def _owner() -> int | None:
    """Who runs the server: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    pytest.skip("PostgreSQL does not run as root, and there is no other user")


def _end_with_parent() -> Callable[[], None]:
    """What makes the kernel end a child when the process of the tests is killed."""
    prctl = ctypes.CDLL(None).prctl

    def end_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT), 0, 0, 0)

    return end_with_parent
