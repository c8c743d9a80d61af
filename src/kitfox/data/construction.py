"""The methods that each data object class gets written for itself: `__init__`, `__eq__`, unions."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from kitfox.data.oneofs import choose_member, member_slot, value_slot
from kitfox.data.schema import Field, Schema, Shape
from kitfox.data.source import Source

__all__ = ["add_methods"]


class _Unset:
    """Stands for an argument that was not given."""

    def __repr__(self) -> str:
        return "<unset>"


UNSET: Any = _Unset()


def add_methods(schema: Schema) -> None:
    """Give a class its constructor, its equality and the attributes of its unions."""
    cls: Any = schema.cls
    if not _is_own(cls, "__init__"):
        cls.__init__ = _make_init(schema)
    if not _is_own(cls, "__eq__"):
        cls.__eq__ = _make_eq(schema)
        if not _is_own(cls, "__hash__"):
            cls.__hash__ = None
    if "__repr__" in cls.__dict__ and not _is_own(cls, "__repr__"):
        del cls.__repr__
    for field in schema.fields:
        if field.shape is Shape.UNION:
            _add_union_attributes(cls, field)
    setattr(cls, "__match_args__", tuple(field.name for field in schema.fields))  # noqa: B010 # mypy


def _is_own(cls: type[Any], name: str) -> bool:
    """Whether the author wrote a method; those that `@dataclass` wrote below do not count."""
    method = cls.__dict__.get(name)
    code = getattr(getattr(method, "__wrapped__", method), "__code__", None)
    return method is not None and (code is None or code.co_filename != "<string>")


def _make_init(schema: Schema) -> Callable[..., None]:
    """The constructor. Names of its own begin with two underscores, as no field's name does."""
    parameters, members = ["__self"], list[str]()
    names: dict[str, Any] = {"__unset": UNSET, "__set_union": _set_union}
    body: list[str] = []
    for field in schema.fields:
        name = field.name
        if field.shape is Shape.UNION:
            parameters.append(f"{name}=__unset")
            members.extend(f"{member.name}=__unset" for member in field.members)
            given = ", ".join(f"({member.name!r}, {member.name})" for member in field.members)
            names[f"__field_{name}"] = field
            body.append(f"__set_union(__self, __field_{name}, {name}, ({given},))")
        elif field.factory is not None:
            parameters.append(f"{name}=__unset")
            names[f"__make_{name}"] = field.factory
            body.append(f"__self.{name} = __make_{name}() if {name} is __unset else {name}")
        else:
            names[f"__default_{name}"] = field.make_default()
            parameters.append(f"{name}=__default_{name}")
            body.append(f"__self.{name} = {name}")
    if members:
        parameters.extend(["*", *members])
    if hasattr(schema.cls, "__post_init__"):
        body.append("__self.__post_init__()")
    source = Source(f"def __init__({', '.join(parameters)}):")
    for line in body:
        source.add(line)
    source.use(names)
    init: Callable[..., None] = source.function(f"{schema.full_name} init")
    init.__qualname__ = f"{schema.cls.__qualname__}.__init__"
    init.__module__ = schema.cls.__module__
    return init


def _set_union(self: Any, field: Field, value: Any, members: tuple[tuple[str, Any], ...]) -> None:
    """Set a union from the constructor's arguments: the field, or one of its members."""
    given = [(name, item) for name, item in members if item is not UNSET and item is not None]
    if len(given) + (value is not UNSET and value is not None) > 1:
        names = [name for name, _ in given]
        if value is not UNSET and value is not None:
            names.insert(0, field.name)
        raise TypeError(
            f"{type(self).__name__}: {' and '.join(names)} are alternatives of one union; give one"
        )
    name = None
    if given:
        name, value = given[0]
    elif value is UNSET:
        value = field.make_default()
    setattr(self, value_slot(field.name), value)
    setattr(self, member_slot(field.name), name)


def _make_eq(schema: Schema) -> Callable[[Any, Any], Any]:
    """Equality field by field, as of a dataclass."""
    names = [
        value_slot(field.name) if field.shape is Shape.UNION else field.name
        for field in schema.fields
        if field.shape is not Shape.ARRAY
    ]
    arrays = [field.name for field in schema.fields if field.shape is Shape.ARRAY]
    content = attrgetter(*names) if names else type  # of equal classes

    def __eq__(self: Any, other: Any) -> Any:  # noqa: N807 # it becomes the method
        if other.__class__ is not self.__class__:
            return NotImplemented
        return content(self) == content(other) and all(
            _equal_arrays(getattr(self, name), getattr(other, name)) for name in arrays
        )

    def eq(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return content(self) == content(other)

    return __eq__ if arrays else eq


def _equal_arrays(first: Any, second: Any) -> bool:
    if first is None or second is None:
        return first is second
    import numpy as np

    return bool(np.array_equal(first, second))


def _add_union_attributes(cls: Any, field: Field) -> None:
    value, member = value_slot(field.name), member_slot(field.name)
    if not hasattr(cls, value):
        setattr(cls, value, getattr(cls, field.name))  # the slot moves aside for the property

    def set_value(self: Any, content: Any) -> None:
        setattr(self, value, content)
        setattr(self, member, None)

    setattr(cls, field.name, property(attrgetter(value), set_value))
    for item in field.members:
        setattr(cls, item.name, _member_property(field, item.name))


def _member_property(field: Field, name: str) -> property:
    value, member = value_slot(field.name), member_slot(field.name)

    def get(self: Any) -> Any:
        return getattr(self, value) if member_of(self, field) == name else None

    def set_member(self: Any, content: Any) -> None:
        if content is not None:
            setattr(self, value, content)
            setattr(self, member, name)
        elif member_of(self, field) == name:
            setattr(self, value, None)
            setattr(self, member, None)

    return property(get, set_member)


def member_of(self: Any, field: Field) -> str | None:
    """The name of the member of a union that is set, or none."""
    content = getattr(self, value_slot(field.name))
    if content is None:
        return None
    name: str | None = getattr(self, member_slot(field.name))
    if name is None:
        chosen = choose_member(field, content)
        name = None if chosen is None else chosen.name
    return name
