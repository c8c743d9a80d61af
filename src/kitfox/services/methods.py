"""The method table: everything that can be called, one row each.

gRPC, REST, `.proto` files, OpenAPI, reflection and the clients are views of this table. A row says
what comes in, what goes out, and what it is for; it knows no protocol. `handlers.bind` gives a
server the function that does the work of a row.
"""

import enum
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from kitfox.data import DataObjectBase
from kitfox.models import Waiter
from kitfox.modules import GrpcRequestContext, MethodSignature, ModuleBase, RequestContext, TaskBase

__all__ = [
    "BodyStyle",
    "Context",
    "Decode",
    "Encode",
    "Finished",
    "FinishingHandler",
    "GrpcContext",
    "Handler",
    "Method",
    "MethodTable",
    "Purpose",
    "Route",
    "StreamHandler",
]


Context = RequestContext
"""What is known of a call beside its arguments."""

GrpcContext = GrpcRequestContext
"""The same of a call that came over gRPC."""

Handler: TypeAlias = Callable[[dict[str, Any], Context], Awaitable[DataObjectBase]]
"""Does the work of a method without streams; called with the fields that the caller set."""

Decode: TypeAlias = Callable[[bytes], dict[str, Any]]
"""Reads one request message: its bytes as they came, to the fields that the caller set."""

Encode: TypeAlias = Callable[[DataObjectBase], bytes]
"""Writes one result, framed as its protocol wants it."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a result in the thread that made it."""

    payload: bytes | None
    """Its bytes, if the answer has not been sent yet."""


@runtime_checkable
class FinishingHandler(Protocol):
    """A handler whose results are made in threads that may do the rest of the work too."""

    async def finished(
        self, fields: dict[str, Any], context: Context, finish: Callable[[Any], Any] | None = None
    ) -> Any:
        """Does the work of a method without streams.

        Args:
            fields: What the caller set.
            context: The call's.
            finish: Given the result, whatever it is, in the thread that made it. It returns
                `Finished`, or the result if there is nothing that it can do.

        Returns:
            What `finish` returned; a result that is a data object, if it was not called.
        """

    def begin(
        self,
        fields: dict[str, Any],
        context: Context,
        waiter: Waiter,
        finish: Callable[[Any], Any],
    ) -> bool:
        """Begins the same work in any thread, if that can be done without the event loop.

        Args:
            fields: What the caller set.
            context: The call's.
            waiter: Told what `finish` returned, or what the model raised. It has got a lease of the
                model afterwards, which it is to give back, whether the work has begun or not.
            finish: As of `finished`.

        Returns:
            Whether it has begun.

        Raises:
            KitfoxError: The call is refused.
        """

    def checked(self, result: Any, context: Context) -> DataObjectBase:
        """What a waiter was told, if it is a result.

        Raises:
            Internal: The model returned something else.
        """


class StreamHandler(Protocol):
    """Does the work of a method with a stream of requests, of responses, or of both.

    Bytes go in and out, because what waits between a caller and a model is bounded in bytes, and so
    that a model's thread does the conversions of its own stream.
    """

    def __call__(
        self, requests: AsyncIterator[bytes], context: Context, *, decode: Decode, encode: Encode
    ) -> AsyncGenerator[list[bytes], None]:
        """Runs the method.

        Args:
            requests: The messages as they came; just one where the caller sends no stream.
            context: The call's.
            decode: Turns a message into fields.
            encode: Turns a result into bytes.

        Yields:
            The results that are ready together, encoded; they should leave together. Just one
            result where the answer is no stream. Closing the generator ends the model's.

        Raises:
            KitfoxError: A refusal; before the first results or in the middle.
            Exception: What the model raised.
        """


