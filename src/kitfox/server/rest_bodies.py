"""What a REST request asks for: its body or its query, turned into the fields of its method."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from kitfox.data import DataObjectBase, codec_of, convert_json_value
from kitfox.data.json_text import parse_json
from kitfox.data.schema import Kind, schema_of
from kitfox.errors import FieldError, InvalidArgument, ValidationError
from kitfox.server.form_data import FormReader
from kitfox.server.json_depth import check_depth
from kitfox.services.methods import BodyStyle, Context, Method, Route

__all__ = ["BodyReader"]

Fields = dict[str, Any]
_NULL = b"null"
_LARGE = 64 * 1024

_open = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """The outermost object of an inference request."""

    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    model_id: str | msgspec.UnsetType = msgspec.UNSET


class _BareBody(msgspec.Struct, forbid_unknown_fields=True):
    """The same for a method without parameters beside its inputs."""

    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    model_id: str | msgspec.UnsetType = msgspec.UNSET


class BodyReader:
    """Reads the requests of one route.

    Args:
        method: The row of the method table.
        route: Its REST side.
        max_depth: How deep JSON may be nested.
    """

    def __init__(self, method: Method, route: Route, *, max_depth: int) -> None:
        self._request = method.request
        self._route = route
        self._max_depth = max_depth
        self._read = {
            BodyStyle.INFERENCE: self._read_inference,
            BodyStyle.STREAM: self._read_inference,
            BodyStyle.MESSAGE: self._read_message,
        }.get(route.style, self._read_inference)
        self._body: msgspec.json.Decoder[_Body] | msgspec.json.Decoder[_BareBody] = (
            msgspec.json.Decoder(_Body) if route.options else msgspec.json.Decoder(_BareBody)
        )
        self._inputs = _Group("inputs", route.inputs)
        self._parameters = _Group("parameters", route.options)
        inputs = self._inputs.readers
        self._only = next(iter(inputs.items())) if len(inputs) == 1 else None
        self._codec = codec_of(method.request)
        self._is_open = _is_open(method.request)
        message = method.request.get_proto_class()
        self._lists = {
            name for name, info in message.DESCRIPTOR.fields_by_name.items() if info.is_repeated
        }

    @cached_property
    def _optional(self) -> frozenset[str]:
        """The fields that a query may leave out: `None` is one of their values."""
        return frozenset(field.name for field in self._codec.schema.fields if field.nullable)

    def read(self, body: bytes, context: Context) -> Fields:
        """The fields of a JSON body; the model's id goes to the context.

        Raises:
            ValidationError: The body does not fit its schema.
            InvalidArgument: It names no model.
        """
        model_id, fields = self._parse(body)
        if model_id is not None:
            context.model_id = model_id
        return fields

    def read_form(self, body: bytes, content_type: bytes, context: Context) -> Fields:
        """The fields of a `multipart/form-data` body.

        Raises:
            Refusal: It is no such body, or has parts that stand for nothing.
            ValidationError: The parts do not fit the schema.
            InvalidArgument: It names no model.
        """
        return self.read(self._form.read(body, content_type), context)

    def read_query(self, query: bytes) -> Fields:
        """The fields of a query.

        Raises:
            ValidationError: A field is missing, or a value does not fit.
        """
        values: Fields = {}
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            if name in self._lists:
                values.setdefault(name, []).append(value)
            elif name in self._request.fields:
                values[name] = value
        problems = [
            FieldError(path=("query", name), message="Field required", kind="missing")
            for name in self._request.fields
            if name not in values and name not in self._lists and name not in self._optional
        ]
        if problems:
            raise ValidationError(problems)
        try:
            return _set_fields(self._codec.convert_json(values))
        except ValidationError as err:
            raise err.below("query") from err

    def read_line(self, line: bytes, context: Context) -> Fields:
        """The fields of one of the lines of a stream, which may leave the model's id out.

        Raises:
            ValidationError: The line does not fit its schema.
            InvalidArgument: It names another model.
        """
        model_id, fields = self._parse(line, model_id=context.model_id)
        if not context.model_id:
            context.model_id = model_id or ""
        elif model_id != context.model_id:
            raise InvalidArgument(
                f"model_id {model_id!r}: the stream is for model {context.model_id!r}"
            )
        missing = [
            FieldError(path=("inputs", name), message="Field required", kind="missing")
            for name in self._inputs.readers
            if name not in fields
        ]
        if missing:
            raise ValidationError(missing)
        return fields

    @cached_property
    def _form(self) -> FormReader:
        return FormReader(self._request, self._route)

    def _parse(self, body: bytes, model_id: str | None = None) -> tuple[str | None, Fields]:
        """The model's id, where the route has one, and the fields."""
        if self._is_open:
            check_depth(body, self._max_depth)
        try:
            return self._read(body, model_id)
        except ValidationError:
            # Of all that is wrong with such a body, its depth is what to tell first.
            check_depth(body, self._max_depth)
            raise

    def _read_inference(self, body: bytes, model_id: str | None) -> tuple[str | None, Fields]:
        try:
            request: Any = self._body.decode(body)
        except msgspec.ValidationError as err:
            raise _envelope_error(err) from err
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            request = self._read_leniently(body)
        if request.model_id is not msgspec.UNSET:
            model_id = request.model_id
            if not model_id:
                raise InvalidArgument("Missing required model ID")
        elif not model_id:
            raise InvalidArgument("Please provide model_id in payload")
        fields: Fields = {}
        if request.inputs is not msgspec.UNSET:
            self._read_inputs(request.inputs, fields)
        if self._route.options and request.parameters is not msgspec.UNSET:
            self._parameters.read(request.parameters, fields)
        return model_id, fields

    def _read_leniently(self, body: bytes) -> Any:
        """The request for a body that only Python's parser takes; or what is wrong with it."""
        value = parse_json(body)
        try:
            request: Any = msgspec.convert(value, _Plain)
        except msgspec.ValidationError as err:
            raise _envelope_error(err) from err
        if request.parameters is not msgspec.UNSET and not self._route.options:
            raise _unknown("parameters")
        return request

    def _read_inputs(self, raw: Any, fields: Fields) -> None:
        """Reads `inputs`: the bare value of a single required parameter, else an object of them."""
        if self._only is None:
            self._inputs.read(raw, fields)
            return
        name, reader = self._only
        try:
            value = reader(raw)
        except ValidationError as err:
            raise err.below("inputs") from err
        if value is not None:
            fields[name] = value

    def _read_message(self, body: bytes, model_id: str | None) -> tuple[str | None, Fields]:
        return None, _set_fields(self._codec.decode_json(body))


