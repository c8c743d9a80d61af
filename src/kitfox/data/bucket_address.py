"""Where a bucket is and who asks, as a client said it -> checked, before a library sees it."""

import re
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from kitfox.errors import InvalidArgument

__all__ = ["BucketAddress", "checked_key"]

# What does not match would make the library panic, which is no ordinary exception.
_ENDPOINT = re.compile(r"https?://[^/\s?#]+(/[A-Za-z0-9._~/-]*)?")
_LABEL = r"\w([\w-]*\w)?"
_HOST = re.compile(rf"({_LABEL}\.)*(?=[a-z]){_LABEL}", re.ASCII | re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_REGION = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ACCESS_KEY = re.compile(r"[!-~]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketAddress:
    """Where a bucket is, and who asks."""

    endpoint: str
    """The URL of the service; without a scheme it is https, empty is Amazon's of the region."""
    region: str
    """Of the bucket; empty is `us-east-1`."""
    bucket: str
    """Its name."""
    access_key: str
    """The id of the key."""
    secret_key: str = field(repr=False)
    """The key itself, never shown."""

    def checked(self) -> "BucketAddress":
        """The same with everything filled in.

        Raises:
            InvalidArgument: Something is missing or cannot be right.
        """
        if not self.bucket:
            raise InvalidArgument("S3Files: the bucket is missing")
        if not _BUCKET.fullmatch(self.bucket):
            raise InvalidArgument(f"S3Files: {self.bucket!r} cannot be the name of a bucket")
        names = {"accessKey": self.access_key, "secretKey": self.secret_key}
        missing = [name for name, value in names.items() if not value]
        if missing:
            raise InvalidArgument(f"S3Files: the credentials lack {' and '.join(missing)}")
        if not _ACCESS_KEY.fullmatch(self.access_key):
            raise InvalidArgument("S3Files: the accessKey has characters that no access key has")
        region = self.region or "us-east-1"
        if not _REGION.fullmatch(region):
            raise InvalidArgument(f"S3Files: {region!r} cannot be the name of a region")
        endpoint = _checked_endpoint(self.endpoint or f"https://s3.{region}.amazonaws.com")
        return replace(self, endpoint=endpoint, region=region)


def _checked_endpoint(endpoint: str) -> str:
    url = endpoint if "://" in endpoint else f"https://{endpoint}"
    if "@" in url:  # not repeated: it holds a password
        raise InvalidArgument("S3Files: the endpoint must not hold a user name or password")
    if not (_ENDPOINT.fullmatch(url) and _has_host(url)):
        raise InvalidArgument(
            f"S3Files: {url.partition('?')[0]!r} cannot be an endpoint; expected https://host "
            "or http://host:port"
        )
    return url.rstrip("/")


def _has_host(url: str) -> bool:
    """Whether a URL has a host, which is a name or an address, and then a port or nothing."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        name = f"[{host}]" if ":" in host else host
        if "%" in host or parts.netloc.lower() not in (name, f"{name}:{port}"):
            return False
        if _HOST.fullmatch(host):
            host.encode().decode("idna")  # a name may look like an encoded one and be none
        else:
            ip_address(host)
    except ValueError:
        return False
    return True


def checked_key(address: BucketAddress, key: str) -> str:
    """A key as the library takes it: no empty part, no part of dots, no control character."""
    parts = key.removeprefix(f"s3://{address.bucket}/").removeprefix("/").split("/")
    if any(part in ("", ".", "..") or _CONTROL.search(part) for part in parts):
        raise InvalidArgument(
            f"S3Files: {key!r} is no key that can be read; expected the key of one object, "
            "such as 'folder/name.csv'"
        )
    return "/".join(parts)
