"""Objects in an S3 bucket -> files that can be opened, read part by part, never kept as a whole.

`objects_in_bucket` gives an `S3Object` for each key; the readers of files do the rest. A part is a
request of its own, so that a training may take its time between two of them. Only the client's
own credentials are used: what the environment of the server says about S3 does not reach an
endpoint that a client chose. No error repeats a secret key, or more of an answer than its status
and error code.
"""

import io
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from kitfox.data.bucket_address import BucketAddress, checked_key
from kitfox.errors import (
    Code,
    FailedPrecondition,
    InvalidArgument,
    KitfoxError,
    NotFound,
    Unavailable,
)

if TYPE_CHECKING:
    from obstore.store import S3Credential, S3Store

__all__ = ["S3Object", "objects_in_bucket"]

_PART_SIZE = 4 << 20
"""So many bytes are asked for at once, and in memory."""
_CONNECT_TIMEOUT = timedelta(seconds=5)
_SILENCE_TIMEOUT = timedelta(seconds=20)
_REQUEST_TIMEOUT = timedelta(minutes=5)
"""For a whole part, which may come slowly."""
_MOST_RETRIES = 3
_LAST_RETRY = timedelta(seconds=10)
"""After so long no further attempt begins; a failure is known after 30 seconds at the latest."""

_STATUS = re.compile(r"status code: (\d{3})")
_ERROR_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_OTHER_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint")


def objects_in_bucket(
    address: BucketAddress, keys: Sequence[str], *, timeout: timedelta = _SILENCE_TIMEOUT
) -> list["S3Object"]:
    """The objects with some keys; nothing is asked of the service before one is read.

    Args:
        address: Of the bucket.
        keys: Of the objects; `s3://bucket/key` is understood as well.
        timeout: How long the service may be silent.

    Raises:
        InvalidArgument: The address or a key is missing or cannot be right.
        FailedPrecondition: The extra `kitfox[s3]` is not installed.
    """
    address = address.checked()
    if not keys:
        raise InvalidArgument(f"S3Files: no files of the bucket {address.bucket!r} are named")
    keys = [checked_key(address, key) for key in keys]
    store = _open_store(address, timeout)
    return [S3Object(address, store, key) for key in keys]


def _open_store(address: BucketAddress, timeout: timedelta) -> "S3Store":
    try:
        from obstore.store import S3Store
    except ImportError:
        raise FailedPrecondition(
            "S3Files: reading from S3 needs the package obstore; install it with "
            "pip install 'kitfox[s3]'"
        ) from None

    def credentials() -> "S3Credential":
        return {
            "access_key_id": address.access_key,
            "secret_access_key": address.secret_key,
            "token": None,
            "expires_at": None,
        }

    return S3Store(
        address.bucket,
        # What is given here is not taken from the environment. The second name of the endpoint
        # would win over the first, and a provider brings no session token with it.
        endpoint=address.endpoint,
        aws_endpoint_url_s3=address.endpoint,
        region=address.region,
        credential_provider=credentials,
        skip_signature=False,
        virtual_hosted_style_request=False,
        request_payer=False,
        s3_express=False,
        client_options={
            "allow_http": True,
            "connect_timeout": _CONNECT_TIMEOUT,
            "read_timeout": timeout,
            "timeout": _REQUEST_TIMEOUT,
        },
        retry_config={"max_retries": _MOST_RETRIES, "retry_timeout": _LAST_RETRY},
    )


class _Part(NamedTuple):
    """Bytes of an object, and which object they were taken from."""

    content: memoryview
    size: int
    """Of the whole object."""
    version: str | None
    """Its ETag."""


