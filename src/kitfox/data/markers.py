"""What an author may write inside `Annotated[...]` to steer the schema of a field."""

from typing import Annotated

__all__ = ["Annotated", "FieldNumber", "OneofField"]


class FieldNumber(int):
    """The protobuf number of a field: `Annotated[str, FieldNumber(10)]`."""

    __slots__ = ()


class OneofField(str):
    """The protobuf name of one alternative of a union: `Annotated[int, OneofField("count")]`."""

    __slots__ = ()