class Purpose(enum.Enum):
    """What a method is for."""

    INFERENCE = "inference"
    """Run the addressed model."""
    TRAINING = "training"
    """Start a training of the row's module."""
    TRAINING_STATUS = "training status"
    """Tell how a training goes."""
    TRAINING_CANCEL = "training cancel"
    """End a training."""
    TRAINING_LIST = "training list"
    """Tell what trainings there are."""
    TRAINING_SHOW = "training show"
    """Tell all that is known of a training."""
    TRAINING_FOLLOW = "training follow"
    """Tell how a training goes, until it ends."""
    TRAINING_LOG = "training log"
    """What a training has logged."""
    TRAINING_STOP = "training stop"
    """End a training early and keep what it has made."""
    TRAINING_RETRY = "training retry"
    """Take up again a training that failed or was ended."""
    TRAINING_REPEAT = "training repeat"
    """Train again what was trained before."""
    TRAINING_PIN = "training pin"
    """Keep a training for ever, or no longer."""
    TRAINING_DELETE = "training delete"
    """Forget a training and remove what it has made."""
    TRAINING_DOWNLOAD = "training download"
    """The model that a training has made, as an archive."""
    BATCH_TRAINING = "batch training"
    """Train the module that the request names, and answer at the end."""
    JOB_START = "job start"
    """Run the addressed model later, as a job."""
    JOB_STATUS = "job status"
    """Tell how a job goes."""
    JOB_RESULT = "job result"
    """What a job's model answered."""
    JOB_CANCEL = "job cancel"
    """End a job."""
    RUNTIME_INFO = "runtime info"
    """Versions of the server and its packages."""
    MODELS_INFO = "models info"
    """What models are loaded."""
    DEPLOY = "deploy"
    """Add a model."""
    MODEL_UPLOAD = "model upload"
    """Add a model from an archive that comes in pieces."""
    UNDEPLOY = "undeploy"
    """Remove a model."""
    MODEL_LIST = "model list"
    """Tell what models there are."""
    MODEL_SHOW = "model show"
    """Tell all that is known of a model."""
    MODEL_LOAD = "model load"
    """Load a model."""
    MODEL_UNLOAD = "model unload"
    """Unload a model; its files stay."""
    MODEL_RELOAD = "model reload"
    """Load a model anew from its files."""
    MODEL_PROMOTE = "model promote"
    """Make a version of a model the current one."""
    MODEL_ROLL_BACK = "model roll back"
    """Make the version of a model current that was so before."""
    QUARANTINE_LIST = "quarantine list"
    """Tell which requests a model refuses."""
    QUARANTINE_CLEAR = "quarantine clear"
    """Have them run again."""
    MESH_LOAD = "mesh load"
    """Load a model for a model mesh."""
    MESH_UNLOAD = "mesh unload"
    """Unload it."""
    MESH_PREDICT_SIZE = "mesh predict size"
    """Tell a model mesh what a model will take."""
    MESH_SIZE = "mesh size"
    """Tell it what a loaded model takes."""
    MESH_STATUS = "mesh status"
    """Tell it whether models can be loaded."""
    HEALTH_CHECK = "health check"
    """Tell whether the server, or a model, can serve."""
    HEALTH_LIST = "health list"
    """Tell it of everything."""
    HEALTH_WATCH = "health watch"
    """Tell it now and at each change."""
    REFLECTION = "reflection"
    """Describe the services to a client that does not know them."""


class BodyStyle(enum.Enum):
    """How a REST request carries the fields."""

    INFERENCE = "inference"
    """A JSON body `{"inputs": ..., "parameters": {...}, "model_id": ...}`."""
    MESSAGE = "message"
    """A JSON body that is the request object itself."""
    QUERY = "query"
    """Query parameters named like the fields."""
    STREAM = "stream"
    """A body of lines, each a JSON object as in `INFERENCE`; only the first must name the model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """The REST side of a method."""

    verb: str
    """`GET`, `POST` or `DELETE`."""
    path: str
    """The absolute path, without parameters."""
    style: BodyStyle
    """Where the fields are found."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """For inference: the annotations of the task's required parameters."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """For inference: the annotations of all other parameters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One row of the table."""

    service: str
    """The service's full name, such as `caikit.runtime.Example.ExampleService`."""
    name: str
    """The RPC's name, such as `HelloWorldTaskPredict`."""
    request: type[DataObjectBase]
    """What comes in."""
    response: type[DataObjectBase]
    """What goes out."""
    purpose: Purpose
    """What it is for."""
    input_streaming: bool = False
    """Whether the caller sends a stream of requests."""
    output_streaming: bool = False
    """Whether the answer is a stream of responses."""
    is_download: bool = False
    """Whether REST answers with a file, of which the responses are the pieces."""
    is_upload: bool = False
    """Whether REST takes a file, of which the requests are the pieces, and the other fields as
    query parameters."""
    route: Route | None = None
    """The REST route; None when there is gRPC only."""
    task: type[TaskBase] | None = None
    """For inference and jobs: what is done."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """For inference: the annotations of the request's fields."""
    signatures: Mapping[type[ModuleBase], MethodSignature] = field(default_factory=dict)
    """For inference: the module classes that implement the task, and the method that does it."""
    module: type[ModuleBase] | None = None
    """For training: the class to train."""
    description: str = ""
    """For the reader of documents made from the table."""

    @property
    def path(self) -> str:
        """The gRPC path, `/service/name`."""
        return f"/{self.service}/{self.name}"

    @property
    def is_streaming(self) -> bool:
        """Whether it has a `StreamHandler`: requests or responses come as a stream."""
        return self.input_streaming or self.output_streaming


class MethodTable:
    """All methods, found by gRPC path or by REST verb and path.

    Args:
        methods: The rows.
        services: Full names of services that are there even without methods.
        messages: Message classes that belong to the interface though no method uses them.

    Raises:
        ValueError: Two rows share a gRPC path or a route.
    """

    def __init__(
        self,
        methods: Iterable[Method],
        *,
        services: Iterable[str] = (),
        messages: Iterable[type[DataObjectBase]] = (),
    ) -> None:
        self._methods = tuple(methods)
        self._services = tuple(services)
        self.messages = tuple(messages)
        self.by_path: dict[str, Method] = {}
        self.by_route: dict[str, dict[str, Method]] = {}
        for method in self._methods:
            if method.path in self.by_path:
                raise ValueError(f"two methods share the RPC path {method.path}")
            self.by_path[method.path] = method
            if method.route is None:
                continue
            verbs = self.by_route.setdefault(method.route.path, {})
            if method.route.verb in verbs:
                raise ValueError(f"two methods share {method.route.verb} {method.route.path}")
            verbs[method.route.verb] = method

    def __iter__(self) -> Iterator[Method]:
        return iter(self._methods)

    def __len__(self) -> int:
        return len(self._methods)

    def services(self) -> list[str]:
        """The full names of all services, in order of first appearance."""
        return list(dict.fromkeys((*(row.service for row in self._methods), *self._services)))