class S3Object:
    """An object in a bucket, as a file for reading.

    Args:
        address: Of its bucket.
        store: The library's view of the bucket.
        key: Of the object.
    """

    def __init__(self, address: BucketAddress, store: "S3Store", key: str) -> None:
        self._address = address
        self._store = store
        self._key = key

    def __str__(self) -> str:
        return f"s3://{self._address.bucket}/{self._key}"

    @property
    def suffix(self) -> str:
        """The extension of the key."""
        return PurePosixPath(self._key).suffix

    def open(
        self, mode: str, *, encoding: str | None = None, newline: str | None = None
    ) -> IO[Any]:
        """Open it for reading, as bytes (`rb`) or as text (`r`).

        Reading raises a `KitfoxError` when the service does not give the object.
        """
        file = io.BufferedReader(_ObjectReader(self))
        if "b" in mode:
            return file
        return io.TextIOWrapper(file, encoding=encoding, newline=newline)

    def look(self) -> tuple[int, str]:
        """Its size and its ETag, without its content.

        Raises:
            KitfoxError: The service does not tell.
        """
        from obstore.exceptions import BaseError

        try:
            found = self._store.head(self._key)
        except (BaseError, OSError, ValueError) as error:
            raise _explained(str(error), self, self._address) from None
        return found["size"], found["e_tag"] or ""

    def fetch(self, start: int) -> _Part:
        """What there is of the object from a position on, up to the size of a part."""
        from obstore.exceptions import BaseError

        try:
            result = self._store.get(self._key, options={"range": (start, start + _PART_SIZE)})
            content = memoryview(result.bytes())
        except (BaseError, OSError, ValueError) as error:
            if _status(str(error)) == 416:  # nothing there: the object is empty, or shrank
                return _Part(memoryview(b""), start, None)
            raise _explained(str(error), self, self._address) from None
        return _Part(content, result.meta["size"], result.meta["e_tag"])


class _ObjectReader(io.RawIOBase):
    """A position in an object and the part around it.

    Args:
        source: The object.
    """

    def __init__(self, source: S3Object) -> None:
        super().__init__()
        self._source = source
        self._position = 0
        self._part: _Part | None = None
        self._part_start = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        if whence == io.SEEK_END:
            offset += (self._part or self._load(0)).size
        elif whence == io.SEEK_CUR:
            offset += self._position
        self._position = max(0, offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        part = self._part
        offset = self._position - self._part_start
        if part is None or (not 0 <= offset < len(part.content) and self._position < part.size):
            part, offset = self._load(self._position), 0
        data = part.content[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _load(self, start: int) -> _Part:
        part, before = self._source.fetch(start), self._part
        if before is not None and (part.size, part.version) != (before.size, before.version):
            raise KitfoxError(
                f"{self._source}: the object was changed while it was read", code=Code.ABORTED
            )
        self._part, self._part_start = part, start
        return part


def _status(text: str) -> int | None:
    match = _STATUS.search(text)
    return None if match is None else int(match[1])


def _explained(text: str, source: S3Object, address: BucketAddress) -> KitfoxError:
    """What the library's error means; it has no other form than text, with the answer inside."""
    status = _status(text)
    match = _ERROR_CODE.search(text)
    error_code = "" if match is None else match[1]
    place, key = address.endpoint, address.access_key
    if error_code in _OTHER_REGION or "redirect without LOCATION" in text:
        return InvalidArgument(
            f"{source}: the bucket is not in the region {address.region!r}, or not at {place}"
        )
    if error_code == "NoSuchBucket":
        return NotFound(f"{source}: there is no bucket {address.bucket!r} at {place}")
    if status == 404:
        return NotFound(f"{source}: there is no such object at {place}")
    if status in (401, 403):
        return KitfoxError(
            f"{source}: {place} {_refusal(error_code, key)}", code=Code.PERMISSION_DENIED
        )
    if "NotPartial" in text:
        return FailedPrecondition(f"{source}: {place} does not give objects in parts, as S3 does")
    if status is not None:
        code = f" ({error_code})" if error_code else ""
        message = f"{source}: {place} answered with status {status}{code}"
        return Unavailable(message) if status >= 500 else InvalidArgument(message)
    return Unavailable(f"{source}: {place} cannot be reached: {_obstacle(text)}")


def _refusal(error_code: str, access_key: str) -> str:
    if error_code == "InvalidAccessKeyId":
        return f"does not know the accessKey {access_key!r}"
    if error_code == "SignatureDoesNotMatch":
        return f"does not accept the secretKey of the accessKey {access_key!r}"
    reason = f" ({error_code})" if error_code else ""
    return f"does not let the accessKey {access_key!r} read it{reason}"


def _obstacle(text: str) -> str:
    if "InvalidCertificate" in text:
        return "its certificate is not trusted"
    if "kind: Timeout" in text:
        return "it did not answer in time"
    if "kind: Connect" in text:
        return "no connection"
    return "the connection failed"
