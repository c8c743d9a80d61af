"""What calls of a method must have in common to share one of its batch method, and how.

An author's `run_batch` gets a list of each call's own inputs of `run` and one value of what the
calls have in common; so does `embed_batch` of a method `embed`. Of a method that reads a stream of
requests and makes a result of each, each request is a call. Read once for each loaded model;
what it says of a call is asked for in the threads that run the model, since the size may be
measured by the author's code.
"""

import inspect
import typing
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

from kitfox import logs
from kitfox.data import DataObjectBase
from kitfox.errors import InvalidArgument
from kitfox.modules import MethodSignature, ModuleBase, RequestContext, is_stream
from kitfox.modules.signature import parameters_of

__all__ = ["BatchShape", "Weigh", "batch_shape", "batch_shapes", "joins_streams", "measure"]

log = logs.channel("MODELS")

Weigh = Callable[[Mapping[str, Any]], float]
"""The size of a call, from its arguments."""

_LISTS = (list, tuple, Sequence, Iterable, Collection)
_SPREADABLE = (str, DataObjectBase)


class BatchShape:
    """How calls of one model are put together.

    Args:
        method: The method that is called.
        is_async: Whether it is an `async def` method.
        spread: The parameters of which each call has its own value, whatever it is.
        inputs: Those of which it has its own value if that is a text or a data object.
        names: What the batch method calls the parameters; those that it lacks are not there.
        weigh: The size of a call.
        of_stream: Whether a call is an item of a stream: the method takes the stream, so that an
            item by itself is a batch too.
    """

    def __init__(
        self,
        *,
        method: str = "run",
        is_async: bool = False,
        spread: frozenset[str],
        inputs: frozenset[str],
        names: Mapping[str, str],
        weigh: Weigh,
        of_stream: bool = False,
    ) -> None:
        self.method = method
        self.batch_method = f"{method}_batch"
        self.is_async = is_async
        self.of_stream = of_stream
        self._spread = spread
        self._inputs = inputs
        self._names = names
        self.weigh = weigh

    def key(self, arguments: Mapping[str, Any]) -> Hashable:
        """What two calls must have equal to share a batch: which inputs are there, and the rest."""
        form: list[Hashable] = []
        for name, value in sorted(arguments.items()):
            if isinstance(value, RequestContext):
                continue
            if name not in self._names and value is not None:
                return object()  # `run_batch` cannot be told of it
            form.append((name, None if self._is_own(name, value) else _form(value)))
        return tuple(form)

    def join(self, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The arguments of `run_batch` for calls with the same key.

        A request's context belongs to one call; a batch has none.
        """
        joined: dict[str, Any] = {}
        for name, value in calls[0].items():
            if isinstance(value, RequestContext) or name not in self._names:
                continue
            own = self._is_own(name, value)
            joined[self._names[name]] = [call[name] for call in calls] if own else value
        return joined

    def _is_own(self, name: str, value: Any) -> bool:
        if value is None:
            return False
        return name in self._spread or (name in self._inputs and isinstance(value, _SPREADABLE))


def batch_shape(model: ModuleBase, weight: str = "", method: str = "run") -> BatchShape | None:
    """How calls of a method become calls of its batch method; None when they do not.

    Args:
        model: The model. For `run`, only a `run_batch` of its own makes batches worthwhile.
        weight: The setting `batch_weight`.
        method: The method.

    Raises:
        InvalidArgument: `weight` is neither the name of a measure nor of a method of the module.
    """
    cls = type(model)
    weigh = _weigher(model, weight)
    signature, batch = _signature(cls, method), getattr(cls, f"{method}_batch", None)
    if f"{method}_batch" in _methods(cls) or _has_streams(cls, method):
        return None  # it is called for itself, or item by item
    if batch is None or batch is ModuleBase.run_batch or signature is None:
        return None
    is_async = signature.kind == "coroutine"
    if signature.kind not in ("function", "coroutine"):
        return None
    if is_async != inspect.iscoroutinefunction(batch):
        return None
    if method != "run" and weight not in _MEASURES and not _fits(getattr(model, weight), signature):
        weigh = _MEASURES[""]
    names = _names(signature.parameters, parameters_of(batch))
    hints = _hints(batch)
    spread, inputs = set(), set()
    for name, kind in signature.parameters.items():
        in_batch = hints.get(names.get(name, ""))
        if in_batch is None and name not in signature.defaults:
            # As the common `run_batch` has it: inputs are texts or data objects.
            if not isinstance(kind, type) or issubclass(kind, _SPREADABLE):
                inputs.add(name)
        elif in_batch is not None and in_batch != kind and _is_list(in_batch):
            spread.add(name)
    if not (spread | inputs) & names.keys():
        _warn(cls, method)
        return None
    return BatchShape(
        method=method,
        is_async=is_async,
        spread=frozenset(spread),
        inputs=frozenset(inputs),
        names=names,
        weigh=weigh,
    )


def joins_streams(cls: type[ModuleBase], method: str) -> bool:
    """Whether items of several streams of a method are calls of its batch method.

    That is said by a batch method for a method that makes a result of each request of a stream.
    """
    signature = _stream_methods(cls).get(method)
    batch = getattr(cls, f"{method}_batch", None)
    if signature is None or batch is None or batch is ModuleBase.run_batch:
        return False
    if inspect.iscoroutinefunction(batch) != _is_async(signature):
        return False
    names, hints = _names(signature.parameters, parameters_of(batch)), _hints(batch)
    streams = _streams(signature)
    takes_lists = [_is_list(hints.get(names[name], list)) for name in streams if name in names]
    return bool(streams) and len(takes_lists) == len(streams) and all(takes_lists)


def _stream_shape(model: ModuleBase, weight: str, method: str) -> BatchShape | None:
    """How items of the streams of a method become calls of its batch method."""
    cls = type(model)
    signature, batch = _stream_methods(cls)[method], getattr(cls, f"{method}_batch", None)
    if batch is None or batch is ModuleBase.run_batch:
        return None
    if not joins_streams(cls, method):
        _warn(cls, method)
        return None
    weigh = _weigher(model, weight)
    if weight not in _MEASURES and not _fits(getattr(model, weight), signature):
        weigh = _MEASURES[""]
    return BatchShape(
        method=method,
        is_async=_is_async(signature),
        spread=frozenset(_streams(signature)),
        inputs=frozenset(),
        names=_names(signature.parameters, parameters_of(batch)),
        weigh=weigh,
        of_stream=True,
    )


def _warn(cls: type[ModuleBase], method: str) -> None:
    log.warning(
        "Module %s has a %s_batch whose parameters do not fit those of %s; "
        "its calls are not batched",
        *(cls.__name__, method, method),
        extra={"log_code": "<KFX20060W>"},
    )


def batch_shapes(model: ModuleBase, weight: str = "") -> dict[str, BatchShape]:
    """How calls of each method become calls of its batch method, where they do.

    Of a method that reads a stream of requests and makes a result of each: how items do.

    Args:
        model: The model.
        weight: The setting `batch_weight`.

    Raises:
        InvalidArgument: `weight` is neither the name of a measure nor of a method of the module.
    """
    methods = dict.fromkeys(["run", *_methods(type(model))])
    found = {method: batch_shape(model, weight, method) for method in methods}
    streams = _stream_methods(type(model))
    found |= {method: _stream_shape(model, weight, method) for method in streams}
    return {method: shape for method, shape in found.items() if shape is not None}


def _signature(cls: type[ModuleBase], method: str) -> MethodSignature | None:
    return cls.RUN_SIGNATURE if method == "run" else _methods(cls).get(method)


def _methods(cls: type[ModuleBase]) -> dict[str, MethodSignature]:
    """The methods without streams that do a task."""
    return _methods_with(cls, streams=False)


def _stream_methods(cls: type[ModuleBase]) -> dict[str, MethodSignature]:
    """The methods with a stream of requests and one of results."""
    return _methods_with(cls, streams=True)


def _methods_with(cls: type[ModuleBase], *, streams: bool) -> dict[str, MethodSignature]:
    found = [signatures.get((streams, streams)) for signatures in cls._task_methods.values()]
    return {signature.method_name: signature for signature in found if signature is not None}


def _has_streams(cls: type[ModuleBase], method: str) -> bool:
    """Whether a method does tasks with streams only."""
    shapes = {
        shape
        for signatures in cls._task_methods.values()
        for shape, signature in signatures.items()
        if signature.method_name == method
    }
    return bool(shapes) and (False, False) not in shapes


def _streams(signature: MethodSignature) -> list[str]:
    """The parameters that are streams of requests."""
    return [name for name, kind in signature.parameters.items() if is_stream(kind)]


def _is_async(signature: MethodSignature) -> bool:
    return signature.kind in ("coroutine", "async_generator")


def _fits(measure: Callable[..., Any], signature: MethodSignature) -> bool:
    """Whether a measure that the author wrote for `run` can be given another method's arguments."""
    return signature.parameters.keys() <= parameters_of(measure).keys()


def _names(run: Mapping[str, Any], batch: Mapping[str, inspect.Parameter]) -> dict[str, str]:
    """What `run_batch` calls the parameters of `run`, as far as it has them."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [name for name, item in batch.items() if item.kind not in kinds][1:]
    takes_any = any(item.kind is item.VAR_KEYWORD for item in batch.values())
    if takes_any or run.keys() <= set(named):
        return {name: name for name in run}
    # `run(text)` and `run_batch(texts)`: the same parameters under other names, in order.
    return dict(zip(run, named, strict=False))


def measure(value: Any) -> float:
    """The length of texts, bytes and lists in a value, as far as it can be seen at a glance."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(measure, value.values()))
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], str | DataObjectBase | list | tuple):
            return sum(map(measure, value))
        return len(value)
    if isinstance(value, DataObjectBase):
        return sum(measure(getattr(value, name, None)) for name in _field_names(type(value)))
    shape = getattr(value, "shape", None)
    return float(getattr(value, "size", 1)) if isinstance(shape, tuple) else 1


