"""Puts the rooms together inside the server process: library, models, trainings, endpoints."""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from kitfox import logs, metrics
from kitfox.config import Config, Server
from kitfox.config import Runtime as RuntimeSettings
from kitfox.models import (
    ExecutionSettings,
    ModelLoader,
    ModelManager,
    ModelOpener,
    ModelStore,
    StreamPlaces,
    library_environment,
    open_store,
)
from kitfox.server._handover import CONFIG_VARIABLE, PYTHON_VARIABLE, restore_environment
from kitfox.server._pinning import pin_threads
from kitfox.server.announcement import announce
from kitfox.server.cors import CrossOrigin
from kitfox.server.endpoints import CallGroups, Endpoints, make_endpoints
from kitfox.server.failure import as_kitfox_error
from kitfox.server.metrics_port import MetricsServer
from kitfox.services import MethodTable, configured_table
from kitfox.services.auto_promotion import AutoPromotion
from kitfox.services.handlers import Services
from kitfox.services.health import Health
from kitfox.services.prediction_jobs import PredictionJobs, open_prediction_jobs
from kitfox.services.reflection import Descriptions
from kitfox.services.training_events import TrainingEvents
from kitfox.services.training_retention import (
    ModelsInUse,
    Retention,
    open_models_in_use,
    open_retention,
)
from kitfox.services.trainings import TrainingService, open_trainings, tell_ends
from kitfox.services.warm_up import WarmUp

__all__ = ["Runtime", "start_runtime"]

_LOAD_THREADS = 2
_LAZY_SECONDS = 1.0


@dataclass(kw_only=True, slots=True)
class Runtime:
    """What runs in the server process."""

    settings: Server
    endpoints: Endpoints
    models: ModelManager
    trainings: TrainingService
    events: TrainingEvents
    promotions: AutoPromotion
    models_in_use: ModelsInUse
    retention: Retention
    jobs: PredictionJobs
    health: Health
    metrics_server: MetricsServer | None
    cross_origin: CrossOrigin | None = None
    """The permissions for web pages of other origins, if any have one."""
    tasks: "list[asyncio.Task[None]]" = field(default_factory=list)
    """What goes on in the background."""
    details: dict[str, Any] = field(default_factory=dict)
    """What the supervisor's log says of the start."""
    at_first_request: Callable[[], None] | None = None
    """To be called in the thread that takes requests from Envoy, if anything is."""

    @property
    def ready(self) -> bool:
        """Whether the models that are loaded at start are there, and the server is to go on."""
        return self.health.ready

    def drain(self) -> None:
        """Reports bad health from now on: the server is about to stop."""
        self.health.drain()
        self.jobs.drain()
        self.events.drain()

    async def close(self) -> None:
        """Stops taking work; trainings that run go on in their processes.

        Inference jobs that do not end in time are run again by the next server.
        """
        self.drain()
        for task in self.tasks:
            task.cancel()
        await self.jobs.stop()
        await asyncio.to_thread(self.retention.stop)
        await asyncio.to_thread(self.models_in_use.stop)
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
    # Before any library makes threads.
    os.environ.update(library_environment(config.models.execution.threads, os.environ))
    at_first_request = pin_threads(config.server)
    table = configured_table(config.runtime, protocols=True)
    registry = metrics.new_registry()
    runtime = _assemble(config, table, registry)
    tell_ends(runtime.trainings, runtime.events, runtime.promotions)
    await asyncio.to_thread(runtime.trainings.scheduler.start)
    announce(config, [method for method in table if method.path in runtime.endpoints.rpcs])
    await _load_models(config.runtime, runtime)
    # By the one who has the scheduler's lock, and when it is known which models are in use.
    runtime.models_in_use.start()
    runtime.retention.start()
    runtime.tasks.append(asyncio.create_task(runtime.promotions.run()))
    await runtime.jobs.start()
    runtime.health.start()
    runtime.details = {"models": sorted(runtime.models.loaded)}
    runtime.at_first_request = at_first_request
    return runtime


