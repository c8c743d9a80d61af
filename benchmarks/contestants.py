"""What is measured: servers, each described by how it is started and what may be asked of it.

A contestant has a suite of each kind of work that it can do. A suite, given a place to live, makes
a `Launch`: the command that starts a server on free ports, and its targets by name.
"""

import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from benchmarks.measurement import Options

__all__ = ["Contestant", "Launch", "Place", "Suite", "Target", "free_ports", "grpc", "rest"]

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Something to be asked of a server, and how its answer is recognized."""

    protocol: Literal["grpc", "rest"]
    """What is spoken: gRPC over HTTP/2 without TLS, or HTTP/1.1."""
    port: int
    """Where, on this machine."""
    path: str
    """The request's path."""
    bodies: tuple[bytes, ...] = (b"",)
    """What is sent, in turns: a message without its frame, or a body of one line."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What is sent beside the usual headers."""
    expect: bytes = b""
    """What every right answer holds."""
    messages: int = 1
    """How many messages an answer has; a stream's parts are counted by `expect`."""
    method: str = "POST"
    """The HTTP method."""
    checked: bool = True
    """Whether the answer can be checked by a stock client."""


def grpc(port: int, path: str, body: bytes, expect: bytes, **more: object) -> Target:
    """A gRPC method."""
    return Target(protocol="grpc", port=port, path=path, bodies=(body,), expect=expect, **more)  # type: ignore[arg-type] # the remaining fields


def rest(port: int, path: str, body: bytes | list[bytes], expect: bytes, **more: object) -> Target:
    """A route that takes JSON."""
    bodies = tuple(body) if isinstance(body, list) else (body,)
    return Target(protocol="rest", port=port, path=path, bodies=bodies, expect=expect, **more)  # type: ignore[arg-type] # the remaining fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a server may live for a while."""

    folder: Path
    """A folder of its own, the same in all rounds, empty in the first."""
    environments: Path
    """The folder of virtual environments."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """How a server is started, and what it answers once it runs."""

    command: tuple[str, ...]
    """The program and its arguments."""
    targets: Mapping[str, Target]
    """What may be asked, by the name that the work has for it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of this process."""
    cwd: Path | None = None
    """The working directory; a server's folder unless given."""


Suite: TypeAlias = Callable[[Place], Launch]
"""Prepares a server in a place. Called once for each start, so ports are new each time."""


Own: TypeAlias = "Callable[[Place, Options], dict[str, dict[str, float]]]"
"""Measures without a load generator: metrics by the name of the work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """A server, or a library that could be one."""

    name: str
    """How it is called in tables."""
    environment: str
    """Its virtual environment, below the folder of environments; empty: this one."""
    packages: tuple[str, ...]
    """Whose versions are noted, the most telling first."""
    suites: Mapping[str, Suite] = field(default_factory=dict)
    """What it can do as a server."""
    own: Mapping[str, "Own"] = field(default_factory=dict)
    """By suite: what measures it in a way of its own."""
    peer: bool = False
    """Whether it is a product to compare with, rather than a limit."""

    def python(self, environments: Path) -> Path:
        """The Python that it runs on."""
        return python_of(environments, self.environment)

    def missing(self, environments: Path) -> str:
        """What has to be made before it can be measured; empty if nothing."""
        if self.python(environments).exists():
            return ""
        return f"{self.environment} is not installed: run `make bench{'-peers' * self.peer}`"


def python_of(environments: Path, name: str) -> Path:
    """The Python of an environment; of this one for the empty name."""
    if not name:
        return Path(sys.executable)
    return environments / name / "bin" / "python"


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0))
