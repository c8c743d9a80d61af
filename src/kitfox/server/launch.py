"""Starts the server: configuration in, supervisor on, and a sentence when it cannot be."""

import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from kitfox import config, logs
from kitfox.config import Config
from kitfox.errors import KitfoxError
from kitfox.server._ports import check_free
from kitfox.server.envoy import EnvoyOptions, Listener
from kitfox.server.supervisor import Supervisor

__all__ = ["CONFIG_VARIABLE", "serve"]

CONFIG_VARIABLE = "KITFOX_CONFIG"
"""The variable in which the configuration, as JSON, is handed to the server process."""

PYTHON_VARIABLE = "KITFOX_PYTHON"
"""The variable with the path of this Python: the one inside Envoy guesses its own from `PATH`."""

log = logs.channel("SERVER")


def serve(*files: Path | str, overrides: Mapping[str, Any] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C; to be called in the main thread.

    Args:
        files: Configuration files; later ones override earlier ones.
        overrides: Values that win over files and environment, as a nested mapping.

    Returns:
        The exit status: 0 after a stop that was asked for, 1 after a failure; the reason is one
        sentence in the log.

    Example:
        >>> sys.exit(serve("config.yml"))
    """
    logs.setup(config.Log())
    try:
        settings = config.load(*files, overrides=overrides)
        logs.setup(settings.log)
        settings = _with_ports(settings)
        if settings.runtime.metrics.enabled:
            check_free(_listener(settings, "metrics", settings.runtime.metrics.port))
    except KitfoxError as err:
        log.error("%s", err.message, extra={"log_code": "<KFX40010E>"})
        return 1
    return _supervisor(settings).run()


def _supervisor(settings: Config) -> Supervisor:
    runtime = settings.runtime
    listeners = [
        _listener(settings, name, section.port)
        for name, section in (("grpc", runtime.grpc), ("http", runtime.http))
        if section.enabled
    ]
    return Supervisor(
        EnvoyOptions(listeners=tuple(listeners)),
        environ={
            **os.environ,
            CONFIG_VARIABLE: msgspec.json.encode(settings).decode(),
            PYTHON_VARIABLE: sys.executable,
        },
        drain_seconds=max(
            runtime.grpc.server_shutdown_grace_period_seconds,
            runtime.http.server_shutdown_grace_period_seconds,
        ),
        log=_log,
    )


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
            held.append(socket.create_server((settings.server.address, 0)))
            values["runtime"][name]["port"] = held[-1].getsockname()[1]
    for item in held:
        item.close()
    return config.parse(values, source="the configuration")


def _log(level: str, message: str) -> None:
    severity = logging.getLevelNamesMapping()[level.upper()]
    log.log(severity, "%s", message, extra={"log_code": f"<KFX40020{level[0].upper()}>"})
