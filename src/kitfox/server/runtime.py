"""Puts the rooms together inside the server process: library, models, trainings, endpoints."""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import msgspec
from prometheus_client import CollectorRegistry, start_http_server

from kitfox import logs, metrics
from kitfox.config import Config, Server
from kitfox.models import ExecutionSettings, ModelManager, ModelStore, ThreadExecutor
from kitfox.server._handover import CONFIG_VARIABLE, PYTHON_VARIABLE, restore_environment
from kitfox.server.announcement import announce
from kitfox.server.calls import Calls
from kitfox.server.cors import CrossOrigin
from kitfox.server.endpoints import Endpoints, make_endpoints
from kitfox.server.failure import as_kitfox_error
from kitfox.services import MethodTable, Names, build_table, import_library
from kitfox.services.handlers import Services
from kitfox.services.health import Health
from kitfox.services.prediction_jobs import PredictionJobs, open_prediction_jobs
from kitfox.services.reflection import Descriptions
from kitfox.services.trainings import TrainingService, open_trainings

__all__ = ["Runtime", "start_runtime"]


@dataclass(kw_only=True, slots=True)
class Runtime:
    """What runs in the server process."""

    settings: Server
    endpoints: Endpoints
    models: ModelManager
    trainings: TrainingService
    jobs: PredictionJobs
    health: Health
    metrics_server: WSGIServer | None
    cross_origin: CrossOrigin | None = None
    """The permissions for web pages of other origins, if any have one."""
    poller: "asyncio.Task[None] | None" = None
    details: dict[str, Any] = field(default_factory=dict)
    """What the supervisor's log says of the start."""

    @property
    def ready(self) -> bool:
        """Whether the models that are loaded at start are there, and the server is to go on."""
        return self.health.ready

    def drain(self) -> None:
        """Reports bad health from now on: the server is about to stop."""
        self.health.drain()
        self.jobs.drain()

    async def close(self) -> None:
        """Stops taking work; trainings that run go on in their processes.

        Inference jobs that do not end in time are run again by the next server.
        """
        self.drain()
        if self.poller:
            self.poller.cancel()
        await self.jobs.stop()
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
        protocols=True,
    )
    registry = metrics.new_registry()
    runtime = _assemble(config, table, registry)
    await asyncio.to_thread(runtime.trainings.scheduler.start)
    announce(config, [method for method in table if method.path in runtime.endpoints.rpcs])
    if config.runtime.load_new_local_models:
        if config.runtime.wait_for_initial_model_loads:
            await runtime.models.load_all()
        if period := config.runtime.lazy_load_poll_period_seconds:
            runtime.poller = asyncio.create_task(runtime.models.poll(period))
    await runtime.jobs.start()
    runtime.health.start()
    runtime.details = {"models": sorted(runtime.models.loaded)}
    return runtime


def _assemble(config: Config, table: MethodTable, registry: CollectorRegistry) -> Runtime:
    trainings = open_trainings(config)
    models = _open_models(config, registry, find_elsewhere=trainings.model_path)
    health = Health(models=models, services=table.services())
    models.on_change(health.changed)
    jobs = open_prediction_jobs(
        config, methods=table, models=models, store=trainings.store, explain=as_kitfox_error
    )
    calls = Calls(config.server)
    metrics.watch_calls(registry, lambda: len(calls))
    services = Services(
        models=models,
        trainings=trainings,
        jobs=jobs,
        health=health,
        descriptions=Descriptions(table),
    )
    endpoints = make_endpoints(
        table, services, config=config, calls=calls, metrics=metrics.CallMetrics(registry)
    )
    cross_origin = CrossOrigin(config.server.cors)
    return Runtime(
        settings=config.server,
        endpoints=endpoints,
        models=models,
        trainings=trainings,
        jobs=jobs,
        health=health,
        metrics_server=_open_metrics(config, registry),
        cross_origin=cross_origin if cross_origin.is_on else None,
    )


def _open_models(
    config: Config, registry: CollectorRegistry, *, find_elsewhere: Callable[[str], Path | None]
) -> ModelManager:
    loop = asyncio.get_running_loop()
    models = ModelManager(
        store=ModelStore(Path(config.runtime.local_models_dir), find_elsewhere=find_elsewhere),
        threads=config.runtime.server_thread_pool_size,
        stream_executor=ThreadExecutor(
            threads=config.server.max_concurrent_streams, loop=loop, name="stream"
        ),
        lazy=config.runtime.lazy_load_local_models,
        settings=ExecutionSettings(config.models, config.runtime.batching),
    )
    gauges = metrics.ModelMetrics(registry)

    def measure() -> None:
        gauges.loaded.set(len(models.loaded))
        gauges.bytes.set(sum(model.size for model in models.loaded.values()))

    models.on_change(measure)
    return models


def _open_metrics(config: Config, registry: CollectorRegistry) -> WSGIServer | None:
    if not config.runtime.metrics.enabled:
        return None
    server, _ = start_http_server(
        config.runtime.metrics.port, config.server.address, registry=registry
    )
    return server
