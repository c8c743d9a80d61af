"""Methods as records: what a method of a module takes and gives, read once when it is defined.

In goes a class and the name of one of its methods, out comes a :class:`MethodSignature` whose
annotations are real types. Everything derived from an author's methods (messages, routes,
documents) is made from these records; nobody else looks at functions.
"""

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Optional, TypeAlias

from kitfox.data import DataObjectBase
from kitfox.modules.annotation import Annotation
from kitfox.modules.docstring import DocstringFacts, read_docstring
from kitfox.modules.producer import ProducerId

if sys.version_info >= (3, 14):
    import annotationlib  # annotations are evaluated lazily from here on

__all__ = [
    "MethodKind",
    "MethodSignature",
    "UnresolvedAnnotation",
    "parameters_of",
    "read_signature",
]

MethodKind: TypeAlias = Literal["function", "generator", "coroutine", "async_generator"]
"""How a method is to be called; settled when it is defined, not found out per call."""

_IGNORED = frozenset({"self", "args", "kwargs", "_", "__"})


class UnresolvedAnnotation(TypeError):
    """An annotation written as text that names nothing known where the method is defined.

    Args:
        where: The method, as `package.module.Class.method`.
        parameter: The parameter, or `return`.
        text: What is written there.
        reason: Why Python could not resolve it.
    """

    def __init__(self, where: str, parameter: str, text: str, reason: str) -> None:
        self.where = where
        self.parameter = parameter
        self.text = text
        what = "return annotation" if parameter == "return" else f"parameter `{parameter}`"
        super().__init__(
            f"`{where}`, {what}: the annotation `{text}` cannot be resolved ({reason}); "
            "import the name at the top of the file, outside `if TYPE_CHECKING`"
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MethodSignature:
    """What one method takes and gives."""

    method_name: str
    """The attribute of the class, such as `run`."""
    qualified_name: str
    """With its class, such as `HelloWorldModule.run`."""
    module: str
    """The Python module that defines it."""
    parameters: Mapping[str, Annotation]
    """The type of each parameter, in order; None where nothing tells it. Without `self`, `cls`,
    `*args`, `**kwargs`, and without the context parameter."""
    defaults: Mapping[str, object] = field(default_factory=dict)
    """The default of each parameter that has one."""
    return_type: Annotation | None = None
    """The type of the result; None where nothing tells it. Of an `async def` what is awaited."""
    kind: MethodKind = "function"
    """How it is to be called."""
    context_arg: str | None = None
    """The parameter that receives the request's context."""
    input_streaming: bool = False
    """Whether it takes streams, as `taskmethod` says."""
    output_streaming: bool = False
    """Whether it gives a stream, as `taskmethod` says."""

    @property
    def default_parameters(self) -> Mapping[str, object]:
        """The same as `defaults`, under caikit's name."""
        return self.defaults

    @property
    def full_name(self) -> str:
        """With class and module, such as `example.modules.HelloWorldModule.run`."""
        return f"{self.module}.{self.qualified_name}"


def read_signature(
    cls: type,
    method_name: str,
    *,
    context_arg: str | None = None,
    input_streaming: bool = False,
    output_streaming: bool = False,
) -> MethodSignature:
    """Reads the signature of a method as seen from a class.

    Args:
        cls: The class; the method may be inherited.
        method_name: The method.
        context_arg: The parameter for the request's context, which is left out.
        input_streaming: Noted in the record.
        output_streaming: Noted in the record.

    Raises:
        UnresolvedAnnotation: An annotation given as text names nothing known.
        TypeError: The method cannot be called with named arguments, or has no such context
            parameter.
    """
    raw = inspect.getattr_static(cls, method_name)
    function: Callable[..., Any] = getattr(raw, "__func__", raw)
    owner = _owner(cls, method_name)
    reader = _Reader(owner, function)
    parameters = list(parameters_of(function).values())
    if not isinstance(raw, staticmethod):
        parameters = parameters[1:]
    if context_arg is not None and context_arg not in {item.name for item in parameters}:
        raise TypeError(f"`{reader.where}` has no parameter `{context_arg}` to give the context to")
    read = [item for item in parameters if _is_read(item)]
    for item in read:
        if item.kind is item.POSITIONAL_ONLY:
            raise TypeError(
                f"`{reader.where}`, parameter `{item.name}`: arguments are passed by name, "
                "so it must not be positional-only"
            )
    kept = [item for item in read if item.name != context_arg]
    return MethodSignature(
        method_name=method_name,
        qualified_name=f"{owner.__qualname__}.{method_name}",
        module=owner.__module__,
        parameters=MappingProxyType({item.name: reader.parameter_type(item) for item in kept}),
        defaults=MappingProxyType(
            {item.name: item.default for item in kept if item.default is not item.empty}
        ),
        return_type=reader.return_type(),
        kind=_kind(function),
        context_arg=context_arg,
        input_streaming=input_streaming,
        output_streaming=output_streaming,
    )


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function, whether or not its annotations can be resolved."""
    if sys.version_info >= (3, 14):
        forward = annotationlib.Format.FORWARDREF
        return inspect.signature(function, annotation_format=forward).parameters
    return inspect.signature(function).parameters


def _annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations as they are written; names that are not known yet stay references."""
    if sys.version_info >= (3, 14):
        return annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
    return dict(getattr(function, "__annotations__", {}))


def _owner(cls: type, method_name: str) -> type:
    """The class that defines the method."""
    return next(item for item in cls.__mro__ if method_name in vars(item))


def _is_read(parameter: inspect.Parameter) -> bool:
    return parameter.name not in _IGNORED and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )


