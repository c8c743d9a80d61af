"""Comments for `.proto` files: the docstrings of what the definitions were made from."""

import inspect

from kitfox.data import DataObjectBase
from kitfox.data.registry import class_of
from kitfox.data.schema import schema_of
from kitfox.export._descriptions import description_of
from kitfox.services import MethodTable, Purpose
from kitfox.services.descriptors import descriptor_set

__all__ = ["comments_of"]

_WITH_OWN_REQUEST = (Purpose.INFERENCE, Purpose.TRAINING)


def comments_of(table: MethodTable) -> dict[str, str]:
    """Texts by the full names of messages, enums, fields and RPCs."""
    comments: dict[str, str] = {}
    for file in descriptor_set(table).file:
        names = [item.name for item in file.message_type]
        names += [item.name for item in file.enum_type]
        for name in names:
            full_name = f"{file.package}.{name}" if file.package else name
            cls = class_of(full_name)
            if cls is not None:
                comments[full_name] = inspect.cleandoc(cls.__doc__ or "")
                comments |= _field_comments(cls)
    for method in table:
        comments[f"{method.service}.{method.name}"] = description_of(method)
        if method.purpose in _WITH_OWN_REQUEST:
            comments[method.request.full_name] = f"What {method.name} takes."
    return {name: text for name, text in comments.items() if text}


def _field_comments(cls: type[DataObjectBase]) -> dict[str, str]:
    schema = schema_of(cls)
    if schema is None:
        return {}
    return {f"{schema.full_name}.{field.name}": field.description for field in schema.fields}
