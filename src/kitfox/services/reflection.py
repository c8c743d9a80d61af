"""gRPC server reflection, `v1` and `v1alpha`: describes the services to clients that know none.

Everything comes from the descriptors of the method table. The two versions differ in their names
and in what they list: `v1` lists every service, `v1alpha` those that caikit's clients know.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from functools import cached_property
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from kitfox.data import DataObjectBase
from kitfox.errors import Code, DeadlineExceeded
from kitfox.services.batch_training import PROCESS_SERVICE
from kitfox.services.descriptors import descriptor_set
from kitfox.services.fixed import MODELS_SERVICE, TRAININGS_SERVICE
from kitfox.services.methods import Context, Decode, Encode, Method, MethodTable
from kitfox.services.protocols import (
    HEALTH_SERVICE,
    V1,
    V1ALPHA,
    reflection_messages,
    reflection_service,
)

__all__ = ["Descriptions", "Reflection"]

_IDLE_SECONDS = 60.0


class Descriptions:
    """The descriptors of a method table, found by what is in them.

    Args:
        table: The methods.
    """

    def __init__(self, table: MethodTable) -> None:
        self._table = table

    @cached_property
    def _pool(self) -> DescriptorPool:
        """Made when the first client asks."""
        pool = DescriptorPool()
        for file in descriptor_set(self._table).file:
            pool.AddSerializedFile(file.SerializeToString())
        return pool

    def services(self) -> list[str]:
        """The full names of all services, sorted."""
        return sorted(self._table.services())

    def services_of_caikit(self) -> list[str]:
        """The services that a caikit server lists, sorted.

        That is neither health, batch training, the newer reflection nor what only we have.
        """
        unlisted = {
            *(HEALTH_SERVICE, MODELS_SERVICE, TRAININGS_SERVICE, PROCESS_SERVICE),
            reflection_service(V1),
        }
        return sorted({name for name in self._table.services() if name not in unlisted})

    def file(self, name: str) -> list[bytes]:
        """A file and all that it needs, serialized, itself first.

        Raises:
            KeyError: There is none of this name.
        """
        return _with_dependencies(self._pool.FindFileByName(name))

    def file_of_symbol(self, name: str) -> list[bytes]:
        """The same of the file that defines a service, method, message, field, enum or value.

        Raises:
            KeyError: There is nothing of this name.
        """
        try:
            file = self._pool.FindFileContainingSymbol(name)
        except KeyError:  # it does not look for members
            owner, _, member = name.rpartition(".")
            file = self._pool.FindFileContainingSymbol(owner)
            if not _has_member(file, owner, member):
                raise
        return _with_dependencies(file)

    def file_of_extension(self, message: str, number: int) -> list[bytes]:
        """The same of the file that defines an extension of a message.

        Raises:
            KeyError: There is no such extension.
        """
        extended = self._pool.FindMessageTypeByName(message)
        extension: Any = self._pool.FindExtensionByNumber(extended, number)
        return _with_dependencies(extension.file)

    def extensions(self, message: str) -> list[int]:
        """The numbers of a message's extensions.

        Raises:
            KeyError: There is no such message.
        """
        extended = self._pool.FindMessageTypeByName(message)
        return sorted(item.number for item in self._pool.FindAllExtensions(extended))


def _has_member(file: FileDescriptor, owner: str, member: str) -> bool:
    """Whether something in a file is a service with such a method, or a message with such a field.

    Of a message also unions and the values of its enums are members, as in protobuf itself.
    """
    known: Any = file.pool
    try:
        return member in known.FindServiceByName(owner).methods_by_name
    except KeyError:
        pass
    try:
        message = known.FindMessageTypeByName(owner)
    except KeyError:
        return False
    names = (message.fields_by_name, message.oneofs_by_name, message.enum_values_by_name)
    return any(member in found for found in names)


def _with_dependencies(file: FileDescriptor) -> list[bytes]:
    found: dict[str, FileDescriptor] = {}
    waiting = [file]
    while waiting:
        item = waiting.pop(0)
        if item.name not in found:
            found[item.name] = item
            waiting.extend(item.dependencies)
    return [item.serialized_pb for item in found.values()]


class Reflection:
    """Does the work of one version of reflection.

    Args:
        method: The row of the method table.
        descriptions: What there is to tell.
        idle_seconds: How long a client may think about its next question.
    """

    def __init__(
        self,
        method: Method,
        descriptions: Descriptions,
        *,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        self._descriptions = descriptions
        self._idle_seconds = idle_seconds
        package = method.service.rpartition(".")[0]
        self._messages = reflection_messages(package)
        self._list = (
            descriptions.services_of_caikit if package == V1ALPHA else descriptions.services
        )

    async def __call__(
        self, requests: AsyncIterator[bytes], context: Context, *, decode: Decode, encode: Encode
    ) -> AsyncGenerator[list[bytes], None]:
        """Answers each question of a stream; one that has no answer leaves the stream going."""
        while True:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    request = await anext(requests, None)
            except TimeoutError:
                raise DeadlineExceeded(
                    f"no question came for {self._idle_seconds:g} s; open a new stream"
                ) from None
            if request is None:
                return
            yield [encode(self._answer(decode(request)))]

    def _answer(self, fields: dict[str, Any]) -> DataObjectBase:
        question = next((name for name in fields if name != "host"), "")
        try:
            answer = self._look_up(question, fields.get(question))
        except KeyError:
            answer = self._error(Code.NOT_FOUND, _missing(question, fields[question]))
        return self._make(
            "ServerReflectionResponse",
            valid_host=fields["host"],
            original_request=self._make("ServerReflectionRequest", **fields),
            **answer,
        )

    def _look_up(self, question: str, subject: Any) -> dict[str, DataObjectBase]:
        """The field of the answer, by name."""
        known = self._descriptions
        match question:
            case "list_services":
                listed = [self._make("ServiceResponse", name=name) for name in self._list()]
                answer = self._make("ListServiceResponse", service=listed)
                return {"list_services_response": answer}
            case "file_by_filename":
                return self._files(known.file(subject))
            case "file_containing_symbol":
                return self._files(known.file_of_symbol(subject))
            case "file_containing_extension":
                place = subject.containing_type, subject.extension_number
                return self._files(known.file_of_extension(*place))
            case "all_extension_numbers_of_type":
                numbers = known.extensions(subject)
                answer = self._make(
                    "ExtensionNumberResponse", base_type_name=subject, extension_number=numbers
                )
                return {"all_extension_numbers_response": answer}
            case _:
                return self._error(Code.INVALID_ARGUMENT, "the request asks for nothing")

    def _files(self, files: Iterable[bytes]) -> dict[str, DataObjectBase]:
        answer = self._make("FileDescriptorResponse", file_descriptor_proto=list(files))
        return {"file_descriptor_response": answer}

    def _error(self, code: Code, message: str) -> dict[str, DataObjectBase]:
        answer = self._make("ErrorResponse", error_code=int(code), error_message=message)
        return {"error_response": answer}

    def _make(self, message: str, **fields: Any) -> DataObjectBase:
        return self._messages[message](**fields)


def _missing(question: str, subject: Any) -> str:
    match question:
        case "file_by_filename":
            return f"there is no file {subject!r}"
        case "file_containing_extension":
            number, message = subject.extension_number, subject.containing_type
            return f"there is no extension {number} of a message {message!r}"
        case "all_extension_numbers_of_type":
            return f"there is no message {subject!r}"
        case _:
            return f"nothing is called {subject!r}"
