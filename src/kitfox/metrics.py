"""What Prometheus reads; the names of calls and models are caikit's.

Counting a call costs one dictionary look-up and three additions.
"""

import itertools
import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from kitfox.errors import Code

__all__ = ["CallMetrics", "ModelMetrics", "new_registry", "watch_calls"]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
# Model ids in labels come from clients: past this many, calls of unknown ones share a label.
_MOST_LABELS = 2000


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


class CallMetrics(Collector):
    """Counts calls and their seconds by RPC, outcome and model.

    Calls are counted by one thread, the event loop's, so nothing is locked; what Prometheus reads
    is put together when it asks.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rows: dict[tuple[str, str, str], _Calls] = {}
        registry.register(self)

    def count(self, rpc: str, code: Code, model_id: str, started: float) -> None:
        """Counts one call that began at `started` (of `time.perf_counter`)."""
        # Not the code itself: the hash of an enum's member is computed in Python.
        key = (rpc, "OK" if code is Code.OK else code.name, model_id)
        row = self._rows.get(key)
        if row is None:
            row = self._row(key)
        seconds = time.perf_counter() - started
        row.count += 1
        row.seconds += seconds
        row.buckets[bisect_left(_SECONDS, seconds)] += 1

    def _row(self, key: tuple[str, str, str]) -> _Calls:
        rpc, code, _ = key
        if code == Code.NOT_FOUND.name or len(self._rows) >= _MOST_LABELS:
            # Names that a client made up must not grow the registry.
            key = (rpc, code, "")
        return self._rows.setdefault(key, _Calls())

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        count = CounterMetricFamily(
            "predict_rpc_count",
            "Calls by RPC, status code and model",
            labels=["grpc_request", "code", "model_id"],
        )
        durations: dict[tuple[str, str], _Calls] = {}
        for (rpc, code, model_id), row in list(self._rows.items()):
            count.add_metric([rpc, code, model_id], row.count)
            total = durations.setdefault((rpc, model_id), _Calls())
            total.seconds += row.seconds
            total.buckets = [a + b for a, b in zip(total.buckets, row.buckets, strict=True)]
        yield count
        seconds = HistogramMetricFamily(
            "predict_rpc_duration_seconds",
            "Seconds from the request's head to the answer",
            labels=["grpc_request", "model_id"],
        )
        for (rpc, model_id), total in durations.items():
            bounds = [*map(float, _SECONDS), math.inf]
            names = [floatToGoString(bound) for bound in bounds]  # type: ignore[no-untyped-call]
            buckets = zip(names, itertools.accumulate(total.buckets), strict=True)
            seconds.add_metric([rpc, model_id], list(buckets), sum_value=total.seconds)
        yield seconds


def watch_calls(registry: CollectorRegistry, count: Callable[[], float]) -> None:
    """Offers the number of calls that are being worked on; it is asked for when it is read."""
    gauge = Gauge("calls_in_flight", "Calls that are being worked on", registry=registry)
    gauge.set_function(count)


class ModelMetrics:
    """Loaded models and their sizes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.loaded = Gauge("total_loaded_models", "Models that are loaded", registry=registry)
        self.bytes = Gauge(
            "total_loaded_models_size", "Bytes of the loaded models' files", registry=registry
        )
