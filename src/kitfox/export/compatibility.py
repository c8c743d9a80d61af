"""Two versions of an interface compared: what would break callers of the old one, and what is new.

Callers speak protobuf, where numbers and types count, or JSON, where names count; a change that
either of them notices is a break. Optional fields, new messages and new methods are not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from kitfox.export._interface import Enumeration, Field, Interface, Message, Rpc

__all__ = ["Change", "Comparison", "compare"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One difference."""

    subject: str
    """What differs, by kind and full name: `message example.data_model.Sample`."""
    item: str = ""
    """What in it: `field text`, `value RED`, `rpc HelloWorldTaskPredict`; empty for all of it."""
    what: str
    """What happened to it and, for a break, why that breaks callers."""

    def __str__(self) -> str:
        return f"{self.subject}{', ' if self.item else ''}{self.item}: {self.what}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """All differences of two versions."""

    breaks: tuple[Change, ...]
    """What callers of the old version would notice."""
    additions: tuple[Change, ...]
    """What is new and harms nobody."""


def compare(old: FileDescriptorSet, new: FileDescriptorSet) -> Comparison:
    """Compares two versions of a library.

    Args:
        old: The descriptors of the version that callers know.
        new: Those of the version that is to take its place.
    """
    found = _Comparer(Interface.of(old), Interface.of(new))
    found.run()
    return Comparison(breaks=tuple(found.breaks), additions=tuple(found.additions))


class _Comparer:
    def __init__(self, old: Interface, new: Interface) -> None:
        self._old = old
        self._new = new
        self._requests = old.inference_requests
        self.breaks: list[Change] = []
        self.additions: list[Change] = []

    def run(self) -> None:
        old, new = self._old, self._new
        for name in sorted(old.services.keys() | new.services.keys()):
            self._service(name)
        for name in sorted(old.messages.keys() | new.messages.keys()):
            self._message(name)
        for name in sorted(old.enums.keys() | new.enums.keys()):
            self._enum(name)

    def _break(self, subject: str, item: str, what: str) -> None:
        self.breaks.append(Change(subject=subject, item=item, what=what))

    def _add(self, subject: str, item: str = "") -> None:
        self.additions.append(Change(subject=subject, item=item, what="added"))

    def _service(self, name: str) -> None:
        subject = f"service {name}"
        old, new = self._old.services.get(name), self._new.services.get(name)
        if old is None:
            self._add(subject)
        elif new is None:
            self._break(subject, "", "removed; calls of its methods fail with UNIMPLEMENTED")
        else:
            for rpc in old:
                if rpc not in new:
                    self._break(subject, f"rpc {rpc}", "removed; calls fail with UNIMPLEMENTED")
                else:
                    for what in _rpc_changes(old[rpc], new[rpc]):
                        self._break(subject, f"rpc {rpc}", what)
            for rpc in new.keys() - old.keys():
                self._add(subject, f"rpc {rpc}")

    def _enum(self, name: str) -> None:
        subject = f"enum {name}"
        old, new = self._old.enums.get(name), self._new.enums.get(name)
        if old is None:
            self._add(subject)
        elif new is None:
            self._break(subject, "", "removed; clients made from the old version name it")
        else:
            for value, what in _enum_changes(old, new):
                self._break(subject, f"value {value}", what)
            for value, number in new.items():
                if value not in old and number not in old.values():
                    self._add(subject, f"value {value}")

    def _message(self, name: str) -> None:
        subject = f"message {name}"
        old, new = self._old.messages.get(name), self._new.messages.get(name)
        if old is None:
            self._add(subject)
        elif new is None:
            self._break(subject, "", "removed; clients made from the old version name it")
        else:
            renamed = _renamed(old, new)
            for field in old.values():
                for what in self._field_changes(field, new, renamed):
                    self._break(subject, f"field {field.name}", what)
                after = new.get(field.name)
                if after and after.needed and field.optional and name in self._requests:
                    what = "has no default any more; callers that leave it out are refused"
                    self._break(subject, f"field {field.name}", what)
            for field in new.values():
                if field.name not in old and field.name not in renamed.values():
                    self._new_field(name, field)

    def _new_field(self, message: str, field: Field) -> None:
        subject, item = f"message {message}", f"field {field.name}"
        if field.needed and message in self._requests:
            self._break(
                subject,
                item,
                "added without a default; callers of the old version, who do not send it, are "
                "refused",
            )
        else:
            self._add(subject, item)

    def _field_changes(self, field: Field, new: Message, renamed: dict[str, str]) -> Iterator[str]:
        holder = next((item for item in new.values() if item.number == field.number), None)
        after = new.get(field.name) or new.get(renamed.get(field.name, ""))
        if after is None:
            yield _removal(field, holder)
            return
        if after.name != field.name:
            yield f"renamed to {after.name}; JSON has the name, and REST refuses the old one"
        if after.number != field.number:
            read = f", and are read as those of {holder.name}" if holder else ""
            yield (
                f"renumbered from {field.number} to {after.number}; its bytes are not found any "
                f"more{read}"
            )
        yield from _label_changes(field, after)
        yield from self._type_changes(field, after)
        yield from _union_changes(field, after)

    def _type_changes(self, old: Field, new: Field) -> Iterator[str]:
        if old.type == new.type or old.is_map != new.is_map:
            return
        change = f"was {old.type}, is {new.type}"
        if old.message and new.message:
            if self._same_shape(old.message, new.message):
                yield f"{change}; clients made from the old version name another class"
            else:
                yield f"{change}; the bytes of one are not those of the other"
        else:
            yield f"{change}; {_why_type(old, new)}"

    def _same_shape(self, old: str, new: str) -> bool:
        before, after = self._old.messages.get(old), self._new.messages.get(new)
        return before is not None and before == after


def _removal(field: Field, holder: Field | None) -> str:
    if holder is not None:
        return (
            f"removed, and its number {field.number} is now that of {holder.name}; the bytes of "
            "one are read as the other"
        )
    return "removed; it is dropped over gRPC and refused over REST, and answers lack it"


def _rpc_changes(old: Rpc, new: Rpc) -> Iterator[str]:
    for what, before, after in (
        ("request", old.request, new.request),
        ("response", old.response, new.response),
    ):
        if before != after:
            yield (
                f"the {what} was {before}, is {after}; clients made from the old version send and "
                "read the old one"
            )
    for what, was, now in (
        ("request", old.client_streaming, new.client_streaming),
        ("response", old.server_streaming, new.server_streaming),
    ):
        if was != now:
            words = ("a stream", "a single message") if was else ("a single message", "a stream")
            yield f"the {what} was {words[0]}, is {words[1]}; the call's protocol is another"


def _enum_changes(old: Enumeration, new: Enumeration) -> Iterator[tuple[str, str]]:
    for name, number in old.items():
        what = _enum_change(name, number, old, new)
        if what:
            yield name, what


def _enum_change(name: str, number: int, old: Enumeration, new: Enumeration) -> str:
    if name in new:
        if new[name] == number:
            return ""
        return f"renumbered from {number} to {new[name]}; over gRPC the number means another value"
    others = [other for other, value in new.items() if value == number]
    fresh = [other for other in others if other not in old]
    if fresh:
        return f"renamed to {fresh[0]}; JSON has the name, and REST refuses the old one"
    if others:
        return f"removed as a name of {number}; JSON has the name, and REST refuses it"
    return "removed; callers that send it are refused"


def _renamed(old: Message, new: Message) -> dict[str, str]:
    """The new names of fields whose number and type stayed and whose name is new."""
    numbers = {field.number: field for field in new.values()}
    result = {}
    for field in old.values():
        other = numbers.get(field.number)
        if field.name in new or other is None or other.name in old:
            continue
        if (other.type, other.repeated) == (field.type, field.repeated):
            result[field.name] = other.name
    return result


def _label_changes(old: Field, new: Field) -> Iterator[str]:
    if old.is_map != new.is_map:
        yield f"was {old.words}, is {new.words}; neither bytes nor JSON of one are the other's"
    elif old.repeated and not new.repeated:
        yield "was a list, is a single value; all but one of the values are lost, and JSON differs"
    elif new.repeated and not old.repeated:
        yield "was a single value, is a list; old clients read one value at most, and JSON differs"


def _union_changes(old: Field, new: Field) -> Iterator[str]:
    if old.union == new.union:
        return
    if not old.union:
        yield (
            f"moved into the union {new.union}; setting another member clears it, and REST names "
            "the union"
        )
    elif not new.union:
        yield f"moved out of the union {old.union}; REST names the field and no longer the union"
    else:
        yield f"moved from the union {old.union} to {new.union}; REST names the union"


_WHOLE = frozenset({"int32", "int64", "uint32", "uint64", "bool"})


def _why_type(old: Field, new: Field) -> str:
    old_whole = old.type in _WHOLE or old.enum
    new_whole = new.type in _WHOLE or new.enum
    if old_whole and new_whole:
        if old.enum and new.enum:
            return "clients made from the old version name another class"
        return "values that the other type does not have are read as different ones"
    if {old.type, new.type} == {"string", "bytes"}:
        return "JSON has base64 in place of the text, or the reverse"
    return "the bytes of one cannot be read as the other"