async def _load_models(settings: RuntimeSettings, runtime: Runtime) -> None:
    """Begins to load what is to be loaded at start, and waits for it if it must be there."""
    follower, load_new = runtime.models.follower, settings.load_new_local_models
    if load_new:
        initial = asyncio.create_task(follower.load_all())
        runtime.tasks.append(initial)
        if settings.wait_for_initial_model_loads:
            # What a request can load need not be there: a start does not wait long for it.
            patience = _LAZY_SECONDS if settings.lazy_load_local_models else None
            await asyncio.wait({initial}, timeout=patience)
            if initial.done():
                initial.result()
        # The others must not keep those waiting who call.
        follower.gently = True
    if period := settings.lazy_load_poll_period_seconds:
        runtime.tasks.append(asyncio.create_task(follower.poll(period, load_new=load_new)))


def _assemble(config: Config, table: MethodTable, registry: CollectorRegistry) -> Runtime:
    trainings = open_trainings(config)
    models = _open_models(
        config, registry, find_elsewhere=trainings.model_path, warm_up=WarmUp(table)
    )
    health = Health(models=models, services=table.services())
    models.on_change(health.changed)
    jobs = _open_jobs(config, registry, table, models, trainings)
    events, promotions = TrainingEvents(trainings), AutoPromotion(trainings, models)
    calls = CallGroups(config.server)
    metrics.watch_calls(registry, lambda: len(calls.clients), lambda: calls.probes)
    metrics.watch_trainings(registry, trainings.counts)
    services = Services(
        models=models,
        trainings=trainings,
        events=events,
        promotions=promotions,
        jobs=jobs,
        health=health,
        descriptions=Descriptions(table),
        table=table,
        versions=config.runtime.version_info,
    )
    endpoints = make_endpoints(
        table,
        services,
        config=config,
        calls=calls,
        metrics=metrics.CallMetrics(registry, is_known=models.is_known),
    )
    cross_origin = CrossOrigin(config.server.cors)
    return Runtime(
        settings=config.server,
        endpoints=endpoints,
        models=models,
        trainings=trainings,
        events=events,
        promotions=promotions,
        models_in_use=open_models_in_use(trainings, models),
        retention=open_retention(config.training, trainings, models),
        jobs=jobs,
        health=health,
        metrics_server=_open_metrics(config, registry),
        cross_origin=cross_origin if cross_origin.is_on else None,
    )


def _open_models(
    config: Config,
    registry: CollectorRegistry,
    *,
    find_elsewhere: Callable[[str], Path | None],
    warm_up: WarmUp,
) -> ModelManager:
    store = open_store(config, find_elsewhere=find_elsewhere)
    models = ModelManager(
        store=store,
        stream_places=StreamPlaces(config.server.max_concurrent_streams),
        loader=_make_loader(config, store, warm_up),
        lazy=config.runtime.lazy_load_local_models,
        memory_budget=config.models.budget_bytes,
        memory_wait_seconds=config.models.memory_wait_seconds,
    )
    gauges = metrics.ModelMetrics(registry)
    gauges.loaded.set_function(lambda: len(models.loaded))
    gauges.bytes.set_function(lambda: sum(model.size for model in [*models.loaded.values()]))
    metrics.watch_executions(
        registry,
        lambda: [(name, model.execution.figures()) for name, model in list(models.loaded.items())],
    )
    return models


def _open_jobs(
    config: Config,
    registry: CollectorRegistry,
    table: MethodTable,
    models: ModelManager,
    trainings: TrainingService,
) -> PredictionJobs:
    counted = metrics.CallMetrics(
        registry, is_known=models.is_known, name="predict_job_rpc", what="Inference jobs"
    )
    jobs = open_prediction_jobs(
        config,
        methods=table,
        models=models,
        store=trainings.store,
        explain=as_kitfox_error,
        metrics=counted,
    )
    metrics.watch_jobs(registry, lambda: jobs.runner.running)
    return jobs


def _make_loader(config: Config, store: ModelStore, warm_up: WarmUp) -> ModelLoader:
    opener = ModelOpener(
        threads=config.runtime.server_thread_pool_size,
        settings=ExecutionSettings(config.models, config.runtime.batching),
    )
    return ModelLoader(
        opener,
        threads=config.runtime.load_threads or _LOAD_THREADS,
        seconds=config.models.load_seconds,
        retries=config.runtime.lazy_load_retries,
        verify=store.verify,
        notes=store.load_notes(),
        quarantine_notes=store.quarantine_notes(),
        warm_up=warm_up,
    )


def _open_metrics(config: Config, registry: CollectorRegistry) -> MetricsServer | None:
    if not config.runtime.metrics.enabled:
        return None
    return MetricsServer(registry, address=config.server.address, port=config.runtime.metrics.port)
