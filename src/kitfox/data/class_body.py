"""Class bodies: the fields that one declares, and the slots that it needs for them."""

import dataclasses
import sys
from typing import Any, ClassVar, get_origin

from kitfox.data.annotations import FieldDraft
from kitfox.data.oneofs import member_slot
from kitfox.data.schema import NO_DEFAULT

__all__ = ["drafts_of_body", "drafts_of_class", "slots_for"]

_MUTABLE = (list, dict, set, bytearray)


def slots_for(
    bases: tuple[type, ...], namespace: dict[str, Any], drafts: dict[str, FieldDraft]
) -> tuple[str, ...]:
    """The slots that a class adds to those of its parents."""
    slots = [*namespace.get("_private_slots", ())]
    slots += [name for name in drafts if name.isidentifier()]  # others are refused, with a reason
    slots += [member_slot(draft.name) for draft in drafts.values() if _may_be_union(draft)]
    inherited = {slot for base in bases for cls in base.__mro__ for slot in _slots(cls)}
    return tuple(slot for slot in slots if slot not in inherited)


def _slots(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def drafts_of_body(name: str, namespace: dict[str, Any]) -> dict[str, FieldDraft]:
    """The fields of a class body; their defaults are taken out of it to make room for slots."""
    drafts: dict[str, FieldDraft] = {}
    for field, annotation in _own_annotations(namespace).items():
        if get_origin(annotation) is ClassVar or annotation is ClassVar:
            continue
        if isinstance(annotation, str) and annotation.replace("typing.", "").startswith("ClassVar"):
            continue
        default = namespace.pop(field, NO_DEFAULT)
        factory = None
        if isinstance(default, dataclasses.Field):
            if default.default_factory is not dataclasses.MISSING:
                factory = default.default_factory
            default = NO_DEFAULT if default.default is dataclasses.MISSING else default.default
        if isinstance(default, _MUTABLE) or hasattr(default, "get_proto_class"):
            raise ValueError(
                f"{name}.{field}: all objects would share the default {default!r}; write "
                "field(default_factory=...)"
            )
        drafts[field] = FieldDraft(
            name=field, annotation=annotation, default=default, factory=factory
        )
    return drafts


def _own_annotations(namespace: dict[str, Any]) -> dict[str, Any]:
    if "__annotations__" in namespace or sys.version_info < (3, 14):
        return dict(namespace.get("__annotations__", {}))
    import annotationlib  # type: ignore[import-not-found, unreachable, unused-ignore] # of 3.14

    annotate = annotationlib.get_annotate_from_class_namespace(namespace)
    if annotate is None:
        return {}
    return dict(annotationlib.call_annotate_function(annotate, annotationlib.Format.FORWARDREF))


def _may_be_union(draft: FieldDraft) -> bool:
    """Whether a field may turn out a union, before annotations in text are evaluated."""
    return not (isinstance(draft.annotation, type) or get_origin(draft.annotation) in (list, dict))


def drafts_of_class(cls: type[Any]) -> list[FieldDraft]:
    """The fields of a class and its parents, those of parents first."""
    drafts: dict[str, FieldDraft] = {}
    for parent in reversed(cls.__mro__):
        own: dict[str, FieldDraft] = parent.__dict__.get("_drafts", {})
        drafts.update(own)
    return list(drafts.values())
