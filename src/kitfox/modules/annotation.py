"""Questions about type annotations: are two the same, does one take the other, what does it stream.

Annotations arrive as authors write them (`List[str]`, `list[str]`, `Optional[X]`, `X | None`,
`Annotated[X, ...]`) and are compared by meaning, not by spelling.
"""

import collections.abc
import types
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

__all__ = [
    "Annotation",
    "accepts",
    "derives",
    "describe",
    "element_type",
    "is_stream",
    "returns",
    "same",
]

Annotation: TypeAlias = Any
"""Whatever may stand after a colon: a class, a generic alias, a union, `Annotated[...]`."""

_STREAMS = (collections.abc.Iterable, collections.abc.AsyncIterable)
_CONTAINERS = (collections.abc.Sequence, collections.abc.Set, collections.abc.Mapping)


def describe(annotation: Annotation) -> str:
    """The annotation as an author would write it, for error messages.

    >>> describe(Optional[List[str]])
    'list[str] | None'
    """
    if annotation is None:
        return "nothing"
    if annotation is types.NoneType:
        return "None"
    members = _members(annotation)
    if len(members) > 1:
        return " | ".join(describe(member) for member in members)
    [bare] = members
    arguments = get_args(bare)
    if arguments:
        inner = ", ".join(describe(argument) for argument in arguments)
        return f"{describe(_origin(bare))}[{inner}]"
    if isinstance(bare, type):
        return bare.__name__
    return repr(bare).replace("typing.", "")


def _bare(annotation: Annotation) -> Annotation:
    """The annotation without its `Annotated` wrapping."""
    while _origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _origin(annotation: Annotation) -> Any:
    return get_origin(annotation)


def _members(annotation: Annotation) -> tuple[Annotation, ...]:
    """The alternatives of a union; of anything else the thing itself."""
    annotation = _bare(annotation)
    if _origin(annotation) in (Union, types.UnionType):
        return tuple(_bare(member) for member in get_args(annotation))
    return (annotation,)


def _canonical(annotation: Annotation) -> Any:
    """A hashable form that is equal for annotations of the same meaning."""
    if isinstance(annotation, list):  # the parameters of Callable[[...], ...]
        return tuple(_canonical(item) for item in annotation)
    annotation = _bare(annotation)
    origin = _origin(annotation)
    if origin in (Union, types.UnionType):
        return frozenset(_canonical(member) for member in get_args(annotation))
    arguments = get_args(annotation)
    if origin is None or not arguments:
        return origin or (types.NoneType if annotation is None else annotation)
    return (origin, *(_canonical(argument) for argument in arguments))


def same(first: Annotation, second: Annotation) -> bool:
    """Whether two annotations mean the same type.

    >>> same(Optional[List[str]], list[str] | None)
    True
    """
    return bool(_canonical(first) == _canonical(second))


def derives(candidate: Annotation, wanted: Annotation) -> bool:
    """Whether a value of `candidate` is a `wanted`: the same type, or a class derived from it."""
    if same(candidate, wanted):
        return True
    candidate, wanted = _bare(candidate), _bare(wanted)
    return (
        isinstance(candidate, type)
        and isinstance(wanted, type)
        and not get_args(candidate)
        and not get_args(wanted)
        and issubclass(candidate, wanted)
    )


def accepts(annotation: Annotation, wanted: Annotation) -> bool:
    """Whether a parameter so annotated takes a `wanted`: the same type, or a union with it."""
    if same(annotation, wanted):
        return True
    offered = _members(annotation)
    return all(any(same(member, want) for member in offered) for want in _members(wanted))


def returns(annotation: Annotation, wanted: Annotation) -> bool:
    """Whether a method so annotated returns a `wanted`, perhaps as one member of a union."""
    return any(derives(member, wanted) for member in _members(annotation))


def is_stream(annotation: Annotation) -> bool:
    """Whether the annotation is `Iterable[T]`, `DataStream[T]` or alike, and no container."""
    origin = _origin(_bare(annotation))
    return (
        isinstance(origin, type)
        and issubclass(origin, _STREAMS)
        and not issubclass(origin, _CONTAINERS)
        and bool(get_args(_bare(annotation)))
    )


def element_type(annotation: Annotation) -> Annotation | None:
    """What a stream yields: `T` of `Iterable[T]`, `DataStream[T]`, `AsyncIterator[T]`; else None.

    In a union (`Optional[DataStream[T]]`) the first member with elements counts.

    >>> element_type(Iterable[str])
    <class 'str'>
    """
    for member in _members(annotation):
        origin = _origin(member)
        if isinstance(origin, type) and issubclass(origin, _STREAMS):
            return get_args(member)[0]
    return None
