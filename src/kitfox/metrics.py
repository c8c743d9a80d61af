"""What Prometheus reads; the names of calls and models are caikit's.

Counting a call costs one dictionary look-up, three additions and a lock that is nearly always free.
"""

import itertools
import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from kitfox.errors import Code, KitfoxError

__all__ = [
    "BATCH_SIZES",
    "CallMetrics",
    "ExecutionFigures",
    "ModelMetrics",
    "new_registry",
    "watch_calls",
    "watch_executions",
    "watch_jobs",
    "watch_trainings",
]

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
"""The bounds by which batches are counted."""

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
# Past this many rows, those of models that are gone are put together.
_MOST_ROWS = 2000


def new_registry() -> CollectorRegistry:
    """A registry with the process's own figures (memory, CPU, files) in it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


class _Calls:
    """Calls of one RPC with one outcome on one model."""

    __slots__ = ("buckets", "count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(_SECONDS) + 1)

    def add(self, other: "_Calls") -> None:
        """Counts the calls of another row here as well."""
        self.count += other.count
        self.seconds += other.seconds
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]


class CallMetrics(Collector):
    """Counts calls and their seconds by RPC, outcome and model.

    Calls are counted by whichever thread answers them; what Prometheus reads is put together when
    it asks.

    Args:
        registry: What Prometheus reads.
        is_known: Whether there is a model of this id. Ids come from clients: calls of all others
            are counted together, under no name.
        name: What the names of the metrics begin with.
        what: What is counted.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        is_known: Callable[[str], bool],
        name: str = "predict_rpc",
        what: str = "Calls",
    ) -> None:
        self._rows: dict[tuple[str, str, str], _Calls] = {}
        self._lock = threading.Lock()
        self._is_known = is_known
        self._name = name
        self._what = what
        registry.register(self)

    def count(self, rpc: str, code: Code, model_id: str, started: float) -> None:
        """Counts one call that began at `started` (of `time.perf_counter`)."""
        # Not the code itself: the hash of an enum's member is computed in Python.
        key = (rpc, "OK" if code is Code.OK else code.name, model_id)
        seconds = time.perf_counter() - started
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                row = self._row(key)
            row.count += 1
            row.seconds += seconds
            row.buckets[bisect_left(_SECONDS, seconds)] += 1

    def _row(self, key: tuple[str, str, str]) -> _Calls:
        rpc, code, model_id = key
        if model_id and not self._is_known(model_id):
            # What a client made up must not grow the registry.
            key = (rpc, code, "")
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= _MOST_ROWS:
                self._fold()
            row = self._rows[key] = _Calls()
        return row

    def _fold(self) -> None:
        """Puts the rows of models that are gone together, so that sums over models stay."""
        for key, row in list(self._rows.items()):
            rpc, code, model_id = key
            if model_id and not self._is_known(model_id):
                del self._rows[key]
                self._rows.setdefault((rpc, code, ""), _Calls()).add(row)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        count = CounterMetricFamily(
            f"{self._name}_count",
            f"{self._what} by RPC, status code and model",
            labels=["grpc_request", "code", "model_id"],
        )
        durations: dict[tuple[str, str], _Calls] = {}
        for (rpc, code, model_id), row in list(self._rows.items()):
            count.add_metric([rpc, code, model_id], row.count)
            durations.setdefault((rpc, model_id), _Calls()).add(row)
        yield count
        seconds = HistogramMetricFamily(
            f"{self._name}_duration_seconds",
            f"{self._what}: seconds from the beginning to the answer",
            labels=["grpc_request", "model_id"],
        )
        for (rpc, model_id), total in durations.items():
            bounds = [*map(float, _SECONDS), math.inf]
            names = [floatToGoString(bound) for bound in bounds]  # type: ignore[no-untyped-call]
            buckets = zip(names, itertools.accumulate(total.buckets), strict=True)
            seconds.add_metric([rpc, model_id], list(buckets), sum_value=total.seconds)
        yield seconds


