"""Comments for `.proto` files: the docstrings of what the definitions were made from."""

from kitfox.data.registry import class_of
from kitfox.export._descriptions import FieldTexts, description_of, remarks_by_class
from kitfox.modules.docstring import prose_of
from kitfox.services import MethodTable, Purpose
from kitfox.services.descriptors import descriptor_set

__all__ = ["comments_of"]

_WITH_OWN_REQUEST = (Purpose.INFERENCE, Purpose.TRAINING)


def comments_of(table: MethodTable) -> dict[str, str]:
    """Texts by the full names of messages, enums, fields and RPCs."""
    comments: dict[str, str] = {}
    texts = FieldTexts()
    for file in descriptor_set(table).file:
        names = [item.name for item in file.message_type]
        names += [item.name for item in file.enum_type]
        for name in names:
            full_name = f"{file.package}.{name}" if file.package else name
            cls = class_of(full_name)
            if cls is not None:
                comments[full_name] = prose_of(cls.__doc__)
                comments |= {f"{full_name}.{key}": text for key, text in texts.of(cls).items()}
    for method in table:
        comments[f"{method.service}.{method.name}"] = description_of(method)
        if method.purpose in _WITH_OWN_REQUEST:
            comments[method.request.full_name] = f"What {method.name} takes."
        for cls, remarks in remarks_by_class(method).items():
            for name, remark in remarks.items():
                key = f"{cls.full_name}.{name}"
                comments[key] = comments.get(key) or remark.text
    return {name: text for name, text in comments.items() if text}
