"""The endpoints of a method table: each row answers gRPC at its path and REST at its route."""

from dataclasses import dataclass

from kitfox.config import Config, Server
from kitfox.metrics import CallMetrics
from kitfox.server.asgi import Endpoint
from kitfox.server.calls import Calls
from kitfox.server.documents import Documents
from kitfox.server.grpc import grpc_endpoint
from kitfox.server.rest import rest_endpoint
from kitfox.services import MethodTable, Purpose
from kitfox.services.handlers import Services, bind

__all__ = ["CallGroups", "Endpoints", "make_endpoints"]


class CallGroups:
    """The calls in flight, in groups that take no places from each other.

    A server that has as many calls of clients as it takes is not ill; and however many watch it or
    are told what there is, whoever checks its health gets an answer.

    Args:
        settings: Where the limit is, of each group.
    """

    def __init__(self, settings: Server) -> None:
        self.clients = Calls(settings)
        self.checks = Calls(settings)
        self.watches = Calls(settings)
        self.reflections = Calls(settings)
        self.followers = Calls(settings)

    def of(self, purpose: Purpose) -> Calls:
        """Those of methods with this purpose."""
        match purpose:
            case Purpose.HEALTH_CHECK | Purpose.HEALTH_LIST:
                return self.checks
            case Purpose.HEALTH_WATCH:
                return self.watches
            case Purpose.REFLECTION:
                return self.reflections
            case Purpose.TRAINING_FOLLOW | Purpose.BATCH_TRAINING:
                # They last as long as a training does, and do next to nothing.
                return self.followers
            case _:
                return self.clients

    @property
    def probes(self) -> int:
        """The calls that ask how the server is and what it offers."""
        return len(self.checks) + len(self.watches) + len(self.reflections)


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoints:
    """What answers requests."""

    rpcs: dict[str, Endpoint]
    """By gRPC path."""
    routes: dict[str, dict[str, Endpoint]]
    """By REST path and verb."""


def make_endpoints(
    table: MethodTable,
    services: Services,
    *,
    config: Config,
    calls: CallGroups,
    metrics: CallMetrics,
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
    rpcs: dict[str, Endpoint] = {}
    routes: dict[str, dict[str, Endpoint]] = {}
    for method in table:
        handler = bind(method, services)
        if handler is None:
            continue
        kept = calls.of(method.purpose)
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
            large_answers=calls.clients.large_answers,
        )
        for path, verbs in documents.endpoints().items():
            routes.setdefault(path, verbs)
    return Endpoints(rpcs=rpcs, routes=routes)