def watch_calls(
    registry: CollectorRegistry, calls: Callable[[], float], probes: Callable[[], float]
) -> None:
    """Offers how many calls are being worked on.

    Args:
        registry: What Prometheus reads.
        calls: Tells the number of those of clients; asked when it is read.
        probes: Tells the number of health checks, of watches and of reflection streams.
    """
    gauge = Gauge("calls_in_flight", "Calls that are being worked on", registry=registry)
    gauge.set_function(calls)
    text = "Health checks, watches and reflection streams that are open"
    gauge = Gauge("probes_in_flight", text, registry=registry)
    gauge.set_function(probes)


def watch_jobs(registry: CollectorRegistry, running: Callable[[], float]) -> None:
    """Offers how many inference jobs are being worked on; it is asked for when it is read."""
    gauge = Gauge("predict_jobs_running", "Inference jobs that are running", registry=registry)
    gauge.set_function(running)


class ModelMetrics:
    """Loaded models and their sizes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.loaded = Gauge("total_loaded_models", "Models that are loaded", registry=registry)
        self.bytes = Gauge(
            "total_loaded_models_size", "Bytes of the loaded models' files", registry=registry
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionFigures:
    """What there is to say of how the calls of one model are run."""

    calls: int
    """The calls that have been run since it was loaded."""
    limit: int
    """How many may run at the same time, as things are."""
    running: int = 0
    """The calls that are being run."""
    waiting: int = 0
    """The calls that wait."""
    queue_seconds: float = 0.0
    """How long calls have waited, together."""
    batches: Sequence[int] = ()
    """Batches by size, between the bounds of `BATCH_SIZES`; empty when there are none."""
    batched_calls: int = 0
    """The calls that were run in batches."""


class _Executions(Collector):
    """Figures of loaded models, read when Prometheus asks: a model that is gone has no rows."""

    def __init__(self, read: Callable[[], Iterable[tuple[str, ExecutionFigures]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        rows = list(self._read())
        labels = ["model_id"]
        for name, text, pick in _GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for model_id, figures in rows:
                gauge.add_metric([model_id], pick(figures))
            yield gauge
        waits = SummaryMetricFamily(
            "model_queue_seconds", "Seconds that calls have waited for the model", labels=labels
        )
        for model_id, figures in rows:
            waits.add_metric([model_id], figures.calls, figures.queue_seconds)
        yield waits
        sizes = HistogramMetricFamily("model_batch_size", "Calls in a batch", labels=labels)
        names = [*map(str, BATCH_SIZES), "+Inf"]
        for model_id, figures in rows:
            if figures.batches:
                buckets = list(zip(names, itertools.accumulate(figures.batches), strict=True))
                sizes.add_metric([model_id], buckets, sum_value=figures.batched_calls)
        yield sizes


_GAUGES: tuple[tuple[str, str, Callable[[ExecutionFigures], float]], ...] = (
    ("model_calls_waiting", "Calls that wait for the model", lambda item: item.waiting),
    ("model_calls_running", "Calls that the model is working on", lambda item: item.running),
    ("model_calls_limit", "Calls that may run at the same time", lambda item: item.limit),
)


def watch_executions(
    registry: CollectorRegistry, read: Callable[[], Iterable[tuple[str, ExecutionFigures]]]
) -> None:
    """Offers how the calls of each model are run.

    Args:
        registry: What Prometheus reads.
        read: Gives the figures of each loaded model by its id; called when they are asked for.
    """
    registry.register(_Executions(read))


class _Trainings(Collector):
    """Trainings by state, counted when Prometheus asks."""

    def __init__(self, count: Callable[[], Mapping[str, int]]) -> None:
        self._count = count

    def describe(self) -> Iterable[Metric]:
        """What there will be, without a look at the store."""
        return [GaugeMetricFamily("trainings", "Trainings by state", labels=["state"])]

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads; nothing while the store cannot be read."""
        gauge = GaugeMetricFamily("trainings", "Trainings by state", labels=["state"])
        try:
            counts = self._count()
        except KitfoxError:
            return
        for state, number in counts.items():
            gauge.add_metric([state], number)
        yield gauge


def watch_trainings(registry: CollectorRegistry, count: Callable[[], Mapping[str, int]]) -> None:
    """Offers how many trainings there are in each state.

    Args:
        registry: What Prometheus reads.
        count: Gives the numbers by state; called when they are asked for.
    """
    registry.register(_Trainings(count))
