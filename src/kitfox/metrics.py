"""What Prometheus reads; the names of calls and models are caikit's.

Counting a call costs one dictionary look-up and two additions: the labelled children are kept.
"""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from kitfox.errors import Code

__all__ = ["CallMetrics", "ModelMetrics", "new_registry"]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
# Model ids in labels come from clients: past this many, calls of unknown ones share a label.
_MOST_LABELS = 2000


def new_registry() -> CollectorRegistry:
    """A registry with the process's own figures (memory, CPU, files) in it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


class CallMetrics:
    """Counts calls and their seconds by RPC, outcome and model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = Counter(
            "predict_rpc_count",
            "Calls by RPC, status code and model",
            ["grpc_request", "code", "model_id"],
            registry=registry,
        )
        self._seconds = Histogram(
            "predict_rpc_duration_seconds",
            "Seconds from the request's head to the answer",
            ["grpc_request", "model_id"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._children: dict[tuple[str, Code, str], tuple[Counter, Histogram]] = {}

    def count(self, rpc: str, code: Code, model_id: str, started: float) -> None:
        """Counts one call that began at `started` (of `time.perf_counter`)."""
        key = (rpc, code, model_id)
        children = self._children.get(key)
        if children is None:
            children = self._child(rpc, code, model_id)
        children[0].inc()
        children[1].observe(time.perf_counter() - started)

    def _child(self, rpc: str, code: Code, model_id: str) -> tuple[Counter, Histogram]:
        if code is Code.NOT_FOUND or len(self._children) >= _MOST_LABELS:
            # Names that a client made up must not grow the registry.
            model_id = ""
        key = (rpc, code, model_id)
        children = self._children.get(key)
        if children is None:
            children = (
                self._count.labels(rpc, code.name, model_id),
                self._seconds.labels(rpc, model_id),
            )
            self._children[key] = children
        return children


class ModelMetrics:
    """Loaded models and their sizes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.loaded = Gauge("total_loaded_models", "Models that are loaded", registry=registry)
        self.bytes = Gauge(
            "total_loaded_models_size", "Bytes of the loaded models' files", registry=registry
        )
