"""Forms (`multipart/form-data`): parts with dotted names, turned into the JSON they stand for.

A part's name is the path of a field in the JSON body: `inputs`, `inputs.name`, `model_id`. Parts
of one name fill a list; a part for an object holds JSON, and the parts below it are added to that.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from kitfox.data import File
from kitfox.data.multipart import Part, find_parts
from kitfox.data.schema import Field, Kind, Member, Shape, ValueType, schema_of
from kitfox.server.answers import Refusal
from kitfox.services.methods import BodyStyle, Route

__all__ = ["FormReader"]

_MOST_PARTS = 1000
_LONGEST_BOUNDARY = 70
# Of a name that is repeated to its sender.
_LONGEST_NAME = 128
_DEEPEST = 32
_LONGEST_NUMBER = 12
_NESTED = (Kind.MESSAGE, Kind.STRUCT, Kind.ANY)
_MODEL_ID = Field(name="model_id", shape=Shape.ONE)

# What a name can stand for: a field, or an object of such.
Node: TypeAlias = "Field | Mapping[str, Node]"


class FormReader:
    """Reads the forms of one route.

    Args:
        request: The class of the method's requests.
        route: The method's REST side.
    """

    def __init__(self, request: type[Any], route: Route) -> None:
        fields = _fields_of(request)
        self._root: Mapping[str, Node] = fields
        if route.style is not BodyStyle.MESSAGE:
            inputs = {name: fields[name] for name in route.inputs}
            options = {name: fields[name] for name in route.options}
            single = next(iter(inputs.values())) if len(inputs) == 1 else inputs
            self._root = {"inputs": single, "model_id": _MODEL_ID}
            if options:
                self._root["parameters"] = options

    def read(self, body: bytes, content_type: bytes) -> bytes:
        """The JSON that a form stands for.

        Raises:
            Refusal: It is no form, or one of its parts stands for nothing.
        """
        try:
            parts = find_parts([body], _boundary(content_type), most=_MOST_PARTS)
        except ValueError as err:
            raise _refusal(str(err)) from err
        tree: dict[str, Any] = {}
        # Objects before what is below them.
        for part in sorted(parts, key=lambda part: part.name.count(".")):
            content = body[part.start : part.end]
            if content or part.filename:
                _put(tree, self._root, part.name.split("."), _Content(part, content))
        return msgspec.json.encode(tree)


class _Content:
    """A part's content, whatever it is taken for."""

    def __init__(self, part: Part, content: bytes) -> None:
        self.name = part.name[:_LONGEST_NAME]
        self.is_file = part.filename is not None
        self.is_json = part.content_type.lower().startswith("application/json")
        self.bytes = content
        self._part = part

    def text(self) -> str:
        try:
            return self.bytes.decode()
        except UnicodeDecodeError:
            raise _refusal(f"Key {self.name!r} is not UTF-8 text") from None

    def json(self) -> Any:
        try:
            return msgspec.json.decode(self.bytes)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
            raise _refusal(f"Key {self.name!r} is not valid JSON: {err}") from None

    def file(self) -> dict[str, Any]:
        """As the JSON of a `File`; msgspec writes bytes as base64."""
        kind = {"type": self._part.content_type} if self._part.content_type else {}
        return {"data": self.bytes, "filename": self._part.filename, **kind}

    @property
    def looks_nested(self) -> bool:
        """Whether it is a JSON array or object, or means to be one."""
        return self.is_json or self.bytes.lstrip()[:1] in (b"{", b"[")


def _put(
    target: dict[str, Any], nodes: Mapping[str, Node], path: list[str], content: _Content
) -> None:
    """Puts a part's value where its name says."""
    name, *rest = path
    node = nodes.get(name)
    if node is None or len(rest) > _DEEPEST:
        raise _unknown(content)
    if not rest:
        _set(target, name, node, content)
        return
    if isinstance(node, Field) and node.shape is Shape.MAP and len(rest) == 1:
        entries = target.setdefault(name, {})
        entries[rest[0]] = _single(node.value, content)
        return
    inside = target.setdefault(name, {})
    if not isinstance(inside, dict):
        raise _refusal(f"Key {content.name!r} is inside {name!r}, which is no object")
    _put(inside, _below(node, content), rest, content)


def _below(node: Node, content: _Content) -> Mapping[str, Node]:
    """The fields of the objects that a node can hold."""
    if not isinstance(node, Field):
        return node
    if node.shape is Shape.ONE and node.value.kind is Kind.MESSAGE:
        return _fields_of(node.value.python)
    if node.shape is Shape.UNION:
        found: dict[str, Node] = {}
        for member in node.members:
            if member.value.kind is Kind.MESSAGE and not member.repeated:
                found.update(_fields_of(member.value.python))
        return found
    raise _unknown(content)


def _set(target: dict[str, Any], name: str, node: Node, content: _Content) -> None:
    value, many = _value(node, content)
    if many:
        target.setdefault(name, []).extend(value)
    elif name not in target:
        target[name] = value
    elif isinstance(value, dict) and isinstance(target[name], dict):
        target[name].update(value)
    else:
        raise _refusal(f"Key {content.name!r} is given more than once")


def _value(node: Node, content: _Content) -> tuple[Any, bool]:
    """What a part gives a node; and whether it is a list, to which others of its name add."""
    if not isinstance(node, Field) or node.shape is Shape.MAP:
        return content.json(), False
    if node.shape is Shape.UNION:
        return _union(node.members, content)
    if node.shape is Shape.ONE:
        return _single(node.value, content), False
    nested = node.value.kind in _NESTED and not content.is_file
    if nested or content.is_json:
        value = content.json()
        return (value if isinstance(value, list) else [value]), True
    return [_single(node.value, content)], True


def _union(members: tuple[Member, ...], content: _Content) -> tuple[Any, bool]:
    values = [member.value for member in members if not member.repeated]
    if content.is_file:
        for value in values:
            if value.python is File or value.kind is Kind.BYTES:
                return _single(value, content), False
    can_nest = len(values) < len(members) or any(value.kind in _NESTED for value in values)
    if can_nest and content.looks_nested:
        return content.json(), False
    if not values:
        return [content.text()], True
    return content.text(), False


def _single(value: ValueType, content: _Content) -> Any:
    """What a part gives a field of one value."""
    if content.is_file and value.python is File:
        return content.file()
    if value.kind in _NESTED:
        return content.json()
    if value.kind is Kind.BYTES and content.is_file:
        return content.bytes
    text = content.text()
    is_number = value.kind is Kind.ENUM and text.isdecimal() and len(text) < _LONGEST_NUMBER
    return int(text) if is_number else text


def _fields_of(cls: Any) -> dict[str, Node]:
    schema = schema_of(cls)
    return {field.name: field for field in schema.fields} if schema is not None else {}


def _boundary(content_type: bytes) -> bytes:
    from python_multipart.multipart import parse_options_header

    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise ValueError("the content type multipart/form-data needs a boundary")
    return boundary


def _unknown(content: _Content) -> Refusal:
    return _refusal(f"Unknown key {content.name!r}")


def _refusal(detail: str) -> Refusal:
    return Refusal(422, detail)
