"""Puts the rooms together inside the server process: library, models, trainings, endpoints."""

import asyncio
import importlib.metadata
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from wsgiref.simple_server import WSGIServer

import msgspec
from prometheus_client import start_http_server

from kitfox import logs, metrics
from kitfox.config import Config
from kitfox.models import ModelManager, ModelStore, ThreadExecutor
from kitfox.server._handover import CONFIG_VARIABLE, PYTHON_VARIABLE
from kitfox.server.asgi import Receive, Scope, Send
from kitfox.server.envoy import restore_environment
from kitfox.server.grpc import GrpcMethod
from kitfox.server.rest import RestMethod
from kitfox.services import Method, MethodTable, Names, Purpose, build_table, import_library
from kitfox.services.handlers import bind
from kitfox.services.trainings import TrainingService, open_trainings

__all__ = ["Runtime", "start_runtime"]

log = logs.channel("SERVICES")

Endpoint: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(kw_only=True, slots=True)
class Runtime:
    """What runs in the server process."""

    rpcs: dict[str, Endpoint]
    """Endpoints by gRPC path."""
    routes: dict[str, dict[str, Endpoint]]
    """Endpoints by REST path and verb."""
    models: ModelManager
    trainings: TrainingService
    metrics_server: WSGIServer | None
    poller: "asyncio.Task[None] | None" = None
    ready: bool = False
    """Whether the models that are loaded at start are there."""
    details: dict[str, Any] = field(default_factory=dict)
    """What the supervisor's log says of the start."""

    def drain(self) -> None:
        """Reports bad health from now on: the server is about to stop."""
        self.ready = False

    async def close(self) -> None:
        """Stops taking work; trainings that run go on in their processes."""
        self.ready = False
        if self.poller:
            self.poller.cancel()
        await asyncio.to_thread(self.trainings.scheduler.stop)
        self.models.close()
        if self.metrics_server:
            self.metrics_server.shutdown()


async def start_runtime() -> Runtime:
    """Starts everything that the configuration in the environment asks for.

    Raises:
        KitfoxError: A library that cannot be served, a job store that cannot be used, ...
    """
    config = msgspec.json.decode(os.environ[CONFIG_VARIABLE], type=Config)
    # Worker processes start as from the user's shell, not as Envoy was started.
    restore_environment(os.environ)
    sys.executable = os.environ.get(PYTHON_VARIABLE, sys.executable)
    logs.setup(config.log)
    sys.path[:0] = [path for path in config.runtime.python_path if path not in sys.path]
    library = config.runtime.library
    import_library(library)
    generation = config.runtime.service_generation
    table = build_table(
        library,
        names=Names.of(library, domain=generation.domain, package=generation.package),
        route_prefix=config.runtime.http.route_prefix,
        inference=generation.enable_inference,
        training=generation.enable_training,
    )
    registry = metrics.new_registry()
    runtime = _assemble(config, table, registry)
    await asyncio.to_thread(runtime.trainings.scheduler.start)
    _announce(config, [method for method in table if method.path in runtime.rpcs])
    if config.runtime.load_new_local_models:
        if config.runtime.wait_for_initial_model_loads:
            await runtime.models.load_all()
        if period := config.runtime.lazy_load_poll_period_seconds:
            runtime.poller = asyncio.create_task(runtime.models.poll(period))
    runtime.ready = True
    runtime.details = {"models": sorted(runtime.models.loaded)}
    return runtime


def _assemble(config: Config, table: MethodTable, registry: Any) -> Runtime:
    trainings = open_trainings(config)
    gauges = metrics.ModelMetrics(registry)

    def on_change(manager: ModelManager) -> None:
        gauges.loaded.set(len(manager.loaded))
        gauges.bytes.set(sum(model.size for model in manager.loaded.values()))

    models = ModelManager(
        store=ModelStore(
            Path(config.runtime.local_models_dir), find_elsewhere=trainings.model_path
        ),
        executor=ThreadExecutor(
            threads=config.runtime.server_thread_pool_size, loop=asyncio.get_running_loop()
        ),
        lazy=config.runtime.lazy_load_local_models,
        on_change=on_change,
    )
    calls = metrics.CallMetrics(registry)
    limit = config.server.max_message_size
    rpcs: dict[str, Endpoint] = {}
    routes: dict[str, dict[str, Endpoint]] = {}
    for method in table:
        handler = bind(method, models=models, trainings=trainings)
        if handler is None:
            continue
        rpcs[method.path] = GrpcMethod(method, handler, limit=limit, metrics=calls)
        if method.route is not None:
            endpoint = RestMethod(method, handler, limit=limit, metrics=calls)
            routes.setdefault(method.route.path, {})[method.route.verb] = endpoint
    server = None
    if config.runtime.metrics.enabled:
        server, _ = start_http_server(
            config.runtime.metrics.port, config.server.address, registry=registry
        )
    return Runtime(
        rpcs=rpcs, routes=routes, models=models, trainings=trainings, metrics_server=server
    )


_SERVICE_KINDS = {
    Purpose.INFERENCE: "inference",
    Purpose.TRAINING: "train",
    Purpose.TRAINING_STATUS: "training management",
    Purpose.RUNTIME_INFO: "info",
}


def _announce(config: Config, methods: list[Method]) -> None:
    """Logs each service, RPC and route, so that a reader can copy one and call it."""
    library = config.runtime.library
    try:
        version = importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    base = f"http://localhost:{config.runtime.http.port}"
    service = ""
    for method in methods:
        if method.service != service:
            service = method.service
            kind = _SERVICE_KINDS[method.purpose]
            text = "Constructed %s service for library: %s, version: %s"
            log.info(text, kind, library, version, extra={"log_code": "<KFX10010I>"})
        log.info("Available RPC %s", method.path, extra={"log_code": "<KFX10020I>"})
        if method.route:
            url = base + method.route.path
            text = "Available route %s %s"
            log.info(text, method.route.verb, url, extra={"log_code": "<KFX10030I>"})
