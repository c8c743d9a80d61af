"""Starts the server: configuration in, engine on, and a sentence when it cannot be."""

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from kitfox import config, logs
from kitfox.config import Config, ConfigError
from kitfox.errors import KitfoxError
from kitfox.server._handover import CONFIG_VARIABLE, PYTHON_VARIABLE
from kitfox.server._ports import check_free
from kitfox.server._system import available_cores
from kitfox.server.engine import choose
from kitfox.server.options import Listener, Options, Tls

__all__ = ["launch"]

log = logs.channel("SERVER")

_MOST_ENVOY_THREADS = 4
_PORTS = (20_000, 32_768)
_PORT_TRIES = 100


def launch(*files: Path | str, overrides: Mapping[str, Any] | None = None) -> int:
    """What `kitfox.server.serve` does."""
    logs.setup(config.Log())
    try:
        settings = config.load(*files, overrides=overrides)
        logs.setup(settings.log)
        _tell_of_idle_keys(settings)
        engine = choose(settings.server.engine)
        settings = _with_ports(settings)
        options = _options(settings)
        if settings.runtime.metrics.enabled:
            check_free(_listener(settings, "metrics", settings.runtime.metrics.port))
    except KitfoxError as err:
        log.error("%s", err.message, extra={"log_code": "<KFX40010E>"})
        return 1
    log.info("%s", engine.sentence, extra={"log_code": "<KFX40011I>"})
    run = _run_envoy if engine.name == "envoy" else _run_hypercorn
    runtime = settings.runtime
    drain_seconds = max(
        runtime.grpc.server_shutdown_grace_period_seconds,
        runtime.http.server_shutdown_grace_period_seconds,
    )
    return run(options, _handed_over(settings), drain_seconds)


def _tell_of_idle_keys(settings: Config) -> None:
    """Logs which keys of caikit's are configured that change nothing here."""
    if settings.runtime.use_abortable_threads is not None:
        log.info(
            "runtime.use_abortable_threads has no effect: a call whose client is gone is always "
            "cancelled, and a method in a thread learns it from its context",
            extra={"log_code": "<KFX40013I>"},
        )


def _run_envoy(options: Options, variables: Mapping[str, str], drain_seconds: float) -> int:
    """Serves from a process of its own."""
    from kitfox.server.supervisor import Supervisor

    supervisor = Supervisor(
        options, environ={**os.environ, **variables}, drain_seconds=drain_seconds, log=_log
    )
    return supervisor.run()


def _run_hypercorn(options: Options, variables: Mapping[str, str], drain_seconds: float) -> int:
    """Serves from this process."""
    from kitfox.server.hypercorn_engine import HypercornServer

    os.environ.update(variables)
    return HypercornServer(options, drain_seconds=drain_seconds, log=_log).run()


def _options(settings: Config) -> Options:
    """What the engine is told of the configuration."""
    runtime, server = settings.runtime, settings.server
    listeners = [
        _listener(settings, name, section.port)
        for name, section in (("grpc", runtime.grpc), ("http", runtime.http))
        if section.enabled
    ]
    if not listeners:
        raise ConfigError("runtime.grpc.enabled and runtime.http.enabled are both false")
    return Options(
        listeners=tuple(listeners),
        quick_calls=True,
        tls=_tls(settings),
        threads=server.threads or _envoy_threads(),
        max_header_bytes=server.max_header_size,
        max_headers=server.max_headers,
        max_connections=server.max_connections,
        max_engine_bytes=server.max_engine_size,
        header_seconds=server.header_seconds,
        stream_seconds=server.stream_idle_seconds,
        flush_seconds=server.request_seconds,
        live_path=server.live_path,
    )


def _envoy_threads() -> int:
    """Half of the processors that this process may use: Python and the models need the others.

    One of Envoy's threads keeps up with what Python does; more share the work of connections with
    TLS or large messages.
    """
    return max(1, min(_MOST_ENVOY_THREADS, available_cores() // 2))


def _tls(settings: Config) -> Tls | None:
    tls = settings.runtime.tls
    if not (tls.server.key or tls.server.cert or tls.client.cert):
        return None
    # OpenSSL is not loaded for those who do not encrypt.
    from kitfox.server.tls import tls_of

    return tls_of(settings)


def _handed_over(settings: Config) -> dict[str, str]:
    """The variables that the application finds its configuration in."""
    runtime = settings.runtime
    # The key may be in there as text, and child processes of models inherit all variables.
    server = msgspec.structs.replace(runtime.tls.server, key="")
    tls = msgspec.structs.replace(runtime.tls, server=server)
    settings = msgspec.structs.replace(settings, runtime=msgspec.structs.replace(runtime, tls=tls))
    return {
        CONFIG_VARIABLE: msgspec.json.encode(settings).decode(),
        PYTHON_VARIABLE: sys.executable,
    }


def _listener(settings: Config, name: str, port: int) -> Listener:
    return Listener(
        name=name, address=settings.server.address, port=port, setting=f"runtime.{name}.port"
    )


def _with_ports(settings: Config) -> Config:
    """The configuration with a free port for each that is 0, so that the log can name it."""
    values = msgspec.to_builtins(settings)
    held = []
    for name in ("grpc", "http", "metrics"):
        if values["runtime"][name]["port"] == 0:
            held.append(_hold(settings.server.address))
            values["runtime"][name]["port"] = held[-1].getsockname()[1]
    for item in held:
        item.close()
    return config.parse(values, source="the configuration")


def _hold(address: str) -> socket.socket:
    """A socket with a free port, which is let go before the engine takes it.

    Not one of those that the system gives to outgoing connections, of which one might take it
    in between.
    """
    import random  # memory for those alone who leave a port open

    for _ in range(_PORT_TRIES):
        with contextlib.suppress(OSError):
            return socket.create_server((address, random.randrange(*_PORTS)))  # noqa: S311 -- any port
    return socket.create_server((address, 0))


def _log(level: str, message: str) -> None:
    severity = logging.getLevelNamesMapping()[level.upper()]
    log.log(severity, "%s", message, extra={"log_code": f"<KFX40020{level[0].upper()}>"})