class _Plain(msgspec.Struct, forbid_unknown_fields=True):
    """The outermost object of an inference request, parsed to the end."""

    inputs: Any = msgspec.UNSET
    parameters: Any = msgspec.UNSET
    model_id: str | msgspec.UnsetType = msgspec.UNSET


class _Reader:
    """Reads the values of one parameter: JSON text, or what was parsed already; None for null."""

    __slots__ = ("_annotation", "_decode")

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation
        self._decode: Callable[[bytes], Any] | None = None
        if isinstance(annotation, type) and issubclass(annotation, DataObjectBase):
            self._decode = codec_of(annotation).decode_json

    def __call__(self, value: Any) -> Any:
        if value.__class__ is msgspec.Raw:
            text = bytes(value)
            if text == _NULL:
                return None
            if self._decode is not None:
                return self._decode(text)
            value = parse_json(text)
        return None if value is None else convert_json_value(self._annotation, value)


def _set_fields(message: DataObjectBase) -> Fields:
    """The fields of a request object that hold something."""
    schema = schema_of(type(message))
    names = [field.name for field in schema.fields] if schema is not None else []
    values = {name: getattr(message, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


class _Group:
    """Parameters that come in one object, each under its name.

    Args:
        name: The object's.
        annotations: The parameters'.
    """

    def __init__(self, name: str, annotations: Mapping[str, Any]) -> None:
        self.readers = {key: _Reader(kind) for key, kind in annotations.items()}
        self._name = name
        self._known = ", ".join(self.readers) or "none"

    def read(self, raw: Any, fields: Fields) -> None:
        """Adds the parameters that are given to the fields."""
        try:
            # Mostly it is a small object, and read in one step.
            is_small = raw.__class__ is msgspec.Raw and len(raw) <= _LARGE
            values = _open(raw) if is_small else self._values(raw)
        except msgspec.ValidationError:
            values = self._values(raw)
        problems: list[FieldError] = []
        for name, value in values.items():
            reader = self.readers.get(name)
            if reader is None:
                problems.append(self._unknown(name))
            else:
                try:
                    read = reader(value)
                except ValidationError as err:
                    problems.extend(err.below(self._name, name).fields)
                else:
                    if read is not None:
                        fields[name] = read
            if len(problems) >= ValidationError.MOST:
                break
        if problems:
            raise ValidationError(problems)

    def _values(self, raw: Any) -> Mapping[str, Any]:
        """What the object holds: JSON text, or what was parsed already."""
        values = raw
        if raw is None or (raw.__class__ is msgspec.Raw and bytes(raw) == _NULL):
            return {}
        if raw.__class__ is msgspec.Raw:
            try:
                if len(raw) > _LARGE:
                    self._refuse_unknown(raw)
                values = _open(raw)
            except msgspec.ValidationError as err:
                raise self._no_object() from err
        if not isinstance(values, dict):
            raise self._no_object(values)
        return values

    def _refuse_unknown(self, raw: msgspec.Raw) -> None:
        """Refuses an object by the first of its names that is unknown.

        There may be millions of them, of which no dictionary is to be made.
        """
        try:
            self._names.decode(raw)
        except msgspec.ValidationError as err:
            if "unknown field" not in str(err):
                raise
            raise ValidationError([self._unknown(str(err).split("`")[1])]) from err

    @cached_property
    def _names(self) -> "msgspec.json.Decoder[Any]":
        names = {f"field{number}": name for number, name in enumerate(self.readers)}
        fields = [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in names]
        return msgspec.json.Decoder(
            msgspec.defstruct("Names", fields, rename=names, forbid_unknown_fields=True)
        )

    def _unknown(self, name: str) -> FieldError:
        message = f"Extra inputs are not permitted; expected one of: {self._known}"
        return FieldError(path=(self._name, name), message=message, kind="unknown")

    def _no_object(self, value: Any = None) -> ValidationError:
        message = "Input should be an object"
        return ValidationError.at((self._name,), message, kind="type", value=value)


def _envelope_error(err: msgspec.ValidationError) -> ValidationError:
    text = str(err)
    if "unknown field" in text:
        return _unknown(text.split("`")[1])
    if "$.model_id" in text:
        return ValidationError.at(("model_id",), "Input should be a valid string", kind="type")
    return ValidationError.at((), "Input should be an object", kind="type")


def _unknown(name: str) -> ValidationError:
    message = "Extra inputs are not permitted; expected inputs, parameters, model_id"
    return ValidationError.at((name,), message, kind="unknown")


def _is_open(cls: type[Any], above: tuple[type[Any], ...] = ()) -> bool:
    """Whether JSON for a class can be nested at will: free-form values, or classes in a circle."""
    schema = schema_of(cls)
    if schema is None or cls in above:
        return True
    values = [
        value
        for field in schema.fields
        for value in (field.value, *(member.value for member in field.members))
    ]
    return any(
        value.kind in (Kind.STRUCT, Kind.ANY)
        or (value.kind is Kind.MESSAGE and _is_open(value.python or object, (*above, cls)))
        for value in values
    )