def _rows(arguments: Mapping[str, Any]) -> float:
    """The longest list."""
    return max(
        (len(item) for item in _inside(arguments) if isinstance(item, list | tuple)), default=1
    )


def _characters(arguments: Mapping[str, Any]) -> float:
    return sum(len(item) for item in _inside(arguments) if isinstance(item, str))


def _bytes(arguments: Mapping[str, Any]) -> float:
    values = (item for item in arguments.values() if isinstance(item, DataObjectBase))
    text = sum(len(item.encode()) for item in arguments.values() if isinstance(item, str))
    return text + sum(len(item.to_binary_buffer()) for item in values)


_MEASURES: dict[str, Weigh] = {
    "": lambda arguments: sum(
        measure(item) for item in arguments.values() if not isinstance(item, RequestContext)
    ),
    "characters": _characters,
    "rows": _rows,
    "bytes": _bytes,
}


def _inside(value: Any) -> Iterable[Any]:
    """A value and what it holds."""
    if isinstance(value, RequestContext):
        return
    yield value
    held: Iterable[Any] = ()
    if isinstance(value, Mapping):
        held = value.values()
    elif isinstance(value, list | tuple):
        held = value
    elif isinstance(value, DataObjectBase):
        held = [getattr(value, name, None) for name in _field_names(type(value))]
    for item in held:
        yield from _inside(item)