def _kind(function: Callable[..., Any]) -> MethodKind:
    # A decorator's plain wrapper hands on what the wrapped function returns, so look inside it.
    for candidate in (function, inspect.unwrap(function)):
        if inspect.isasyncgenfunction(candidate):
            return "async_generator"
        if inspect.iscoroutinefunction(candidate):
            return "coroutine"
        if inspect.isgeneratorfunction(candidate):
            return "generator"
    return "function"


class _Reader:
    """Finds the types of one method's parameters and of its result."""

    def __init__(self, owner: type, function: Callable[..., Any]) -> None:
        self.where = f"{owner.__module__}.{owner.__qualname__}.{function.__name__}"
        inner = inspect.unwrap(function)
        self._annotations = _annotations_of(inner)
        self._globals: dict[str, Any] = getattr(inner, "__globals__", {})
        # A class is not yet in its module's namespace while its decorators run.
        self._locals = {item.__name__: item for item in reversed(owner.__mro__)}
        self._docstring: DocstringFacts = read_docstring(inner.__doc__)

    def parameter_type(self, parameter: inspect.Parameter) -> Annotation | None:
        """The type of a parameter, from the first source that tells it."""
        name = parameter.name
        if name == "producer_id":
            return ProducerId
        if name in self._annotations:
            annotation = self._resolve(name)
            return self._documented_optional(name, annotation)
        if parameter.default is not parameter.empty and parameter.default is not None:
            return _type_of(parameter.default)
        documented = self._documented(self._docstring.types.get(name, ""))
        return documented if documented is not None else self._data_object_named(name)

    def _data_object_named(self, parameter_name: str) -> Annotation | None:
        """The data object known there whose class name is the parameter's in camel case."""
        class_name = "".join(part[:1].upper() + part[1:] for part in parameter_name.split("_"))
        found = self._globals.get(class_name)
        return found if isinstance(found, type) and issubclass(found, DataObjectBase) else None

    def return_type(self) -> Annotation | None:
        """The type of the result: the annotation, else what the docstring says."""
        if "return" in self._annotations:
            return self._resolve("return")
        return self._documented(self._docstring.return_type)

    def _documented_optional(self, name: str, annotation: Annotation) -> Annotation:
        if not self._docstring.is_optional(name):
            return annotation
        return Optional[annotation]  # noqa: UP045 -- `|` does not take every annotation

    def _resolve(self, name: str) -> Annotation:
        written = self._annotations[name]
        try:
            return _evaluate(written, self._globals, self._locals)
        except (NameError, AttributeError, SyntaxError, TypeError) as error:
            text = written if isinstance(written, str) else repr(written)
            raise UnresolvedAnnotation(self.where, name, text, str(error)) from error

    def _documented(self, text: str) -> Annotation | None:
        if not text:
            return None
        names = {**vars(typing), **self._globals}
        try:
            found = _evaluate(text, names, self._locals)
        except (NameError, AttributeError, SyntaxError, TypeError):
            return None  # prose, not a type
        is_type = isinstance(found, type) or typing.get_args(found)
        return found if is_type else None


def _evaluate(
    annotation: Annotation, global_names: dict[str, Any], local_names: dict[str, Any]
) -> Annotation:
    def holder() -> None:
        """Carries one annotation, so that a failure is known to be about this one."""

    holder.__annotations__ = {"it": annotation}
    return typing.get_type_hints(holder, global_names, local_names, include_extras=True)["it"]


def _type_of(default: object) -> Annotation:
    """The type that a default stands for; of a list `List[type of its elements]`."""
    if isinstance(default, list) and default:
        kinds = {type(item) for item in default}
        return list[kinds.pop()] if len(kinds) == 1 else list  # type: ignore[misc] # made at run time
    return type(default)
