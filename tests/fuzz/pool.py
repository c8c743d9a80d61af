"""Valid requests of each method, for mutations to start from."""

import random
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from kitfox.data import codec_of
from kitfox.data.schema import schema_of
from kitfox.services import Method
from tests.fuzz.values import fill

__all__ = ["Pool", "make_pool"]

Pool: TypeAlias = list[tuple[bytes, dict[str, Any]]]
"""Requests: the message, and the JSON of its fields."""

_SIZE = 48
_LARGEST = 20_000


def make_pool(method: Method, chance: random.Random) -> Pool:
    """Valid requests: the message, and the JSON of its fields."""
    codec = codec_of(method.request)
    pool: Pool = []
    while len(pool) < _SIZE:
        message = method.request.get_proto_class()()
        fill(message, chance)
        data = message.SerializeToString(deterministic=True)
        if len(data) > _LARGEST:
            continue
        # By way of JSON: bytes become base64, times text.
        plain = msgspec.json.decode(msgspec.json.encode(_plain(codec.decode(data))))
        pool.append((data, plain))
    return pool


def _plain(value: Any) -> Any:
    """The JSON that a request has for a value: unions under their field's name, nothing unset."""
    schema = schema_of(type(value))
    if schema is None:
        if isinstance(value, list):
            return [_plain(item) for item in value]
        if isinstance(value, dict):
            return {str(key): _plain(item) for key, item in value.items()}
        return value.value if isinstance(value, Enum) else value
    fields = {field.name: getattr(value, field.name) for field in schema.fields}
    return {name: _plain(item) for name, item in fields.items() if item is not None}