def _field_names(cls: type[DataObjectBase]) -> Sequence[str]:
    return tuple(getattr(cls, "__dataclass_fields__", ()))


def _weigher(model: ModuleBase, name: str) -> Weigh:
    if name in _MEASURES:
        return _MEASURES[name]
    method = getattr(model, name, None)
    if not callable(method):
        known = ", ".join(filter(None, _MEASURES))
        raise InvalidArgument(
            f"setting batch_weight: {type(model).__name__} has no method {name!r}; "
            f"expected one of its methods, or one of {known}"
        )

    def weigh(arguments: Mapping[str, Any]) -> float:
        own = {k: v for k, v in arguments.items() if not isinstance(v, RequestContext)}
        return float(method(**own))

    return weigh


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 -- annotations of any kind; without them the rule is simpler
        return {}


def _is_list(annotation: Any) -> bool:
    origin = typing.get_origin(annotation) or annotation
    return origin in _LISTS


def _form(value: Any) -> Hashable:
    """A value as something that can be compared, and tells 1 from True and 0.0 from -0.0."""
    if value is None or isinstance(value, str | bytes | bool | int):
        return (type(value), value)
    if isinstance(value, float):
        return (float, repr(value))
    if isinstance(value, DataObjectBase):
        return (type(value), value.to_binary_buffer())
    if isinstance(value, list | tuple):
        return (type(value), tuple(map(_form, value)))
    if isinstance(value, Mapping):
        return (type(value), tuple((key, _form(value[key])) for key in sorted(value, key=repr)))
    try:
        hash(value)
    except TypeError:
        # Nothing is known of when two of these are the same: each call for itself.
        return object()
    return (type(value), value)
