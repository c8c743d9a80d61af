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
from kitfox.server._handover import CONFIG_VARIABLE, PYTHON_VARIABLE
from kitfox.server._ports import check_free
from kitfox.server.envoy import EnvoyOptions, Listener
from kitfox.server.supervisor import Supervisor

__all__ = ["launch"]

log = logs.channel("SERVER")


def launch(*files: Path | str, overrides: Mapping[str, Any] | None = None) -> int:
    """What `kitfox.server.serve` does."""
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
