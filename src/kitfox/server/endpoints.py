"""The endpoints of a method table: each row answers gRPC at its path and REST at its route."""

from dataclasses import dataclass

from kitfox.config import Config
from kitfox.metrics import CallMetrics
from kitfox.server.asgi import Endpoint
from kitfox.server.calls import Calls
from kitfox.server.documents import Documents
from kitfox.server.grpc import grpc_endpoint
from kitfox.server.rest import rest_endpoint
from kitfox.services import MethodTable, Purpose
from kitfox.services.handlers import Services, bind

__all__ = ["Endpoints", "make_endpoints"]

_PROBES = {
    Purpose.HEALTH_CHECK,
    Purpose.HEALTH_LIST,
    Purpose.HEALTH_WATCH,
    Purpose.REFLECTION,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoints:
    """What answers requests."""

    rpcs: dict[str, Endpoint]
    """By gRPC path."""
    routes: dict[str, dict[str, Endpoint]]
    """By REST path and verb."""


def make_endpoints(
    table: MethodTable, services: Services, *, config: Config, calls: Calls, metrics: CallMetrics
) -> Endpoints:
    """An endpoint for every row whose work is done here, and the documents that describe them.

    Args:
        table: The rows.
        services: What does their work.
        config: Where the limits are, and whether there are documents.
        calls: Keeps the calls in flight.
        metrics: Counts the calls.
    """
    settings = config.server
    # Not among the calls of clients: a server that has as many as it takes is not ill.
    probes = Calls(settings)
    rpcs: dict[str, Endpoint] = {}
    routes: dict[str, dict[str, Endpoint]] = {}
    for method in table:
        handler = bind(method, services)
        if handler is None:
            continue
        kept = probes if method.purpose in _PROBES else calls
        rpcs[method.path] = grpc_endpoint(
            method, handler, settings=settings, calls=kept, metrics=metrics
        )
        if method.route is not None:
            routes.setdefault(method.route.path, {})[method.route.verb] = rest_endpoint(
                method, handler, settings=settings, calls=kept, metrics=metrics
            )
    if settings.docs:
        documents = Documents(
            [item for item in table if item.route and item.route.path in routes],
            library=",".join(config.runtime.libraries),
            models=services.models,
        )
        for path, verbs in documents.endpoints().items():
            routes.setdefault(path, verbs)
    return Endpoints(rpcs=rpcs, routes=routes)
